"""The store's players by name: those of `shoppers`, in generated stores."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

import gymnasium as gym

from ..privileged import StudentView
from ..randomness import Key
from ..scripted_players import Play
from .env import WebShopEnv
from .shoppers import FirstHit, Shopper


def generic(env: gym.Env[Any, Any]) -> Play:
    """Reads a product's page before it buys, and takes titles that show two cues for lures; guesses the store's rules.

    Raises:
        ValueError: The store plays official goals, whose wording the shopper does not read.
    """
    _require_generated(env)

    def play(view: StudentView, statements: Sequence[str], key: tuple[Key, ...]) -> Generator[str, str, None]:
        return Shopper(statements, key).play(view.observation)

    return play


def first_hit(env: gym.Env[Any, Any]) -> Play:
    """Searches for the whole request, opens the first product, chooses the options that the request names, and buys."""

    def play(view: StudentView, statements: Sequence[str], key: tuple[Key, ...]) -> Generator[str, str, None]:
        return FirstHit().play(view.observation)

    return play


def _require_generated(env: gym.Env[Any, Any]) -> None:
    store = env.unwrapped
    assert isinstance(store, WebShopEnv)
    if store.official:
        raise ValueError(
            "the player generic expects the requests of a generated store, got official goals (data_dir): "
            "use --agent first-hit, random or expert"
        )
