"""Which privileges an environment fills: what a teacher of it could be shown, from the fields of one state."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sdar_envs.privileged import Privileged, StudentView

from .teacher import Teacher

# In the order in which they are advised: what holds for an episode before what changes from state to state.
_ADVISED = ("skill", "hints", "facts", "plan", "next_action")


def offered_privileges(fields: Mapping[str, Any]) -> tuple[str, ...]:
    """The privileges whose fields hold something in one state of an environment.

    Args:
        fields: ``info["privileged"]``; any key may be missing.
    """
    skills = fields.get("skills")
    skill = isinstance(skills, Mapping) and any(map(skills.get, ("lines", "compact_lines", "general", "task")))
    filled = {name: bool(fields.get(name)) for name in _ADVISED} | {"skill": skill}
    return tuple(name for name in _ADVISED if filled[name])


def empty_share(
    teacher: Teacher, episodes: Iterable[tuple[Sequence[StudentView], Sequence[Privileged | None]]]
) -> float | None:
    """The share of episodes in which a teacher is shown nothing at any turn; None where that cannot be said.

    Args:
        teacher: Words the contexts.
        episodes: What the student saw before each action, and the sealed fields parallel to it.
    """
    if teacher.skill_choice is not None:  # asking would be a choice of its own
        return None
    empty = [
        not any(known is not None and teacher.block(known, view) for view, known in zip(*episode, strict=False))
        for episode in episodes
        if episode[0]
    ]
    return sum(empty) / len(empty) if empty else None
