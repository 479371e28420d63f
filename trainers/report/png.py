"""The figures as PNG files, drawn by matplotlib from the same descriptions as the page's.

matplotlib is in the extra ``report``; nothing else of a report needs it.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .figure import BarPanel, Figure, IntervalPanel, LinePanel, MatrixPanel, Panel, StackPanel, value_texts
from .palette import LIGHT, colour_index, dash_of
from .plain_text import one_line
from .scales import spread

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MISSING = 'no figures/*.png: matplotlib is not installed (pip install "sdar-gym[report]")'
DPI = 144
LONG_NAME = 30  # characters
PARTS = ("#7d8896", "#b9c1cb", "#0b6bb8", "#46505c", "#dde2e7")
STYLE: Any = {
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 9,
    "axes.labelcolor": "#59626e",
    "axes.edgecolor": "#868f9b",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e9ecef",
    "xtick.color": "#59626e",
    "ytick.color": "#59626e",
    "ytick.left": False,
    "text.parse_math": False,  # labels are data: a dollar sign in one is a dollar sign
    "svg.hashsalt": "sdar",
}


def can_draw() -> bool:
    """Whether matplotlib is here."""
    return find_spec("matplotlib") is not None


def save_figures(figures: Sequence[Figure], folder: Path) -> list[Path]:
    """Write every figure as ``<key>.png``; returns the files.

    Raises:
        ImportError: matplotlib is not installed.
    """
    if not can_draw():
        raise ImportError(MISSING)
    folder.mkdir(parents=True, exist_ok=True)
    return [_save(figure, folder / f"{figure.key}.png") for figure in figures]


def _save(figure: Figure, path: Path) -> Path:
    import matplotlib as mpl
    from matplotlib.figure import Figure as Canvas

    count = len(figure.panels)
    columns = _columns(figure)
    rows = -(-count // columns)
    with mpl.rc_context(STYLE):
        # Without pyplot: no display, no state shared with the caller's own figures.
        width = max(4.6 * columns, 6.5)
        canvas = Canvas(figsize=(width, sum(_heights(figure, columns)) + 0.55), layout="constrained")
        canvas.suptitle(one_line(figure.title), x=0.01, ha="left", fontsize=11, fontweight="bold")
        grid = canvas.subplots(rows, columns, squeeze=False, height_ratios=_heights(figure, columns))
        for place, axes in enumerate(grid.flat):
            if place < count:
                draw(figure.panels[place], axes)
            else:
                axes.set_visible(False)
        canvas.savefig(path, dpi=DPI, metadata={"Software": None})
    return path


def _columns(figure: Figure) -> int:
    """Side by side, but one below the other where the names of bars want the width for themselves."""
    names = [bar.label for p in figure.panels if isinstance(p, BarPanel | IntervalPanel) for bar in p.bars]
    if max(map(len, names), default=0) > LONG_NAME:
        return 1
    count = len(figure.panels)
    return 2 if count == 4 else min(count, 3)


def _heights(figure: Figure, columns: int) -> list[float]:
    heights = [_height(panel) for panel in figure.panels]
    return [max(heights[start : start + columns]) for start in range(0, len(heights), columns)]


def _height(panel: Panel) -> float:
    if isinstance(panel, LinePanel):
        return 3.0
    if isinstance(panel, MatrixPanel):
        return 1.5 + 0.32 * len(panel.rows)
    rows = len(panel.stacks) if isinstance(panel, StackPanel) else len(panel.bars)
    return 0.9 + 0.32 * rows


def draw(panel: Panel, axes: Axes) -> None:
    """Draw a panel on matplotlib's axes."""
    axes.set_title(one_line(panel.title))
    axes.set_xlabel(one_line(panel.x.label))
    if isinstance(panel, LinePanel):
        _lines(panel, axes)
    elif isinstance(panel, StackPanel):
        _stacks(panel, axes)
    elif isinstance(panel, MatrixPanel):
        _matrix(panel, axes)
    else:
        _bars(panel, axes)


