"""How large the two sizes of Haggle are: data, no behaviour.

Prices are counted in levels. In the small size a level is ten dollars, and what sellers need at least lies below what
shoppers pay at most, whatever is drawn. In the full size a level is two per cent of the listed price of a lot, both
limits come from the same range, and those of one task lie within a spread around the regularity of its department.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cache

SHOPPER = "shopper_0"
SELLER = "seller_0"
ROLES = (SHOPPER, SELLER)
OTHER = {SHOPPER: SELLER, SELLER: SHOPPER}

SPLIT_SIZES = {"train": 100_000, "valid": 2_000, "test": 2_000}
SIZES = ("full", "small")

# Probability with which a task's limits are those of its regularity.
REGULARITY = 0.85

# The own share of what both could gain together from which a game counts as won.
SUCCESS_SHARE = 0.8

# What a side may say beside its action, in characters; it binds nobody.
LONGEST_TALK = 200


@dataclass(frozen=True, slots=True)
class SizeTable:
    """What distinguishes the sizes.

    Attributes:
        floors: Levels that a seller's limit can have, first and last.
        ceilings: Levels that a shopper's limit can have, first and last.
        spread: A regular task's limits lie at most so many levels from the regularity's.
        gap: A task's limits are at least so many levels apart, and those of regularities by twice the spread more.
        relative: Whether a level is a share of a listed price, and whether products are lots of the generated store.
        level: Dollars of a level; with `relative`, per cent of the listed price.
        offers: Offers that each side can make.
        discount: What every further offer of the side whose offer is taken leaves of the gain.
        patience: A scripted opponent leaves when an offer misses its limit by more levels.
        horizon: Turns of each side.
    """

    floors: tuple[int, int]
    ceilings: tuple[int, int]
    spread: int
    gap: int
    relative: bool
    level: int
    offers: int
    discount: float
    patience: int
    horizon: int

    @property
    def lowest(self) -> int:
        """The lowest level that is ever a limit; no lower price makes sense."""
        return self.floors[0]

    @property
    def highest(self) -> int:
        """The highest level that is ever a limit."""
        return self.ceilings[1]


SIZE_TABLES: dict[str, SizeTable] = {
    "small": SizeTable(
        floors=(1, 6),
        ceilings=(7, 12),
        spread=0,
        gap=1,
        relative=False,
        level=10,
        offers=3,
        discount=0.9,
        patience=1,
        horizon=5,
    ),
    # Chosen by `python -m benchmarks.haggle_sizes`: a player that is told the regularities acts twice or more, and its
    # knowledge is worth more than 20 points over the best that can be done without.
    "full": SizeTable(
        floors=(10, 49),
        ceilings=(10, 49),
        spread=2,
        gap=1,
        relative=True,
        level=2,
        offers=6,
        discount=0.985,
        patience=4,
        horizon=8,
    ),
}


@cache
def usual_limits(table: SizeTable) -> tuple[tuple[int, int], ...]:
    """All pairs (floor, ceiling) that a regularity can name, in a fixed order; each is as likely as any other."""
    spread = table.spread
    return tuple(
        (floor, ceiling)
        for floor in range(table.floors[0] + spread, table.floors[1] - spread + 1)
        for ceiling in range(table.ceilings[0] + spread, table.ceilings[1] - spread + 1)
        if ceiling - floor >= table.gap + 2 * spread
    )


def with_patience(table: SizeTable, patience: int) -> SizeTable:
    """The same size with opponents of another patience."""
    return dataclasses.replace(table, patience=patience)
