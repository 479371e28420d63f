"""An agent that plays by counted draws, for drills: the same episodes whenever and wherever they are played."""

from __future__ import annotations

from collections.abc import Sequence

from agents.base import Action
from sdar_envs.privileged import Privileged, StudentView
from sdar_envs.randomness import counted_generator

_WORDS = ("look", "inventory", "go north", "search[coin]", "open 1", "help", "")


class DrawnAgent:
    """Plays one of the admissible actions, or of a few words where none are listed."""

    reads_privileged = False

    def act(self, views: Sequence[StudentView], privileged: Sequence[Privileged | None] | None = None) -> list[Action]:
        """One action per view."""
        return [self._action(view) for view in views]

    def _action(self, view: StudentView) -> Action:
        choices = view.admissible_actions or _WORDS
        text = choices[int(counted_generator(*view.draw, "act", view.turn).integers(len(choices)))]
        return Action(text, text)
