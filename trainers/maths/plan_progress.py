"""Potential-based shaping from the length of the remaining plan, turn by turn. Pure Python, no tensors.

The potential of the state before turn k is the share of the plan that is done, ``Phi_k = 1 - L_k / L_0``, L being the
number of actions that the shortest plan still needs; it is 1 at the goal and 0 at any other end (``Phi_K``). A turn's
shaping reward is the difference that it made:

    F_k = Phi_{k+1} - Phi_k

*Telescoping.* The sum of F over an episode is ``Phi_K - Phi_0``: 1 for every success and 0 for everything else,
whatever happened on the way. So no policy gains by progress that does not end at the goal, and the shaped return orders
policies as success does. Added to whole-episode returns, shaping would only count success once more (Ng, Harada and
Russell 1999; that the potential of an end must be fixed is in Grzes 2017). It can help only turn by turn.

*Turn by turn.* A turn is credited with ``sum over j >= k of lambda^(j-k) F_j``: generalised advantage estimation (arXiv
1506.02438) of the reward "success", undiscounted, with the potential in the place of a critic. With lambda 1 that is
``success - Phi_k``, a baseline, and unbiased; with lambda 0 it is F_k, the turn's own progress, which depends on the
potential alone. A last turn that ends in failure is charged the potential that the episode had reached.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise


def potentials(plan_lengths_K: Sequence[int | None], success: bool) -> list[float]:
    """Phi before each turn and at the end, one more than there are turns, each in [-1, 1].

    Args:
        plan_lengths_K: L before each turn. None where no plan is known: the potential stays what it was. A plan of more
            than twice its first length counts as twice.
        success: How the episode ended.

    Returns:
        The potentials; all 0 where no plan was ever known, whether or not the goal was reached.
    """
    first = next((length for length in plan_lengths_K if length is not None), None)
    if first is None:
        return [0.0] * (len(plan_lengths_K) + 1)
    values: list[float] = []
    for length in plan_lengths_K:
        before = values[-1] if values else 0.0
        values.append(before if length is None else max(-1.0, 1.0 - length / first))
    return [*values, 1.0 if success else 0.0]


def shaping_rewards(potentials_K1: Sequence[float]) -> list[float]:
    """``F_k = Phi_{k+1} - Phi_k``."""
    return [after - before for before, after in pairwise(potentials_K1)]


def progress(plan_lengths_K: Sequence[int | None], success: bool, shaping_lambda: float) -> list[float]:
    """The progress of each turn along the plan: ``sum over j >= k of lambda^(j-k) F_j``.

    Args:
        plan_lengths_K: L before each turn, as for `potentials`.
        success: How the episode ended.
        shaping_lambda: How far a turn is credited with later changes, from 0 to 1.
    """
    credits = shaping_rewards(potentials(plan_lengths_K, success))
    for k in range(len(credits) - 2, -1, -1):
        credits[k] += shaping_lambda * credits[k + 1]
    return credits
