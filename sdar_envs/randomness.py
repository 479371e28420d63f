"""Counted randomness: a generator is a function of a key, never a position in a shared stream.

So an episode that is replayed, reordered, or run by another worker draws the same numbers, and nothing depends on
the hash seed or on global state.
"""

from __future__ import annotations

import hashlib
import operator

import numpy as np

Key = int | str


def key_entropy(*key: Key) -> list[int]:
    """Map a key to the eight 32-bit words that seed it.

    The words are the SHA-256 of an encoding in which different keys differ. `SeedSequence` alone would not do: it takes
    ``(5,)`` and ``(5, 0)`` for the same entropy, and knows no strings.

    Raises:
        TypeError: A part is neither an integer nor a string.
    """
    digest = hashlib.sha256()
    for part in key:
        if isinstance(part, str):
            encoded = part.encode("utf-8", "surrogatepass")
            digest.update(b"s%d:" % len(encoded) + encoded)
        else:
            digest.update(b"i%d;" % operator.index(part))
    words = digest.digest()
    return [int.from_bytes(words[at : at + 4], "big") for at in range(0, 32, 4)]


def counted_generator(*key: Key) -> np.random.Generator:
    """The generator of `key`: the same key gives the same draws in any process, order, or machine."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(key_entropy(*key))))
