"""A signal of turns around the first wrong one, against the same turns of episodes without one. Pure Python.

The comparison is by turn number, because what a teacher says of a turn depends on how far an episode is: a booking late
in an episode is compared with bookings as late in episodes that went well.

*Area.* The area under the curve of "the signal marks the wrong turn" is the probability that it is lower at the first
wrong turn of an episode than at the same turn of an episode without one, ties counted half: 1/2 for a signal that
knows nothing, 1 for one that is always lower there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

Values = Sequence[float | None]  # by turn; None where the signal has no value


@dataclass(frozen=True, slots=True)
class Around:
    """Means at a place relative to the first wrong turn.

    Attributes:
        offset: Turns after the first wrong one; 0 is itself.
        wrong: Mean over episodes with a wrong turn.
        others: Mean, over the same episodes, of what the episodes without one have at that turn on average.
        episodes: Episodes with a wrong turn that are in both means.
    """

    offset: int
    wrong: float
    others: float
    episodes: int


def around_wrong_turns(episodes: Sequence[tuple[int, Values]], reach: int = 3) -> list[Around]:
    """The signal from `reach` turns before the first wrong one to as many after it; places without data are left out.

    Args:
        episodes: The first wrong turn of each episode, -1 for none, and the signal of its turns.
        reach: Turns to either side.
    """
    controls = _controls(episodes)
    found = []
    for offset in range(-reach, reach + 1):
        pairs = []
        for wrong, values in episodes:
            turn = wrong + offset
            if wrong >= 0 and 0 <= turn < len(values) and (value := values[turn]) is not None and turn in controls:
                pairs.append((value, math.fsum(controls[turn]) / len(controls[turn])))
        if pairs:
            means = [math.fsum(side) / len(pairs) for side in zip(*pairs, strict=True)]
            found.append(Around(offset, means[0], means[1], len(pairs)))
    return found


def wrong_turn_area(episodes: Sequence[tuple[int, Values]]) -> float | None:
    """The area under the curve, over all pairs of a first wrong turn and the same turn of an episode without one.

    Args:
        episodes: As for `around_wrong_turns`.

    Returns:
        The area, in [0, 1]; None without a pair.
    """
    controls = _controls(episodes)
    lower, pairs = 0.0, 0
    for wrong, values in episodes:
        value = values[wrong] if 0 <= wrong < len(values) else None
        if value is None:
            continue
        for other in controls.get(wrong, ()):
            lower += 1.0 if value < other else 0.5 if value == other else 0.0
            pairs += 1
    return lower / pairs if pairs else None


def _controls(episodes: Sequence[tuple[int, Values]]) -> dict[int, list[float]]:
    """Turn -> the signal there in episodes without a wrong turn."""
    found: dict[int, list[float]] = {}
    for wrong, values in episodes:
        if wrong < 0:
            for turn, value in enumerate(values):
                if value is not None:
                    found.setdefault(turn, []).append(value)
    return found
