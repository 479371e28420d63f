"""Prices and price bounds drawn with the worker's seed: one goal, other texts."""

from __future__ import annotations

import random

import numpy as np

from sdar_envs.randomness import counted_generator
from sdar_envs.webshop.goals import draw_bound

from .item import AuditItem, Figure, KeyPart
from .threads import ARL_ARENA_7, SDAR_58

GOALS, VALIDATION_WORKERS = 2_000, 128


def bounds(prices: list[float], seed: int) -> list[float]:
    """The upper price of each goal as a worker of that seed draws it."""
    rng = random.Random(seed)
    return [draw_bound(price, rng)[0] for price in prices]


def measure(key: KeyPart) -> tuple[Figure, ...]:
    """Goals whose text differs between two workers, and how many texts a goal has among all."""
    generator = counted_generator("audit", "prices", key)
    prices = np.exp(generator.uniform(np.log(5.0), np.log(200.0), size=GOALS)).tolist()
    seeds = [int(seed) for seed in generator.choice(1_000_000, size=VALIDATION_WORKERS, replace=False)]
    drawn = np.array([bounds(prices, seed) for seed in seeds])
    other = float((drawn[0] != drawn[1]).mean())
    texts = float(np.mean([len(set(column)) for column in drawn.T.tolist()]))
    once = np.array([bounds(prices, seeds[0]) for _ in range(2)])
    return (
        Figure(
            "of the goals have another text on another worker",
            100 * other,
            100 * float((once[0] != once[1]).mean()),
            "%",
        ),
        Figure("texts of a goal among 128 workers", texts, 1.0, "texts"),
    )


ITEM = AuditItem(
    name="prices-per-worker",
    title="a goal has another price bound on every worker",
    where="SDAR's copy of the WebShop environment; in the original, from one process to the next",
    explanation=(
        "A goal's bound is the larger of two of the next four multiples of ten above the price, drawn while the worker "
        "starts, with the worker's seed. Two draws differ with probability 11/18 whatever the price, and where a "
        "product has a range of prices the price is drawn too. So one task is several, harder and easier ones, and two "
        "runs with other numbers of workers are on other tasks. Simulated for 2,000 prices between 5 and 200 dollars."
    ),
    fixed="`price_seed` draws all prices and bounds once, in the original's order, the same in every process.",
    threads=(ARL_ARENA_7, SDAR_58),
    measure=measure,
)
