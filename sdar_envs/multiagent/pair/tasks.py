"""From a task id to a shared house: the room, the thing that is wanted, and who can reach what.

The room, its things and the sentence are a draft of the household's generator. Drafts are drawn until one can be
divided: the cook gets the appliances and everything of the destination's type, the runner all the rest with every
wanted thing in it, and both reach one table, counter or shelf that can hold it: the pass.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ...household import tables as house
from ...household.generator import Draft, InitialState, draw_draft, to_problem
from ...household.planner import Statics
from ...household.problem import Problem
from ...randomness import counted_generator
from ...task_ids import NumberedTaskIds, parse_task_id
from .planner import JointPlanner, Sides
from .tables import APPLIANCES, COOK, FEWEST_PLACES, HORIZON, OCCASIONS, PASSES, RUNNER, SIZE, SPLIT_SIZES, TASK_TYPES
from .wishes import wanted_kinds, wishes

GAME_ID = "sdar/pair-v0"

# One draft in this many, told by what it holds and not by the order in which it was drawn, belongs to validation.
_VALID_SHARE = 4
_MOST_ATTEMPTS = 5_000


@dataclass(frozen=True, slots=True)
class PairTask:
    """One task.

    Attributes:
        draft: The room, its things, and the cook's sentence.
        problem: The same for the household's engine.
        statics: Its unchanging facts.
        sides: Who reaches what.
        occasion: The public sign.
        regular: Whether what is wanted is what the occasion's wish says.
        joint: Turns of each role that the shortest joint plan takes.
    """

    draft: Draft
    problem: Problem
    statics: Statics
    sides: Sides
    occasion: str
    regular: bool
    joint: int

    @property
    def target(self) -> str:
        """The kind of thing that is wanted."""
        return self.draft.target


def task_ids(split: str) -> NumberedTaskIds:
    """The task ids of a split; task types come in turn."""
    return NumberedTaskIds(split, range(SPLIT_SIZES[split]))


@lru_cache(maxsize=1_024)
def make_task(task_id: str, *, world_seed: int = 0, regularity: float = 0.85) -> PairTask:
    """The task of an id: the first draft that belongs to the split, is about what is wanted, and can be divided.

    Raises:
        ValueError: A malformed task id.
    """
    split, number = parse_task_id(task_id, SPLIT_SIZES, GAME_ID)
    turn, place = divmod(number, len(TASK_TYPES))
    # The household numbers its own task types in turn.
    index = turn * len(house.TASK_TYPES) + house.TASK_TYPES.index(TASK_TYPES[place])
    rng = counted_generator("pair", "task", world_seed, split, number)
    occasion = OCCASIONS[int(rng.integers(len(OCCASIONS)))]
    regular = bool(rng.random() < regularity)
    drawn = float(rng.random())
    for attempt in range(_MOST_ATTEMPTS):
        draft = draw_draft(SIZE, world_seed, split, index, regularity=regularity, attempt=attempt)
        if draft is None or not _belongs_to(split, draft):
            continue
        kind = draft.layout.kind
        usual = wishes(world_seed).get((kind, occasion))
        if usual is None:
            continue
        candidates = wanted_kinds(kind, world_seed)
        if draft.target != (usual if regular else candidates[int(drawn * len(candidates))]):
            continue
        sides = divide(draft, rng)
        if sides is None:
            continue
        problem = to_problem(draft, f"pair-{world_seed}-{split}-{number:06d}")
        statics = Statics.of(problem)
        state = InitialState(problem)
        joint = JointPlanner(statics, sides).joint_length({COOK: state, RUNNER: state}, cook_is_next=True)
        if joint is not None and joint <= HORIZON:
            return PairTask(draft, problem, statics, sides, occasion, regular, joint)
    raise ValueError(f"no room of {task_id} can be divided in {_MOST_ATTEMPTS} attempts: use another world_seed")


def _belongs_to(split: str, draft: Draft) -> bool:
    """Training and validation share layouts and divide what stands in them; tests have layouts of their own."""
    return split == "test" or (draft.content() % _VALID_SHARE == 0) == (split == "valid")


def divide(draft: Draft, rng: np.random.Generator) -> Sides | None:
    """Who reaches what; None where the room cannot be divided."""
    layout = draft.layout
    targets = {placement.receptacle for placement in draft.placements if placement.object_type == draft.target}
    of_cook = {*APPLIANCES, draft.destination}
    places = range(len(layout.receptacles))
    cook = [place for place in places if layout.receptacle_types[place] in of_cook]
    rest = [place for place in places if place not in cook]
    holders = layout.holders[draft.target]
    passes = [
        place
        for place in rest
        if layout.receptacle_types[place] in PASSES
        and layout.receptacle_types[place] in holders
        and place not in targets
    ]
    if not passes or not targets <= set(rest):
        return None
    shared = passes[int(rng.integers(len(passes)))]
    runner = [place for place in rest if place != shared]
    if len(runner) < FEWEST_PLACES:
        return None
    name = layout.receptacles
    return Sides(
        cook=tuple(name[place] for place in cook), runner=tuple(name[place] for place in runner), shared=name[shared]
    )