def _lines(panel: LinePanel, axes: Axes) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_ylabel(one_line(panel.y.label))
    lines = [line for line in panel.lines if line.points]
    for line in lines:
        colour = LIGHT[colour_index(line.colour)]
        xs, ys = zip(*line.points, strict=True)
        dash = (0, (4, 3)) if line.dashed else _dash(line.colour)
        marker = "o" if line.measured and len(xs) <= 30 else ""
        axes.plot(xs, ys, color=colour, lw=1.8, ls=dash, marker=marker, ms=3)
        if len(line.band) > 1:
            places, lows, highs = zip(*line.band, strict=True)
            axes.fill_between(places, lows, highs, color=colour, alpha=0.13, lw=0)
        for path in line.thin:
            axes.plot(*zip(*path, strict=True), color=colour, lw=0.7, alpha=0.35)
    for mark in panel.marks:
        axes.axvline(mark.x, color="#868f9b", lw=0.8, ls=(0, (3, 4)))
        axes.annotate(
            one_line(mark.label), (mark.x, 1), xycoords=("data", "axes fraction"), xytext=(-3, -9),
            textcoords="offset points", ha="right", color="#59626e",
        )  # fmt: skip
    if panel.baseline is not None:
        axes.axhline(panel.baseline, color="#868f9b", lw=0.8, ls=":")
    axes.set_xlim(left=panel.x.low)
    if panel.x.integer:
        axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
    if panel.y.low is not None and all(y >= panel.y.low for line in lines for _, y in line.points):
        axes.set_ylim(bottom=panel.y.low)
    if panel.y.high is not None:  # panels that share it are compared by height
        axes.set_ylim(top=panel.y.high)
    low, high = axes.get_ylim()
    ends = [line.points[-1][1] for line in lines]
    for line, place in zip(lines, spread(ends, 0.055 * (high - low), low, high), strict=True):
        axes.annotate(
            one_line(line.label), (1.02, place), xycoords=("axes fraction", "data"), va="center",
            color=LIGHT[colour_index(line.colour)], fontweight="bold", annotation_clip=False,
        )  # fmt: skip


def _dash(colour: int) -> Any:
    pattern = dash_of(colour)
    return (0, tuple(map(float, pattern.split()))) if pattern else "-"


def _bars(panel: BarPanel | IntervalPanel, axes: Axes) -> None:
    bars = [bar for bar in panel.bars if bar.value is not None]
    rows = range(len(bars))
    for row, bar in zip(rows, bars, strict=True):
        colour = LIGHT[colour_index(bar.colour)]
        value = bar.value or 0.0
        if isinstance(panel, BarPanel):
            axes.barh(row, value, height=0.6, color=colour, alpha=0.32)
        if bar.low is not None and bar.high is not None:
            axes.plot([bar.low, bar.high], [row, row], color=colour, lw=1.5, marker="|", ms=7)
        axes.plot(bar.dots, [row] * len(bar.dots), ls="", marker="o", ms=2.5, color=colour, alpha=0.55)
        if isinstance(panel, IntervalPanel):
            axes.plot([value], [row], marker="o", ms=6, color=colour)
        if bar.faint is not None:
            axes.plot([bar.faint], [row], marker="|", ms=14, color="#1b1f24", alpha=0.55)
    said = value_texts(panel)
    axes.set_yticks(list(rows), [f"{one_line(bar.label)}  {said(bar.value or 0.0)}" for bar in bars])
    axes.set_ylim(len(bars) - 0.4, -0.6)  # the first on top
    axes.grid(visible=False, axis="y")
    if isinstance(panel, IntervalPanel):
        axes.axvline(panel.zero, color="#1b1f24", lw=0.9)
    else:
        axes.set_xlim(left=0.0 if all((bar.low or 0.0) >= 0 for bar in bars) else None, right=panel.x.high)


def _matrix(panel: MatrixPanel, axes: Axes) -> None:
    colour = LIGHT[colour_index(panel.colour)]
    for row, cells in enumerate(panel.cells):
        for column, cell in enumerate(cells):
            if cell.value is not None:
                share = min(max(cell.value, 0.0), 1.0)
                axes.barh(row, 0.96, left=column - 0.48, height=0.94, color=colour, alpha=0.04 + 0.5 * share)
                axes.annotate(f"{cell.value:.2f}", (column, row), ha="center", va="center", color="#1b1f24")
    names = [one_line(name) for name in panel.columns]
    axes.set_xticks(range(len(names)), names, rotation=30, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(panel.rows)), [one_line(name) for name in panel.rows])
    axes.set_xlim(-0.5, len(names) - 0.5)
    axes.set_ylim(len(panel.rows) - 0.5, -0.5)  # the first on top
    axes.grid(visible=False)


def _stacks(panel: StackPanel, axes: Axes) -> None:
    rows = list(range(len(panel.stacks)))
    starts = [0.0] * len(rows)
    for part, name in enumerate(panel.parts):
        widths = [stack.values[part] for stack in panel.stacks]
        axes.barh(rows, widths, left=starts, height=0.6, color=PARTS[part % len(PARTS)], label=one_line(name))
        starts = [start + width for start, width in zip(starts, widths, strict=True)]
    axes.set_yticks(rows, [one_line(stack.label) for stack in panel.stacks])
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=len(panel.parts), frameon=False, fontsize=8)
