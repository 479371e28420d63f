"""Three games of TextArena (github.com/LeonGuertler/TextArena) for one player, with their default wrappers.

With `careful`, every episode has a game of its own, which gets text that can be encoded.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import textarena as ta
from text_game import Played, TextGame


class _Game(TextGame):
    name = ""

    def __init__(self, exchange: int = 0, render_mode: str | None = None, careful: bool = False) -> None:
        super().__init__(render_mode)
        self.game = ta.make(self.name)
        self.exchange, self.careful = exchange, careful

    def begin(self, seed: int) -> str:
        if self.careful:
            self.game = ta.make(self.name)
        self.game.reset(num_players=1, seed=seed)
        for _ in range(self.exchange):
            self.exchange_secret(self.game.state.game_state)
        return str(self.game.get_observation()[1])

    def exchange_secret(self, state: dict[str, Any]) -> None:
        raise NotImplementedError

    def play(self, action: str) -> Played:
        if self.careful:
            action = action.encode("utf-8", "replace").decode()
        over, _ = self.game.step(action)
        reward = float(self.game.close()[0][0]) if over else 0.0
        return Played(str(self.game.get_observation()[1]), reward, over, over and reward == 1.0)


class Blackjack(_Game):
    """Five hands against a dealer, one of whose cards lies face down."""

    name = "Blackjack-v0"
    actions = ("[Hit]", "[Stand]")

    def exchange_secret(self, state: dict[str, Any]) -> None:
        state["dealer_hand"][1] = "2♠" if state["dealer_hand"][1] != "2♠" else "3♥"  # the card that lies face down


class GuessTheNumber(_Game):
    """1 to 50 in ten guesses."""

    name = "GuessTheNumber-v0-hardcore"
    actions = tuple(f"[{number}]" for number in range(1, 51))

    def exchange_secret(self, state: dict[str, Any]) -> None:
        game = self.game
        while hasattr(game, "env"):
            game = game.env
        game.game_number = state["game_number"] = 51 - state["game_number"]


class Mastermind(_Game):
    """Four of six digits in twenty guesses."""

    name = "Mastermind-v0"
    actions = tuple(f"[{' '.join(code)}]" for code in itertools.permutations("123456", 4))

    def exchange_secret(self, state: dict[str, Any]) -> None:
        state["secret_code"].reverse()


def solve(env: _Game, observation: str, info: Mapping[str, Any]) -> str:
    """The right answer of the two games that have one."""
    state = env.game.state.game_state
    return f"[{state['game_number']}]" if "game_number" in state else f"[{' '.join(map(str, state['secret_code']))}]"
