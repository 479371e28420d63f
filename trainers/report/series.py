"""Lines from measurements: per seed, their mean, and the band around it.

The unit of a study is the seed, so the band of several seeds is the 95 % t interval of their mean; two seeds say too
little about their spread for a band. A single run has Wilson's interval of its episodes instead.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from ..evaluation.intervals import wilson
from ..study.result_records import Count
from ..study.statistics import t_interval
from .figure import BandPoint, Line, Point

T = TypeVar("T")

SEEDS_FOR_A_BAND = 3
GRID = 25  # places where lines over unequal x are averaged


def mean_line(
    label: str,
    colour: int,
    paths: Sequence[Sequence[Point]],
    *,
    dashed: bool = False,
    low: float = -math.inf,
    high: float = math.inf,
) -> Line | None:
    """The mean over seeds with its band; the seeds as thin lines. None without a point.

    Args:
        label: Name at the line's end.
        colour: Number in the palette.
        paths: Points per seed, x ascending. Where the x of the seeds differ (seconds), they are compared on a common
            grid up to where the first of them ends; where they are the same but some end early, at those that all have.
        dashed: Drawn so.
        low: Bounds of what is shown, which no band leaves.
        high: Likewise.
    """
    kept = [tuple(path) for path in paths if path]
    if not kept:
        return None
    if len(kept) == 1:
        return Line(label, colour, kept[0], dashed=dashed)
    measured = len(_common(kept)) > 1
    points: list[Point] = []
    band: list[BandPoint] = []
    for x, values in _columns(kept):
        estimate = t_interval(values)
        assert estimate.mean is not None
        points.append((x, estimate.mean))
        if len(values) >= SEEDS_FOR_A_BAND and estimate.low is not None and estimate.high is not None:
            band.append((x, max(low, estimate.low), min(high, estimate.high)))
    return Line(label, colour, tuple(points), tuple(band), tuple(kept), dashed, measured)


def _columns(paths: Sequence[Sequence[Point]]) -> Iterable[tuple[float, list[float]]]:
    """Values of all paths at common places."""
    common = _common(paths)
    if len(common) > 1:
        lookup = [dict(path) for path in paths]
        return [(x, [values[x] for values in lookup]) for x in common]
    start, end = max(path[0][0] for path in paths), min(path[-1][0] for path in paths)
    if end <= start:
        return [(start, [interpolate(path, start) for path in paths])]
    places = [start + (end - start) * step / (GRID - 1) for step in range(GRID)]
    return [(x, [interpolate(path, x) for path in paths]) for x in places]


def _common(paths: Sequence[Sequence[Point]]) -> list[float]:
    return sorted(set.intersection(*({x for x, _ in path} for path in paths)))


def interpolate(path: Sequence[Point], x: float) -> float:
    """The value of a path at `x`, linear between its points and constant beyond its ends."""
    before = path[0]
    if x <= before[0]:
        return before[1]
    for after in path[1:]:
        if x <= after[0]:
            share = (x - before[0]) / (after[0] - before[0]) if after[0] > before[0] else 1.0
            return before[1] + share * (after[1] - before[1])
        before = after
    return before[1]


def count_line(label: str, colour: int, counts: Sequence[tuple[float, Count]], *, dashed: bool = False) -> Line | None:
    """A success curve in % of one run with Wilson's band; None without a point."""
    shown = [(x, count) for x, count in counts if count.n]
    if not shown:
        return None
    points = tuple((x, 100.0 * count.wins / count.n) for x, count in shown)
    band = []
    for x, count in shown:
        low, high = wilson(count.wins, count.n)
        band.append((x, 100.0 * low, 100.0 * high))
    return Line(label, colour, points, tuple(band), dashed=dashed)


def path_of(items: Iterable[T], x: Callable[[T], float], y: Callable[[T], float | None]) -> list[Point]:
    """Points of what is there; items without a value are left out."""
    found = []
    for item in items:
        value = y(item)
        if value is not None and math.isfinite(value):
            found.append((float(x(item)), float(value)))
    return found
