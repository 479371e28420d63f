"""From a task id to a question: which form is asked in a world, drawn by counted randomness.

An attempt that is no good question (see `questions.make_question`) is followed by the next one. Task types come in
turn. Not here: worlds (`generator`), official records (`official`).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np

from .. import SEARCHQA
from ..randomness import counted_generator
from ..task_ids import NumberedTaskIds
from . import tables
from .questions import GREATEST, LEAST, Form, Question, make_question
from .world import World

SPLIT_SIZES = {"train": 100_000, "valid": 2_000, "test": 2_000}

_MOST_ATTEMPTS = 2_000


def task_ids(split: str, task_type: str | None = None) -> NumberedTaskIds:
    """The task ids of a split, optionally of one task type; task types come in turn."""
    return NumberedTaskIds.in_turn(split, SPLIT_SIZES[split], tables.TASK_TYPES, task_type)


def draw_question(world: World, index: int, *, topk: int, searches: int) -> Question:
    """The question of a task: the first attempt that is a good one.

    Args:
        world: The world of the task's split.
        index: The task's number in its split.
        topk: Hits that a search returns.
        searches: Searches that an episode allows; a size's own limit holds below that.

    Raises:
        ValueError: No attempt was good: the limits leave nothing to ask.
    """
    task_type = tables.TASK_TYPES[index % len(tables.TASK_TYPES)]
    searches = min(searches, tables.SIZE_TABLES[world.size].searches)
    key = ("searchqa", "task", world.size, world.world_seed, world.split, index)
    for attempt in range(_MOST_ATTEMPTS):
        rng = counted_generator(*key, attempt)
        form = _draw_form(world, task_type, rng)
        question = make_question(world, form, rng, topk=topk, searches=searches)
        if question is not None:
            return question
    raise ValueError(
        f"{SEARCHQA.env_id}: expected a {task_type} question with at most {searches} searches of {topk} hits, and "
        f"{_MOST_ATTEMPTS:,} attempts gave none: allow more turns or a larger topk"
    )


def _draw_form(world: World, task_type: str, rng: np.random.Generator) -> Form:
    def choice(options: Sequence[int] | Sequence[str]) -> int | str:
        return options[int(rng.integers(len(options)))]

    subjects, names = world.of_type, _names(world.size)
    table = tables.SIZE_TABLES[world.size]
    if task_type == "compare":
        name = str(choice(names["compare"]))
        arity = int(rng.integers(table.arity[0], table.arity[1] + 1))
        pool = subjects[tables.RELATIONS[name].subject]
        starts = tuple(pool[int(i)] for i in rng.choice(len(pool), size=arity, replace=False))
        return Form(starts, (name,), GREATEST if rng.integers(2) else LEAST)
    if task_type != "multi_hop":
        name = str(choice(names[task_type]))
        return Form((int(choice(subjects[tables.RELATIONS[name].subject])),), (name,))
    hops = int(rng.integers(table.hops[0], table.hops[1] + 1))
    # A walk over relations: types decide what can follow, facts decide later whether it exists.
    first = str(choice(names["linking"]))
    path = [first]
    while len(path) < hops:
        following = tables.relations_of(world.size, tables.RELATIONS[path[-1]].object)
        last = len(path) == hops - 1
        path.append(str(choice([relation.name for relation in following if last or relation.entity_valued])))
    return Form((int(choice(subjects[tables.RELATIONS[first].subject])),), tuple(path))


@cache
def _names(size: str) -> dict[str, tuple[str, ...]]:
    """The relations that a kind of question can be about."""
    relations = [tables.RELATIONS[name] for name in tables.SIZE_RELATIONS[size]]
    return {
        "direct": tuple(r.name for r in relations if r.name in tables.DIRECT),
        "attribute": tuple(r.name for r in relations if r.name not in tables.DIRECT),
        "compare": tuple(r.name for r in relations if r.superlatives is not None),
        "linking": tuple(r.name for r in relations if r.entity_valued),
    }
