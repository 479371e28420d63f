"""Whether the device computes what the CPU computes, and the sampler what the trainer scores."""

from __future__ import annotations

import copy
from typing import Any

import torch

from agents.base import View
from agents.sampling.base import SampleRequest
from agents.sampling.local import BatchSampler
from trainers.forward.passes import score_rows
from trainers.forward.root import PolicyModel
from trainers.warm_start.random_model import random_model

from .machine import Device
from .models import ENV_ID, sizes_of


def measure(name: str, device: Device) -> dict[str, Any]:
    """Differences of log-probs, in nats: device and CPU in float32; a row alone and in a batch; 16 bits and 32."""
    model, _ = random_model(sizes_of(name), ENV_ID)
    views = [View([1 + (7 * i + row) % 900 for i in range(length)], list(range(8, length)))
             for row, length in enumerate((40, 64, 23, 57))]  # fmt: skip

    def scores(own: Any, parts: list[list[View]]) -> torch.Tensor:
        options = {"temperature": 1.0, "pad_id": 0, "token_budget": 4096}
        rows = [row for part in parts for row in score_rows(PolicyModel(own), part, **options)]
        return torch.tensor([value for row in rows for value in row])

    on_cpu = scores(model, [views])
    there = copy.deepcopy(model).to(device.device)
    exact = scores(there, [views])
    alone = scores(there, [[view] for view in views])
    rounded = scores(there.to(torch.bfloat16), [views])
    sampled = _sampler_and_trainer(model.to(device.device), device)
    return {
        "float32_device_cpu_max": float((exact - on_cpu).abs().max()),
        "float32_alone_batch_max": float((exact - alone).abs().max()),
        "bfloat16_float32_mean": float((rounded - exact).abs().mean()),
        **sampled,
    }


def _sampler_and_trainer(model: Any, device: Device) -> dict[str, Any]:
    """The sampler's log-probs of what it drew, against those of a pass over the same tokens, in both precisions."""
    found = {}
    for name, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        own = copy.deepcopy(model).to(dtype).eval()
        sampler = BatchSampler(own, end_ids=[], pad_id=0, max_completion_length=16, max_context=128)
        prompts = [[1 + (5 * i + row) % 900 for i in range(length)] for row, length in enumerate((12, 30, 21))]
        requests = [SampleRequest(slot, ids, False, ("drill", slot, 0)) for slot, ids in enumerate(prompts)]
        samples = sampler.sample(requests)
        views = [
            View([*ids, *sample.ids], list(range(len(ids), len(ids) + len(sample.ids))))
            for ids, sample in zip(prompts, samples, strict=True)
        ]
        scored = score_rows(PolicyModel(own), views, temperature=1.0, pad_id=0, token_budget=4096)
        apart = [
            abs(a - b)
            for sample, row in zip(samples, scored, strict=True)
            for a, b in zip(sample.logprobs, row, strict=True)
        ]
        found[f"sampler_trainer_{name}_max"] = max(apart)
    return found
