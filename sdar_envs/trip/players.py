"""The trips' players by name: those of `bookers`."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

import gymnasium as gym

from ..privileged import StudentView
from ..randomness import Key
from ..scripted_players import Play
from .bookers import Booker, NaiveBooker
from .env import TripEnv


def generic(env: gym.Env[Any, Any]) -> Play:
    """Asks its one question, reads calendar, policy and old bookings, guesses the rest, and books the cheapest fit."""
    trips = env.unwrapped
    assert isinstance(trips, TripEnv)
    size, horizon = trips.size, trips.horizon

    def play(view: StudentView, statements: Sequence[str], key: tuple[Key, ...]) -> Generator[str, str, None]:
        return Booker(size, statements, key, calls=horizon).play(view.instruction)

    return play


def cheapest(env: gym.Env[Any, Any]) -> Play:
    """Books the cheapest flight, hotel and dinner that can be had."""
    return _naive("price")


def first_hit(env: gym.Env[Any, Any]) -> Play:
    """Books the first flight, hotel and dinner that can be had."""
    return _naive("listed")


def _naive(sort: str) -> Play:
    def play(view: StudentView, statements: Sequence[str], key: tuple[Key, ...]) -> Generator[str, str, None]:
        return NaiveBooker(sort).play(view.instruction)

    return play
