"""What a teacher may know of a task at its start, as one text: the `demonstration` that prime-rl's `opsd` looks for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from sdar_envs.privileged import PrivilegedFields

Hint = Literal["none", "plan", "hints", "skill"]


def _plan(known: PrivilegedFields) -> str:
    return "These actions solve the task, one a turn:\n" + "\n".join(known["plan"])


def _hints(known: PrivilegedFields) -> str:
    return "\n".join(known["hints"])


def _skill(known: PrivilegedFields) -> str:
    skills = known["skills"]
    return "\n\n".join(text for text in (skills["general"], skills["task"], "\n".join(skills["lines"])) if text)


_TEXTS: dict[str, Callable[[PrivilegedFields], str]] = {"plan": _plan, "hints": _hints, "skill": _skill}


def demonstration(hint: Hint, known: PrivilegedFields) -> str | None:
    """The text of a hint; None for "none"."""
    return None if hint == "none" else _TEXTS[hint](known)
