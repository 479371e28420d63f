"""Which options would make a run smaller or faster: found by estimating the run with each of them.

What a change costs stands beside it, because some change what is learned and others only how fast.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..options import Options
from .memory import MemoryEstimate, estimate_memory
from .model_shape import ModelShape
from .run_time import Rates, estimate_time
from .workload import Lengths


@dataclass(frozen=True, slots=True)
class Remedy:
    """A change of options, and what the run would take with it.

    Attributes:
        changes: Option -> value.
        cost: What is given up, in a few words.
        peak: Bytes of the largest phase with it.
        seconds: Of the run with it; None where the machine's rates were not measured.
    """

    changes: Mapping[str, Any]
    cost: str
    peak: int
    seconds: float | None = None

    @property
    def flags(self) -> str:
        """As it is typed."""
        return " ".join(_flag(name, value) for name, value in self.changes.items())

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {"flags": self.flags, "cost": self.cost, "peak_bytes": self.peak, "seconds": self.seconds}


def _flag(name: str, value: Any) -> str:
    words = name.replace("_", "-")
    if isinstance(value, bool):
        return f"--{words}" if value else f"--no-{words}"
    return f"--{words} {value:g}" if isinstance(value, float) else f"--{words} {value}"


def smaller(
    shape: ModelShape, options: Options, *, on_gpu: bool, lengths: Lengths | None = None, count: int = 3
) -> list[Remedy]:
    """The `count` changes that lower the peak most: the best alone, the best beside it, and so on.

    Each one's `peak` is with all before it. A change that saves less than 2 % more than a milder one is not taken for
    better, and one that saves less than 1 % is left out.
    """
    found: list[Remedy] = []
    for _ in range(count):
        before = estimate_memory(shape, options, on_gpu=on_gpu, lengths=lengths)
        best: Remedy | None = None
        for changes, cost in _memory_candidates(options, before):
            peak = _peak(shape, options, changes, on_gpu, lengths)
            if peak is not None and peak < (0.99 * before.peak if best is None else 0.98 * best.peak):
                best = Remedy(changes, cost, peak)
        if best is None:
            break
        found.append(best)
        options = dataclasses.replace(options, **best.changes)
    return found


def faster(
    shape: ModelShape,
    options: Options,
    rates: Rates,
    *,
    on_gpu: bool,
    capacity: int | None = None,
    lengths: Lengths | None = None,
    count: int = 3,
) -> list[Remedy]:
    """The `count` single changes that shorten the run most and still fit into `capacity` bytes, best first."""
    before = estimate_time(shape, options, rates, on_gpu=on_gpu, lengths=lengths)
    found = []
    for changes, cost in _time_candidates(options):
        peak = _peak(shape, options, changes, on_gpu, lengths)
        if peak is None or (capacity is not None and peak > capacity):
            continue
        changed = dataclasses.replace(options, **changes)
        seconds = estimate_time(shape, changed, rates, on_gpu=on_gpu, lengths=lengths).total
        if seconds < before.total:
            found.append(Remedy(changes, cost, peak, seconds))
    return sorted(found, key=lambda remedy: remedy.seconds or 0.0)[:count]


def _peak(
    shape: ModelShape, options: Options, changes: Mapping[str, Any], on_gpu: bool, lengths: Lengths | None
) -> int | None:
    """The peak with these changes; None where the options refuse them."""
    try:
        changed = dataclasses.replace(options, **changes)
    except ValueError:
        return None
    return estimate_memory(shape, changed, on_gpu=on_gpu, lengths=lengths).peak


def _memory_candidates(options: Options, before: MemoryEstimate) -> Iterator[tuple[dict[str, Any], str]]:
    """Changes that may lower the peak; of one option from the mildest on."""
    if not before.precision.recompute:
        yield {"gradient_checkpointing": True}, "a third more work in the update"
    tokens = options.micro_batch_tokens // 2
    while tokens >= before.lengths.row:
        yield {"micro_batch_tokens": tokens}, "smaller passes, slower on a GPU"
        tokens //= 2
    if tokens < before.lengths.row < options.micro_batch_tokens:
        yield {"micro_batch_tokens": before.lengths.row}, "one row at a time, slower on a GPU"
    if not options.lora:
        yield {"lora": True}, "adapters learn in the place of the weights, at a higher learning rate"
    if options.beta:
        yield {"beta": 0.0}, "no KL to the initial policy: it changes what is learned"
    if options.optim == "adamw":
        yield {"optim": "adamw_8bit"}, "moments in 8 bits (needs the extra adam8bit)"
    if before.precision.on_gpu and not options.offload_optimizer:
        yield {"offload_optimizer": True}, "the optimiser's state in host memory between updates: copies"
    if before.precision.bytes == 4:
        yield {"bf16": True}, "16-bit parameters and activations, with float32 masters"
    rows = options.episodes_together
    while rows > 1:
        rows //= 2
        yield {"sampler_batch": rows}, "fewer episodes at once, more passes over the weights"
    chunk = options.logprob_chunk // 2
    while chunk >= 128:
        yield {"logprob_chunk": chunk}, "more, smaller passes of the head"
        chunk //= 2


def _time_candidates(options: Options) -> Iterator[tuple[dict[str, Any], str]]:
    """Changes that may shorten the run."""
    yield {"gradient_checkpointing": False}, "more memory for activations"
    if options.beta:
        yield {"beta": 0.0}, "no KL to the initial policy: it changes what is learned"
    if options.context == "window":
        yield {"context": "transcript"}, "one growing chat in the place of a prompt per turn: it changes what is read"
    if options.eval_steps:
        yield {"eval_steps": 0}, "no evaluation between the first and the last"
    if options.test_episodes:
        yield {"test_episodes": 0}, "no test set before and after"
    if options.num_generations > 4:
        yield {"num_generations": options.num_generations // 2}, "smaller groups: it changes what is learned"
