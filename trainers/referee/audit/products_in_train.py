"""Official goals split by position: products of test are trained on. This one is the original's, and our default."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sdar_envs.randomness import counted_generator
from sdar_envs.webshop.goals import index_splits, shuffled
from sdar_envs.webshop.official_tasks import product_split

from .item import AuditItem, Figure, KeyPart, Thread

GOALS, PRODUCTS = 6_910, 433
# Of 300 real products 130 have goals, 1,982 in all; the logarithm of their number has this mean and deviation.
LOG_MEAN, LOG_DEVIATION = 1.340, 1.517


def goals_per_product(generator: np.random.Generator) -> np.ndarray:
    """Goals of each product, at least one, 6,910 in all: as widely spread as those of the real products at hand."""
    drawn = np.exp(LOG_MEAN + LOG_DEVIATION * generator.standard_normal(PRODUCTS))
    counts = np.maximum(1, np.round(drawn * GOALS / drawn.sum())).astype(int)
    counts[counts.argmax()] += GOALS - counts.sum()
    return np.asarray(counts)


def shared(products: Sequence[str], splits: dict[str, Sequence[int]]) -> tuple[float, float]:
    """Of the goals of `test`, and of their products: the share whose product has goals in `train`, in per cent.

    Args:
        products: The product of each goal, by number.
        splits: Numbers of goals by split.
    """
    train = {products[number] for number in splits["train"]}
    test = [products[number] for number in splits["test"]]
    of_goals = 100 * float(np.mean([product in train for product in test]))
    return of_goals, 100 * float(np.mean([product in train for product in set(test)]))


def split_by_product(products: Sequence[str]) -> dict[str, Sequence[int]]:
    """Numbers of goals by split where all goals of a product are in one."""
    splits: dict[str, list[int]] = {"train": [], "valid": [], "test": []}
    for number, product in enumerate(products):
        splits[product_split(product)].append(number)
    return dict(splits)


def measure(key: KeyPart) -> tuple[Figure, ...]:
    """Of test goals and products, what train has too."""
    counts = goals_per_product(counted_generator("audit", "test products", key))
    by_goal = [f"B{product:09d}" for product, count in enumerate(counts.tolist()) for _ in range(count)]
    products = [by_goal[number] for number in shuffled(GOALS)]
    position = shared(products, dict(index_splits(GOALS)))
    product = shared(products, split_by_product(products))
    return (
        Figure("of the test goals are of a product that has goals in train", position[0], product[0], "%"),
        Figure("of the test products have goals in train", position[1], product[1], "%"),
    )


ITEM = AuditItem(
    name="test-products-in-train",
    title="products of test have goals in train",
    where="the original WebShop's split by position, and this suite's default on official files",
    explanation=(
        "A product has as many synthetic goals as combinations of its options, and the split is by the position of a "
        "goal: sisters of nearly every test goal are trained on, the same title, the same properties, another colour. "
        "Simulated on the layout of 6,910 goals, with numbers of goals per product as widely spread as those of the "
        "130 real products at hand that have any. On these themselves 192 of 198 test goals, and 45 of 51 test "
        "products, have sisters in train (a test, where the data is)."
    ),
    fixed='`split_by="product"` puts all goals of a product into one split; say which of both a success rate is of.',
    threads=(
        Thread(
            "WebShop #1: the splits by position, as the authors state them",
            "https://github.com/princeton-nlp/WebShop/issues/1",
        ),
    ),
    measure=measure,
)
