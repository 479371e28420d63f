"""Figures as inline SVG: readable without script, in light and dark, and in print.

Colours come from the page's style by class (``c1`` is the arm's colour, taken up as ``currentColor``), so this file
names none. Every mark that stands for a number has a ``<title>``, which browsers show on hover and readers read out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from markupsafe import Markup

from .figure import (
    Axis,
    Bar,
    BarPanel,
    IntervalPanel,
    Line,
    LinePanel,
    MatrixCell,
    MatrixPanel,
    Panel,
    Point,
    StackPanel,
    extent,
    value_texts,
)
from .markup import element
from .palette import colour_index, dash_of
from .scales import Scale, make_scale, number_text, spread, text_width

WIDTH = 480.0  # of a panel that shares its line with one other at most
NARROW = 370.0  # of smaller ones
SMALL = 12.0
ROOMY_ROWS = 8  # estimates that have two lines each
MATRIX_ROW = 26.0
DOTS_UP_TO = 30  # points of a line that are marked one by one


def draw(panel: Panel, width: float = WIDTH) -> Markup:
    """The panel as an ``<svg>`` element; text is 12 pixels high where it is shown `width` pixels wide."""
    if isinstance(panel, LinePanel):
        return draw_lines(panel, width)
    if isinstance(panel, BarPanel):
        return draw_bars(panel, width)
    if isinstance(panel, IntervalPanel):
        return draw_intervals(panel, width)
    if isinstance(panel, MatrixPanel):
        return draw_matrix(panel, width)
    return draw_stacks(panel, width)


# --- lines ---


def draw_lines(panel: LinePanel, width: float = WIDTH) -> Markup:
    """Lines with bands and thin lines, named at their ends."""
    lines = [line for line in panel.lines if line.points]
    room = 1.06 * max(text_width(line.label, SMALL) for line in lines) + 14
    left, right, top = 46.0, width - min(room, 0.36 * width), 30.0
    bottom = top + 0.495 * width
    height = bottom + 38
    places = [point[0] for line in lines for path in (line.points, *line.thin) for point in path]
    end = max(places) if len(set(places)) > 1 else panel.x.high
    x = make_scale(places, left, right, low=panel.x.low, high=end, integer=panel.x.integer)
    y = _scale(panel.y, [*_heights(lines), *([] if panel.baseline is None else [panel.baseline])], bottom, top)
    parts = [_grid(x, y, panel, left, right, top, bottom)]
    parts += [_band(line, x, y) for line in lines]
    parts += [_line(line, x, y, panel) for line in lines]
    parts += _end_labels(lines, x, y, top, bottom)
    return _svg(width, panel.title, _summary_of_lines(panel), height, parts)


def _heights(lines: Sequence[Line]) -> list[float]:
    found = [point[1] for line in lines for path in (line.points, *line.thin) for point in path]
    return found + [bound for line in lines for point in line.band for bound in point[1:]]


def _scale(axis: Axis, values: Sequence[float], start: float, end: float) -> Scale:
    return make_scale(values, start, end, low=axis.low, high=axis.high, integer=axis.integer)


def _grid(x: Scale, y: Scale, panel: LinePanel, left: float, right: float, top: float, bottom: float) -> Markup:
    parts = []
    for tick in y.ticks:
        parts.append(_rule(left, y(tick), right, y(tick), "grid"))
        parts.append(_text(left - 7, y(tick) + 4, number_text(tick), "tick", anchor="end"))
    for tick in x.ticks:
        parts.append(_rule(x(tick), bottom, x(tick), bottom + 4, "axis"))
        parts.append(_text(x(tick), bottom + 18, number_text(tick), "tick", anchor="middle"))
    parts.append(_rule(left, bottom, right, bottom, "axis"))
    if panel.baseline is not None:
        parts.append(_rule(left, y(panel.baseline), right, y(panel.baseline), "baseline"))
    for mark in panel.marks:
        if x.low <= mark.x <= x.high:
            parts.append(_rule(x(mark.x), top, x(mark.x), bottom, "mark"))
            parts.append(_text(x(mark.x) - 4, top + 10, mark.label, "tick", anchor="end"))
    parts.append(_text(0, 13, panel.y.label, "label"))
    parts.append(_text(right, bottom + 35, panel.x.label, "label", anchor="end"))
    return element("g", None, *parts)


def _band(line: Line, x: Scale, y: Scale) -> Markup:
    parts = []
    if len(line.band) > 1:
        there = [(x(at), y(low)) for at, low, _ in line.band]
        back = [(x(at), y(high)) for at, _, high in reversed(line.band)]
        parts.append(element("path", {"d": _path([*there, *back]) + "Z", "class": "band"}))
    parts += [
        element("path", {"d": _path([(x(at), y(value)) for at, value in path]), "class": "thin"})
        for path in line.thin
        if len(path) > 1
    ]
    return element("g", {"class": _classes(line.colour)}, *parts)


def _line(line: Line, x: Scale, y: Scale, panel: LinePanel) -> Markup:
    dash = "5 4" if line.dashed else dash_of(line.colour)
    path = {"d": _path([(x(at), y(value)) for at, value in line.points]), "class": "line"}
    parts = [element("path", path | ({"stroke-dasharray": dash} if dash else {}), _title(line.label))]
    if line.measured and len(line.points) <= DOTS_UP_TO:
        bounds = {at: (low, high) for at, low, high in line.band}
        for at, value in line.points:
            said = f"{line.label}: {number_text(value)} ({panel.y.label}) at {number_text(at)} {panel.x.label}"
            if at in bounds:
                said += f", 95 % interval {number_text(bounds[at][0])} to {number_text(bounds[at][1])}"
            parts.append(element("circle", {"cx": x(at), "cy": y(value), "r": 2.4, "class": "dot"}, _title(said)))
            parts.append(element("circle", {"cx": x(at), "cy": y(value), "r": 8.0, "class": "hit"}, _title(said)))
    return element("g", {"class": _classes(line.colour)}, *parts)


def _end_labels(lines: Sequence[Line], x: Scale, y: Scale, top: float, bottom: float) -> list[Markup]:
    ends = [(x(line.points[-1][0]), y(line.points[-1][1])) for line in lines]
    right = max(end for end, _ in ends)
    places = spread([height for _, height in ends], 15.0, top, bottom + 4)
    parts = []
    for line, (end, height), place in zip(lines, ends, places, strict=True):
        inside = []
        if abs(place - height) > 3 or end < right - 1:
            inside.append(_rule(end + 3, height, right + 8, place, "leader"))
        inside.append(_text(right + 10, place + 4, line.label, "name"))
        parts.append(element("g", {"class": _classes(line.colour)}, *inside))
    return parts


def _summary_of_lines(panel: LinePanel) -> str:
    ends = [f"{line.label} {number_text(line.points[-1][1])}" for line in panel.lines if line.points]
    return f"{panel.y.label} over {panel.x.label}. At the end: {', '.join(ends)}."


# --- bars, intervals, stacks ---


def draw_bars(panel: BarPanel, width: float = WIDTH) -> Markup:
    """Horizontal bars with whiskers; dots are single seeds, a small upright line is where it was before."""
    bars = [bar for bar in panel.bars if bar.value is not None]
    left = min(max(text_width(bar.label, SMALL) for bar in bars) + 10, 0.4 * width)
    right, top, step = width - 44.0, 6.0, 26.0
    bottom = top + step * len(bars)
    x = _scale(panel.x, [0.0, *extent(bars)], left, right)
    said = value_texts(panel)
    parts = [_vertical_grid(x, top, bottom, panel.x.label, right)]
    for number, bar in enumerate(bars):
        assert bar.value is not None
        middle = top + step * (number + 0.5)
        inside = [
            element(
                "rect", {**_box(x, 0.0, bar.value, middle, 14.0), "class": "bar"}, _title(_said(bar, panel.x, said))
            ),
            *_whisker(bar, x, middle),
            *(element("circle", {"cx": x(dot), "cy": middle, "r": 2.2, "class": "seed"}) for dot in bar.dots),
        ]
        if bar.faint is not None:
            box = {"x": x(bar.faint) - 1, "y": middle - 10, "width": 2, "height": 20}
            before = _title(f"{bar.label}, before training: {said(bar.faint)}")
            inside.append(element("rect", {**box, "class": "faint"}, before))
        parts.append(_text(left - 8, middle + 4, bar.label, "row", anchor="end"))
        parts.append(element("g", {"class": _classes(bar.colour)}, *inside))
        parts.append(_text(width, middle + 4, said(bar.value), "value", anchor="end"))
    return _svg(width, panel.title, "; ".join(_said(bar, panel.x, said) for bar in bars), bottom + 40, parts)


def draw_intervals(panel: IntervalPanel, width: float = WIDTH) -> Markup:
    """Points with whiskers around a line of no effect: each under its name, or beside it where there are many."""
    bars = [bar for bar in panel.bars if bar.value is not None]
    said = value_texts(panel)
    many = len(bars) > ROOMY_ROWS
    names = min(max(text_width(bar.label, SMALL) for bar in bars) + 10, 0.4 * width)
    left, right = (names + 12, width - 52) if many else (20.0, width - 20)
    top, step = 4.0, 22.0 if many else 42.0
    bottom = top + step * len(bars)
    x = _scale(panel.x, [panel.zero, *extent(bars)], left, right)
    parts = [_vertical_grid(x, top, bottom, panel.x.label, right)]
    for number, bar in enumerate(bars):
        assert bar.value is not None
        start = top + step * number
        middle, line = (start + 11, start + 15) if many else (start + 29, start + 16)
        parts.append(_rule(x(panel.zero), middle - 9, x(panel.zero), middle + 9, "zero"))
        parts.append(_text(names - 8 if many else 0, line, bar.label, "row", anchor="end" if many else "start"))
        parts.append(_text(width, line, said(bar.value) if many else _value_text(bar, said), "value", anchor="end"))
        parts.append(element("g", {"class": _classes(bar.colour)}, *_interval(bar, x, middle, panel.x, said)))
    return _svg(width, panel.title, "; ".join(_said(bar, panel.x, said) for bar in bars), bottom + 40, parts)


def _interval(bar: Bar, x: Scale, middle: float, axis: Axis, said: Callable[[float], str]) -> list[Markup]:
    dots = [element("circle", {"cx": x(dot), "cy": middle, "r": 2.2, "class": "seed"}) for dot in bar.dots]
    place: dict[str, str | float] = {"cx": x(bar.value or 0.0), "cy": middle, "r": 5.0, "class": "estimate"}
    return [*dots, *_whisker(bar, x, middle), element("circle", place, _title(_said(bar, axis, said)))]


def draw_stacks(panel: StackPanel, width: float = WIDTH) -> Markup:
    """Horizontal bars of parts, with a key above them."""
    stacks = panel.stacks
    left = min(max(text_width(stack.label, SMALL) for stack in stacks) + 10, 0.4 * width)
    right, step = width - 52.0, 26.0
    parts, at, line = [], 0.0, 12.0
    for index, name in enumerate(panel.parts):
        wide = text_width(name, SMALL) + 30
        if at + wide > width:
            at, line = 0.0, line + 20
        parts.append(element("rect", {"x": at, "y": line - 9, "width": 10, "height": 10, "class": f"part p{index}"}))
        parts.append(_text(at + 15, line, name, "tick"))
        at += wide
    top = line + 12
    bottom = top + step * len(stacks)
    x = _scale(panel.x, [0.0, *(sum(stack.values) for stack in stacks)], left, right)
    parts.insert(0, _vertical_grid(x, top, bottom, panel.x.label, right))
    for number, stack in enumerate(stacks):
        middle, start = top + step * (number + 0.5), 0.0
        parts.append(_text(left - 8, middle + 4, stack.label, "row", anchor="end"))
        for index, value in enumerate(stack.values):
            if value > 0:
                box = _box(x, start, start + value, middle, 16.0)
                said = f"{stack.label}, {panel.parts[index]}: {number_text(value)} ({panel.x.label})"
                parts.append(element("rect", {**box, "class": f"part p{index}"}, _title(said)))
            start += value
        parts.append(_text(width, middle + 4, number_text(start), "value", anchor="end"))
    said = "; ".join(f"{stack.label} {number_text(sum(stack.values))}" for stack in stacks)
    return _svg(width, panel.title, f"{panel.x.label}: {said}", bottom + 40, parts)


def _box(x: Scale, start: float, end: float, middle: float, height: float) -> dict[str, str | float]:
    low, high = sorted((x(start), x(end)))
    return {"x": low, "y": middle - height / 2, "width": high - low, "height": height}


def _whisker(bar: Bar, x: Scale, middle: float) -> list[Markup]:
    if bar.low is None or bar.high is None:
        return []
    low, high = x(bar.low), x(bar.high)
    ends = [_rule(end, middle - 4, end, middle + 4, "whisker") for end in (low, high)]
    return [_rule(low, middle, high, middle, "whisker"), *ends]


def _said(bar: Bar, axis: Axis, said: Callable[[float], str]) -> str:
    return f"{bar.label}: {_value_text(bar, said)} ({axis.label})"


def _value_text(bar: Bar, said: Callable[[float], str]) -> str:
    """``3.1 (-0.4 to 6.6)``."""
    value = "-" if bar.value is None else said(bar.value)
    return value if bar.low is None or bar.high is None else f"{value} ({said(bar.low)} to {said(bar.high)})"


# --- matrices ---


def draw_matrix(panel: MatrixPanel, width: float = WIDTH) -> Markup:
    """A cell per number, with the number in it; names of columns stand above them, turned where they are long."""
    left = min(max(text_width(name, SMALL) for name in panel.rows) + 12, 0.4 * width)
    step = (width - left) / len(panel.columns)
    longest = max(text_width(name, SMALL) for name in panel.columns)
    turned = longest > step - 4
    top = 24.0 + (0.62 * longest + 10 if turned else 16)
    parts = [_text(0, 13, panel.x.label, "label")]
    for place, name in enumerate(panel.columns):
        x, y = left + step * (place + 0.5), top - 8
        anchor = "start" if turned else "middle"
        attributes: dict[str, str | float] = {"x": x, "y": y, "class": "tick", "text-anchor": anchor}
        if turned:
            attributes["transform"] = f"rotate(-38 {x:g} {y:g})"
        parts.append(element("text", attributes, name))
    for down, (name, cells) in enumerate(zip(panel.rows, panel.cells, strict=True)):
        y = top + MATRIX_ROW * down
        parts.append(_text(left - 8, y + MATRIX_ROW / 2 + 3, name, "tick", anchor="end"))
        parts += [_matrix_cell(cell, panel, left + step * along, y, step) for along, cell in enumerate(cells)]
    height = top + MATRIX_ROW * len(panel.rows) + 6
    summary = f"{len(panel.rows)} rows, {len(panel.columns)} columns; {panel.x.label}"
    return _svg(width, panel.title, summary, height, parts)


def _matrix_cell(cell: MatrixCell, panel: MatrixPanel, x: float, y: float, step: float) -> Markup:
    share = 0.0 if cell.value is None else min(max(cell.value, 0.0), 1.0)
    box: dict[str, str | float] = {"x": x + 1, "y": y + 1, "width": step - 2, "height": MATRIX_ROW - 2}
    box |= {"class": "cell", "fill-opacity": f"{0.04 + 0.5 * share:.3f}"}
    number = "" if cell.value is None else f"{cell.value:.2f}"
    return element(
        "g",
        {"class": f"c{colour_index(panel.colour)}"},
        _title(cell.said or number or "not played"),
        element("rect", box),
        _text(x + step / 2, y + MATRIX_ROW / 2 + 4, number, "cell-number", anchor="middle"),
    )


def _vertical_grid(x: Scale, top: float, bottom: float, label: str, right: float) -> Markup:
    parts = []
    for tick in x.ticks:
        parts.append(_rule(x(tick), top, x(tick), bottom, "grid"))
        parts.append(_text(x(tick), bottom + 15, number_text(tick), "tick", anchor="middle"))
    parts.append(_text(right, bottom + 32, label, "label", anchor="end"))
    return element("g", None, *parts)


# --- pieces ---


def _svg(width: float, title: str, summary: str, height: float, parts: Sequence[Markup]) -> Markup:
    attributes: dict[str, str | float] = {
        "viewBox": f"0 0 {width:g} {height:g}",
        "role": "img",
        "aria-label": f"{title}. {summary}" if title else summary,
    }
    return element("svg", attributes, *parts)


def _title(said: str) -> Markup:
    return element("title", None, said)


def _text(x: float, y: float, said: str, kind: str, anchor: str = "start") -> Markup:
    return element("text", {"x": x, "y": y, "class": kind, "text-anchor": anchor}, said)


def _rule(x1: float, y1: float, x2: float, y2: float, kind: str) -> Markup:
    return element("line", {"x1": x1, "y1": y1, "x2": x2, "y2": y2, "class": kind})


def _path(points: Sequence[Point]) -> str:
    return "M" + "L".join(f"{x:.1f},{y:.1f}" for x, y in points)


def _classes(colour: int) -> str:
    return f"series c{colour_index(colour)}"
