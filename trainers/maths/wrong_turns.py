"""A signal of turns around the first wrong one, against the same turns of episodes that had none until then.

The comparison is by turn number, because what a teacher says of a turn depends on how far an episode is: a booking late
in an episode is compared with bookings as late in episodes that went well until then. What comes after the first wrong
turn is in no comparison: its right turns are those of a spoilt episode.

*Area.* The area under the curve of "the signal marks the wrong turn" is the probability that it is lower at the first
wrong turn of an episode than at the same turn of another that was not wrong there or before, ties counted half: 1/2 for
a signal that knows nothing, 1 for one that is always lower there.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sdar_envs.randomness import counted_generator

Values = Sequence[float | None]  # by turn; None where the signal has no value

# Name of a measure of a turn -> its unit.
MEASURES = {
    "whole action": "nats",
    "mean gap": "nats",
    "lowest gap": "nats",
    "gap at the decision": "nats",
    "mean weight": "",
}
RESAMPLES = 1_000


@dataclass(frozen=True, slots=True)
class Around:
    """Means at a place relative to the first wrong turn.

    Attributes:
        offset: Turns after the first wrong one; 0 is itself.
        wrong: Mean over episodes with a wrong turn.
        others: Mean, over the same episodes, of what others have at that turn on average that are right up to it and
            up to the wrong one.
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
    found = []
    for offset in range(-reach, reach + 1):
        pairs = []
        for wrong, values in episodes:
            turn = wrong + offset
            if wrong < 0 or not 0 <= turn < len(values) or (value := values[turn]) is None:
                continue
            others = _right_until(episodes, turn, max(wrong, turn))
            if others:
                pairs.append((value, math.fsum(others) / len(others)))
        if pairs:
            means = [math.fsum(side) / len(pairs) for side in zip(*pairs, strict=True)]
            found.append(Around(offset, means[0], means[1], len(pairs)))
    return found


def _right_until(episodes: Sequence[tuple[int, Values]], turn: int, until: int) -> list[float]:
    """The signal at a turn, of the episodes without a wrong turn up to another."""
    at = [values[turn] for wrong, values in episodes if (wrong < 0 or wrong > until) and turn < len(values)]
    return [value for value in at if value is not None]


@dataclass(frozen=True, slots=True)
class Area:
    """An area under the curve, in [0, 1].

    Attributes:
        value: The area.
        interval: Of 95 %, by resampling clusters of episodes; None with fewer than two clusters of a side.
        wrong: First wrong turns that could be compared.
        right: Turns that they were compared with.
    """

    value: float
    interval: tuple[float, float] | None
    wrong: int
    right: int


@dataclass(frozen=True, slots=True)
class _Stratum:
    """One turn number: which episodes were wrong there for the first time, which were right so far, and who is lower.

    `lower_WR` is 1 where the wrong one's signal is the lower, 1/2 where they are equal, and 0 elsewhere.
    """

    wrong_W: NDArray[np.int64]
    right_R: NDArray[np.int64]
    lower_WR: NDArray[np.float64]


def wrong_turn_area(episodes: Sequence[tuple[int, Values]], clusters: Sequence[Hashable] | None = None) -> Area | None:
    """The area under the curve, over all pairs of a first wrong turn and the same turn of an episode right until then.

    Args:
        episodes: As for `around_wrong_turns`.
        clusters: What each episode shares with others (a task that was played several times); None makes each its own.

    Returns:
        None without a pair.
    """
    return _area(_strata(episodes), list(range(len(episodes))) if clusters is None else list(clusters))


def areas_by_turn(
    episodes: Sequence[tuple[int, Values]], clusters: Sequence[Hashable] | None = None
) -> dict[int, Area]:
    """Turn number -> the area of the wrong turns of that number; turns without a pair are left out."""
    own = list(range(len(episodes))) if clusters is None else list(clusters)
    found = {turn: _area({turn: stratum}, own) for turn, stratum in _strata(episodes).items()}
    return {turn: area for turn, area in found.items() if area is not None}


