"""The order of a board: a row stands above another where their paired difference excludes zero, and ties otherwise.

The unit is the seed. All pairs of a board are tested together, so that the chance of a single wrong order anywhere in
it is at most 5 %; a row's rank is then the range that these orders leave to it (M. Mogstad, J. Romano, A. Shaikh and
D. Wilhelm, "Inference for Ranks", Review of Economic Studies, 2024).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scipy import stats

from ...study.statistics import holm, t_interval
from ...study.table_records import Estimate

# With fewer seeds in common two rows are not ordered: Student's interval rests on the spread of those few.
MIN_SEEDS = 5
LEVEL = 0.05


@dataclass(frozen=True, slots=True)
class Place:
    """The ranks that a row may have: one more than the rows above it at best, and at worst above those below it."""

    best: int
    worst: int


def paired_difference(rates: Mapping[int, float], reference: Mapping[int, float]) -> Estimate:
    """Mean difference over the seeds that both have, with Student's 95 % interval."""
    shared = sorted(set(rates) & set(reference))
    return t_interval([rates[seed] - reference[seed] for seed in shared])


def paired_p(rates: Mapping[int, float], other: Mapping[int, float]) -> float | None:
    """Two-sided p of "the mean of the paired differences is zero" by Student's test; None with too few shared seeds."""
    found = paired_difference(rates, other)
    if found.n < MIN_SEEDS or found.mean is None or found.sd is None:
        return None
    if found.sd == 0.0:
        return 1.0 if found.mean == 0.0 else 0.0
    return float(2 * stats.t.sf(abs(found.mean) / (found.sd / math.sqrt(found.n)), found.n - 1))


def above(rates: Mapping[str, Mapping[int, float]]) -> set[tuple[str, str]]:
    """All pairs (better, worse) of rows that are told apart, by Holm's correction over all pairs of the board.

    Args:
        rates: Success rates by seed, by row.
    """
    p_values: dict[str, float] = {}
    pairs: dict[str, tuple[str, str]] = {}
    for left, right in itertools.combinations(sorted(rates), 2):
        p = paired_p(rates[left], rates[right])
        if p is not None:
            name = f"{len(pairs):06d}"
            pairs[name], p_values[name] = (left, right), p
    found = set()
    for name, corrected in holm(p_values).items():
        if corrected <= LEVEL:
            left, right = pairs[name]
            mean = paired_difference(rates[left], rates[right]).mean
            assert mean is not None
            found.add((left, right) if mean > 0 else (right, left))
    return found


def places(names: Sequence[str], ordered: set[tuple[str, str]]) -> dict[str, Place]:
    """The ranks that the known orders leave to each row."""
    better = {name: sum(1 for _, worse in ordered if worse == name) for name in names}
    worse = {name: sum(1 for best, _ in ordered if best == name) for name in names}
    return {name: Place(1 + better[name], len(names) - worse[name]) for name in names}
