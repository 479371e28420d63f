"""The questions' player by name: `searchers.Searcher`, in generated worlds."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

import gymnasium as gym

from ..privileged import StudentView
from ..randomness import Key, counted_generator
from ..scripted_players import Play
from .env import SearchQAEnv
from .searchers import STYLES, Searcher, read_question


def generic(env: gym.Env[Any, Any]) -> Play:
    """Takes a question apart and looks up one fact after the other; guesses where the world files what.

    Raises:
        ValueError: The questions are not those of a generated world, or passages are shown in a style that the player
            does not read.
    """
    asked = env.unwrapped
    assert isinstance(asked, SearchQAEnv)
    try:
        read_question(asked.tasks.load(asked.task_ids()[0]).question, asked.size)
    except ValueError as error:
        raise ValueError(f"the player generic reads the questions of generated worlds alone: {error}") from None
    if asked.passage_style != STYLES[asked.size]:
        raise ValueError(
            f"the player generic expects passage_style={STYLES[asked.size]!r} in size {asked.size!r}, "
            f"got {asked.passage_style!r}: pass --env-kwargs passage_style={STYLES[asked.size]}"
        )

    def play(view: StudentView, statements: Sequence[str], key: tuple[Key, ...]) -> Generator[str, str, None]:
        rng = counted_generator("searcher", *key)
        return Searcher(asked.size, statements, rng, asked.horizon).play(view.instruction)

    return play
