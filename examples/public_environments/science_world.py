"""A task of ScienceWorld (github.com/allenai/ScienceWorld), which is a Java program behind a gateway."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import scienceworld
from text_game import Played, TextGame


class FindLivingThing(TextGame):
    """Its variations are chosen by the seed; the valid actions, some hundreds, are not listed."""

    horizon = 30

    def __init__(self, render_mode: str | None = None) -> None:
        super().__init__(render_mode)
        self.world = scienceworld.ScienceWorldEnv("", envStepLimit=self.horizon)

    def begin(self, seed: int) -> str:
        variations = self.world.get_max_variations("find-living-thing")
        self.world.load("find-living-thing", seed % variations, "easy", generateGoldPath=True)
        text, info = self.world.reset()
        self.path: list[str] = list(self.world.get_gold_action_sequence())
        return f"{info['taskDesc']}\n{text}"

    def play(self, action: str) -> Played:
        text, reward, over, info = self.world.step(action)
        return Played(str(text), reward / 100, over, over and info["score"] == 100)

    def close(self) -> None:
        self.world.close()


def answers(env: FindLivingThing) -> list[str]:
    """The solution that the world was asked for, as one text."""
    return [", ".join(env.path)]


def solve(env: FindLivingThing, observation: str, info: Mapping[str, Any]) -> str:
    """Its next action; it holds from the start alone."""
    return env.path[min(env.turns, len(env.path) - 1)]
