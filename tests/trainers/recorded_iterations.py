"""Iterations on recorded episodes in any number of processes, and how far two such results are apart."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scripted_agents import ParityWorld
from small_runs import make_trainer
from toy_world import BANK

from trainers.engine.whole_tensors import whole
from trainers.methods.method import IterationPlan
from trainers.rollout.collect import Rollout
from trainers.rollout.dynamic_sampling import Resampled

# Entries of AdamW's second moment whose root is smaller than this share of the largest are rounding for the most part,
# and an update divides by that root.
NOISE = 1e-2

Arrays = dict[str, np.ndarray[Any, Any]]


class BankedWorld(ParityWorld):
    """A world whose random episodes succeed half of the time, with a bank of skills to choose from."""

    skill_bank = BANK


class RecordedCollector:
    """Returns the same episodes at every iteration, as if the student had played them."""

    samples = True

    def __init__(self, rollouts: Sequence[Rollout]) -> None:
        self.rollouts = list(rollouts)

    def collect(self, plan: IterationPlan) -> Resampled:
        return Resampled(self.rollouts, [])


@dataclass
class Result:
    """What iterations on recorded episodes computed: gradients of the first optimiser step, metrics, and the end."""

    gradients: Arrays = field(default_factory=dict)
    losses: list[float] = field(default_factory=list)
    metrics: list[dict[str, Any]] = field(default_factory=list)
    weights: Arrays = field(default_factory=dict)
    roots: Arrays = field(default_factory=dict)  # of AdamW's second moments, after the first optimiser step


def record(folder: Path, **options: Any) -> list[Rollout]:
    """The episodes of a first iteration in this process."""
    trainer = make_trainer(folder, BankedWorld, **options)
    try:
        episodes: list[Rollout] = trainer.collector.collect(trainer.method.at(0, trainer.args)).rollouts
        return episodes
    finally:
        trainer.collector.close()


def iterate(folder: Path, rollouts: Sequence[Rollout], *, steps: int = 1, **options: Any) -> Result:
    """Iterations that learn from recorded episodes, in this process or in all that have been started."""
    trainer = make_trainer(folder, BankedWorld, max_steps=steps, **options)
    iteration = dataclasses.replace(trainer._iteration, collector=RecordedCollector(rollouts))
    result = Result()
    optimizer = trainer.updater.optimizer
    named = trainer.updater.masters.named_masters()
    step: Callable[..., Any] = optimizer.step

    def noted(*args: Any, **kwargs: Any) -> Any:
        first = not result.gradients
        if first:
            result.gradients = _arrays({name: p.grad for name, p in named if p.grad is not None})
        returned = step(*args, **kwargs)
        if first:
            moments = {n: optimizer.state[p]["exp_avg_sq"] for n, p in named if "exp_avg_sq" in optimizer.state[p]}
            result.roots = {name: np.sqrt(array) for name, array in _arrays(moments).items()}
        return returned

    optimizer.step = noted
    for _ in range(steps):
        metrics = iteration.run(trainer.state)
        trainer.state.step += 1
        result.losses.append(metrics["loss"])
        result.metrics.append({k: v for k, v in metrics.items() if not k.startswith("seconds")})
    result.weights = _arrays(dict(named))
    return result


def _arrays(tensors: Mapping[str, torch.Tensor]) -> Arrays:
    return {name: whole(tensor.detach()).float().numpy().copy() for name, tensor in tensors.items()}


def apart(left: Arrays, right: Arrays, counts: Mapping[str, Any] | None = None) -> float:
    """The largest difference of an entry, over the largest entry of `left`; 0 where both are empty.

    Args:
        left: Arrays by name.
        right: The same names.
        counts: Which entries count, by name; None counts all.
    """
    assert left.keys() == right.keys()
    if not left:
        return 0.0
    largest = max(float(np.abs(array).max()) for array in left.values())
    kept = {name: True if counts is None else counts[name] for name in left}
    differences = [float(np.where(kept[name], np.abs(left[name] - right[name]), 0.0).max()) for name in left]
    return max(differences) / max(largest, 1e-30)


def above_noise(result: Result, share: float = NOISE) -> dict[str, Any]:
    """The entries whose second moment is above rounding from the first step on.

    AdamW moves an entry by its gradient over the root of its second moment, so that the error of a small root is that
    of the gradient many times over.

    Args:
        result: Of one process.
        share: How large a root has to be, of the largest.
    """
    largest = max(float(array.max()) for array in result.roots.values())
    return {name: array > share * largest for name, array in result.roots.items()}
