"""A payoff matrix as a picture: a cell per pair of players, one half for each seat, darker for more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from .markup import element
from .scales import text_width

_CELL, _ROW, _SMALL = 104.0, 46.0, 12.0
# Print and both themes: a blue of growing weight, with the number always in black or white on it.
_LIGHT, _DARK = (237, 243, 250), (23, 78, 140)


def payoff_matrix(found: Mapping[str, Any]) -> Markup:
    """The picture of what `CrossPlay.to_json` returned.

    The row's player sits in the first seat, the column's in the second; a cell shows both mean returns, and the
    half of each seat is as dark as its return is large. Hovering shows intervals, deals and games.
    """
    players, (first, second) = list(found["players"]), found["roles"]
    left = max(text_width(name, _SMALL) for name in players) + 24
    width, top = left + _CELL * len(players) + 8, 74.0
    height = top + _ROW * len(players) + 14
    cells = {(cell["row"], cell["column"]): cell for cell in found["cells"]}
    about = (
        f"first seat (rows): {first}; second seat (columns): {second}",
        "each cell: mean return of the row | of the column",
    )
    parts = [_text(line, 4, 16 + 18 * number) for number, line in enumerate(about)]
    for place, name in enumerate(players):
        parts.append(_text(_short(name), left + _CELL * (place + 0.5), top - 10, anchor="middle"))
        parts.append(_text(name, left - 10, top + _ROW * (place + 0.5) + 4, anchor="end"))
    for down, row in enumerate(players):
        for along, column in enumerate(players):
            parts.append(_cell(cells[row, column], (first, second), left + _CELL * along, top + _ROW * down))
    return element(
        "svg",
        {
            "xmlns": "http://www.w3.org/2000/svg",
            "viewBox": f"0 0 {width:g} {height:g}",
            "width": width,
            "height": height,
            "role": "img",
            "aria-label": f"Payoff matrix of {found['game']}: {len(players)} players in both seats",
            "font-family": "system-ui, sans-serif",
            "fill": "currentColor",
        },
        *parts,
    )


def _text(content: str, x: float, y: float, *, anchor: str = "start", ink: str = "currentColor") -> Markup:
    return element("text", {"x": x, "y": y, "text-anchor": anchor, "font-size": _SMALL, "fill": ink}, content)


def _cell(cell: Mapping[str, Any], roles: tuple[str, str], x: float, y: float) -> Markup:
    half = (_CELL - 4) / 2
    parts: list[Markup] = []
    for place, role in enumerate(roles):
        value = float(cell["payoffs"][role])
        share = min(max(value, 0.0), 1.0)
        mixed = (round(low + share * (high - low)) for low, high in zip(_LIGHT, _DARK, strict=True))
        colour = "#" + "".join(f"{part:02x}" for part in mixed)
        at, ink = x + half * place, "#ffffff" if share > 0.6 else "#000000"
        parts.append(element("rect", {"x": at, "y": y, "width": half, "height": _ROW - 4, "fill": colour}))
        parts.append(_text(f"{value:.2f}", at + half / 2, y + _ROW / 2 + 2, anchor="middle", ink=ink))
    said = "; ".join(f"{role} {cell['payoffs'][role]:.3f}{_interval(cell['intervals'].get(role))}" for role in roles)
    failed = f", {cell['failed']} failed" if cell["failed"] else ""
    title = (
        f"{cell['row']} against {cell['column']}: {said}; deals {cell['deals']:.2f}, joint {cell['joint']:.3f}, "
        f"{cell['games']} games{failed}"
    )
    return element("g", None, element("title", None, title), *parts)


def _interval(bounds: Any) -> str:
    return f" ({bounds[0]:.3f} to {bounds[1]:.3f})" if bounds else ""


def _short(name: str) -> str:
    last = name.rpartition(":")[2].rstrip("/").rpartition("/")[2]
    return last if len(last) <= 16 else last[:15] + "…"
