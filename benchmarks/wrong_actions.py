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
CONTEXTS = {"plan": "the plan", "skill": "skill statements", "wrong_skill": "statements about something else"}
UNTRAINED, TRAINED = "untrained", "trained"
TITLE = "Does the teacher find the first wrong action less likely than right ones?"

_STYLE = """
text { font: 14px system-ui, -apple-system, "Segoe UI", Roboto, Helvetica, Arial, sans-serif; fill: #1f2933 }
.card { fill: #ffffff } .name { font-weight: 600 } .soft { fill: #52606d; font-size: 13px }
.grid { stroke: #d5dade } .half { stroke: #52606d; stroke-dasharray: 4 3 }
.trained { fill: #2f6fb3; stroke: #2f6fb3 } .untrained { fill: #ffffff; stroke: #c2570c }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .card { fill: #161b22 } .soft { fill: #9aa7b4 } .grid { stroke: #30363d }
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


def picture(worlds: Mapping[str, Mapping[str, Any]]) -> str:
    """The picture as SVG."""
    left, right, row = 250.0, 600.0, 24.0

    def x(value: float) -> float:
        return left + value * (right - left)

    parts, y = [], 90.0
    for name, found in worlds.items():
        world = html.escape(name)
        areas = list(drawn(found))
        if not areas:
            continue
        counts = f"first {kind_of(found)}, {areas[0][2]['wrong']} of {found['episodes']} episodes"
        parts.append(f'<text class="name" x="12" y="{y + 4:g}">{world}</text>')
        parts.append(f'<text class="soft" x="{right:g}" y="{y + 4:g}" text-anchor="end">{counts}</text>')
        contexts = list(dict.fromkeys(one[0] for one in areas))
        end = y + row * len(contexts) + 11
        parts.append(f'<line class="half" x1="{x(0.5):g}" y1="{y + 12:g}" x2="{x(0.5):g}" y2="{end:g}"/>')
        for context in contexts:
            y += row
            label = CONTEXTS[context]
            parts.append(f'<text class="soft" x="{left - 12:g}" y="{y + 4:g}" text-anchor="end">{label}</text>')
            parts.append(f'<line class="grid" x1="{left:g}" y1="{y:g}" x2="{right:g}" y2="{y:g}"/>')
            for _, reader, area in (one for one in areas if one[0] == context):
                at = y + (-4 if reader == UNTRAINED else 4)
                low, high = area["interval"] or (area["value"], area["value"])
                said = f"{world}, {label}, {reader}: {area['value']:.2f} ({low:.2f} to {high:.2f})"
                parts.append(
                    f'<g class="{reader}" stroke-width="2"><title>{said}</title>'
                    f'<line x1="{x(low):.1f}" y1="{at:g}" x2="{x(high):.1f}" y2="{at:g}"/>'
                    f'<circle cx="{x(area["value"]):.1f}" cy="{at:g}" r="4.5"/></g>'
                )
        y += row + 14
    bottom = y - 10
    frame = [
        f'<text class="name" x="12" y="27">{TITLE}</text>',
        f'<text class="soft" x="{left:g}" y="{bottom + 18:g}" text-anchor="middle">0</text>',
        f'<text class="soft" x="{x(0.5):g}" y="{bottom + 18:g}" text-anchor="middle">0.5: knows nothing</text>',
        f'<text class="soft" x="{right:g}" y="{bottom + 18:g}" text-anchor="end">1: always</text>',
        *(
            f'<circle class="{reader}" stroke-width="2" cx="{at}" cy="50" r="4.5"/>'
            f'<text x="{at + 12}" y="55">{said}</text>'
            for reader, at, said in ((UNTRAINED, 20, "untrained"), (TRAINED, 118, "trained by SDAR"))
        ),
    ]
    height = bottom + 34
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 620 {height:g}" width="620" height="{height:g}" '
        'role="img" aria-labelledby="t"><title id="t">How often the teacher finds the first wrong action less likely '
        f"than right ones of the same turn, by what it reads</title><style>{_STYLE}</style>"
        f'<rect class="card" width="620" height="{height:g}"/>{"".join(frame + parts)}</svg>\n'
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
