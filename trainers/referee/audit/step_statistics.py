"""Group statistics over steps: long episodes pull the baseline."""

from __future__ import annotations

import numpy as np

from sdar_envs.randomness import counted_generator

from ...maths.advantages import group_advantages
from .finished_episodes import HORIZON, LONGEST, SHORTEST
from .item import AuditItem, Figure, KeyPart, Thread

GROUP, GROUPS, RATE = 8, 4_000, 0.5


def pair_of_advantages(lengths: tuple[int, int]) -> tuple[float, float]:
    """Of a win (10) and a loss (0) with so many turns, statistics over steps."""
    scores = [10.0] * lengths[0] + [0.0] * lengths[1]
    found = group_advantages(scores, ["one"] * len(scores))
    return float(found[0]), float(found[-1])


def baseline_bias(rate: float, generator: np.random.Generator) -> float:
    """By how much the mean over steps misses the mean over episodes, in groups that hold both wins and losses."""
    won = generator.random((GROUPS, GROUP)) < rate
    won = won[won.any(axis=1) & ~won.all(axis=1)]
    turns = np.where(won, generator.integers(SHORTEST, LONGEST + 1, size=won.shape), HORIZON)
    return float(((won * turns).sum(axis=1) / turns.sum(axis=1) - won.mean(axis=1)).mean())


def measure(key: KeyPart) -> tuple[Figure, ...]:
    """The advantages of a win in 3 turns and a loss in 15, and the bias of the baseline."""
    win, loss = pair_of_advantages((3, 15))
    fixed = group_advantages([10.0, 0.0], ["one", "one"])
    bias = 100 * baseline_bias(RATE, counted_generator("audit", "step statistics", key))
    return (
        Figure("of bias of the baseline, groups of 8, half won", bias, 0.0, "points"),
        Figure("advantage of a win in 3 turns, against a loss in 15", win, float(fixed[0]), "deviations"),
        Figure("advantage of that loss", loss, float(fixed[1]), "deviations"),
    )


ITEM = AuditItem(
    name="step-statistics",
    title="a group's mean is taken over steps",
    where="SDAR's and verl-agent's default (compute_mean_std_cross_steps)",
    explanation=(
        "Rows of a batch are turns, and the mean and deviation of a group are taken over rows: an episode of 50 turns "
        "counts fifty times. Losses are long, so the baseline lies far below the share of wins; each turn of a win is "
        "pushed up more than twice as hard as it should be, each turn of a loss down half as hard, and how hard "
        "depends on how long the others took. Simulated with wins of 6 to 24 turns and losses of 50, and by hand."
    ),
    fixed="Episodes are the unit by default; `advantage_unit=row` is the published setting, to compare with.",
    threads=(
        Thread(
            "agent-lightning #462: trajectories with more turns contribute more to the baseline",
            "https://github.com/microsoft/agent-lightning/pull/462",
        ),
        Thread(
            "RAGEN #146: which turns enter the statistics of a group", "https://github.com/mll-lab-nu/RAGEN/pull/146"
        ),
    ),
    measure=measure,
)
