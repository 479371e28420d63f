"""Figures as data: what is drawn, in the units in which it is shown. `svg` and `png` draw the same descriptions.

A figure is one idea in one or more panels. Colours are numbers of the palette, so that an arm has the same colour in
every figure of a report.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from .scales import fixed_text

Point = tuple[float, float]
BandPoint = tuple[float, float, float]  # x, low, high


@dataclass(frozen=True, slots=True)
class Axis:
    """An axis: what it shows, with its unit, and the range that is shown at least. `integer` has no broken ticks."""

    label: str
    low: float | None = None
    high: float | None = None
    integer: bool = False


@dataclass(frozen=True, slots=True)
class Line:
    """A line with its 95 % band and, thin, what it is the mean of.

    `dashed` is for what stands beside the main line of the same colour, such as the teacher beside the student.
    `measured` is whether the points are where something was measured, and not places on a common grid.
    """

    label: str
    colour: int
    points: tuple[Point, ...]
    band: tuple[BandPoint, ...] = ()
    thin: tuple[tuple[Point, ...], ...] = ()
    dashed: bool = False
    measured: bool = True


@dataclass(frozen=True, slots=True)
class Mark:
    """A vertical line at a place on the x axis, with its name."""

    x: float
    label: str


@dataclass(frozen=True, slots=True)
class LinePanel:
    """Lines over a common axis. `baseline` is a horizontal line that means something, such as 1/2 for a gate."""

    title: str
    x: Axis
    y: Axis
    lines: tuple[Line, ...]
    marks: tuple[Mark, ...] = ()
    baseline: float | None = None


@dataclass(frozen=True, slots=True)
class Bar:
    """A value with its interval. `dots` are what it is the mean of; `faint` is where it was before."""

    label: str
    colour: int
    value: float | None
    low: float | None = None
    high: float | None = None
    dots: tuple[float, ...] = ()
    faint: float | None = None


@dataclass(frozen=True, slots=True)
class BarPanel:
    """Horizontal bars from 0, named at the left and measured at the right."""

    title: str
    x: Axis
    bars: tuple[Bar, ...]


@dataclass(frozen=True, slots=True)
class IntervalPanel:
    """Estimates with intervals around a line of no effect; `bars` are drawn as points with whiskers."""

    title: str
    x: Axis
    bars: tuple[Bar, ...]
    zero: float = 0.0


@dataclass(frozen=True, slots=True)
class Stack:
    """One bar of parts, each at least 0, parallel to the panel's `parts`."""

    label: str
    colour: int
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class StackPanel:
    """Horizontal bars of parts, e.g. the seconds of an iteration by what they went into."""

    title: str
    x: Axis
    parts: tuple[str, ...]
    stacks: tuple[Stack, ...]


@dataclass(frozen=True, slots=True)
class MatrixCell:
    """A number of a matrix, None where nothing was measured; `said` is the whole of it, in words."""

    value: float | None
    said: str = ""


@dataclass(frozen=True, slots=True)
class MatrixPanel:
    """Numbers from 0 to 1 by row and column, darker for more; `x` says what they are."""

    title: str
    x: Axis
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    cells: tuple[tuple[MatrixCell, ...], ...]
    colour: int = 1


Panel = LinePanel | BarPanel | IntervalPanel | StackPanel | MatrixPanel


@dataclass(frozen=True, slots=True)
class Figure:
    """One or more panels under a title; `key` names its files, `caption` says what is shown and what the bands are."""

    key: str
    title: str
    caption: str
    panels: tuple[Panel, ...]


def extent(bars: Sequence[Bar]) -> list[float]:
    """All values that bars show."""
    found = [value for bar in bars for value in (bar.value, bar.low, bar.high, bar.faint) if value is not None]
    return found + [dot for bar in bars for dot in bar.dots]


def value_texts(panel: BarPanel | IntervalPanel) -> Callable[[float], str]:
    """How values of a panel are said: alike in the page and in the image, with the decimals that they all have."""
    if isinstance(panel, IntervalPanel):
        return partial(fixed_text, digits=1, sign="+")
    return partial(fixed_text, digits=1 if max(extent(panel.bars)) >= 10 else 2)


def is_empty(panel: Panel) -> bool:
    """Whether there is nothing to draw."""
    if isinstance(panel, LinePanel):
        return not any(line.points for line in panel.lines)
    if isinstance(panel, StackPanel):
        return not any(value > 0 for stack in panel.stacks for value in stack.values)
    if isinstance(panel, MatrixPanel):
        return all(cell.value is None for row in panel.cells for cell in row)
    return all(bar.value is None for bar in panel.bars)


def make_figure(key: str, title: str, caption: str, *panels: Panel) -> Figure | None:
    """A figure of the panels that have something to show; None where none has."""
    shown = tuple(panel for panel in panels if not is_empty(panel))
    return Figure(key, title, caption, shown) if shown else None
