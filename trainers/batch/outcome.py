"""What an episode came to, as far as advantages and filters need it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EpisodeOutcome:
    """What an advantage, or a choice among episodes, needs of one; `failed` when its environment broke."""

    episode_id: int
    group_id: int
    return_: float
    failed: bool = False
    success: bool = False
    turns: int = 0
