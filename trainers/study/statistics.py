"""Statistics whose unit is the seed: paired differences, sign flips, Holm, a crossed bootstrap, areas under curves.

Pure functions of numbers. Rates of single runs have Wilson's interval in `trainers.statistics`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from sdar_envs.randomness import counted_generator

from .table_records import Estimate

Floats = NDArray[np.float64]

MIN_SEEDS_FOR_P = 8  # below, even a difference of one sign throughout is not below 0.05 / 5 by sign flips
EXACT_SEEDS = 16  # up to here all 2^n sign flips are enumerated
RESAMPLES = 9999
ROUNDING = 1e-9  # numbers of runs that lie closer are equal: rates are of hundreds of tasks, the rest is arithmetic's


def t_interval(values: Sequence[float], *, confidence: float = 0.95) -> Estimate:
    """Mean over seeds with Student's t interval: ``mean ± t_{n-1} sd / sqrt(n)``; no interval with one value."""
    n = len(values)
    if n == 0:
        return Estimate(None, None, None, None, 0)
    mean = math.fsum(values) / n
    if n == 1:
        return Estimate(mean, None, None, None, 1)
    sd = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1))
    half = float(stats.t.ppf(0.5 + confidence / 2, n - 1)) * sd / math.sqrt(n)
    return Estimate(mean, sd, mean - half, mean + half, n)


def sign_flip_p(differences: Sequence[float], *, bound: float = 0.0) -> float | None:
    """Two-sided p-value of "the differences are symmetric around `bound`", by flipping their signs.

    Exact over all ``2^n`` flips up to `EXACT_SEEDS` seeds, `RESAMPLES` counted draws beyond. None with fewer than
    `MIN_SEEDS_FOR_P` seeds: a number there would be read as more than it is.
    """
    if len(differences) < MIN_SEEDS_FOR_P:
        return None
    shifted = np.asarray(differences, dtype=np.float64) - bound
    shifted[np.abs(shifted) < ROUNDING] = 0.0  # 0.55 - 0.5 - 0.05 is not quite nothing
    if not shifted.any():
        return 1.0
    exact = len(differences) <= EXACT_SEEDS
    found = stats.permutation_test(
        (shifted,),
        _mean,
        permutation_type="samples",
        vectorized=True,
        n_resamples=np.inf if exact else RESAMPLES,
        rng=counted_generator("sign flips", len(differences)),
    )
    return min(1.0, float(found.pvalue))


def t_test_p(estimate: Estimate, *, bound: float = 0.0) -> float | None:
    """Two-sided p-value of "the mean over seeds is `bound`" by Student's t test; None without an interval of any width.

    It takes the differences for normal, which `sign_flip_p` does not.
    """
    mean, sd, n = estimate.mean, estimate.sd, estimate.n
    if mean is None or sd is None or n < 2 or sd < ROUNDING:
        return None
    return min(1.0, 2 * float(stats.t.sf(abs(mean - bound) * math.sqrt(n) / sd, n - 1)))


def _mean(values: Floats, axis: int = -1) -> Floats:
    return np.asarray(np.mean(values, axis=axis))


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Holm's step-down correction (S. Holm, 1979): controls the chance of one false rejection among all."""
    corrected: dict[str, float] = {}
    largest = 0.0
    for rank, name in enumerate(sorted(p_values, key=lambda name: (p_values[name], name))):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[name]))
        corrected[name] = largest
    return {name: corrected[name] for name in p_values}


def crossed_bootstrap(
    differences: Sequence[Sequence[float]], *, key: Sequence[str | int] = (), resamples: int = 2000
) -> tuple[float, float] | None:
    """95 % percentile interval of a mean over seeds and tasks that are both drawn anew, rows and columns apart.

    Drawing rows and columns independently, as in a two-way pigeonhole bootstrap (A. B. Owen, 2007), counts the spread
    of both. Where each seed has a world of its own, a column is a place in the evaluation set, the same kind of task
    about other things: what differs from cell to cell is then counted more than once, and the interval is wider than
    need be.

    Args:
        differences: One row per seed with one number per task; NaN where an episode broke.
        key: Of the draws.
        resamples: How many.

    Returns:
        The interval; None with fewer than two seeds or tasks.
    """
    table = np.asarray(differences, dtype=np.float64)
    if table.ndim != 2 or min(table.shape) < 2:
        return None
    known = ~np.isnan(table)
    filled = np.where(known, table, 0.0)
    generator = counted_generator("crossed bootstrap", *key)
    seeds, tasks = table.shape
    seed_weights = generator.multinomial(seeds, np.full(seeds, 1 / seeds), size=resamples)
    task_weights = generator.multinomial(tasks, np.full(tasks, 1 / tasks), size=resamples)
    sums = np.einsum("rs,st,rt->r", seed_weights, filled, task_weights, optimize=True)
    counts = np.einsum("rs,st,rt->r", seed_weights, known.astype(np.float64), task_weights, optimize=True)
    means = sums[counts > 0] / counts[counts > 0]
    if not len(means):
        return None
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def at(points: Sequence[tuple[float, float]], where: float) -> float | None:
    """The value of a curve, linear between its points, level after the last; None before the first or without any."""
    if not points or where < points[0][0]:
        return None
    xs, ys = zip(*points, strict=True)
    return float(np.interp(where, xs, ys))


def area(points: Sequence[tuple[float, float]], end: float, *, level: bool = False) -> float | None:
    """Mean height of a curve from its first point to `end`: the trapezoid area over the width, in the curve's units.

    Args:
        points: ``(x, y)`` with rising x.
        end: Where to stop, interpolated.
        level: Take a curve that ends earlier as level after its last point (a method that does not train).

    Returns:
        The area; None when the curve ends before `end`, or there is none.
    """
    if not points or end <= points[0][0] or (points[-1][0] < end and not level):
        return points[0][1] if points and end == points[0][0] else None
    inside = [(x, y) for x, y in points if x < end]
    last = at(points, end)
    assert last is not None
    inside.append((end, last))
    total = sum((x1 - x0) * (y0 + y1) / 2 for (x0, y0), (x1, y1) in itertools.pairwise(inside))
    return total / (end - inside[0][0])
