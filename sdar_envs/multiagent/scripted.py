"""Players of one seat as the suite's scripted players, so that `sdar eval --agent generic` can name them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Generator, Sequence
from typing import Any

import gymnasium as gym

from ..privileged import StudentView
from ..randomness import Key
from .player import Player

# From the first view and the statements that may be read to who plays.
Choose = Callable[[StudentView, Sequence[str]], Player]
Play = Callable[[StudentView, Sequence[str], tuple[Key, ...]], Generator[str, str, None]]

# What the worlds answer to an action that was not understood.
_REFUSALS = ("Nothing happens.", "not understood.")


def played_by(choose: Choose) -> Callable[[gym.Env[Any, Any]], Play]:
    """A world's scripted player, from the function that chooses who plays.

    Of a view, a player is shown the instruction, the role, the turn and what was observed last.
    """

    def make(env: gym.Env[Any, Any]) -> Play:
        def play(view: StudentView, statements: Sequence[str], key: tuple[Key, ...]) -> Generator[str, str, None]:
            player = choose(view, statements)
            while True:
                observation = yield player.act(dataclasses.replace(view, draw=key))
                view = dataclasses.replace(
                    view,
                    observation=observation,
                    turn=view.turn + 1,
                    is_action_valid=not observation.startswith(_REFUSALS),
                )

        return play

    return make
