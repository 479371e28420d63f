"""A task of ScienceWorld (github.com/allenai/ScienceWorld) as it comes: a simulator in a Java virtual machine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scienceworld import ScienceWorldEnv
from text_game import Played, TextGame


class FindLivingThing(TextGame):
    """Find a living thing and bring it to the box. The seed draws one of the variations that are for training.

    Args:
        careful: A new virtual machine for every episode, and actions that can be encoded.
    """

    task = "find-living-thing"
    horizon = 30

    def __init__(self, careful: bool = False, render_mode: str | None = None) -> None:
        super().__init__(render_mode)
        self.careful = careful
        self.game = self.made()
        self.game.load(self.task, 0, "easy")
        self.variations = self.game.get_variations_train()
        self.played = False

    def made(self) -> ScienceWorldEnv:
        """A simulator; its own limit is one step later, so that the horizon is what ends an episode."""
        return ScienceWorldEnv("", envStepLimit=self.horizon + 1)

    def begin(self, seed: int) -> str:
        if self.careful and self.played:
            self.game.close()
            self.game = self.made()
        self.played = True
        self.game.load(self.task, self.variations[seed % len(self.variations)], "easy", generateGoldPath=True)
        text, self.said = self.game.reset()
        self.gold = self.game.get_gold_action_sequence()
        return f"{self.game.get_task_description()}\n\n{text}"

    def play(self, action: str) -> Played:
        sent = action.encode("utf-8", "replace").decode() if self.careful else action
        text, reward, over, self.said = self.game.step(sent)
        return Played(text, reward / 100, over, self.said["score"] == 100)

    def about(self) -> dict[str, Any]:
        return {"admissible_actions": self.said["valid"]}

    def close(self) -> None:
        self.game.close()


def answers(env: FindLivingThing) -> list[str]:
    """The whole solution, as one text."""
    return [", ".join(env.gold)]


def solve(env: FindLivingThing, observation: str, info: Mapping[str, Any]) -> str:
    """Its next action."""
    return str(env.gold[env.turns]) if env.turns < len(env.gold) else "look around"
