"""Passes over given tokens and optimiser steps: tokens per second, share of the fastest matrix product, memory."""

from __future__ import annotations

import dataclasses
from typing import Any

from agents.base import View
from trainers.batch.row import WeighedRow
from trainers.config import SDARConfig
from trainers.engine.adapters import attach
from trainers.engine.memory import estimate_memory
from trainers.engine.run_time import forward_flops
from trainers.engine.single import SingleProcess
from trainers.engine.updater import Updater
from trainers.engine.workload import Lengths
from trainers.forward.passes import score_rows
from trainers.methods import get_method

from .machine import Device
from .models import build, shape_named


def measure(
    name: str, device: Device, *, rows: int, row: int, sampled: int, matmul_flops: float, lora: bool, micro: int
) -> dict[str, Any]:
    """One optimiser step of GRPO over rows of random tokens, and a pass without gradients over the same.

    Args:
        name: The shape.
        device: The device.
        rows: Rows of the step.
        row: Tokens of a row.
        sampled: How many of them are loss tokens.
        matmul_flops: Operations per second of the device's fastest matrix product.
        lora: Whether adapters learn in the place of the weights.
        micro: Tokens of a micro-batch.
    """
    config = SDARConfig(
        method="grpo",
        device=str(device.device),
        bf16=device.dtype.itemsize == 2,
        gradient_checkpointing=device.on_gpu,
        beta=0.0,
        tasks_per_step=1,
        num_generations=rows,
        max_turns=1,
        micro_batch_tokens=micro,
        lora=lora,
    )
    engine = SingleProcess.of(config)
    held = device.begin_peak()
    model, _ = build(name, device)
    if lora:
        attach(model, rank=config.lora_rank, alpha=config.alpha, targets=config.lora_targets, seed=0)
    updater = Updater(engine.prepare(model), config, engine, pad_id=0)
    views = [View([1 + (7 * i + n) % 900 for i in range(row)], list(range(row - sampled, row))) for n in range(rows)]
    weighed = [
        WeighedRow(
            index=index,
            student=view,
            behaviour_logprobs_T=[-9.0] * sampled,
            turn_ids_T=[0] * sampled,
            episode_id=index,
            group_id=0,
            invalid_T=[False] * sampled,
            advantages_T=[1.0 - 2.0 * (index % 2)] * sampled,
        )
        for index, view in enumerate(views)
    ]
    plan = get_method("grpo").at(0, config)
    forward = device.seconds(
        lambda: score_rows(updater.root, views, temperature=1.0, pad_id=0, token_budget=micro), repeats=2
    )
    update = device.seconds(lambda: updater.optimiser_step(weighed, plan), repeats=2)
    peak = device.peak() - held
    shape = shape_named(name)
    once = forward_flops(shape, rows * row, row, rows * sampled)
    # A frozen matrix has no gradient of its own: two passes instead of three. Recomputation is no useful work.
    useful = (2.0 if lora else 3.0) * once
    done = useful + (once if engine.gradient_checkpointing else 0.0)
    lengths = Lengths(row - sampled, sampled, 1, 0)
    parts = estimate_memory(shape, config, on_gpu=device.on_gpu, lengths=lengths).parts["update"]
    computed = sum(size for part, size in parts.items() if part != "runtime")
    return {
        "options": {key: value for key, value in dataclasses.asdict(config).items() if key in ("lora", "bf16")},
        "forward_tokens_per_second": rows * row / forward,
        "update_tokens_per_second": rows * row / update,
        "forward_flops": once / forward,
        "update_flops": done / update,
        "forward_share_of_matmul": once / forward / matmul_flops,
        "update_mfu": useful / update / matmul_flops,
        "peak_bytes": peak,
        "computed_bytes": computed,
        "computed_over_peak": computed / max(peak, 1),
    }
