"""From a task id to a game: which room, which target, and what stands where.

A task is drawn in two stages. A `Draft` is the few integers and words that make a task; a `Problem` is the same in the
domain's predicates. Every draw is counted by (size, world seed, split, index, attempt): an attempt that cannot be
played (nowhere to put the thing, already won, too long for the horizon) is followed by the next one.

Training and validation share layouts. A draft's digest says which of the two it belongs to, whatever its task id; but
one game can be drawn in several orders, with a digest each. So an attempt at a training task that is a game of
validation, in whatever order, is followed by the next one too.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import NamedTuple

from .. import HOUSEHOLD
from ..randomness import counted_generator
from ..task_ids import NumberedTaskIds, parse_task_id
from . import tables
from .goals import make_goal
from .layouts import Layout, layouts_with
from .planner import Search, Statics
from .problem import Fact, Problem
from .regularities import regularities

SPLIT_SIZES = {"train": 100_000, "valid": 2_000, "test": 2_000}

# One digest in this many belongs to validation, the others to training.
_VALID_SHARE = 4
_MOST_ATTEMPTS = 1_000

DOMAIN_NAME = "household"
AGENT = "agent_1"
START = "start"


def task_ids(split: str, task_type: str | None = None) -> NumberedTaskIds:
    """The task ids of a split, optionally of one task type; task types come in turn."""
    return NumberedTaskIds.in_turn(split, SPLIT_SIZES[split], tables.TASK_TYPES, task_type)


class Placement(NamedTuple):
    """One object and the position, in its layout, of the receptacle it stands in."""

    object_type: str
    receptacle: int


@dataclass(frozen=True, slots=True)
class Draft:
    """Everything that makes a task.

    `destination` is a receptacle type, or for `light` the lamp's type. The targets are all objects of type `target`.
    `regular` says whether they stand in their home.
    """

    task_type: str
    layout: Layout
    target: str
    destination: str
    placements: tuple[Placement, ...]
    regular: bool
    sentence: str

    def digest(self) -> int:
        """A stable number for the placement and the goal, as they were drawn; the sentence has no part in it."""
        return self._number(self.placements)

    def content(self) -> int:
        """A stable number for the game that this is: the same for all orders in which its objects can be drawn."""
        return self._number(tuple(sorted(self.placements)))

    def _number(self, placements: tuple[Placement, ...]) -> int:
        key = (self.layout.layout_id, self.task_type, self.target, self.destination, placements)
        return int.from_bytes(hashlib.blake2b(repr(key).encode(), digest_size=8).digest(), "big")


@dataclass(frozen=True, slots=True)
class GeneratedTask:
    """A draft that was accepted, its problem and unchanging facts, and the length of the shortest plan."""

    draft: Draft
    problem: Problem
    statics: Statics
    attempt: int
    shortest: int


class _Draws:
    """Uniform draws taken from blocks, because one call per number would cost more than the rest of the generator."""

    def __init__(self, *key: int | str) -> None:
        self._generator = counted_generator(*key)
        self._block: list[float] = self._generator.random(128).tolist()

    def uniform(self) -> float:
        if not self._block:
            self._block = self._generator.random(128).tolist()
        return self._block.pop()

    def chance(self, probability: float) -> bool:
        return self.uniform() < probability

    def index(self, count: int) -> int:
        return int(self.uniform() * count)

    def between(self, low: int, high: int) -> int:
        return low + int(self.uniform() * (high - low + 1))


@cache
def target_types(size: str, kind: str, task_type: str) -> tuple[str, ...]:
    """The kinds of object that a task of this type in a room of this kind can be about."""
    affordance = tables.REQUIRED_AFFORDANCE.get(task_type)
    allowed = tables.AFFORDANCES[affordance] if affordance else None
    return tuple(
        name
        for name in tables.room_objects(size, kind)
        if name not in tables.LAMPS and (allowed is None or name in allowed)
    )


def draw_draft(
    size: str,
    world_seed: int,
    split: str,
    index: int,
    *,
    regularity: float = 0.85,
    instruction: str = "named",
    attempt: int = 0,
) -> Draft | None:
    """One attempt at a task; None when the draw has no sensible task in it.

    Both instructions draw from the same numbers: the room, the target and the `light` tasks are mostly the same.
    """
    draws = _Draws("household", "task", size, world_seed, split, index, attempt)
    table = tables.SIZE_TABLES[size]
    usual = regularities(size, world_seed)
    task_type = tables.TASK_TYPES[index % len(tables.TASK_TYPES)]
    kinds = tables.TASK_ROOMS[task_type]
    kind = kinds[draws.index(len(kinds))]
    candidates = target_types(size, kind, task_type)
    target = candidates[draws.index(len(candidates))]
    lamp = ""
    if task_type == "light":
        lamps = [name for name in tables.LAMPS if name in tables.room_objects(size, kind)]
        lamp = lamps[draws.index(len(lamps))]
    # Where the home, the lamp's home or the appliance is missing, the regularities would say nothing about the task.
    storage = usual.storages[target] if instruction == "habit" and not lamp else ""
    needed = (
        usual.homes[target],
        usual.homes[lamp] if lamp else tables.APPLIANCES.get(task_type, usual.homes[target]),
        storage or usual.homes[target],
    )
    fitting = layouts_with(split, size, kind, world_seed, needed)
    if not fitting:
        return None
    layout = fitting[draws.index(len(fitting))]
    destination = lamp or storage or _draw_destination(draws, layout, task_type, target, usual.homes[target])
    if not destination:
        return None
    count = draws.between(*(table.duplicates_two if task_type == "two" else table.duplicates))
    regular = draws.chance(regularity)
    if regular:
        together = draws.chance(regularity) == usual.together
        positions = _at_home(draws, layout.homes[target], count, together if task_type == "two" else None)
    else:
        positions = _not_at_home(draws, layout, task_type, target, destination, count)
        if not positions:
            return None
    placements = [Placement(target, position) for position in positions]
    if lamp:
        placements.append(Placement(lamp, _place(draws, layout, lamp, regularity)))
    for name in _other_types(draws, size, kind, target, lamp):
        if layout.holders[name]:
            copies = 1 if name in tables.LAMPS else draws.between(*table.copies)
            placements += [Placement(name, _place(draws, layout, name, regularity)) for _ in range(copies)]
    sentence = tables.sentences(task_type, instruction)[draws.index(2)]
    return Draft(
        task_type=task_type,
        layout=layout,
        target=target,
        destination=destination,
        placements=tuple(placements),
        regular=regular,
        sentence=sentence.format(object=target, receptacle=destination, lamp=destination),
    )


def _draw_destination(draws: _Draws, layout: Layout, task_type: str, target: str, home: str) -> str:
    """A receptacle type of the room that can hold the target; "" when there is none.

    Where nothing is done to the target on the way, its home would make half the games won at the start.
    """
    holders = [name for name in layout.holders[target] if task_type in tables.APPLIANCES or name != home]
    return holders[draws.index(len(holders))] if holders else ""


def _at_home(draws: _Draws, homes: tuple[int, ...], count: int, together: bool | None) -> list[int]:
    """Positions of the targets: free (None), all in one receptacle, or spread over as many as there are."""
    if together is None:
        return [homes[draws.index(len(homes))] for _ in range(count)]
    first = draws.index(len(homes))
    return [homes[first] if together else homes[(first + number) % len(homes)] for number in range(count)]


def _not_at_home(draws: _Draws, layout: Layout, task_type: str, target: str, destination: str, count: int) -> list[int]:
    """Positions of targets that break the regularity; empty when the room has no other place for them."""
    home = layout.receptacle_types[layout.homes[target][0]]
    # A thing that stands where it should be put would be a task half done.
    avoided = (home,) if task_type in tables.APPLIANCES else (home, destination)
    others = [name for name in layout.holders[target] if name not in avoided]
    return [_somewhere(draws, layout, others) for _ in range(count)] if others else []


def _somewhere(draws: _Draws, layout: Layout, types: Sequence[str]) -> int:
    """A type first and then one of its instances, so that thirty cabinets do not swallow everything."""
    instances = layout.by_type[types[draws.index(len(types))]]
    return instances[draws.index(len(instances))]


def _place(draws: _Draws, layout: Layout, name: str, regularity: float) -> int:
    homes = layout.homes[name]
    if homes and draws.chance(regularity):
        return homes[draws.index(len(homes))]
    return _somewhere(draws, layout, layout.holders[name])


def _other_types(draws: _Draws, size: str, kind: str, target: str, lamp: str) -> list[str]:
    """The kinds of object about, apart from the target and the lamp that was asked for.

    A second lamp would not hurt in a full room; a small one has none, to keep its text short.
    """
    table = tables.SIZE_TABLES[size]
    always, sometimes = table.objects[kind]
    pool = [name for name in sometimes if name not in (target, lamp) and (size == "full" or name not in tables.LAMPS)]
    wanted = min(draws.between(*table.sometimes), len(pool))
    picked = [pool.pop(draws.index(len(pool))) for _ in range(wanted)]
    return [name for name in always if name not in (target, lamp)] + picked


def belongs_to(split: str, draft: Draft) -> bool:
    """Whether a draft may stand in a split: training and validation divide the drafts of the seen layouts.

    The digest that it goes by depends on the order of drawing; `generate` takes care of games with several orders.
    """
    if split == "test":
        return True
    return (draft.digest() % _VALID_SHARE == 0) == (split == "valid")


@cache
def _object_facts(object_type: str) -> tuple[str, ...]:
    predicates = [name for name, types in sorted(tables.AFFORDANCES.items()) if object_type in types]
    if object_type not in tables.LAMPS:
        predicates.append("pickupable")
    if object_type in tables.MOVABLE_RECEPTACLES:
        predicates.append("isreceptacleobject")
    return tuple(predicates)


@lru_cache(maxsize=1_024)
def _layout_facts(receptacles: tuple[str, ...]) -> tuple[dict[str, str], tuple[Fact, ...]]:
    """The part of a problem that a layout fixes; each receptacle has a location of its own."""
    objects = {AGENT: "agent", START: "location"}
    facts: list[Fact] = [("atlocation", AGENT, START)]
    types = [name.rpartition("_")[0] for name in receptacles]
    for name, receptacle_type in zip(receptacles, types, strict=True):
        place = f"by_{name}"
        objects[name] = "receptacle"
        objects[place] = "location"
        facts.append(("receptacleatlocation", name, place))
        facts.append(("receptacletype", name, f"{receptacle_type}type"))
        if receptacle_type in tables.OPENABLE:
            facts.append(("openable", name))
    for receptacle_type in (*tables.DOMAIN_RECEPTACLE_TYPES, *types):
        objects[f"{receptacle_type}type"] = "rtype"
    return objects, tuple(facts)


@lru_cache(maxsize=8_192)
def _holding_facts(object_type: str, holders: tuple[str, ...]) -> tuple[Fact, ...]:
    return tuple(("cancontain", f"{name}type", f"{object_type}type") for name in holders)


def to_problem(draft: Draft, name: str) -> Problem:
    """A draft in the official predicates: ids such as ``apple_1`` are numbered per type in order of placement."""
    layout = draft.layout
    layout_objects, layout_facts = _layout_facts(layout.receptacles)
    objects = dict(layout_objects)
    facts = list(layout_facts)
    for object_type in tables.DOMAIN_OBJECT_TYPES:
        objects[f"{object_type}type"] = "otype"
    numbers: dict[str, int] = {}
    for object_type, position in draft.placements:
        number = numbers.get(object_type, 0) + 1
        numbers[object_type] = number
        name_of_type = f"{object_type}type"
        if number == 1:
            objects[name_of_type] = "otype"
            facts += _holding_facts(object_type, layout.holders[object_type])
        identity = f"{object_type}_{number}"
        objects[identity] = "object"
        facts.append(("objecttype", identity, name_of_type))
        facts.append(("inreceptacle", identity, layout.receptacles[position]))
        facts += [(predicate, identity) for predicate in _object_facts(object_type)]
    goal = make_goal(draft.task_type, f"{draft.target}type", f"{draft.destination}type")
    return Problem(name, DOMAIN_NAME, objects, tuple(facts), goal)


class InitialState:
    """The first state of a problem, read as a game's facts are."""

    def __init__(self, problem: Problem) -> None:
        self._facts: dict[str, list[Fact]] = {}
        for fact in problem.init:
            self._facts.setdefault(fact[0], []).append(fact)

    def facts(self, predicate: str) -> list[Fact]:
        """The facts of a predicate that hold at first."""
        return self._facts.get(predicate, [])


