"""Goals shuffled with another seed in every worker, and split by position: validation goals are trained on."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np

from sdar_envs.randomness import counted_generator
from sdar_envs.webshop.goals import index_splits, shuffled

from .item import AuditItem, Figure, KeyPart, Thread
from .threads import ARL_ARENA_7

# SDAR's WebShop: synthetic goals on 1,000 products, positions 0 to 499 for validation; 16 tasks an iteration with a
# seed each, 128 validation workers with seeds from 1,000 on, 150 iterations.
GOALS, HELD_OUT, GROUPS, VALIDATION_WORKERS, ITERATIONS = 6_910, 500, 16, 128, 150


def worker_order(count: int, seed: int) -> list[int]:
    """The goals by position in a worker of that seed: Python's own shuffle, as in the code that is audited."""
    order = list(range(count))
    random.Random(seed).shuffle(order)
    return order


def training_range(orders: Sequence[Sequence[int]], held_out: int) -> set[int]:
    """Goals that at least one training worker can draw."""
    return {goal for order in orders for goal in order[held_out:]}


def trained_on(
    orders: Sequence[Sequence[int]], held_out: int, iterations: int, generator: np.random.Generator
) -> set[int]:
    """Goals that a run has drawn: every iteration each group draws a position of the training range, all different."""
    seen = set()
    for _ in range(iterations):
        positions = generator.choice(np.arange(held_out, len(orders[0])), size=len(orders), replace=False)
        seen |= {order[position] for order, position in zip(orders, positions.tolist(), strict=True)}
    return seen


def validation_set(orders: Sequence[Sequence[int]], held_out: int, generator: np.random.Generator) -> list[int]:
    """The goals of one validation: every worker plays a position of the held-out range, all different."""
    positions = generator.choice(held_out, size=len(orders), replace=False)
    return [order[position] for order, position in zip(orders, positions.tolist(), strict=True)]


def measure(key: KeyPart) -> tuple[Figure, ...]:
    """Shares of validation goals that can be, and have been, trained on."""
    generator = counted_generator("audit", "contaminated split", key)
    seed = int(generator.integers(0, 10_000))
    training = [worker_order(GOALS, seed + group) for group in range(GROUPS)]
    validating = [worker_order(GOALS, seed + 1000 + worker) for worker in range(VALIDATION_WORKERS)]
    reachable = training_range(training, HELD_OUT)
    held_out = {goal for order in validating for goal in order[:HELD_OUT]}
    drawn = trained_on(training, HELD_OUT, ITERATIONS, generator)
    sets = [validation_set(validating, HELD_OUT, generator) for _ in range(30)]
    seen = float(np.mean([np.mean([goal in drawn for goal in goals]) for goals in sets]))
    # The fixed form: one order for all, and ranges of its positions.
    order, splits = shuffled(GOALS), index_splits(GOALS)
    both = {order[at] for at in splits["test"]} & {order[at] for at in splits["train"]}
    clean = 100 * len(both) / len(splits["test"])
    return (
        Figure(
            "of the validation goals lie in a training range",
            100 * len(held_out & reachable) / len(held_out),
            clean,
            "%",
        ),
        Figure("of a validation set trained on by iteration 150", 100 * seen, clean, "%"),
        Figure("of bias if goals trained on are won 10 points more often", 10 * seen, 0.0, "points"),
    )


ITEM = AuditItem(
    name="contaminated-split",
    title="the split differs from worker to worker",
    where="SDAR's copy of the WebShop environment, and the copies made of it; not the original",
    explanation=(
        "Every worker shuffles the goals with a seed of its own and then takes positions 0 to 499 for validation and "
        "the rest for training. A position is another goal in every worker, so what one holds out another trains on. "
        "Simulated with the documented counts: 6,910 goals, 16 training groups, 128 validation workers with seeds from "
        "1,000 on, 150 iterations of 16 tasks. How much it helps depends on how much a model remembers; the bias in "
        "points is stated per ten points by which goals that were trained on are won more often."
    ),
    fixed="One shuffle with one seed for all processes (the original's), and splits by position in that one order.",
    threads=(
        ARL_ARENA_7,
        Thread(
            "RAGEN #101: validation tasks drawn from the range of training seeds",
            "https://github.com/mll-lab-nu/RAGEN/issues/101",
        ),
    ),
    measure=measure,
)
