"""From a task id to a bargain: what is for sale, both limits, and who speaks first."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ...randomness import counted_generator
from ...task_ids import NumberedTaskIds, parse_task_id
from ...webshop.taxonomy import taxonomy
from .regularities import regularities
from .tables import ROLES, SELLER, SHOPPER, SIZE_TABLES, SPLIT_SIZES, SizeTable, usual_limits

GAME_ID = "sdar/haggle-v0"
# Of the full size: pieces of a lot, so that two per cent of its listed price are whole dollars.
LOT = 10
_PRICE_STEP = 50


@dataclass(frozen=True, slots=True)
class Bargain:
    """One task.

    Attributes:
        thing: What the regularities speak of: a kind, or a department's label.
        kind: The kind of thing, e.g. ``boots``.
        department: The task type.
        goods: How the thing for sale is called.
        listed: The listed price of the lot in dollars; 0 in the small size, which lists none.
        floor: The seller's limit in dollars.
        ceiling: The shopper's limit in dollars.
        opener: The role that speaks first.
        regular: Whether the limits are those of the regularity.
        cluster: What the task shares with others.
    """

    thing: str
    kind: str
    department: str
    goods: str
    listed: int
    floor: int
    ceiling: int
    opener: str
    regular: bool
    cluster: str

    @property
    def surplus(self) -> int:
        """What both sides can gain together, in dollars."""
        return self.ceiling - self.floor

    def limit(self, role: str) -> int:
        """The limit of a role in dollars."""
        return self.ceiling if role == SHOPPER else self.floor


def task_ids(split: str) -> NumberedTaskIds:
    """The task ids of a split; kinds come in turn."""
    return NumberedTaskIds(split, range(SPLIT_SIZES[split]))


@lru_cache(maxsize=4)
def _kinds(size: str) -> tuple[tuple[str, str, str], ...]:
    """All kinds as (kind, department, label), departments in turn, so that the first tasks show them all."""
    departments = list(taxonomy("small" if size == "small" else "full").departments.values())
    most = max(len(department.types) for department in departments)
    return tuple((d.types[n], d.name, d.label) for n in range(most) for d in departments if n < len(d.types))


@lru_cache(maxsize=16)
def _shelf(split: str) -> dict[str, tuple[tuple[str, str, int], ...]]:
    """The goods of a split's store by kind: (id, title in lower case, dollars). No good is in two splits."""
    from ...webshop.generator import generate

    goods: dict[str, list[tuple[str, str, int]]] = {}
    for product in generate("full", split).catalog:
        kind = product.title.rpartition(" ")[2].lower()
        goods.setdefault(kind, []).append((product.asin, product.title.lower(), round(product.pricing[0])))
    return {kind: tuple(some) for kind, some in goods.items()}


def make_bargain(task_id: str, *, size: str, world_seed: int = 0, regularity: float = 0.85) -> Bargain:
    """The task of an id.

    Raises:
        ValueError: A malformed task id.
    """
    split, number = parse_task_id(task_id, SPLIT_SIZES, GAME_ID)
    table = SIZE_TABLES[size]
    kinds = _kinds(size)
    kind, department, label = kinds[number % len(kinds)]
    rng = counted_generator("haggle", "task", size, world_seed, split, number)
    thing = kind if size == "small" else label
    floor, ceiling, regular = draw_limits(table, regularities(size, world_seed).limits[thing], regularity, rng)
    opener = ROLES[int(rng.integers(2))]
    if not table.relative:
        level = table.level
        return Bargain(
            thing, kind, department, kind, 0, floor * level, ceiling * level, opener, regular, cluster=f"{kind}"
        )
    asin, title, price = _product(split, kind, rng)
    listed = max(_PRICE_STEP, round(price * LOT / _PRICE_STEP) * _PRICE_STEP)
    share = listed * table.level // 100
    return Bargain(
        thing, kind, department, f"ten {title}", listed, floor * share, ceiling * share, opener, regular, cluster=asin
    )


def _product(split: str, kind: str, rng: np.random.Generator) -> tuple[str, str, int]:
    goods = _shelf(split)
    some = goods.get(kind) or next(iter(goods.values()))
    return some[int(rng.integers(len(some)))]


def draw_limits(
    table: SizeTable, usual: tuple[int, int], regularity: float, rng: np.random.Generator
) -> tuple[int, int, bool]:
    """A task's (floor, ceiling) in levels, and whether they follow the regularity `usual`.

    Where the ranges of both limits are apart, each side obeys its regularity or not by itself; otherwise the two
    limits could cross, and a task obeys both or neither. What does not obey is drawn as if by another regularity.
    """
    pairs = usual_limits(table)
    obeys = [bool(drawn < regularity) for drawn in rng.random(2)]
    other = pairs[int(rng.integers(len(pairs)))]
    if table.floors[1] >= table.ceilings[0]:
        obeys[1] = obeys[0]
    centre = [usual[side] if obeys[side] else other[side] for side in (0, 1)]
    shifts = [int(shift) for shift in rng.integers(-table.spread, table.spread + 1, size=2)]
    return centre[0] + shifts[0], centre[1] + shifts[1], all(obeys)


__all__ = ["GAME_ID", "LOT", "SELLER", "SHOPPER", "Bargain", "draw_limits", "make_bargain", "task_ids"]
