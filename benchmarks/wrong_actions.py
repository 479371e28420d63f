"""Does a teacher mark the wrong action: the stored measurements as a table and as a picture, without any run.

    python -m benchmarks.wrong_actions [--json] [--draw FILE]
    python -m benchmarks.wrong_actions --add FILE --world "trips"

The first prints what `docs/data/wrong_actions.json` holds, and draws it. The second adds what `sdar wrong-actions RUN
--untrained plays --json FILE` wrote, in the place of an older measurement of that world. Of each world the picture has
the area under the curve of "the whole action is less likely given the context", for the model as it was and as it was
trained, on the same episodes, which the untrained one has played.
"""

from __future__ import annotations

import html
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.measure import emit, parser, table

DATA = Path(__file__).resolve().parents[1] / "docs" / "data" / "wrong_actions.json"
MEASURE = "whole action"
# Contexts in the order of the picture, and what they are called there.
CONTEXTS = {"skill": "skill statements", "wrong_skill": "false statements", "plan": "the plan"}
UNTRAINED, TRAINED = "untrained", "trained"
TITLE = ("Does the teacher find the first wrong action", "less likely than right ones?")
SCALE = "0.5: it knows nothing. 1: always. With 95 % intervals."
# Over the columns, in the order of `CONTEXTS`.
HEADINGS = (("It reads", "skill statements"), ("", "false statements"), ("", "the plan"))

_STYLE = """
text { font: 14px system-ui, -apple-system, "Segoe UI", Roboto, Helvetica, Arial, sans-serif; fill: #1f2933 }
.card { fill: #ffffff } .name { font-weight: 600 } .soft { fill: #52606d; font-size: 13px }
.panel { fill: #f0f2f4 } .half { stroke: #52606d; stroke-dasharray: 4 3 }
.trained { fill: #2f6fb3; stroke: #2f6fb3 } .untrained { fill: #ffffff; stroke: #c2570c }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .card { fill: #161b22 } .soft { fill: #9aa7b4 } .panel { fill: #222932 }
  .half { stroke: #9aa7b4 } .trained { fill: #6cb0f5; stroke: #6cb0f5 }
  .untrained { fill: #161b22; stroke: #f0883e }
}
"""


def normalised(found: Mapping[str, Any]) -> dict[str, Any]:
    """What the command wrote, with its two readers called by what they are.

    Raises:
        SystemExit: It has other readers than a run and the model that it began with.
    """
    readers = found["readers"]
    names = {name: UNTRAINED if name.endswith(", untrained") else TRAINED for name in readers}
    if sorted(names.values()) != [TRAINED, UNTRAINED]:
        raise SystemExit(f"expected a run and its untrained model as readers, got {', '.join(readers)}")
    renamed = {names[name]: _shortened(contexts) for name, contexts in readers.items()}
    return {**found, "player": names[found["player"]], "readers": dict(sorted(renamed.items(), reverse=True))}


def _shortened(contexts: Mapping[str, Any]) -> Any:
    """The same with four decimals, and by turn only what is drawn of it."""
    for found in contexts.values():
        for kind in ("detour", "loss"):
            if kind in found:
                found[kind]["by_turn"] = found[kind]["by_turn"].get(MEASURE, {})
    return json.loads(json.dumps(contexts), parse_float=lambda text: round(float(text), 4))


def kind_of(found: Mapping[str, Any]) -> str:
    """The kind of wrong action that is drawn of a world: detours where it knows them, else losses."""
    contexts = next(iter(found["readers"].values()))
    return "detour" if any("detour" in one for one in contexts.values()) else "loss"


