"""The outcome of an episode, as far as advantages and filters need it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EpisodeOutcome:
    """Return, success and length of an episode; `failed` when its environment broke.

    `role` is the seat that was played in a world of several roles, "" elsewhere.
    """

    episode_id: int
    group_id: int
    return_: float
    failed: bool = False
    success: bool = False
    turns: int = 0
    role: str = ""
