"""Decoding: tokens per second for one episode and for many, against the reading of weights and cache."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from agents.sampling.base import SampleRequest
from agents.sampling.local import BatchSampler
from trainers.engine.run_time import forward_flops

from .machine import Device
from .models import build, shape_named


def measure(
    name: str, device: Device, *, rows: Sequence[int], prompt: int, new: int, read_bytes: float
) -> dict[str, Any]:
    """Seconds per token of all rows together, at several numbers of rows.

    Args:
        name: The shape.
        device: The device.
        rows: Episodes at once.
        prompt: Tokens of a prompt, each row's its own.
        new: Tokens that are drawn per row.
        read_bytes: Bytes per second that the device reads at most.
    """
    model, _ = build(name, device)
    shape, size = shape_named(name), 2 if device.dtype.itemsize == 2 else 4
    weights = (shape.parameters if shape.tied else shape.parameters - shape.embedding) * size
    found = {}
    for count in rows:

        def sample(tokens: int, count: int = count) -> None:
            sampler = BatchSampler(
                model, end_ids=[], pad_id=0, max_completion_length=tokens, max_context=prompt + tokens + 1
            )
            ids = [[1 + (7 * i + row) % 900 for i in range(prompt)] for row in range(count)]
            sampler.sample([SampleRequest(slot, own, False, ("drill", slot, 0)) for slot, own in enumerate(ids)])

        # The reading of the prompts is in both and falls out.
        once, whole = (device.seconds(lambda tokens=tokens: sample(tokens), repeats=2) for tokens in (1, 1 + new))
        step = max(whole - once, 1e-9) / new
        cache = count * (prompt + new / 2) * shape.cache_values * size
        found[str(count)] = {
            "tokens_per_second": count / step,
            "seconds_per_step": step,
            "share_of_bandwidth_bound": (weights + cache) / read_bytes / step,
            "prefill_tokens_per_second": count * prompt / max(once - step, 1e-9),
            "bytes_read_per_step": weights + cache,
            "flops_per_step": forward_flops(shape, count, prompt, count),
        }
    return found


def rates(found: dict[str, Any]) -> tuple[float, float]:
    """Bytes read and operations done per second while decoding, from the fewest and the most rows."""
    few, many = found[min(found, key=int)], found[max(found, key=int)]
    read = few["bytes_read_per_step"] / few["seconds_per_step"]
    computing = many["seconds_per_step"] - many["bytes_read_per_step"] / read
    # Where many rows cost no more than the reading, operations are free: no bound was met.
    return read, many["flops_per_step"] / max(computing, 0.01 * many["seconds_per_step"])
