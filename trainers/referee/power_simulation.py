"""Comparisons drawn and tested: how often a design finds a difference, counted and not computed.

Every outcome is drawn as `outcomes` says, from its task, its run and its episode, and every table is tested as
`significance` says; nothing here knows the variances that `power` computes with.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from sdar_envs.randomness import counted_generator

from .outcomes import Shares
from .power import ALPHA, Claim, Design
from .significance import RULES

Floats = NDArray[np.float64]

# Cells that are held at once.
_CELLS = 1_000_000


@dataclass(frozen=True, slots=True)
class Found:
    """Of `drawn` comparisons, how many found a difference; `deviation` is that of the mean difference over them."""

    found: int
    drawn: int
    deviation: float

    @property
    def share(self) -> float:
        """Of those that found a difference."""
        return self.found / self.drawn

    @property
    def error(self) -> float:
        """Standard error of the share."""
        return math.sqrt(max(self.share * (1 - self.share), 1 / self.drawn) / self.drawn)


def differences(claim: Claim, design: Design, count: int, generator: np.random.Generator) -> Floats:
    """Tables of the differences between the two arms' mean outcomes, ``[count, seeds, tasks]``."""
    shape = (count, design.seeds if design.own_tasks else 1, design.tasks)
    shares = claim.shares
    common_XST = generator.standard_normal(shape)
    tables = []
    for arm, rate in enumerate(claim.rates):
        task_XST = common_XST if design.paired or arm == 0 else generator.standard_normal(shape)
        tables.append(_arm(rate, shares, task_XST, design, generator))
    return tables[1] - tables[0]


def _arm(rate: float, shares: Shares, task_XST: Floats, design: Design, generator: np.random.Generator) -> Floats:
    """Mean outcomes of an arm, seed by task."""
    count = len(task_XST)
    latent_XST = math.sqrt(shares.task) * task_XST
    latent_XST = latent_XST + math.sqrt(shares.effect) * generator.standard_normal(task_XST.shape)
    latent_XST = latent_XST + math.sqrt(shares.seed) * generator.standard_normal((count, design.seeds, 1))
    if shares.residual > 0:
        size = (count, design.seeds, design.tasks)
        latent_XST = latent_XST + math.sqrt(shares.residual) * generator.standard_normal(size)
    scale = math.sqrt(max(shares.episode, 1e-12))
    chances_XST = special.ndtr((special.ndtri(rate) - latent_XST) / scale)
    return np.asarray(generator.binomial(design.samples, chances_XST) / design.samples, dtype=np.float64)


def simulate(claim: Claim, design: Design, *, comparisons: int = 1000, key: tuple[int | str, ...] = ()) -> Found:
    """Draw whole comparisons, test each two-sided at 5 %, and count.

    Args:
        claim: With a difference of 0, what is counted are false positives.
        design: The size of each.
        comparisons: How many.
        key: Of the draws.
    """
    if comparisons < 2:
        raise ValueError(f"simulating a comparison: expected at least 2 comparisons, got {comparisons}")
    generator = counted_generator("power", *key)
    most = max(1, _CELLS // (design.seeds * design.tasks))
    found, means = 0, []
    for start in range(0, comparisons, most):
        table_XST = differences(claim, design, min(most, comparisons - start), generator)
        mean_X, error_X, freedom_X = RULES[design.rule](table_XST)
        critical_X = stats.t.ppf(1 - ALPHA / 2, freedom_X)
        found += int((np.abs(mean_X) > critical_X * error_X).sum())
        means.append(mean_X)
    return Found(found, comparisons, float(np.concatenate(means).std(ddof=1)))
