"""A game or a seat of one by its id: ``sdar/Haggle-v0`` is one seat, as an environment; ``sdar/haggle-v0`` is the game.

A command needs one of the two, so either word is taken for what makes sense there, and it is said which was taken.
"""

from __future__ import annotations

import sys

import sdar_envs
from sdar_envs.choices import require_choice


def seat_id(env_id: str) -> str:
    """The environment that a word stands for where one seat is wanted: of a game's id, its seat; else the word."""
    entry = sdar_envs.GAMES.get(env_id)
    if entry is None:
        return env_id
    say(f"{env_id} is the game of all roles; taken here is one seat of it, {entry.env_id}")
    return entry.env_id


def game_id(word: str) -> str:
    """The game that a word stands for where all roles are wanted: of a seat's id, its game.

    Raises:
        ValueError: It is neither a game nor a seat of one; the message lists the games and the nearest.
    """
    if word in sdar_envs.GAMES:
        return word
    entry = sdar_envs.WORLDS.get(word)
    if entry is not None and entry.game_id is not None:
        say(f"{word} is one seat; taken here is the game of all roles, {entry.game_id}")
        return entry.game_id
    return require_choice("game", word, sdar_envs.GAMES, "sdar")


def say(line: str) -> None:
    """Say on standard error what was taken."""
    print(f"sdar: {line}", file=sys.stderr)
