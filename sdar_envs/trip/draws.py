"""Counted draws for generated tables: many small integers of one key, cheaper than a call of numpy for each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from ..randomness import Key, counted_generator

T = TypeVar("T")

_BLOCK = 512


class Draws:
    """Integers, choices and orders that are a function of a key.

    Args:
        *key: As of `counted_generator`.
    """

    def __init__(self, *key: Key) -> None:
        self._key = key
        self._words: list[int] = []
        self._blocks = 0

    def below(self, bound: int) -> int:
        """An integer from 0 to `bound` - 1."""
        if not self._words:
            # Each block has a key of its own, so that the draws do not depend on the size of blocks before it.
            generator = counted_generator(*self._key, "block", self._blocks)
            self._words = generator.integers(1 << 32, size=_BLOCK).tolist()
            self._blocks += 1
        return (self._words.pop() * bound) >> 32

    def between(self, low: int, high: int, step: int = 1) -> int:
        """One of `low`, `low` + `step`, ... up to `high` included."""
        return low + step * self.below((high - low) // step + 1)

    def chance(self, probability: float) -> bool:
        """True with a probability."""
        return self.below(1_000_000) < probability * 1_000_000

    def choice(self, options: Sequence[T]) -> T:
        """One of several."""
        return options[self.below(len(options))]

    def order(self, options: Sequence[T]) -> list[T]:
        """All of them, in a drawn order."""
        drawn = list(options)
        for last in range(len(drawn) - 1, 0, -1):
            other = self.below(last + 1)
            drawn[last], drawn[other] = drawn[other], drawn[last]
        return drawn
