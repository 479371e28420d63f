"""Several privileged contexts instead of one: which readings a run makes, and how several become one.

A method names logical views. ``teacher`` is what ``privilege`` shows; any other view is a privilege by its own name,
read whatever ``privilege`` is. A privilege joined by ``+``, such as ``skill+plan``, is one logical view in several
readings, ``teacher:skill`` and ``teacher:plan``, each given its own prompt and at the cost of its own pass. They are
combined once, where they are scored, so that all later steps see one teacher, and any method can use it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from torch import Tensor

from agents.hindsight import HINDSIGHTS
from agents.teacher import split_privilege

from ..maths.signals import max_of_teachers, mean_of_teachers
from ..methods.method import Method
from ..options import MethodOptions

TEACHER = "teacher"


def readings_of(method: Method, options: MethodOptions) -> dict[str, str]:
    """The readings of a run, by name, each with the privilege that it shows.

    Raises:
        ValueError: Privileges are joined for a method that has room for one reading only, or one is made of episodes
            that have ended and the student is to act under it.
    """
    privileges = split_privilege(options.privilege)
    played = [privilege for privilege in privileges if privilege in HINDSIGHTS]
    if played and "privileged" in (method.student_view, *method.eval_views):
        raise ValueError(
            f"the student of method {method.name!r} acts under the privileged prompt, and privilege={played[0]!r} is "
            "made of episodes that have ended: expected a privilege that is known while an episode is played, such as "
            "skill or plan"
        )
    if len(privileges) == 1:
        return {view: options.privilege if view == TEACHER else view for view in method.teacher_views}
    if "vocabulary" in method.needs:
        raise ValueError(
            f"method {method.name!r} compares whole next-token distributions with one teacher's, and "
            f"privilege={options.privilege!r} joins {len(privileges)}: choose one of them"
        )
    if "privileged" in (method.student_view, *method.eval_views):
        raise ValueError(
            f"the student of method {method.name!r} acts under one privileged prompt, and "
            f"privilege={options.privilege!r} joins {len(privileges)}: choose one of them"
        )
    readings: dict[str, str] = {}
    for view in method.teacher_views:
        readings |= {f"{view}:{p}": p for p in privileges} if view == TEACHER else {view: view}
    return readings


def agreement_of_teachers(teachers_VBT: Tensor, behaviour_BT: Tensor) -> Tensor:
    """What all readings agree on: ``O + d``, d the smallest gap ``T_v - O`` where all gaps have one sign, else 0.

    Args:
        teachers_VBT: T_v, log-probs of the sampled tokens by reading.
        behaviour_BT: O.
    """
    gaps_VBT = teachers_VBT - behaviour_BT
    smallest_BT = gaps_VBT.abs().min(dim=0).values
    up_BT, down_BT = (gaps_VBT > 0).all(dim=0), (gaps_VBT < 0).all(dim=0)
    return behaviour_BT + smallest_BT * (up_BT.to(smallest_BT.dtype) - down_BT.to(smallest_BT.dtype))


# (readings of one view [V, ...], O [...]) -> T [...]
TEACHER_COMBINES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "mean": lambda teachers, behaviour: mean_of_teachers(teachers),
    "max": lambda teachers, behaviour: max_of_teachers(teachers),
    "agreement": agreement_of_teachers,
}


def combine_readings(
    read: Sequence[Mapping[str, Sequence[float]]],
    behaviour: Sequence[Sequence[float]],
    readings: Iterable[str],
    how: str,
) -> tuple[list[dict[str, Sequence[float]]], dict[str, float]]:
    """Combine the readings of each view that was read several times into one log-prob per token.

    A row that lacks one of a view's readings does not get the view: the method learns nothing from a teacher there.

    Args:
        read: Per row, the log-probs of its readings by name.
        behaviour: Per row, the log-probs of the policy that sampled.
        readings: Names of all readings of the run.
        how: A key of `TEACHER_COMBINES`.

    Returns:
        Per row, the log-probs of the readings and of the combined views; and as a metric, the share of tokens at which
        the gaps of a view's readings agree in sign, over the tokens that all of them have read.
    """
    # View -> its readings, where there are several.
    views: dict[str, list[str]] = {}
    for name in readings:
        view, joined, _ = name.partition(":")
        if joined:
            views.setdefault(view, []).append(name)
    combined: list[dict[str, Sequence[float]]] = [dict(own) for own in read]
    agreeing: list[bool] = []
    for view, names in views.items():
        for own, behaviour_of_row in zip(combined, behaviour, strict=True):
            if not all(name in own for name in names):
                continue
            teachers_VT = torch.tensor([own[name] for name in names], dtype=torch.float64)
            behaviour_T = torch.tensor(behaviour_of_row, dtype=torch.float64)
            own[view] = TEACHER_COMBINES[how](teachers_VT, behaviour_T).tolist()
            signs_VT = torch.sign(teachers_VT - behaviour_T)
            agreeing += (signs_VT == signs_VT[0]).all(dim=0).tolist()
    return combined, {"teacher/agreement": math.fsum(agreeing) / len(agreeing)} if agreeing else {}
