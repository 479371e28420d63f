"""One run each: what two figures of 128 episodes say about two methods."""

from __future__ import annotations

import numpy as np

from sdar_envs.randomness import counted_generator

from ..outcomes import Spread
from ..power import Claim, Design
from ..power_simulation import differences
from .item import AuditItem, Figure, KeyPart, Thread
from .threads import SDAR_13, SDAR_43, SDAR_57

RATE, COMPARISONS = 0.8, 4_000
# As `sdar power` assumes, for methods that are equally good on every task.
SPREAD = Spread(task=0.283, effect=0.0, seed=0.027, residual=0.1)
PUBLISHED = Design(128, paired=False)
FIXED = Design(400, seeds=10, own_tasks=True)
CLAIMED = 0.094


def by_chance(spread: Spread, design: Design, key: KeyPart) -> np.ndarray:
    """Absolute differences between two equally good arms."""
    generator = counted_generator("audit", "one seed", key, str(design), str(spread))
    count = max(1, 400_000 // design.episodes)
    parts = [
        differences(Claim(RATE, 0.0, spread), design, count, generator).mean(axis=(1, 2))
        for _ in range(-(-COMPARISONS // count))
    ]
    return np.asarray(np.abs(np.concatenate(parts))[:COMPARISONS])


def measure(key: KeyPart) -> tuple[Figure, ...]:
    """The difference that chance alone makes in 95 of 100 comparisons, and how often it makes the claimed one."""
    one, many = by_chance(SPREAD, PUBLISHED, key), by_chance(SPREAD, FIXED, key)
    coins = by_chance(Spread(0.0, 0.0, 0.0, 0.0), PUBLISHED, key)
    apart = [100 * float(np.quantile(found, 0.95)) for found in (one, many, coins)]
    claimed = [100 * float((found >= CLAIMED).mean()) for found in (one, many)]
    return (
        Figure("by which two equal methods differ (95 % of comparisons)", apart[0], apart[1], "points"),
        Figure("the same for a coin of 80 %, 128 tosses each, no seeds", apart[2], None, "points"),
        Figure("of comparisons of equal methods show 9.4 points or more", claimed[0], claimed[1], "%"),
    )


ITEM = AuditItem(
    name="one-seed",
    title="one run of each method",
    where="tables of SDAR and of most of its successors, as far as their text shows",
    explanation=(
        "Two figures of 128 single samples at 80 % differ by up to 9.8 points by chance, 1.96 sqrt(2 p (1 - p) / 128), "
        "if all runs of a method are equally good; a training run adds a spread of its own, 2.7 points in this "
        "suite's household study. The claimed gain is 9.4. Simulated for two methods that are equally good on every "
        "task, half of an outcome's variance between tasks; beside it ten paired seeds on 400 tasks each. `sdar power` "
        "answers the same for other sizes."
    ),
    fixed="Paired seeds, a decision rule that is written before the runs, and `sdar power` for the size.",
    threads=(
        SDAR_13,
        SDAR_43,
        SDAR_57,
        Thread(
            "tau2-bench #540: two single runs must differ by 5 to 11 points to say anything",
            "https://github.com/sierra-research/tau2-bench/issues/540",
        ),
    ),
    measure=measure,
)
