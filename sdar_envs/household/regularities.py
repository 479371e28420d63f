"""What can be learned about a house: the regularities of a world seed, and the skill statements about them.

A regularity is not a fact about an episode. Each kind of object has a home, a receptacle type where a task's target
stands with probability `regularity`, and a storage, another receptacle type, where it belongs without exception; the
targets of a `two` task have a habit; each verb has its appliance, which the domain fixes for every seed. All splits
share them. Storages matter, and have skill statements, only where the task's sentence does not name the destination
(`instruction="habit"`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from ..randomness import counted_generator
from ..skills import SkillStatement
from . import tables

# Where the targets of a `two` task stand, in the words of the skill statement.
TOGETHER = "in the same place"
APART = "in two places"

# A home must stand in this many of 30 rooms of each kind where the object occurs; in the lower number of them when
# the higher one leaves no choice.
COMMON_SCENES = (10, 3, 1)


def eligible_homes(size: str, object_type: str) -> tuple[str, ...]:
    """The receptacle types among which a world seed draws the home of a kind of object.

    They can hold it, are somebody's idea of a place to keep things, and are common in every room kind where the
    object occurs.
    """
    table = tables.SIZE_TABLES[size]
    kinds = [kind for kind in tables.ROOM_KINDS if object_type in tables.room_objects(size, kind)]
    holders = [name for name in tables.CONTAINMENT[object_type] if name not in tables.NEVER_HOME]

    def rarest(receptacle_type: str) -> int:
        return min(
            table.rooms[kind][receptacle_type].scenes if receptacle_type in table.rooms[kind] else 0 for kind in kinds
        )

    scenes = {name: rarest(name) for name in sorted(set(holders))}
    for needed in COMMON_SCENES:
        homes = tuple(name for name, count in scenes.items() if count >= needed)
        if len(homes) > 1:
            break
    return homes


@dataclass(frozen=True)
class Regularities:
    """The regularities of one world seed.

    Attributes:
        size: ``full`` or ``small``.
        world_seed: The seed they were drawn with.
        homes: Object type -> receptacle type.
        storages: Object type -> receptacle type, never the home; lamps, which cannot be carried, have none.
        together: Whether the targets of a `two` task usually stand in one receptacle (or in different ones).
    """

    size: str
    world_seed: int
    homes: dict[str, str]
    together: bool
    storages: dict[str, str]

    def statements(self, instruction: str = "named") -> tuple[SkillStatement, ...]:
        """The regularities as skill statements, all true: homes, storages (for ``habit`` only), appliances, habits.

        A storage is stated under its object type, as the home is: where that key is stale, both statements are wrong.
        """
        homes = [
            SkillStatement(
                id=f"home:{object_type}",
                keys=(object_type, "home"),
                field="home",
                value=home,
                text=f"You usually find the {object_type} in or on the {{value}}.",
                compact_text=f"the {object_type} is usually in the {{value}}.",
                alternatives=eligible_homes(self.size, object_type),
            )
            for object_type, home in self.homes.items()
        ]
        storages = [
            SkillStatement(
                id=f"storage:{object_type}",
                keys=(object_type, "storage"),
                field="storage",
                value=storage,
                text=f"The {object_type} belongs in or on the {{value}}.",
                compact_text=f"the {object_type} belongs on the {{value}}.",
                alternatives=eligible_homes(self.size, object_type),
            )
            for object_type, storage in self.storages.items()
            if instruction == "habit"
        ]
        appliances = [
            SkillStatement(
                id=f"appliance:{verb}",
                keys=(verb, "appliance"),
                field="appliance",
                value=appliance,
                text=f"To {verb} an object, hold it and use it with the {{value}}.",
                compact_text=f"to {verb}, use the {{value}}.",
                alternatives=tuple(tables.APPLIANCES.values()),
            )
            for verb, appliance in tables.APPLIANCES.items()
        ]
        habit = SkillStatement(
            id="habit:two",
            keys=("two", "habit"),
            field="habit",
            value=TOGETHER if self.together else APART,
            text="When two of a kind are asked for, they usually stand {value}.",
            compact_text="the two are usually {value}.",
            alternatives=(TOGETHER, APART),
        )
        return (*homes, *storages, *appliances, habit)


@cache
def regularities(size: str, world_seed: int) -> Regularities:
    """Draw the regularities of a world seed; the draw of one object type does not depend on which others there are."""
    homes: dict[str, str] = {}
    storages: dict[str, str] = {}
    for object_type in tables.object_types(size):
        candidates = eligible_homes(size, object_type)
        generator = counted_generator("household", "home", size, world_seed, object_type)
        homes[object_type] = home = candidates[int(generator.integers(len(candidates)))]
        if object_type not in tables.LAMPS:
            others = [name for name in candidates if name != home]
            generator = counted_generator("household", "storage", size, world_seed, object_type)
            storages[object_type] = others[int(generator.integers(len(others)))]
    together = bool(counted_generator("household", "habit", size, world_seed).integers(2))
    return Regularities(size, world_seed, homes, together, storages)
