"""The household's players by name: `searchers.Searcher` with three degrees of what anyone may know."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

import gymnasium as gym

from ..privileged import StudentView
from ..randomness import Key
from ..scripted_players import Play
from .env import HouseholdEnv
from .searchers import GENERIC, Frequencies, Searcher, seen_frequencies

# So many training tasks are worth what the true statements are worth (the docs' table of the household).
SEEN_TASKS = 1_500


def _searcher(*, generic: bool, frequencies: Frequencies | None = None) -> Play:
    def play(view: StudentView, statements: Sequence[str], key: tuple[Key, ...]) -> Generator[str, str, None]:
        lines = [*statements, *(GENERIC if generic and not statements else ())]
        return Searcher(lines, key, sensible=generic, frequencies=frequencies).play(view.observation)

    return play


def uninformed(env: gym.Env[Any, Any]) -> Play:
    """Knows nothing of houses: looks in random order, and tries every appliance."""
    return _searcher(generic=False)


def generic(env: gym.Env[Any, Any]) -> Play:
    """Knows what anyone knows of houses: appliances, what is kept where, and to look first at what stands open."""
    return _searcher(generic=True)


def seen(env: gym.Env[Any, Any]) -> Play:
    """The generic player, who has also noted where things stood and belonged in 1,500 training tasks."""
    house = env.unwrapped
    assert isinstance(house, HouseholdEnv)
    frequencies = seen_frequencies(
        SEEN_TASKS, size=house.size, instruction=house.instruction, world_seed=house.world_seed
    )
    return _searcher(generic=True, frequencies=frequencies)
