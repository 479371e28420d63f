"""Free text as a Gymnasium space: bounded in length, not in alphabet.

Gymnasium's own `Text` promises a character set, and a page with one accented letter breaks the promise. `FreeText`
promises only that the value is a `str` of bounded length. It is not flattenable and cannot live in shared memory: use
``shared_memory=False`` with `AsyncVectorEnv`, which otherwise refuses it loudly.
"""

from __future__ import annotations

import string
from collections.abc import Iterable, Sequence
from typing import Any

from gymnasium.spaces import Space

_PRINTABLE = string.ascii_letters + string.digits + string.punctuation + " "


class FreeText(Space[str]):
    """All strings of at most `max_length` characters.

    Args:
        max_length: Longest string, in characters.
        samples: What `sample` draws from; without it, random printable ASCII of up to 64 characters.
        seed: Seed of `sample`.

    Raises:
        ValueError: `max_length` is negative, or a sample is not in the space.
    """

    def __init__(self, max_length: int, *, samples: Sequence[str] = (), seed: int | None = None) -> None:
        if max_length < 0:
            raise ValueError(f"FreeText expects max_length >= 0, got {max_length}")
        self.max_length = int(max_length)
        self.samples = tuple(samples)
        for sample in self.samples:
            if not self.contains(sample):
                raise ValueError(f"FreeText({max_length}) expects samples of its own, got {sample!r:.80}")
        super().__init__(shape=None, dtype=None, seed=seed)

    @property
    def is_np_flattenable(self) -> bool:
        """Text has no fixed-size array form."""
        return False

    def sample(self, mask: Any | None = None, probability: Any | None = None) -> str:
        """Draw a string with the space's own generator; masks have no meaning for free text.

        Raises:
            ValueError: A mask or probability was given.
        """
        if mask is not None or probability is not None:
            raise ValueError("FreeText.sample expects neither mask nor probability: free text has no enumerable values")
        if self.samples:
            return self.samples[int(self.np_random.integers(len(self.samples)))]
        length = int(self.np_random.integers(min(64, self.max_length) + 1))
        return "".join(_PRINTABLE[i] for i in self.np_random.integers(len(_PRINTABLE), size=length))

    def contains(self, x: Any) -> bool:
        """Whether `x` is a `str` within the length bound."""
        return isinstance(x, str) and len(x) <= self.max_length

    def to_jsonable(self, sample_n: Iterable[str]) -> list[str]:
        """Strings are JSON already."""
        return list(sample_n)

    def from_jsonable(self, sample_n: list[Any]) -> list[str]:
        """Inverse of `to_jsonable`."""
        return [str(x) for x in sample_n]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FreeText) and (self.max_length, self.samples) == (other.max_length, other.samples)

    def __hash__(self) -> int:
        return hash((self.max_length, self.samples))

    def __repr__(self) -> str:
        return f"FreeText({self.max_length})"