def _strata(episodes: Sequence[tuple[int, Values]]) -> dict[int, _Stratum]:
    """Turn number -> the comparison there, where there is one."""
    found = {}
    for turn in sorted({wrong for wrong, _ in episodes if wrong >= 0}):
        at = [(i, wrong, values[turn]) for i, (wrong, values) in enumerate(episodes) if turn < len(values)]
        known = [(i, wrong, value) for i, wrong, value in at if value is not None]
        wrongs = [(i, value) for i, wrong, value in known if wrong == turn]
        rights = [(i, value) for i, wrong, value in known if wrong < 0 or wrong > turn]
        if wrongs and rights:
            (wrong_W, low_W), (right_R, high_R) = (zip(*side, strict=True) for side in (wrongs, rights))
            difference_WR = np.subtract.outer(np.asarray(high_R, float), np.asarray(low_W, float)).T
            lower_WR = (difference_WR > 0) + 0.5 * (difference_WR == 0)
            found[turn] = _Stratum(np.asarray(wrong_W), np.asarray(right_R), lower_WR)
    return found


def _area(strata: Mapping[int, _Stratum], clusters: Sequence[Hashable]) -> Area | None:
    if not strata:
        return None
    numbers = {cluster: number for number, cluster in enumerate(dict.fromkeys(clusters))}
    cluster_E = np.asarray([numbers[cluster] for cluster in clusters])
    wrong = {int(cluster_E[i]) for stratum in strata.values() for i in stratum.wrong_W}
    right = {int(cluster_E[i]) for stratum in strata.values() for i in stratum.right_R}
    value = float(_areas(strata, np.ones((1, len(clusters))))[0])
    interval = None
    if len(wrong) > 1 and len(right) > 1:
        draws = counted_generator("wrong turns", "resampling", len(numbers))
        counts_BC = draws.multinomial(len(numbers), np.full(len(numbers), 1 / len(numbers)), size=RESAMPLES)
        values_B = _areas(strata, counts_BC[:, cluster_E].astype(float))
        low, high = np.nanquantile(values_B, [0.025, 0.975])
        interval = float(low), float(high)
    return Area(
        value,
        interval,
        sum(len(stratum.wrong_W) for stratum in strata.values()),
        sum(len(stratum.right_R) for stratum in strata.values()),
    )


def _areas(strata: Mapping[int, _Stratum], weights_BE: NDArray[np.float64]) -> NDArray[np.float64]:
    """The area for each weighting of the episodes; NaN where no pair has weight."""
    lower_B = np.zeros(len(weights_BE))
    pairs_B = np.zeros(len(weights_BE))
    for stratum in strata.values():
        wrong_BW, right_BR = weights_BE[:, stratum.wrong_W], weights_BE[:, stratum.right_R]
        lower_B += ((wrong_BW @ stratum.lower_WR) * right_BR).sum(axis=1)
        pairs_B += wrong_BW.sum(axis=1) * right_BR.sum(axis=1)
    areas_B = np.full(len(pairs_B), np.nan)
    np.divide(lower_B, pairs_B, out=areas_B, where=pairs_B > 0)
    return areas_B


def turn_measures(
    gaps: Sequence[float], weights: Sequence[float], entropies: Sequence[float]
) -> dict[str, float | None]:
    """What is said of a turn, by the names of `MEASURES`; None where it is not known.

    *Whole action* is the sum of the gaps: how much more likely the teacher finds all that was written.

    Args:
        gaps: T - S of its tokens, in nats.
        weights: Their token weights (the gate).
        entropies: The student's entropies at them, in nats.
    """
    whole = math.fsum(gaps) if gaps else None
    values = (whole, _mean(gaps), min(gaps, default=None), decision_gap(gaps, entropies), _mean(weights))
    return dict(zip(MEASURES, values, strict=True))


def _mean(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None


def decision_gap(gaps: Sequence[float], entropies: Sequence[float]) -> float | None:
    """The gap at the token where the student was least sure, which is where a turn was decided; None without entropies.

    Most tokens of an action follow from those before them, and a mean over the turn dilutes what is said of the few
    that do not.

    Args:
        gaps: T - S of the tokens of a turn, in nats.
        entropies: H of the same tokens, in nats.
    """
    if not gaps or len(entropies) != len(gaps):
        return None
    return gaps[max(range(len(gaps)), key=entropies.__getitem__)]
