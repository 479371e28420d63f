"""Names of a world: pseudo-words that belong to one split each, so that no name of one split occurs in another.

The full world makes words of two or three syllables; a word belongs to the split that its hash says, whatever the
seed. The small world, for models of about a thousand tokens, has a fixed list of short words, a third for each split;
each is a token of its own, because what takes two tokens takes a tiny model ten times as long to copy.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache

import numpy as np

from ..core import SPLITS
from . import tables

# Tenths of all names, in the order of the splits.
_SHARES = (6, 2, 2)

_ONSETS = tables.words("b br c d dr f g gl h j k kr l m n p qu r s st t th tr v w z")
_VOWELS = tables.words("a e i o u ae ei ia or ar en il an")
_CODAS = ("", "", "", *tables.words("l n r s th m x nd"))


def split_of(name: str) -> str:
    """The split that a name belongs to."""
    number = hashlib.blake2b(name.casefold().encode(), digest_size=8).digest()[0] % sum(_SHARES)
    for split, share in zip(SPLITS, _SHARES, strict=True):
        if number < share:
            return split
        number -= share
    raise AssertionError("the shares cover all remainders")


@cache
def small_names(split: str) -> tuple[str, ...]:
    """The names of the small world that belong to a split: consonant, vowel, consonant."""
    spoken = {onset + vowel + coda for onset in "bdfgklmv" for vowel in "aeiou" for coda in "bdgklnrsz"}
    free = sorted(spoken - tables.small_words(), key=lambda word: hashlib.blake2b(word.encode()).digest())
    each = len(free) // len(SPLITS)
    return tuple(sorted(free[SPLITS.index(split) * each :][:each]))


class NamePool:
    """Draws names for one world, each once.

    Args:
        size: ``full`` or ``small``.
        split: The split whose names are drawn.
        rng: Where the draws come from.
    """

    def __init__(self, size: str, split: str, rng: np.random.Generator) -> None:
        self._size = size
        self._split = split
        self._rng = rng
        self._used: set[str] = set()
        self._short: list[str] = []
        if size == "small":
            own = small_names(split)
            self._short = [own[int(i)] for i in rng.permutation(len(own))]

    def _choice(self, options: Sequence[str]) -> str:
        return options[int(self._rng.integers(len(options)))]

    def word(self) -> str:
        """A new pseudo-word, capitalised; in the small world one of its list."""
        if self._size == "small":
            if not self._short:
                raise ValueError(f"the small world has no unused name left in split {self._split!r}: lower its numbers")
            return self._short.pop()
        while True:
            syllables = 2 + int(self._rng.random() < 0.35)
            body = "".join(self._choice(_ONSETS) + self._choice(_VOWELS) for _ in range(syllables))
            text = body + self._choice(_CODAS)
            if text not in self._used and split_of(text) == self._split:
                self._used.add(text)
                return text.capitalize()

    def person(self, surname: str | None = None) -> str:
        """A given name and a surname; `surname` makes the person share one."""
        if self._size == "small":
            return self.word()
        return f"{self.word()} {surname or self.word()}"

    def organisation(self) -> str:
        """A word and what the organisation is."""
        word = self.word()
        return word if self._size == "small" else self._choice(tables.ORGANISATIONS).format(word=word)

    def work(self) -> str:
        """A title; titles share their nouns."""
        word = self.word()
        if self._size == "small":
            return word
        return self._choice(tables.TITLES).format(noun=self._choice(tables.TITLE_NOUNS), word=word)