def generate(
    task_id: str,
    *,
    size: str = "full",
    world_seed: int = 0,
    regularity: float = 0.85,
    instruction: str = "named",
    horizon: int | None = None,
    apart: bool = True,
) -> GeneratedTask:
    """The task of an id: the first attempt that belongs to the split, is not won, and can be won within the horizon.

    The horizon that a game has to fit is the size's own, so that a task does not change with an environment's limit;
    pass another to ask for shorter or longer games.

    Args:
        task_id: E.g. ``train:000123``.
        size: One of `tables.SIZES`.
        world_seed: Which house.
        regularity: Probability with which things stand in their home.
        instruction: One of `tables.INSTRUCTIONS`.
        horizon: The longest game that is accepted.
        apart: Whether a training task must be no game of validation. To know these games takes a fifth of a second
            per task type of a house, which houses without a validation (of demonstrations) can spare.

    Raises:
        ValueError: A malformed task id, or (for a horizon that is too short) no attempt that fits.
    """
    split, index = parse_task_id(task_id, SPLIT_SIZES, HOUSEHOLD.env_id)
    limit = tables.horizon(size, instruction) if horizon is None else horizon
    world = f"{size}-{world_seed}" if instruction == "named" else f"{size}-{instruction}-{world_seed}"
    for attempt in range(_MOST_ATTEMPTS):
        draft = draw_draft(
            size, world_seed, split, index, regularity=regularity, instruction=instruction, attempt=attempt
        )
        if draft is None or not belongs_to(split, draft):
            continue
        if apart and split == "train":
            taken = _contents_of_validation(size, world_seed, regularity, instruction, limit, draft.task_type)
            if draft.content() in taken:
                continue
        problem = to_problem(draft, f"{world}-{split}-{index:06d}")
        statics = Statics.of(problem)
        shortest = len(Search(statics).moves(InitialState(problem)))
        if 0 < shortest <= limit:
            return GeneratedTask(draft, problem, statics, attempt, shortest)
    raise ValueError(f"no game of {task_id} ({size}) can be won within {limit} steps: allow a longer horizon")


@lru_cache(maxsize=256)
def _contents_of_validation(
    size: str, world_seed: int, regularity: float, instruction: str, horizon: int, task_type: str
) -> frozenset[int]:
    """The games of a task type in validation, by content."""
    contents = set()
    for task_id in task_ids("valid", task_type):
        with contextlib.suppress(ValueError):  # no game of this id is short enough
            task = generate(
                task_id,
                size=size,
                world_seed=world_seed,
                regularity=regularity,
                instruction=instruction,
                horizon=horizon,
            )
            contents.add(task.draft.content())
    return frozenset(contents)
