"""Every method that learns, in both contexts, with adapters and without, in two and four processes against one.

    pytest -m distributed -s tests/trainers/test_ranks_table.py

prints the table of `docs/scale.md`: processes, sharding, context, adapters, optimiser, number of cases, and the largest
difference of gradients, losses and weights. Gradients are those of the first optimiser step, losses those of three
steps, weights those after them, all on the same recorded episodes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from recorded_iterations import NOISE, Result, above_noise, apart, iterate, record
from small_runs import save_model

from benchmarks.forked_ranks import run_ranks
from trainers.methods import METHODS

pytestmark = pytest.mark.distributed

# Of gradients, losses and weights. Losses sum terms of both signs: one of `rlcsd` was 1.2e-6 apart on a
# processor with AVX-512.
BOUNDS = (1e-6, 2e-6, 1e-6)
# Each row has a pass of its own: rows that share one are padded to each other's length, which rounds differently, and
# which rows share a pass depends on the number of processes. What is left is the order in which gradients are added.
ROWS_ALONE = 1
# Adapters begin at zero, so that after three steps their entries are of the size of a step: an error of a step is an
# error of the weight, where it is a thousandth of one without adapters.
ADAPTERS_NOISE = 0.1
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
Case = tuple[str, str]  # method or setting, optimiser


def cases(context: str, adapters: bool) -> Iterator[tuple[Case, dict[str, Any]]]:
    for name, own in {**{name: {"method": name} for name in METHODS}, **FURTHER}.items():
        method = METHODS[own["method"]]
        if not method.learns:
            continue
        options: dict[str, Any] = {
            **{"beta": 0.1, "max_grad_norm": 1e9, "micro_batch_tokens": ROWS_ALONE, "learning_rate": 1e-3},
            **({"distill_coef": 0.5} if method.injection != "none" else {}),
            **(LORA if adapters else {}),
            **own,
            "context": context,
        }
        yield (name, "adamw"), options
        if name in SGD:
            yield (name, "sgd"), {**options, "optim": "sgd"}


@dataclass
class Alone:
    """What one process makes of the recorded episodes of some cases."""

    folder: Path
    options: dict[Case, dict[str, Any]]
    episodes: dict[Case, list[Any]]
    results: dict[Case, Result]


@pytest.fixture(scope="module", params=[(c, a) for c in CONTEXTS for a in (False, True)], ids=str)
def alone(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Alone:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("table")
    save_model(folder / "model")
    options = dict(cases(*request.param))
    episodes = {case: record(folder, **own) for case, own in options.items()}
    results = {case: iterate(folder, episodes[case], steps=3, **own) for case, own in options.items()}
    return Alone(folder, options, episodes, results)


def differences(one: Result, other: Result, adapters: bool) -> tuple[float, float, float]:
    """How far gradients, losses and weights are apart, relative to the largest.

    A loss is a mean of terms that cancel, so it is compared with one nat per token where it is smaller.
    """
    losses = max(abs(a - b) / max(abs(a), 1.0) for a, b in zip(one.losses, other.losses, strict=True))
    noise = ADAPTERS_NOISE if adapters else NOISE
    weights = apart(one.weights, other.weights, above_noise(one, noise) if one.roots else None)
    return apart(one.gradients, other.gradients), losses, weights


@pytest.mark.parametrize("sharding", ["ddp", "fsdp"])
@pytest.mark.parametrize("size", [2, 4])
def test_every_method_computes_what_one_process_computes(alone: Alone, size: int, sharding: str) -> None:
    def work() -> dict[Case, tuple[float, float, float]]:
        # Compared in each process, so that little has to be sent.
        found = {}
        for case, own in alone.options.items():
            other = iterate(alone.folder, alone.episodes[case], steps=3, sharding=sharding, **own)
            found[case] = differences(alone.results[case], other, "lora" in own)
        return found

    found = run_ranks(work, size, timeout=3000)
    some = next(iter(alone.options.values()))
    for optimiser in ("adamw", "sgd"):
        own = [values for of_rank in found for (_, named), values in of_rank.items() if named == optimiser]
        worst = " | ".join(f"{max(column):.1e}" for column in zip(*own, strict=True))
        print(
            f"\n| {size} | {sharding} | {some['context']} | {'LoRA' if 'lora' in some else 'none'} | {optimiser} | "
            f"{len(own) // size} | {worst} |"
        )
    wrong = {
        case: values
        for of_rank in found
        for case, values in of_rank.items()
        if any(value >= bound for value, bound in zip(values, BOUNDS, strict=True))
    }
    assert not wrong
