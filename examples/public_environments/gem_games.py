"""Two games of GEM (github.com/axon-rl/gem)."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import gem
from text_game import Played, TextGame


class _Game(TextGame):
    name = ""

    def __init__(self, exchange: int = 0, render_mode: str | None = None) -> None:
        super().__init__(render_mode)
        self.game = gem.make(self.name)
        self.exchange = exchange

    def begin(self, seed: int) -> str:
        text, info = self.game.reset(seed=seed)
        for _ in range(self.exchange):
            self.exchange_secret(self.game.unwrapped)
        return f"{text}{info.get('suffix', '')}"

    def exchange_secret(self, game: Any) -> None:
        raise NotImplementedError

    def play(self, action: str) -> Played:
        text, reward, terminated, truncated, info = self.game.step(action)
        over = terminated or truncated
        return Played(f"{text}\n{info.get('suffix', '')}", reward, over, over and text.startswith("Congratulations"))


class GuessTheNumber(_Game):
    """1 to 50 in seven guesses."""

    name = "game:GuessTheNumber-v0-hard"
    actions = tuple(f"\\boxed{{{number}}}" for number in range(1, 51))

    def exchange_secret(self, game: Any) -> None:
        game.game_number = 51 - game.game_number


class Mastermind(_Game):
    """Four of eight digits in thirty guesses."""

    name = "game:Mastermind-v0-hard"
    actions = tuple(f"\\boxed{{{' '.join(code)}}}" for code in itertools.permutations("12345678", 4))[::20]

    def exchange_secret(self, game: Any) -> None:
        game.game_code.reverse()


def solve(env: _Game, observation: str, info: Mapping[str, Any]) -> str:
    """The right answer."""
    game = env.game.unwrapped
    answer = [game.game_number] if hasattr(game, "game_number") else game.game_code
    return f"\\boxed{{{' '.join(map(str, answer))}}}"
