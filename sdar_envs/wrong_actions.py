"""Which action of an episode that is over was wrong, by what a world's planner says of the state before and after it.

Two notions, because a way can become longer and still lead to the goal. A *detour* is an action after which the
shortest plan has not become shorter by it. A *loss* is an action after which the best score that could still be reached
was lower. A teacher that knows the plan can say so at once; whoever has to search takes detours and makes no mistake.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

# The length of a plan where nothing leads to the goal any more.
NO_PLAN = math.inf
# Scores are sums of a few floats; differences below this are rounding.
_ROUNDING = 1e-9


class WrongActions(NamedTuple):
    """The first detour and the first loss of an episode, as numbers of its actions from 0.

    -1 stands for none, and None where the world cannot say it exactly.
    """

    detour: int | None
    loss: int | None


UNKNOWN = WrongActions(None, None)


class Judged(NamedTuple):
    """An action as a planner sees it.

    Attributes:
        before: Length of the shortest plan before the action, `NO_PLAN` for none.
        after: The same after it; 0 where the episode is won.
        left: Actions that the horizon leaves room for after it.
        cost: What an action that follows the plan takes off it: 1, or 0 for a role whose turns the plan does not count.
    """

    before: float
    after: float
    left: int
    cost: int = 1


def by_plans(actions: Sequence[Judged]) -> WrongActions:
    """The first action that did not shorten the plan, and the first after which the plan no longer fitted the horizon.

    An episode whose plan fits at no time has no loss: it could not be won.
    """
    detour = loss = -1
    for number, action in enumerate(actions):
        if detour < 0 and action.after > action.before - action.cost:
            detour = number
        if loss < 0 and action.after > action.left and action.before <= action.left + action.cost:
            loss = number
    return WrongActions(detour, loss)


def by_plan_lengths(lengths: Sequence[float], horizon: int) -> WrongActions:
    """The same of an episode in which every action counts.

    Args:
        lengths: Length of the shortest plan before the first action and after each.
        horizon: Actions until truncation.
    """
    return by_plans([Judged(*pair, horizon - done) for done, pair in enumerate(pairwise(lengths), 1)])


def by_scores(reachable: Sequence[float]) -> int:
    """The first action after which less could be reached, -1 for none.

    Args:
        reachable: The best score that could be reached before the first action and after each.
    """
    pairs = enumerate(pairwise(reachable))
    return next((number for number, (before, after) in pairs if after < before - _ROUNDING), -1)
