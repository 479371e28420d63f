"""Whole iterations of GRPO and SDAR in the household: seconds by part, against the estimate of `sdar memory`."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from trainers.config import SDARConfig
from trainers.engine.memory import estimate_memory
from trainers.engine.run_time import Rates, estimate_time, forward_flops
from trainers.engine.single import SingleProcess
from trainers.engine.workload import Lengths, Precision
from trainers.trainer import SDARTrainer

from .machine import Device
from .models import ENV_ID, build, shape_named

PARTS = ("rollout", "reference", "teacher", "update")


class DrillEngine(SingleProcess):
    """One process with the drill's clock."""

    def clock(self) -> float:
        """Seconds, as `Device.clock` has them."""
        return Device(self.device, self.dtype).clock()


def options_of(device: Device, method: str, sizes: dict[str, Any], folder: str) -> SDARConfig:
    """The configuration of an iteration; answers of random weights run to their limit."""
    return SDARConfig(
        output_dir=str(Path(folder) / method),
        method=method,
        device=str(device.device),
        bf16=device.dtype.itemsize == 2,
        max_steps=2,
        test_episodes=0,
        learning_rate=1e-6,
        **sizes,
    )


def measure(
    name: str, device: Device, *, methods: tuple[str, ...], sizes: dict[str, Any], rates: Rates, matmul_flops: float
) -> dict[str, Any]:
    """One iteration of each method after one that does not count, from the same random weights.

    Args:
        name: The shape.
        device: The device.
        methods: Names; ratios are over the first.
        sizes: Options of an iteration.
        rates: What the other parts measured, for the estimate of time.
        matmul_flops: Operations per second of the fastest matrix product.
    """
    found: dict[str, Any] = {}
    shape = shape_named(name)
    for method in methods:
        with tempfile.TemporaryDirectory() as folder:
            config = options_of(device, method, sizes, folder)
            held = device.begin_peak()
            model, tokenizer = build(name, device)
            trainer = SDARTrainer(model, ENV_ID, config, processing_class=tokenizer, engine=DrillEngine.of(config))
            trainer.iteration()
            trainer.state.step = 1
            start = device.clock()
            metrics = trainer.iteration()
            seconds = device.clock() - start
            trainer.collector.close()
            peak = device.peak() - held
        rows, tokens = metrics["tokens/rows"], metrics["tokens/sampled"]
        episodes = config.tasks_per_step * config.num_generations
        turns = int(metrics.get("turns", config.max_turns) + 0.999)
        per_row = rows / max(1.0, episodes * (turns if config.context == "window" else 1))
        lengths = Lengths(max(1, round(per_row) - config.max_completion_length), config.max_completion_length, turns, 0)
        estimate = estimate_memory(shape, config, on_gpu=device.on_gpu, lengths=lengths)
        time = estimate_time(shape, config, rates, on_gpu=device.on_gpu, lengths=lengths)
        once = forward_flops(shape, rows, per_row, tokens)
        useful = once * (1.0 + 3.0 + ("reference" in time.per_iteration) + ("teacher" in time.per_iteration))
        found[method] = {
            "seconds": seconds,
            "parts": {part: metrics.get(f"seconds/{part}", 0.0) for part in PARTS},
            "turns": metrics.get("turns"),
            "sampled_tokens": tokens,
            "row_tokens": rows,
            "sampled_tokens_per_second": tokens / seconds,
            "mfu": useful / seconds / matmul_flops,
            "logp_diff_mean": metrics["sampling/logp_diff_mean"],
            "peak_bytes": peak,
            "computed_bytes": estimate.peak - estimate.parts[estimate.peak_phase]["runtime"],
            "computed_seconds": time.iteration,
            "recomputed": Precision.of(config, on_gpu=device.on_gpu).recompute,
        }
        del trainer, model
    first = found[methods[0]]["seconds"]
    return {"methods": found, "over_first": {method: own["seconds"] / first for method, own in found.items()}}
