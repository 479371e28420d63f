"""Power of the test of a crossed table, as it is made: with degrees of freedom that each table estimates for itself."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

Floats = NDArray[np.float64]

# Points in the probability of each mean square; 96 x 24 agree with 400 x 100 to three digits.
_SEED_POINTS, _TASK_POINTS = 96, 24


@dataclass(frozen=True, slots=True)
class MeanSquares:
    """What the mean squares of a table of differences are on average (`significance.crossed`).

    Attributes:
        seed: Between seeds, ``T V_s + V_r``.
        task: Between tasks, ``S V_t + V_r``.
        left: ``V_r``.
        seeds: S.
        tasks: T.
    """

    seed: float
    task: float
    left: float
    seeds: int
    tasks: int

    @property
    def deviation(self) -> float:
        """Of the mean difference, over tables."""
        return math.sqrt((self.seed + self.task - self.left) / (self.seeds * self.tasks))

    @property
    def freedom(self) -> float:
        """Satterthwaite's degrees of freedom at these averages."""
        _, freedom = _error_and_freedom(self, np.array(self.seed), np.array(self.task))
        return float(freedom)


def _error_and_freedom(squares: MeanSquares, seed: Floats, task: Floats) -> tuple[Floats, Floats]:
    total = np.maximum(seed + task - squares.left, np.maximum(seed, task))
    rest = (squares.seeds - 1) * (squares.tasks - 1)
    terms = seed**2 / (squares.seeds - 1) + task**2 / (squares.tasks - 1) + squares.left**2 / rest
    return np.sqrt(total / (squares.seeds * squares.tasks)), total**2 / terms


def crossed_power(squares: MeanSquares, difference: float, *, alpha: float) -> float:
    """Probability that the test of a crossed table finds `difference`; with 0, that of a false positive.

    Mean squares between seeds and between tasks are independent multiples of chi-squared numbers; what is left has so
    many degrees of freedom that it stands at its average. The mean is independent of all of them and normal.

    Args:
        squares: Averages of the mean squares.
        difference: Of the success rates.
        alpha: Two-sided level.
    """
    seed_S, weight_S = _chi_squared(squares.seeds - 1, _SEED_POINTS)
    task_T, weight_T = _chi_squared(squares.tasks - 1, _TASK_POINTS)
    error_ST, freedom_ST = _error_and_freedom(squares, squares.seed * seed_S[:, None], squares.task * task_T[None, :])
    critical_ST = stats.t.ppf(1 - alpha / 2, freedom_ST) * error_ST / squares.deviation
    away = difference / squares.deviation
    found_ST = special.ndtr(away - critical_ST) + special.ndtr(-away - critical_ST)
    return float(weight_S @ found_ST @ weight_T)


def _chi_squared(freedom: int, points: int) -> tuple[Floats, Floats]:
    """Values of a chi-squared number over its degrees of freedom, and their weights."""
    nodes, weights = np.polynomial.legendre.leggauss(points)
    return stats.chi2.ppf((nodes + 1) / 2, freedom) / freedom, weights / 2
