"""What can be got from the usual opponent at most, exactly, by dynamic programming over beliefs.

The opponent (`players.Limiter`) takes an offer within its limit, leaves when the offer misses its limit by more than
its patience, and otherwise asks for the extreme, which says nothing and is worth nothing. So all that a player ever
learns is that its offers missed the limit, and by little: after offers ``p1 < p2 < ... < pk`` the limit lies in
``(pk, p1 + patience]``. These two numbers and the count of offers are the state. (A lower offer after a higher one
teaches nothing and wins nothing; one between two levels reaches what the lower level does, at a worse price.)

Everything is in levels, seen as the shopper sees them. Sellers see the mirror image: the ranges of both limits are
mirror images of each other in every size, so their bounds are the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .tables import REGULARITY, SIZE_TABLES, SizeTable, usual_limits

Beliefs = NDArray[np.float64]  # [own limit, other's limit]: joint probabilities


@dataclass(frozen=True, slots=True)
class Bound:
    """What the best strategy gets: the mean own share, and how often it acts."""

    share: float
    acts: float


def best_response(own: int, belief: NDArray[np.float64], table: SizeTable) -> Bound:
    """The best strategy against a belief about the other's limit, by backward induction.

    Args:
        own: The own limit, a level.
        belief: Probability of each level of the other's limit, from level 0; it may sum to less than 1, and levels
            that are not below the own limit must have none.
        table: Offers, discount and patience.

    Returns:
        Share and acts, both times the belief's mass.
    """
    if not belief.any():
        return Bound(0.0, 0.0)
    # Levels that are never the limit, at either end, need not be looked at.
    lowest = int(np.flatnonzero(belief)[0])
    belief, own = belief[lowest:own], own - lowest
    count = len(belief)
    levels = np.arange(count)
    # Prefix sums: probability, and probability over what both could gain.
    mass = np.concatenate([[0.0], np.cumsum(belief)])
    per_gain = np.concatenate([[0.0], np.cumsum(belief / (own - levels))])
    last = np.arange(-1, count)[:, None, None]  # the last offer: the limit lies above it
    most = np.arange(count)[None, :, None]  # the limit is at most this
    offer = np.arange(count)[None, None, :]
    possible = (offer > last) & (offer <= most)
    at_once = (own - offer) * (per_gain[np.minimum(offer, most) + 1] - per_gain[last + 1])
    asked = np.maximum(mass[most + 1] - mass[last + 1], 0.0)[:, :, 0]
    next_last = np.broadcast_to(offer + 1, possible.shape)
    next_most = np.broadcast_to(np.minimum(most, offer + table.patience), possible.shape)
    share = np.zeros((count + 1, count))
    acts = np.zeros((count + 1, count))
    for _ in range(table.offers):
        value = np.where(possible, at_once + table.discount * share[next_last, next_most], -1.0)
        chosen = value.argmax(axis=2)[:, :, None]
        best = np.take_along_axis(value, chosen, axis=2)[:, :, 0]
        then = np.take_along_axis(acts[next_last, next_most], chosen, axis=2)[:, :, 0]
        worth_it = best > 1e-12
        share, acts = np.where(worth_it, best, 0.0), np.where(worth_it, asked + then, 0.0)
    return Bound(float(share[0, -1]), float(acts[0, -1]))


def joint_limits(table: SizeTable, usual: Mapping[tuple[int, int], float]) -> Beliefs:
    """How likely each pair of limits is in a task that follows a regularity of the given probabilities.

    Returns:
        Probability of (ceiling, floor), both from level 0.
    """
    size = table.highest + 1
    joint = np.zeros((size, size))
    shifts = range(-table.spread, table.spread + 1)
    for (floor, ceiling), probability in usual.items():
        for down in shifts:
            for up in shifts:
                joint[ceiling + up, floor + down] += probability / len(shifts) ** 2
    return joint


def _evenly(pairs: tuple[tuple[int, int], ...]) -> dict[tuple[int, int], float]:
    return dict.fromkeys(pairs, 1.0 / len(pairs))


def _total(joint: Beliefs, table: SizeTable) -> Bound:
    bounds = [best_response(own, joint[own], table) for own in range(len(joint)) if joint[own].any()]
    return Bound(sum(bound.share for bound in bounds), sum(bound.acts for bound in bounds))


def uninformed(table: SizeTable) -> Bound:
    """The most that a player can get that knows the rules, and nothing of the regularities of its world."""
    return _total(joint_limits(table, _evenly(usual_limits(table))), table)


def informed(table: SizeTable, regularity: float = REGULARITY) -> Bound:
    """The most that a player can get that is told the usual limit of the other side, and how often it holds."""
    pairs = usual_limits(table)
    anything = joint_limits(table, _evenly(pairs))
    apart = table.floors[1] < table.ceilings[0]
    share = acts = 0.0
    for told in sorted({floor for floor, _ in pairs}):
        ceilings = tuple(pair for pair in pairs if pair[0] == told)
        usual = joint_limits(table, _evenly(ceilings))
        weight = len(ceilings) / len(pairs)
        if apart:  # each side obeys by itself
            floors = regularity * usual.sum(axis=0) + (1 - regularity) * anything.sum(axis=0)
            joint = np.outer(anything.sum(axis=1), floors)
        else:
            joint = regularity * usual + (1 - regularity) * anything
        bound = _total(joint, table)
        share += weight * bound.share
        acts += weight * bound.acts
    return Bound(share, acts)


# Keyword arguments of `env.HaggleEnv` that change what can be got, with the values that the bounds hold for.
_ASSUMED = {"opponent": "limiter", "regularity": REGULARITY, "patience": None, "horizon": None}


def reference_returns(options: Mapping[str, Any]) -> dict[str, float]:
    """The two bounds as mean returns by what the player knows, for reports.

    Args:
        options: Keyword arguments of `env.HaggleEnv`.

    Returns:
        Nothing where an argument changes the game that they are computed for.
    """
    size = options.get("size", "small")
    if size not in SIZE_TABLES or any(options.get(name, usual) != usual for name, usual in _ASSUMED.items()):
        return {}
    found = reference(str(size))
    return {
        "best uninformed, exact": found["uninformed"].share,
        "best informed, exact": found["informed"].share,
    }


@cache
def reference(size: str) -> dict[str, Bound]:
    """The two bounds of a size, for reports and tests; the full size takes seconds."""
    table = SIZE_TABLES[size]
    return {"uninformed": uninformed(table), "informed": informed(table)}
