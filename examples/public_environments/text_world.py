"""A game of TextWorld (github.com/microsoft/TextWorld) as it comes, played by its own interpreter.

The game is made by: tw-make tw-coin_collector --level 5 --seed 1 --output games/coin.z8
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import textworld
from text_game import Played, TextGame

GAME = Path("games", "coin.z8")


class CoinCollector(TextGame):
    """One game; a seed changes nothing."""

    horizon = 15

    def __init__(self, render_mode: str | None = None) -> None:
        super().__init__(render_mode)
        asked = textworld.EnvInfos(policy_commands=True, admissible_commands=True, won=True)
        self.game = textworld.start(str(GAME), request_infos=asked)

    def begin(self, seed: int) -> str:
        self.state = self.game.reset()
        return str(self.state.feedback)

    def play(self, action: str) -> Played:
        self.state, reward, over = self.game.step(action)
        return Played(str(self.state.feedback), float(reward or 0), bool(over), bool(self.state.won))

    def about(self) -> dict[str, Any]:
        return {"admissible_actions": list(self.state.admissible_commands)}

    def close(self) -> None:
        self.game.close()


def answers(env: CoinCollector) -> list[str]:
    """The rest of the solution, as one text."""
    return [", ".join(env.state.policy_commands)]


def solve(env: CoinCollector, observation: str, info: Mapping[str, Any]) -> str:
    """Its next action."""
    return str(env.state.policy_commands[0])
