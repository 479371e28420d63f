"""What can be learned about a house with a cook: what it wants on which occasion, and where that is kept.

A wish is a regularity of a kind of room and an occasion: the kind of thing that the cook then wants, with probability
`regularity`. Homes are the household's. A runner needs both: whoever knows the wish and no home searches, and whoever
knows the homes and no wish carries the wrong thing.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from ...household import tables as house
from ...household.regularities import regularities
from ...randomness import counted_generator
from ...skills import SkillStatement
from .tables import APPLIANCES, OCCASIONS, SIZE, TASK_TYPES

WISH_SENTENCES = (
    "At {occasion} the cook of the {kind} usually wants the {{value}}.",
    "at {occasion} in the {kind}: the cook wants the {{value}}.",
)


def wish_key(kind: str, occasion: str) -> str:
    """What a runner's bank is asked with about a wish: what the runner sees, and nothing of the task."""
    return f"{occasion} in the {kind}"


@cache
def wanted_kinds(kind: str, world_seed: int) -> tuple[str, ...]:
    """The kinds of thing that a cook in a kind of room can want, in a fixed order.

    Every task of the room can be about them, and they are kept where the runner can get them: not in an appliance.
    (In a rare house fewer than two are; then what is kept in an appliance counts too, and stands elsewhere in a task.)
    """
    needed = [
        house.AFFORDANCES[affordance]
        for task_type in TASK_TYPES
        if kind in house.TASK_ROOMS[task_type] and (affordance := house.REQUIRED_AFFORDANCE.get(task_type))
    ]
    homes = regularities(SIZE, world_seed).homes
    fitting = tuple(
        name
        for name in house.room_objects(SIZE, kind)
        if name not in house.LAMPS and all(name in some for some in needed)
    )
    kept_outside = tuple(name for name in fitting if homes[name] not in APPLIANCES)
    return kept_outside if len(kept_outside) > 1 else fitting


def room_kinds(world_seed: int) -> tuple[str, ...]:
    """The kinds of room in which there is something to choose from."""
    return tuple(kind for kind in house.ROOM_KINDS if len(wanted_kinds(kind, world_seed)) > 1)


@cache
def wishes(world_seed: int) -> Mapping[tuple[str, str], str]:
    """(room kind, occasion) -> the kind of thing that is usually wanted."""
    drawn = {}
    for kind in room_kinds(world_seed):
        candidates = wanted_kinds(kind, world_seed)
        for occasion in OCCASIONS:
            generator = counted_generator("pair", "wish", world_seed, kind, occasion)
            drawn[kind, occasion] = candidates[int(generator.integers(len(candidates)))]
    return drawn


@cache
def runner_statements(world_seed: int) -> tuple[SkillStatement, ...]:
    """What a runner can be told, all true: wishes, and homes in the household's own words."""
    told = [
        SkillStatement(
            id=f"wish:{kind}:{occasion}",
            keys=(wish_key(kind, occasion), "wish"),
            field="wish",
            value=wanted,
            text=WISH_SENTENCES[0].format(occasion=occasion, kind=kind),
            compact_text=WISH_SENTENCES[1].format(occasion=occasion, kind=kind),
            alternatives=wanted_kinds(kind, world_seed),
        )
        for (kind, occasion), wanted in wishes(world_seed).items()
    ]
    carried = {name for kind in room_kinds(world_seed) for name in wanted_kinds(kind, world_seed)}
    homes = [
        statement
        for statement in regularities(SIZE, world_seed).statements()
        if statement.field == "home" and statement.keys[0] in carried
    ]
    return (*told, *homes)


@cache
def cook_statements(world_seed: int) -> tuple[SkillStatement, ...]:
    """What a cook can be told, all true: which appliance does what."""
    return tuple(
        statement for statement in regularities(SIZE, world_seed).statements() if statement.field == "appliance"
    )
