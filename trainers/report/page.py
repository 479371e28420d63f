"""A document as one HTML file that needs nothing else: no network, no font, no library.

Text of models and worlds is untrusted. The templates escape every expression; viewer data stands in a JSON block in
which nothing can end the block; the page's own policy (CSP) allows one style and, by its hash, one script, and no
request at all.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from sdar_envs.assets import asset_path, asset_text

from .document import Block, Cell, Column, DetailsBlock, Document, FigureBlock, TableBlock
from .figure import Bar, LinePanel, MatrixPanel, Panel, StackPanel
from .palette import DARK, LIGHT, colour_index
from .plain_text import clean
from .scales import number_text
from .svg import NARROW, WIDTH, draw

ROWS_OF_NUMBERS = 26  # of a line panel's table at most
ROWS_UNFOLDED = 12  # a table with more is folded: on a phone it would be several screens that few readers want


@dataclass(frozen=True, slots=True)
class Viewer:
    """The episode viewer of a page: its data, a sentence about what was chosen, and its warnings."""

    data: Mapping[str, Any]
    about: str
    warnings: tuple[str, ...] = ()


def render_page(document: Document, viewer: Viewer | None = None) -> str:
    """The page as text; it can be encoded as UTF-8 whatever was in the data."""
    style = Markup(f"\n{palette_style()}{asset_text('report', 'report.css')}")
    script = Markup(f"\n{asset_text('report', 'viewer.js')}")
    page = _environment().get_template("report.html.jinja")
    return page.render(
        document=_drawn(document),
        viewer=None if viewer is None else {**_viewer_fields(viewer), "json": json_block(viewer.data)},
        style=style,
        script=script,
        policy=content_policy(style, script if viewer is not None else None),
    )


def _viewer_fields(viewer: Viewer) -> dict[str, Any]:
    return {"about": viewer.about, "warnings": viewer.warnings}


@cache
def _environment() -> Environment:
    def cleaned(value: Any) -> Any:
        return clean(value) if isinstance(value, str) and not isinstance(value, Markup) else value

    return Environment(
        loader=FileSystemLoader(asset_path("report")),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=cleaned,
        trim_blocks=True,
        keep_trailing_newline=True,
    )


def json_block(data: Mapping[str, Any]) -> Markup:
    """`data` as JSON that can stand in a ``<script>`` block: no ``<``, ``>`` or ``&`` is left in it."""
    text = json.dumps(data, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def content_policy(style: str, script: str | None) -> str:
    """The page's Content-Security-Policy: nothing is loaded, and only this style and this script take effect."""
    scripts = "'none'" if script is None else f"'sha256-{_digest(script)}'"
    return (
        f"default-src 'none'; style-src 'sha256-{_digest(style)}'; script-src {scripts}; base-uri 'none'; "
        "form-action 'none'"
    )


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def palette_style() -> str:
    """The arms' colours as custom properties, and a class for each."""

    def scheme(colours: Sequence[str]) -> str:
        return ":root{" + "".join(f"--arm-{index}:{colour};" for index, colour in enumerate(colours)) + "}"

    classes = "".join(f".c{index}{{color:var(--arm-{index})}}" for index in range(len(LIGHT)))
    return (
        f"{scheme(LIGHT)}\n@media (prefers-color-scheme:dark){{{scheme(DARK)}}}\n@media print{{{scheme(LIGHT)}}}\n"
        f"{classes}\n"
    )


# --- blocks as the template wants them ---


def _drawn(document: Document) -> dict[str, Any]:
    return {
        "title": document.title,
        "kind": document.kind,
        "lead": document.lead,
        "warnings": document.warnings,
        "answers": document.answers,
        "headlines": document.headlines,
        "made_with": document.made_with,
        "sections": [
            {"key": section.key, "title": section.title, "blocks": [_block(block) for block in section.blocks]}
            for section in document.sections
        ],
    }


def _block(block: Block) -> dict[str, Any]:
    fields = {name: getattr(block, name) for name in block.__slots__}
    if isinstance(block, FigureBlock):
        panels = len(block.figure.panels)
        fields["columns"] = 2 if panels == 4 else min(panels, 3)
        width = NARROW if fields["columns"] == 3 else WIDTH
        fields["drawn"] = [_panel(panel, width) for panel in block.figure.panels]
    elif isinstance(block, DetailsBlock):
        fields["blocks"] = [_block(inner) for inner in block.blocks]
    elif isinstance(block, TableBlock):
        fields["rows"] = [[_cell(cell) for cell in row] for row in block.rows]
        fields["folded"] = len(block.rows) > ROWS_UNFOLDED
    return {"kind": type(block).__name__, **fields}


def _cell(cell: Cell) -> dict[str, Any]:
    colour = None if cell.colour is None else colour_index(cell.colour)
    return {"text": cell.text, "sub": cell.sub, "colour": colour, "strong": cell.strong}


def _panel(panel: Panel, width: float) -> dict[str, Any]:
    columns, rows = panel_numbers(panel)
    return {
        "title": panel.title,
        "svg": draw(panel, width),
        "columns": columns,
        "rows": [[_cell(cell) for cell in row] for row in rows],
    }


def panel_numbers(panel: Panel) -> tuple[tuple[Column, ...], list[tuple[Cell, ...]]]:
    """What a panel shows, as a table: its columns and rows."""
    if isinstance(panel, LinePanel):
        return _line_numbers(panel)
    if isinstance(panel, StackPanel):
        columns = (Column("", number=False), *(Column(part) for part in panel.parts))
        return columns, [
            (Cell(stack.label, colour=stack.colour), *(Cell(number_text(value)) for value in stack.values))
            for stack in panel.stacks
        ]
    if isinstance(panel, MatrixPanel):
        columns = (Column(panel.x.label, number=False), *(Column(name) for name in panel.columns))
        return columns, [
            (Cell(name), *(Cell("" if cell.value is None else f"{cell.value:.2f}") for cell in cells))
            for name, cells in zip(panel.rows, panel.cells, strict=True)
        ]
    columns = (Column("", number=False), Column(panel.x.label), Column("95 % interval"))
    return columns, [_bar_numbers(bar) for bar in panel.bars if bar.value is not None]


def _bar_numbers(bar: Bar) -> tuple[Cell, ...]:
    interval = "" if bar.low is None or bar.high is None else f"{number_text(bar.low)} to {number_text(bar.high)}"
    return Cell(bar.label, colour=bar.colour), Cell(number_text(bar.value or 0.0)), Cell(interval)


def _line_numbers(panel: LinePanel) -> tuple[tuple[Column, ...], list[tuple[Cell, ...]]]:
    lines = [line for line in panel.lines if line.points]
    places = sorted({x for line in lines for x, _ in line.points})
    if len(places) > ROWS_OF_NUMBERS:
        step = (len(places) - 1) / (ROWS_OF_NUMBERS - 1)
        places = [places[round(index * step)] for index in range(ROWS_OF_NUMBERS)]
    known = [(dict(line.points), {x: (low, high) for x, low, high in line.band}) for line in lines]
    rows = []
    for x in places:
        row = [Cell(number_text(x))]
        for values, bands in known:
            band = f"{number_text(bands[x][0])} to {number_text(bands[x][1])}" if x in bands else ""
            row.append(Cell(number_text(values[x]), band) if x in values else Cell(""))
        rows.append(tuple(row))
    return (Column(panel.x.label, number=False), *(Column(line.label) for line in lines)), rows