def drawn(found: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Context, reader and area of a world, in the order of the picture."""
    kind = kind_of(found)
    for context in CONTEXTS:
        for reader in (UNTRAINED, TRAINED):
            area = found["readers"][reader].get(context, {}).get(kind, {}).get("areas", {}).get(MEASURE)
            if area is not None:
                yield context, reader, area


def by_what_statements_say(worlds: Mapping[str, Mapping[str, Any]]) -> dict[str, list[tuple[str, str, dict[str, Any]]]]:
    """The areas of each world, the one whose untrained model marks best given skill statements first."""
    areas = {name: list(drawn(found)) for name, found in worlds.items()}

    def told(name: str) -> float:
        return next((area["value"] for *one, area in areas[name] if one == ["skill", UNTRAINED]), 0.0)

    return {name: areas[name] for name in sorted(areas, key=told, reverse=True) if areas[name]}


def counts_of(found: Mapping[str, Any]) -> str:
    """How many of a world's episodes have a wrong action of the kind that is drawn; which one was first, all agree."""
    kind = kind_of(found)
    first = next(one[kind]["first"] for one in found["readers"][UNTRAINED].values() if kind in one)
    return f"first {kind} in {sum(first.values()) - first.get('-1', 0)} of {found['episodes']}"


def picture(worlds: Mapping[str, Mapping[str, Any]]) -> str:
    """The picture as SVG: a row per world, a column per context; narrow, so that a phone does not shrink its text."""
    parts, y = list(_heading()), _TOP
    for name, areas in by_what_statements_say(worlds).items():
        counts = counts_of(worlds[name])
        parts.append(f'<text class="name" x="{_MARGIN}" y="{y}">{html.escape(name)}</text>')
        parts.append(f'<text class="soft" x="{_WIDTH - _MARGIN}" y="{y}" text-anchor="end">{counts}</text>')
        for column, context in enumerate(CONTEXTS):
            own = [(reader, area) for of, reader, area in areas if of == context]
            parts.extend(_panel(_left(column), y + 7, f"{name}, {CONTEXTS[context]}", own))
        y += _ROW
    for column in range(len(CONTEXTS)):
        for value, said in ((0.0, "0"), (0.5, "0.5"), (1.0, "1")):
            at = _left(column) + _ends(value)
            parts.append(f'<text class="soft" x="{at:g}" y="{y - 3}" text-anchor="middle">{said}</text>')
    height = y + 10
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_SHOWN}" '
        f'height="{round(height * _SHOWN / _WIDTH)}" role="img" aria-labelledby="t"><title id="t">How often the '
        "teacher finds the first wrong action less likely than right ones of the same turn, by what it reads</title>"
        f'<style>{_STYLE}</style><rect class="card" width="{_WIDTH}" height="{height}"/>{"".join(parts)}</svg>\n'
    )


# In user units: a picture of `_WIDTH` is shown `_SHOWN` wide where there is room, and a little smaller on a phone.
_WIDTH, _SHOWN, _MARGIN, _GAP = 420, 525, 10, 14
_COLUMN = (_WIDTH - 2 * _MARGIN - 2 * _GAP) / 3
_TOP, _ROW, _PANEL, _INSIDE, _DOT = 152, 56, 26, 7, 4


def _left(column: int) -> float:
    return _MARGIN + column * (_COLUMN + _GAP)


def _ends(value: float) -> float:
    """Where an area stands in its panel."""
    return _INSIDE + value * (_COLUMN - 2 * _INSIDE)


def _heading() -> Iterator[str]:
    """The question, what the scale means, the two readers, and what each column is about."""
    for line, words in enumerate(TITLE):
        yield f'<text class="name" x="{_MARGIN}" y="{24 + 18 * line}">{words}</text>'
    yield f'<text class="soft" x="{_MARGIN}" y="64">{SCALE}</text>'
    for reader, at, said in ((UNTRAINED, _MARGIN + 5, "untrained"), (TRAINED, _MARGIN + 104, "trained by SDAR")):
        yield f'<circle class="{reader}" stroke-width="2" cx="{at}" cy="82" r="{_DOT}"/>'
        yield f'<text x="{at + 11}" y="87">{said}</text>'
    for column, lines in enumerate(HEADINGS):
        for line, words in enumerate(lines):
            at = _left(column) + _COLUMN / 2
            yield f'<text class="soft" x="{at:g}" y="{112 + 15 * line}" text-anchor="middle">{words}</text>'


def _panel(left: float, top: float, said: str, areas: Sequence[tuple[str, Mapping[str, Any]]]) -> Iterator[str]:
    """A world given a context: each reader's area with its interval, around the line of a signal that knows nothing."""
    half = left + _ends(0.5)
    yield f'<rect class="panel" x="{left:g}" y="{top:g}" width="{_COLUMN:g}" height="{_PANEL}" rx="3"/>'
    yield f'<line class="half" x1="{half:g}" y1="{top:g}" x2="{half:g}" y2="{top + _PANEL:g}"/>'
    for reader, area in areas:
        y = top + (8 if reader == UNTRAINED else _PANEL - 8)
        low, high = area["interval"] or (area["value"], area["value"])
        words = html.escape(f"{said}, {reader}: {area['value']:.2f} ({low:.2f} to {high:.2f})")
        yield (
            f'<g class="{reader}" stroke-width="2"><title>{words}</title>'
            f'<line x1="{left + _ends(low):.1f}" y1="{y:g}" x2="{left + _ends(high):.1f}" y2="{y:g}"/>'
            f'<circle cx="{left + _ends(area["value"]):.1f}" cy="{y:g}" r="{_DOT}"/></g>'
        )


