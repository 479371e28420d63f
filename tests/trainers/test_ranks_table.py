"""Every method that learns, in both contexts, with adapters and without, in two and four processes against one.

    pytest -m distributed -s tests/trainers/test_ranks_table.py

prints the table of `docs/scale.md`. Gradients and losses are those of the first optimiser step, weights those after
three steps, all on the same recorded episodes.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from recorded_iterations import Result, above_noise, apart, iterate, record
from small_runs import save_model

from benchmarks.forked_ranks import run_ranks
from trainers.methods import METHODS

pytestmark = pytest.mark.distributed

RELATIVE = 1e-6
CONTEXTS = ("transcript", "window")
SGD = ("grpo", "sdar", "opsd-full", "agent-opsd", "context-distillation")
LORA: dict[str, Any] = {"lora": True, "lora_rank": 4}
# Further settings that take a statistic over the batch, or read with other parameters than the live ones.
FURTHER: dict[str, dict[str, Any]] = {
    "gigpo": {"method": "agent-opsd", "advantage": "gigpo"},
    "batch deviation": {"method": "grpo", "scale_rewards": "batch", "loss_type": "dr_grpo", "entropy_coef": 0.01},
    "rows as unit, mini-batches": {"method": "sdar", "advantage_unit": "row", "mini_batch_rows": 5},
    "soft-or, batch scale": {"method": "sdar-soft-or", "soft_or_scale": "batch"},
    "joined contexts": {"method": "sdar", "privilege": "plan+hints", "teacher_combine": "agreement"},
    "averaged teacher": {"method": "opsd-full", "teacher_weights": "ema", "teacher_ema_decay": 0.5},
    "initial teacher": {"method": "sdar", "teacher_weights": "initial"},
    "reduced distributions": {"method": "opsd-full", "divergence_top_k": 5, "num_iterations": 2},
    "recomputed": {"method": "sdar", "gradient_checkpointing": True},
}
Case = tuple[str, str, bool, str]  # method or setting, context, adapters, optimiser


def cases() -> Iterator[tuple[Case, dict[str, Any]]]:
    for context in CONTEXTS:
        for adapters in (False, True):
            for name, own in {**{name: {"method": name} for name in METHODS}, **FURTHER}.items():
                method = METHODS[own["method"]]
                if not method.learns:
                    continue
                options: dict[str, Any] = {
                    **{"beta": 0.1, "max_grad_norm": 1e9, "micro_batch_tokens": 700, "learning_rate": 1e-3},
                    **({"distill_coef": 0.5} if method.injection != "none" else {}),
                    **(LORA if adapters else {}),
                    **own,
                    "context": context,
                }
                yield (name, context, adapters, "adamw"), options
                if name in SGD:
                    yield (name, context, adapters, "sgd"), {**options, "optim": "sgd"}


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[Case, list[Any]], dict[Case, Result]]:
    """The folder, the recorded episodes of every case, and what one process makes of them."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("table")
    save_model(folder / "model")
    episodes = {case: record(folder, **options) for case, options in cases()}
    return folder, episodes, {case: iterate(folder, episodes[case], steps=3, **own) for case, own in cases()}


def differences(one: Result, other: Result) -> tuple[float, float, float]:
    """How far gradients, losses and weights are apart, relative to the largest."""
    scale = max(map(abs, one.losses))
    losses = max(abs(a - b) for a, b in zip(one.losses, other.losses, strict=True)) / max(scale, 1e-3)
    weights = apart(one.weights, other.weights, above_noise(one) if one.roots else None)
    return apart(one.gradients, other.gradients), losses, weights


@pytest.mark.parametrize("sharding", ["ddp", "fsdp"])
@pytest.mark.parametrize("size", [2, 4])
def test_every_method_computes_what_one_process_computes(alone: Any, size: int, sharding: str) -> None:
    folder, episodes, expected = alone

    def work() -> dict[Case, tuple[float, float, float]]:
        # Compared in each process, so that little has to be sent.
        return {
            case: differences(expected[case], iterate(folder, episodes[case], steps=3, sharding=sharding, **options))
            for case, options in cases()
        }

    found = run_ranks(work, size, timeout=3000)
    print(f"\n{size} processes, {sharding}")
    print("| context | adapters | optimiser | cases | gradients | losses | weights after 3 steps |")
    print("|---|---|---|---|---|---|---|")
    for context in CONTEXTS:
        for adapters in (False, True):
            for optimiser in ("adamw", "sgd"):
                own = [
                    values
                    for of_rank in found
                    for (_, c, a, o), values in of_rank.items()
                    if (c, a, o) == (context, adapters, optimiser)
                ]
                worst = [max(column) for column in zip(*own, strict=True)]
                print(
                    f"| {context} | {'LoRA' if adapters else 'none'} | {optimiser} | {len(own) // size} | "
                    + " | ".join(f"{value:.1e}" for value in worst)
                    + " |"
                )
    wrong = {case: values for of_rank in found for case, values in of_rank.items() if max(values) >= RELATIVE}
    assert not wrong
