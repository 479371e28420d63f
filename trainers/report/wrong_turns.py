"""The figure of the teacher's signal around the first wrong turn, from the training episodes with logged tokens."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..maths.wrong_turns import Values, around_wrong_turns, wrong_turn_area
from .episodes import records_of
from .figure import Axis, Figure, Line, LinePanel, Mark, make_figure

WRONG, OTHERS = 1, 2
OFFSET = Axis("turns after the first wrong one", integer=True)
Reduction = Callable[[Sequence[float]], float]
FEWEST = 5  # episodes of either kind below which nothing is drawn


def wrong_turns_figure(run: Path) -> Figure | None:
    """Log-probability gap and weight around the first wrong turn, against the same turns of episodes without one.

    Args:
        run: The run directory.

    Returns:
        None where the world names no wrong turn, no teacher was logged, or there are too few episodes of either kind.
    """
    records = [
        record
        for record in records_of(run / "episodes.jsonl")
        if record.get("phase") == "train" and type(record.get("first_wrong_turn")) is int and _has_tokens(record)
    ]
    wrong = sum(record["first_wrong_turn"] >= 0 for record in records)
    if min(wrong, len(records) - wrong) < FEWEST:
        return None
    signals: tuple[tuple[str, str, Callable[[Mapping[str, Any]], list[float]], Reduction], ...] = (
        ("Teacher less student", "log p, mean of the turn, nats", _gaps, _mean),
        ("Teacher less student, lowest token", "log p, lowest token of the turn, nats", _gaps, min),
        ("Weight (gate)", "mean of the turn", _weights, _mean),
    )
    panels, areas = [], []
    for title, label, tokens_of, reduce in signals:
        episodes = [(record["first_wrong_turn"], _by_turn(record, tokens_of, reduce)) for record in records]
        area = wrong_turn_area(episodes)
        if area is not None:
            areas.append(f"{area:.2f} for {title.lower()}")
            panels.append(_panel(title, label, episodes))
    caption = (
        f"Means over {wrong} training episodes with a wrong turn and {len(records) - wrong} without one, those whose "
        "tokens were logged. The first wrong turn is the one after which the best that could "
        "still be reached was less. The other line is the same turn numbers of the episodes without one. Area under "
        f"the curve of “lower marks the wrong turn”, 0.50 for a signal that knows nothing: {', '.join(areas)}."
    )
    return make_figure("wrong-turns", "Around the first wrong turn", caption, *panels)


def _panel(title: str, label: str, episodes: Sequence[tuple[int, Values]]) -> LinePanel:
    places = around_wrong_turns(episodes)
    wrong = Line("a wrong turn", WRONG, tuple((float(place.offset), place.wrong) for place in places))
    others = Line("none", OTHERS, tuple((float(place.offset), place.others) for place in places), dashed=True)
    return LinePanel(title, OFFSET, Axis(label), (wrong, others), marks=(Mark(0.0, "wrong"),))


def _has_tokens(record: Mapping[str, Any]) -> bool:
    return any(turn.get("tokens") for turn in record["turns"])


def _by_turn(
    record: Mapping[str, Any], values_of: Callable[[Mapping[str, Any]], list[float]], reduce: Reduction
) -> list[float | None]:
    found: list[float | None] = []
    for turn in record["turns"]:
        values = values_of(turn.get("tokens") or {})
        found.append(reduce(values) if values else None)
    return found


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _gaps(tokens: Mapping[str, Any]) -> list[float]:
    pairs = zip(tokens.get("teacher") or (), tokens.get("student") or (), strict=False)
    return [teacher - student for teacher, student in pairs if teacher is not None and student is not None]


def _weights(tokens: Mapping[str, Any]) -> list[float]:
    return [weight for weight in tokens.get("weight") or () if weight is not None]
