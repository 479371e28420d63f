"""The rooms of a house: which receptacles stand in them. 30 layouts per room kind, drawn once per world seed.

Layouts 1 to 6 are kept for the test split, as ALFRED keeps its scenes 1 to 6; 7 to 30 are seen in training.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from ..randomness import counted_generator
from . import tables
from .regularities import regularities

UNSEEN_LAYOUTS = range(1, 7)
SEEN_LAYOUTS = range(7, 31)

# A room kind whose table is too narrow for 30 different layouts is a mistake in the table.
_MOST_ATTEMPTS = 20_000


def layout_numbers(split: str) -> range:
    """The layouts in which a split's tasks play."""
    return UNSEEN_LAYOUTS if split == "test" else SEEN_LAYOUTS


@dataclass(frozen=True)
class Layout:
    """One room without its objects.

    Attributes:
        kind: Room kind.
        number: 1 to 30.
        receptacles: Ids such as ``cabinet_1``, by type and number.
        receptacle_types: Their types, parallel to `receptacles`.
        by_type: Type -> positions in `receptacles`.
        holders: Object type -> the receptacle types standing here that can hold it, sorted.
        homes: Object type -> positions of the receptacles of its home type, empty when none stands here.
    """

    kind: str
    number: int
    receptacles: tuple[str, ...]
    receptacle_types: tuple[str, ...]
    by_type: dict[str, tuple[int, ...]]
    holders: dict[str, tuple[str, ...]]
    homes: dict[str, tuple[int, ...]]

    @property
    def layout_id(self) -> str:
        """E.g. ``kitchen-07``."""
        return f"{self.kind}-{self.number:02d}"


@cache
def layouts(size: str, kind: str, world_seed: int) -> tuple[Layout, ...]:
    """The 30 layouts of a room kind, numbered from 1, no two with the same receptacles."""
    drawn: dict[tuple[tuple[str, int], ...], None] = {}
    for number in range(1, SEEN_LAYOUTS.stop):
        for attempt in range(_MOST_ATTEMPTS):
            generator = counted_generator("household", "layout", size, kind, number, world_seed, attempt)
            counts = _draw_counts(generator, size, kind)
            fewest, most = tables.SIZE_TABLES[size].receptacles
            if fewest <= sum(count for _, count in counts) <= most and counts not in drawn:
                drawn[counts] = None
                break
        else:
            raise ValueError(f"no 30 different {size} layouts of {kind}: widen its receptacle counts")
    return tuple(_build(size, kind, world_seed, number, counts) for number, counts in enumerate(drawn, start=1))


def _draw_counts(generator: np.random.Generator, size: str, kind: str) -> tuple[tuple[str, int], ...]:
    counts: list[tuple[str, int]] = []
    for receptacle_type, row in sorted(tables.SIZE_TABLES[size].rooms[kind].items()):
        stands = generator.random() * 30 < row.scenes
        # A binomial above the fewest has the table's mean and range.
        share = (row.mean - row.fewest) / (row.most - row.fewest) if row.most > row.fewest else 0.0
        extra = int(generator.binomial(row.most - row.fewest, share))
        if stands:
            counts.append((receptacle_type, row.fewest + extra))
    return tuple(counts)


def _build(size: str, kind: str, world_seed: int, number: int, counts: tuple[tuple[str, int], ...]) -> Layout:
    receptacles: list[str] = []
    types: list[str] = []
    by_type: dict[str, tuple[int, ...]] = {}
    for receptacle_type, count in counts:
        by_type[receptacle_type] = tuple(range(len(receptacles), len(receptacles) + count))
        receptacles += [f"{receptacle_type}_{index}" for index in range(1, count + 1)]
        types += [receptacle_type] * count
    homes = regularities(size, world_seed).homes
    objects = tables.room_objects(size, kind)
    return Layout(
        kind=kind,
        number=number,
        receptacles=tuple(receptacles),
        receptacle_types=tuple(types),
        by_type=by_type,
        holders={name: tuple(sorted(set(tables.CONTAINMENT[name]) & by_type.keys())) for name in objects},
        homes={name: by_type.get(homes[name], ()) for name in objects},
    )


@cache
def layouts_with(split: str, size: str, kind: str, world_seed: int, needed: tuple[str, ...]) -> tuple[Layout, ...]:
    """The layouts of a split in which all the needed receptacle types stand."""
    numbers = layout_numbers(split)
    return tuple(
        layout
        for layout in layouts(size, kind, world_seed)
        if layout.number in numbers and all(name in layout.by_type for name in needed)
    )
