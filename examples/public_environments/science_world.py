"""A task of ScienceWorld (github.com/allenai/ScienceWorld) as it comes: a simulator in a Java virtual machine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scienceworld import ScienceWorldEnv
from text_game import Played, TextGame


class FindLivingThing(TextGame):
    """Find a living thing and bring it to the box. The seed draws one of the variations that are for training."""

    task = "find-living-thing"
    horizon = 30

    def __init__(self, render_mode: str | None = None) -> None:
        super().__init__(render_mode)
        # Its own limit is one step later, so that the horizon is what ends an episode.
        self.game = ScienceWorldEnv("", envStepLimit=self.horizon + 1)
        self.game.load(self.task, 0, "easy")
        self.variations = self.game.get_variations_train()

    def begin(self, seed: int) -> str:
        self.game.load(self.task, self.variations[seed % len(self.variations)], "easy", generateGoldPath=True)
        text, self.said = self.game.reset()
        self.gold = self.game.get_gold_action_sequence()
        return f"{self.game.get_task_description()}\n\n{text}"

    def play(self, action: str) -> Played:
        text, reward, over, self.said = self.game.step(action)
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
