"""Players without a model, by name: what somebody sensible reaches in a world, with and without its skill statements.

Each world names its own in its row of the registration table. A player reads the observations that a student reads,
and, where it is asked for with ``+skills``, the skill statements that a teacher is shown. The rates of such players say
what a task leaves to be learned: a learner that a well-informed player beats has not learned what anyone knows.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Generator, Sequence
from typing import Any

import gymnasium as gym

from . import world_entry
from .choices import unknown_choice
from .privileged import StudentView
from .randomness import Key

WITH_SKILLS = "+skills"

# One episode: from the first view, the compact lines of the statements it may read, and the key of its guesses, to a
# generator that yields actions and is sent observations; it ends when the player has nothing left to try.
Play = Callable[[StudentView, Sequence[str], tuple[Key, ...]], Generator[str, str, None]]
# What a world registers: from an environment to how its tasks are played.
MakePlay = Callable[[gym.Env[Any, Any]], Play]


def player_names(env_id: str) -> tuple[str, ...]:
    """The scripted players of an environment, each plain and with the skill statements; none for other environments."""
    entry = world_entry(env_id)
    return tuple(f"{name}{suffix}" for name in (entry.players if entry else ()) for suffix in ("", WITH_SKILLS))


def scripted_play(name: str, env_id: str, env: gym.Env[Any, Any]) -> tuple[Play, bool]:
    """How a player plays an environment, and whether it reads the skill statements.

    Raises:
        ValueError: The environment has no such player, or its tasks are none that the player can read.
    """
    entry = world_entry(env_id)
    base = name.removesuffix(WITH_SKILLS)
    if entry is None or not entry.players:
        raise ValueError(f"{env_id} has no scripted players, got {name!r}: leave it out, or name who plays without one")
    if base not in entry.players:
        raise unknown_choice("scripted player", name, player_names(env_id), env_id)
    module, _, attribute = entry.players[base].partition(":")
    make: MakePlay = getattr(importlib.import_module(module), attribute)
    return make(env), name.endswith(WITH_SKILLS)
