"""Goals: what a shopper is asked for, and how the original makes them from its data.

A *human* goal is an instruction that a person wrote about a product. A *synthetic* one is a written sentence with one
combination of the product's options appended; there are as many as combinations, so they are made when asked for. Both
carry a price bound that the product is always below. Order and splits are the original's: one shuffle with a fixed
seed, then ranges of positions.
"""

from __future__ import annotations

import bisect
import math
import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import overload

from .catalog import PRICE_WHEN_MISSING, Catalog, Product

# An option of a goal: a value, or (synthetic goals) a group and a value.
GoalOption = str | tuple[str, str]

# The bound of a goal whose product is too dear for one.
NO_BOUND = 1_000_000.0

_TENS = tuple(10.0 * step for step in range(1, 100))

# With so many goals the original's ranges of positions leave something to train on, see `index_splits`.
ENOUGH_GOALS = 3_000

# The seed of the original's shuffle, and of the prices and bounds where none is given.
SHUFFLE_SEED = 233


@dataclass(frozen=True, slots=True)
class Goal:
    """What is wanted.

    Attributes:
        asin: The product that it was written about.
        instruction: The request as the shopper reads it.
        attributes: Wanted properties.
        options: Wanted options.
        price_upper: What it may cost at most.
        name: Title of the product; `query`, `category` and `product_category` are the product's too.
        weight: How often it comes up in the original when no goal is chosen.

    Raises:
        ValueError: A bound that is not above 0.
    """

    asin: str
    instruction: str
    attributes: tuple[str, ...]
    options: tuple[GoalOption, ...]
    price_upper: float
    name: str
    query: str = ""
    category: str = ""
    product_category: str = ""
    weight: float = 1.0

    def __post_init__(self) -> None:
        if not self.price_upper > 0:
            raise ValueError(f"a goal expects price_upper above 0, got {self.price_upper} for {self.asin!r}")


@dataclass(frozen=True, slots=True)
class Instruction:
    """A written request about a product: from a person (with options), or the stem of synthetic goals (without)."""

    asin: str
    text: str
    attributes: tuple[str, ...]
    options: tuple[str, ...] = ()


def draw_prices(catalog: Iterable[Product], rng: random.Random) -> dict[str, float]:
    """What each product costs: its price, a draw between the two ends of a range, 100 where there is none."""
    prices = {}
    for product in catalog:
        pricing = product.pricing
        if len(pricing) > 1:
            prices[product.asin] = rng.uniform(*pricing[:2])
        else:
            prices[product.asin] = pricing[0] if pricing else PRICE_WHEN_MISSING
    return prices


def draw_bound(price: float, rng: random.Random) -> tuple[float, str]:
    """A bound above a price, and the clause that states it: the larger of two of the next four multiples of ten."""
    candidates = [ten for ten in _TENS if ten > price][:4]
    if len(candidates) < 2:
        return NO_BOUND, ""
    bound = max(rng.sample(candidates, 2))
    return bound, price_clause(bound)


def price_clause(bound: float) -> str:
    """How an instruction states its bound."""
    return f", and price lower than {bound:.2f} dollars"


def human_goals(
    catalog: Catalog, instructions: Mapping[str, Sequence[Instruction]], prices: Mapping[str, float], rng: random.Random
) -> list[Goal]:
    """Goals from what people wrote, in the catalogue's order; requests without attributes make none."""
    goals = []
    for asin in catalog.asins:
        for written in instructions.get(asin, ()):
            if not written.attributes:
                continue
            bound, clause = draw_bound(prices[asin], rng)
            product = catalog.product(asin)
            goals.append(_goal(product, written.text.strip(".") + clause, written.attributes, written.options, bound))
    return goals


class SyntheticGoals(Sequence[Goal]):
    """One goal per combination of a product's options, made when it is asked for.

    Args:
        catalog: The products.
        instructions: A sentence per product; those without attributes make no goal.
        prices: What each product costs.
        rng: Draws the bounds, one per product.
    """

    def __init__(
        self,
        catalog: Catalog,
        instructions: Mapping[str, Instruction],
        prices: Mapping[str, float],
        rng: random.Random,
    ) -> None:
        self._catalog = catalog
        self._stems: list[tuple[Instruction, float, str]] = []
        self._ends: list[int] = []
        counts: Counter[str] = Counter()
        total = 0
        for asin in catalog.asins:
            stem = instructions.get(asin)
            if stem is None or not stem.attributes:
                continue
            self._stems.append((stem, *draw_bound(prices[asin], rng)))
            combinations = math.prod(len(values) for values in catalog.product(asin).options.values())
            total += combinations
            self._ends.append(total)
            for attribute in stem.attributes:
                counts[attribute] += combinations
        self._counts = counts

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    @overload
    def __getitem__(self, index: int) -> Goal: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Goal]: ...

    def __getitem__(self, index: int | slice) -> Goal | Sequence[Goal]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        number = range(len(self))[index]
        at = bisect.bisect_right(self._ends, number)
        stem, bound, clause = self._stems[at]
        product = self._catalog.product(stem.asin)
        options = _combination(product.options, number - (self._ends[at - 1] if at else 0))
        named = ", and ".join(f"{group}: {value}" for group, value in options)
        text = f"{stem.text}{f' with {named}' if named else ''}{clause}"
        weight = sum(1 / self._counts[attribute] for attribute in stem.attributes) / len(stem.attributes)
        return _goal(product, text, stem.attributes, options, bound, weight)


def _combination(options: Mapping[str, tuple[str, ...]], number: int) -> tuple[tuple[str, str], ...]:
    """The combination of a number, groups by name, the last group changing fastest."""
    chosen = []
    for group in sorted(options, reverse=True):
        number, position = divmod(number, len(options[group]))
        chosen.append((group, options[group][position]))
    return tuple(reversed(chosen))


def _goal(
    product: Product,
    text: str,
    attributes: tuple[str, ...],
    options: tuple[GoalOption, ...],
    bound: float,
    weight: float = 1.0,
) -> Goal:
    return Goal(
        asin=product.asin,
        instruction=text,
        attributes=attributes,
        options=options,
        price_upper=bound,
        name=product.title,
        query=product.query,
        category=product.category,
        product_category=product.product_category,
        weight=weight,
    )


def shuffled(count: int) -> list[int]:
    """The order in which the original numbers `count` goals; a function of the count alone."""
    order = list(range(count))
    random.Random(SHUFFLE_SEED).shuffle(order)
    return order


def index_splits(count: int) -> dict[str, range]:
    """The original's ranges: 500 goals for testing, 1,000 for validation, the rest for training.

    With fewer than 3,000 goals these ranges would leave little to train on: then a tenth each.
    """
    test, valid = (500, 1500) if count >= ENOUGH_GOALS else (count // 10, 2 * (count // 10))
    return {"test": range(test), "valid": range(test, valid), "train": range(valid, count)}
