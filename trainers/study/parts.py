"""A part of a study: the arms at some points of its axes, with what their jobs wait for.

A study whose arms stand at several sizes is run a size at a time, here or on several machines; its table and its
hypotheses are about all of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sdar_envs.choices import require_choice

from .plan_records import Arm, Job, Plan, StudyError


def arms_at(plan: Plan, points: Sequence[str]) -> list[Arm]:
    """The arms that stand at all of `points`; every arm where there are none.

    Args:
        plan: The plan.
        points: ``AXIS=POINT`` each. Several points of one axis mean any of them. An arm that is not on an axis stands
            at none of its points; it is meant by ``AXIS=``.

    Raises:
        StudyError: There is no such axis or point; the message names those that there are.
    """
    wanted: dict[str, set[str]] = {}
    for word in points:
        axis, equals, point = word.partition("=")
        if not equals:
            raise StudyError(f"a part of a study is expected as AXIS=POINT, got {word!r}")
        known = {
            name: {str(arm.coordinates[name]) for arm in plan.arms if name in arm.coordinates} for name in _axes(plan)
        }
        try:
            require_choice("axis", axis, sorted(known), f"study {plan.name!r}")
            if point:
                require_choice("point", point, sorted(known[axis]), f"axis {axis!r} of study {plan.name!r}")
        except ValueError as error:
            raise StudyError(str(error)) from None
        wanted.setdefault(axis, set()).add(point)
    return [
        arm for arm in plan.arms if all(str(arm.coordinates.get(axis, "")) in chosen for axis, chosen in wanted.items())
    ]


def _axes(plan: Plan) -> set[str]:
    return {axis for arm in plan.arms for axis in arm.coordinates}


def jobs_at(jobs: Mapping[tuple[str, int], Job], arms: Sequence[Arm]) -> list[Job]:
    """The jobs of `arms`, and those of other arms whose results they take values from."""
    names = {arm.key for arm in arms}
    wanted = {place for place in jobs if place[0] in names}
    waited = {(name, seed) for arm, seed in wanted for name in jobs[arm, seed].depends}
    return [job for place, job in jobs.items() if place in wanted | waited]
