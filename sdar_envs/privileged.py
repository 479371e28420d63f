"""The information barrier: what an agent may read on one side, what only a teacher may read on the other.

`split_info` is the one place where an environment's `info` is divided between them. `StudentView` has no field that
could hold privileged text; `Privileged` shows nothing of itself unless `reveal` is called, which only
`agents/teacher.py`, agents that declare `reads_privileged`, and tools that say so on screen do.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypedDict, cast


class RetrievedSkills(TypedDict):
    """What the environment's skill bank returned for this episode.

    `lines` and `compact_lines` are the same skill statements, at full length and for tiny models; `claim_ids` and
    `stale` run parallel to them.
    """

    general: str
    task: str
    lines: list[str]
    compact_lines: list[str]
    claim_ids: list[str]
    stale: list[bool]


def copied_skills(skills: RetrievedSkills) -> RetrievedSkills:
    """A copy whose lists are nobody else's: `info` is the reader's own."""
    return {
        "general": skills["general"],
        "task": skills["task"],
        "lines": list(skills["lines"]),
        "compact_lines": list(skills["compact_lines"]),
        "claim_ids": list(skills["claim_ids"]),
        "stale": list(skills["stale"]),
    }


class PrivilegedFields(TypedDict):
    """The fixed keys of ``info["privileged"]``: plain JSON values.

    `plan` holds the remaining optimal actions from the present state and `next_action` its head (``""`` when the
    episode is won). `hints` are short sentences, each more helpful than the one before. `facts` are the world's own
    fields.
    """

    task_type: str
    plan: list[str]
    next_action: str
    hints: list[str]
    facts: dict[str, Any]
    skills: RetrievedSkills


PRIVILEGED_KEYS = frozenset(PrivilegedFields.__annotations__)
SKILL_KEYS = frozenset(RetrievedSkills.__annotations__)


@dataclass(frozen=True, slots=True)
class StudentView:
    """Everything an agent may read before it acts.

    `slot` names the place in the batch whose episode this is, `turn` counts from 0 at reset, and `draw` is the key of
    the episode's counted randomness. `role` is the seat that acts, "" where a world has but one.
    """

    observation: str
    instruction: str = ""
    task_id: str = ""
    task_type: str = ""
    skill_keys: tuple[str, ...] = ()
    admissible_actions: tuple[str, ...] = ()
    is_action_valid: bool = True
    slot: int = 0
    turn: int = 0
    draw: tuple[int | str, ...] = ()
    role: str = ""


class Privileged:
    """What only the teacher may read of one state; its text forms are ``<privileged>`` until `reveal` is called."""

    __slots__ = ("_fields",)

    def __init__(self, fields: Mapping[str, Any]) -> None:
        self._fields = copy.deepcopy(dict(fields))

    def reveal(self) -> PrivilegedFields:
        """Return a copy of the fields. Every call site is on the teacher's side of the barrier."""
        return cast(PrivilegedFields, copy.deepcopy(self._fields))

    def __repr__(self) -> str:
        return "<privileged>"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return format("<privileged>", spec)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Privileged) and self._fields == other._fields

    __hash__ = None  # type: ignore[assignment]  # mutable mapping inside


def split_info(
    observation: str,
    info: Mapping[str, Any],
    *,
    slot: int = 0,
    turn: int = 0,
    draw: tuple[int | str, ...] = (),
) -> tuple[StudentView, Privileged | None]:
    """Split what an environment returned into the student's side and the teacher's.

    Environments of third parties may lack any key, or hold None: the student's fields then have their defaults, and the
    privileged side is None when ``info`` has no ``"privileged"`` mapping.
    """
    view = StudentView(
        observation=observation,
        instruction=_text(info.get("instruction")),
        task_id=_text(info.get("task_id")),
        task_type=_text(info.get("task_type")),
        skill_keys=_texts(info.get("skill_keys")),
        admissible_actions=_texts(info.get("admissible_actions")),
        is_action_valid=bool(info.get("is_action_valid", True)),
        slot=slot,
        turn=turn,
        draw=draw,
        role=_text(info.get("role")),
    )
    privileged = info.get("privileged")
    return view, Privileged(privileged) if isinstance(privileged, Mapping) else None


def _text(value: object) -> str:
    return "" if value is None else str(value)


def _texts(value: Iterable[object] | None) -> tuple[str, ...]:
    if value is None:
        return ()
    return (value,) if isinstance(value, str) else tuple(str(part) for part in value)