def rows(worlds: Mapping[str, Mapping[str, Any]]) -> list[Sequence[object]]:
    """A line per world, context and reader, and every measure."""
    found = []
    for world, measured in worlds.items():
        kind = kind_of(measured)
        for reader, contexts in measured["readers"].items():
            for context, said in contexts.items():
                areas = said.get(kind, {}).get("areas")
                if areas:
                    counts = f"{areas[MEASURE]['wrong']} / {areas[MEASURE]['right']}"
                    found.append([world, kind, context, reader, *map(area_text, areas.values()), counts])
    return found


def area_text(area: Mapping[str, Any]) -> str:
    """An area with its interval."""
    if area["interval"] is None:
        return f"{area['value']:.2f}"
    low, high = area["interval"]
    return f"{area['value']:.2f} ({low:.2f} to {high:.2f})"


def cell_rows(worlds: Mapping[str, Mapping[str, Any]]) -> list[Sequence[object]]:
    """A line per world and cell of the readings of skill statements, half of which were corrupted."""
    found: list[Sequence[object]] = []
    for world, measured in worlds.items():
        cells = {name: contexts["skill"]["cells"] for name, contexts in measured.get("corrupted", {}).items()}
        for untrained, trained in zip(cells.get(UNTRAINED, []), cells.get(TRAINED, []), strict=True):
            said = "true" if untrained["true"] else "false"
            did = "followed" if untrained["followed"] else "not followed"
            gaps = ["-" if one["gap"] is None else f"{one['gap']:+.2f}" for one in (untrained, trained)]
            found.append([world, said, did, untrained["episodes"], round(100 * untrained["success"], 1), *gaps])
    return found


def main() -> None:
    """Print tables or one JSON object, draw, or add a measurement."""
    options = parser("wrong_actions", "Does a teacher mark the wrong action.")
    options.add_argument("--data", type=Path, default=DATA, metavar="FILE", help="the measurements")
    options.add_argument("--draw", type=Path, metavar="FILE", help="draw them into this SVG file")
    options.add_argument("--add", type=Path, metavar="FILE", help="what sdar wrong-actions --json wrote")
    options.add_argument("--world", metavar="NAME", help="what the added world is called")
    words = "the added measurement is one with corrupted statements, whose four cells are kept"
    options.add_argument("--corrupted", action="store_true", help=words)
    arguments = options.parse_args()
    worlds: dict[str, Any] = json.loads(arguments.data.read_text("utf-8")) if arguments.data.is_file() else {}
    if arguments.add is not None:
        if not arguments.world:
            raise SystemExit("--add expects --world NAME, what the world is called")
        found = normalised(json.loads(arguments.add.read_text("utf-8")))
        before = worlds.get(arguments.world, {})
        if arguments.corrupted and not before:
            raise SystemExit(f"{arguments.world} has no measurement yet: add the one with true statements first")
        if arguments.corrupted:
            worlds[arguments.world] = {**before, "corrupted": found["readers"]}
        else:
            kept = {"corrupted": before["corrupted"]} if "corrupted" in before else {}
            worlds[arguments.world] = {**found, **kept}
        arguments.data.write_text(json.dumps(worlds, indent=1) + "\n", encoding="utf-8")
    if arguments.draw is not None:
        arguments.draw.write_text(picture(worlds), encoding="utf-8")
    measures = ["whole action", "mean gap", "lowest gap", "gap at the decision", "mean weight"]
    columns = ["world", "first", "context", "reader", *measures, "wrong / right"]
    cells = ["world", "statement", "the action", "episodes", "won, %", "untrained, nats", "trained, nats"]
    tables = [table(columns, rows(worlds)), table(cells, cell_rows(worlds))]
    emit("wrong_actions", worlds, tables, as_json=arguments.json)


if __name__ == "__main__":
    main()
