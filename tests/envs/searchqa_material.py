"""Passages and vectors that tests of the retrieval index, build from nothing, without FAISS."""

from __future__ import annotations

import numpy as np

from sdar_envs.randomness import counted_generator

TEXTS = [f'"Thing {n}"\nThis is entry number {n} about topic {n % 7} and colour {n % 5}.' for n in range(300)]


def unit_vectors(rows: int, dim: int, seed: int = 0) -> np.ndarray:
    vectors = counted_generator("vectors", seed).standard_normal((rows, dim)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
