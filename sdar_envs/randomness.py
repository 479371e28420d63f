"""Counted randomness: a generator is a function of a key, never a position in a shared stream.

So an episode that is replayed, reordered, or run by another worker draws the same numbers, and nothing depends on
the hash seed or on global state.
"""

from __future__ import annotations

import hashlib

import numpy as np

Key = int | str


def key_entropy(*key: Key) -> list[int]:
    """Map a key to the non-negative integers that seed it; strings enter by their SHA-256, not by ``hash()``."""
    entropy: list[int] = []
    for part in key:
        if isinstance(part, str):
            entropy.append(int.from_bytes(hashlib.sha256(part.encode("utf-8", "surrogatepass")).digest()[:8], "big"))
        else:
            # Zig-zag keeps negative integers apart from positive ones; SeedSequence takes only non-negative words.
            entropy.append(2 * part if part >= 0 else -2 * part - 1)
    return entropy


def counted_generator(*key: Key) -> np.random.Generator:
    """The generator of `key`: the same key gives the same draws in any process, order, or machine."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(key_entropy(*key))))
