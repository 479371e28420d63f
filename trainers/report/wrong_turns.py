"""The figures of the teacher's signal around the first wrong turn, from the training episodes with logged tokens.

A figure for detours (the first turn that did not shorten the shortest plan) and one for losses (the first after which
less could be reached), as far as a world says them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..maths.wrong_turns import (
    MEASURES,
    Area,
    Values,
    areas_by_turn,
    around_wrong_turns,
    turn_measures,
    wrong_turn_area,
)
from .episodes import records_of
from .figure import Axis, Figure, Line, LinePanel, Mark, make_figure

WRONG, OTHERS = 1, 2
AREA = Axis("area under the curve", low=0.0, high=1.0)
TURN = Axis("turn of the first wrong one, from 0", integer=True)
FEWEST = 5  # episodes of either kind below which nothing is drawn
# Key of the log -> key, title, mark, and what it means.
KINDS = {
    "first_detour": (
        "detours", "Around the first detour", "detour", "the first that did not shorten the shortest plan"
    ),
    "first_wrong_turn": (
        "wrong-turns", "Around the first wrong turn", "wrong",
        "the one after which the best that could still be reached was less",
    ),
}  # fmt: skip


def wrong_turns_figures(run: Path) -> list[Figure]:
    """Log-probability gap and weight around the first detour and the first loss, against turns that were right.

    Args:
        run: The run directory.

    Returns:
        None of them where the world names no wrong turn, no teacher was logged, or there are too few episodes of either
        kind.
    """
    records = [
        record
        for record in records_of(run / "episodes.jsonl")
        if record.get("phase") == "train" and any(turn.get("tokens") for turn in record["turns"])
    ]
    found = []
    for key in KINDS:
        said = [record for record in records if type(record.get(key)) is int]
        wrong = sum(record[key] >= 0 for record in said)
        # Before the first wrong turn of most episodes others are right, be they without one or not.
        if wrong >= FEWEST and len({record[key] for record in said}) > 1:
            found.append(_figure(key, said, wrong))
    return [figure for figure in found if figure is not None]


def _figure(key: str, records: Sequence[Mapping[str, Any]], wrong: int) -> Figure | None:
    name, title, mark, meaning = KINDS[key]
    by_turn = [[_measures(turn.get("tokens") or {}) for turn in record["turns"]] for record in records]
    tasks = [str(record.get("task_id")) for record in records]
    panels, areas, lines = [], [], []
    for number, (measure, unit) in enumerate(MEASURES.items()):
        episodes = [
            (record[key], [turn[measure] for turn in turns]) for record, turns in zip(records, by_turn, strict=True)
        ]
        area = wrong_turn_area(episodes, tasks)
        if area is None:
            continue
        areas.append(f"{area_text(area)} for the {measure}")
        panels.append(_panel(measure, unit, episodes, mark))
        lines.append(_by_turn_line(measure, number, areas_by_turn(episodes, tasks)))
    caption = (
        f"Means over {wrong} training episodes with a {mark if mark == 'detour' else 'wrong turn'} and "
        f"{len(records) - wrong} without one, those whose tokens were logged. The first is {meaning}. The other line "
        "is the same turn numbers of episodes that were right until then. Gaps are the log-probability of the tokens "
        "given the teacher's prompt less the student's; the decision is the token at which the student was least sure. "
        "Area "
        "under the curve of “lower marks it”, 0.50 for a signal that knows nothing, with 95 % intervals by task: "
        f"{', '.join(areas)}."
    )
    # A single turn has nothing to be compared with, and its area stands in the caption.
    several = tuple(line for line in lines if len(line.points) > 1)
    if several:
        panels.append(LinePanel("Area by turn", TURN, AREA, several, baseline=0.5))
    return make_figure(name, title, caption, *panels)


def area_text(area: Area) -> str:
    """An area with its interval, in words."""
    if area.interval is None:
        return f"{area.value:.2f}"
    low, high = area.interval
    return f"{area.value:.2f} ({low:.2f} to {high:.2f})"


def _by_turn_line(measure: str, colour: int, areas: Mapping[int, Area]) -> Line:
    return Line(
        measure, colour, tuple((float(turn), area.value) for turn, area in areas.items() if area.wrong >= FEWEST)
    )


def _panel(measure: str, unit: str, episodes: Sequence[tuple[int, Values]], mark: str) -> LinePanel:
    places = around_wrong_turns(episodes)
    wrong = Line("wrong", WRONG, tuple((float(place.offset), place.wrong) for place in places))
    others = Line(
        "right until then", OTHERS, tuple((float(place.offset), place.others) for place in places), dashed=True
    )
    label = f"{measure}, {unit}" if unit else measure
    offset = Axis(f"turns after the first {'detour' if mark == 'detour' else 'wrong one'}", integer=True)
    return LinePanel(label[0].upper() + label[1:], offset, Axis(label), (wrong, others), marks=(Mark(0.0, mark),))


def _measures(tokens: Mapping[str, Any]) -> dict[str, float | None]:
    pairs = zip(tokens.get("teacher") or (), tokens.get("student") or (), strict=False)
    gaps = [teacher - student for teacher, student in pairs if teacher is not None and student is not None]
    weights = [weight for weight in tokens.get("weight") or () if weight is not None]
    entropies = [each for each in tokens.get("entropy") or () if each is not None]
    return turn_measures(gaps, weights, entropies)
