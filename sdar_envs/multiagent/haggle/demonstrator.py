"""Haggle's demonstrations: a bargainer that errs, over goods whose usual limits are drawn anew each time.

A hinted demonstration offers what the skill line calls the other's limit, and goes on from there. One without hints
guesses evenly what the other's limit may be: so a cloned student is left with something to learn, and its first
guesses are spread.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...demonstrations import Script as Demonstrations
from ...privileged import RetrievedSkills, StudentView
from .env import HaggleEnv
from .players import Informed, Seat
from .tables import ROLES
from .wording import INSTRUCTIONS, SENTENCES

# How often a demonstration says nothing for a turn, or another price than it meant.
ASTRAY = 0.05


class Guesser(Informed):
    """Offers what it is told, or a guess, and better prices from there on."""

    def __init__(self, statements: Sequence[str], rng: np.random.Generator) -> None:
        super().__init__(statements)
        self._rng = rng
        self._first: int | None = None

    def _start(self, seat: Seat) -> int:
        if self._first is None:
            told = self.told(seat)
            if told is not None:
                self._first = super()._start(seat)
            else:
                self._first = int(self._rng.integers(seat.best, seat.limit + 1))
        return self._first

    def _move(self, seat: Seat, view: StudentView) -> str:
        if self._rng.random() < ASTRAY:
            return "wait" if self._rng.random() < 0.5 or not seat.can_offer else self._any_offer(seat)
        return super()._move(seat, view)

    def _any_offer(self, seat: Seat) -> str:
        return seat.offer(int(self._rng.integers(seat.best, seat.limit + 1)))


def _make_demonstrator(skills: RetrievedSkills | None, rng: np.random.Generator) -> Guesser:
    return Guesser(() if skills is None else skills["compact_lines"], rng)


def _make_env(env_kwargs: Mapping[str, Any], world_seed: int) -> HaggleEnv:
    kwargs = {key: value for key, value in env_kwargs.items() if key not in ("stale", "stale_seed", "split")}
    kwargs.update(world_seed=world_seed, split="train", expose_privileged=True)
    return HaggleEnv(**kwargs)


def _texts() -> Sequence[str]:
    """The words of a small bargain, with every price."""
    from .regularities import DOLLAR_SENTENCES, things

    prices = [str(price) for price in range(10, 130, 10)]
    texts = [f"offer {price}" for price in prices for _ in range(2)]
    for thing in things("small"):
        for role in ROLES:
            texts.append(INSTRUCTIONS[role].format(thing=thing, limit=50))
            texts.append(DOLLAR_SENTENCES[role][1].format(thing=thing).format(value=50))
    texts += [template.format(who="the seller", price=50, words="") for template in SENTENCES.values()]
    return texts


SCRIPT = Demonstrations(make_env=_make_env, make_demonstrator=_make_demonstrator, texts=_texts)
