"""The version of the generated household: a hash of what it means, not of how its files are written.

What makes the world is written down here as plain data - tables, regularities, skills, domain, grammar, hints, and what
a fixed sample of tasks comes out as, played to the end - and hashed as `sdar_envs/versioning.py` does. Each size and
instruction has a version of its own, so that a new one leaves the results of the others valid.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import cache
from typing import Any

from .. import HOUSEHOLD
from ..assets import asset_text
from ..core import TextEnv
from ..skills import parse_skill_file
from ..versioning import MakeEnv, digest, play_samples, skill_prose
from . import engine, generator, hints, layouts, regularities, tables
from .grammar import meaning
from .pddl import read_expression

# The tables that all sizes share. Those of one size are in `tables.SIZE_TABLES`.
SHARED_TABLES = (
    "TASK_TYPES",
    "ROOM_KINDS",
    "APPLIANCES",
    "PROCESSED_PREDICATES",
    "OPENABLE",
    "LAMPS",
    "NEVER_HOME",
    "CONTAINMENT",
    "AFFORDANCES",
    "MOVABLE_RECEPTACLES",
    "DOMAIN_RECEPTACLE_TYPES",
    "DOMAIN_OBJECT_TYPES",
    "REQUIRED_AFFORDANCE",
    "TASK_ROOMS",
    "TASK_SENTENCES",
    "WIN_REWARD",
)

# The tables that one way of instructing adds.
INSTRUCTION_TABLES: dict[str, tuple[str, ...]] = {"named": (), "habit": ("HABIT_SENTENCES",)}

# Of each split, this many tasks are generated; the first of each type are played, in houses of two seeds.
GENERATED_TASKS = 60
PLAYED_WORLDS: tuple[Mapping[str, Any], ...] = ({"world_seed": 0}, {"world_seed": 1, "stale": 0.25})
# Played before the plan is followed, since no plan contains them.
_OTHER_ACTIONS = ("look", "inventory", "help", "sing")


@cache
def world_version(make_env: MakeEnv, size: str, instruction: str = "named") -> str:
    """Twelve hexadecimal digits for everything that scores in such houses depend on; computed once, 0.2 s.

    Args:
        make_env: Builds the household's environment, which plays the sample: `HouseholdEnv` passes itself.
        size: One of `tables.SIZES`.
        instruction: One of `tables.INSTRUCTIONS`.
    """
    return digest(world_digests(make_env, size, instruction))


def world_digests(make_env: MakeEnv, size: str, instruction: str = "named") -> dict[str, str]:
    """The digests of the parts that make up `world_version`: which one changed is what changed in the world."""
    return {name: digest(content) for name, content in world_content(make_env, size, instruction).items()}


def world_content(make_env: MakeEnv, size: str, instruction: str = "named") -> dict[str, Any]:
    """What is hashed, part by part, as plain data. The keys are hashed too, so they keep their names."""
    return {
        "tables": _tables(size, instruction),
        "laws": _regularities(size, instruction),
        "domain": read_expression(asset_text("household", "domain.pddl"), "domain.pddl"),
        "grammar": [meaning(asset_text("household", "grammar.twl2")), engine.NOTHING_HAPPENS],
        "tasks": _tasks(size, instruction),
        "episodes": _episodes(make_env, size, instruction),
        **told_content(instruction),
    }


@cache
def told_version() -> str:
    """Twelve hexadecimal digits for what a teacher reads in any household game, official ones included."""
    return digest(told_content())


def told_content(instruction: str = "named") -> dict[str, Any]:
    """The prose of the skill bank and the words of the hints."""
    skills = skill_prose(HOUSEHOLD.skill_folder)
    if instruction == "habit":
        skills["habit"] = parse_skill_file(asset_text("household", "habit.md"), "habit.md")
    return {"skills": skills, "hints": [hints.RULES, hints.SENTENCES]}


def _tables(size: str, instruction: str = "named") -> dict[str, Any]:
    table = tables.SIZE_TABLES[size]
    own = {field.name: getattr(table, field.name) for field in dataclasses.fields(table)}
    del own["habit_horizon"]
    return {
        "size": {**own, "horizon": tables.horizon(size, instruction)},
        **{name: getattr(tables, name) for name in SHARED_TABLES},
        **{name: getattr(tables, name) for name in INSTRUCTION_TABLES[instruction]},
        "CONTAINMENT": {name: set(types) for name, types in tables.CONTAINMENT.items()},
        "splits": [generator.SPLIT_SIZES, layouts.UNSEEN_LAYOUTS, layouts.SEEN_LAYOUTS],
        # Stated, because the sample of tasks is drawn without it: few tasks change, and to know which takes seconds.
        "splits are apart by": "content",
        "home scenes": regularities.COMMON_SCENES,
    }


def _regularities(size: str, instruction: str = "named") -> list[Any]:
    drawn = [regularities.regularities(size, seed) for seed in (0, 1)]
    return [[of.together, [dataclasses.asdict(statement) for statement in of.statements(instruction)]] for of in drawn]


def _tasks(size: str, instruction: str = "named") -> list[Any]:
    tasks = []
    for split in generator.SPLIT_SIZES:
        for task_id in generator.task_ids(split)[:GENERATED_TASKS]:
            task = generator.generate(task_id, size=size, instruction=instruction, apart=False)
            tasks.append([task.problem.to_pddl(), task.draft.sentence, task.draft.regular, task.shortest])
    return tasks


def _episodes(make_env: MakeEnv, size: str, instruction: str = "named") -> list[Any]:
    """Everything that both sides read on the shortest way through the first task of each type and split."""
    same = {"size": size, "instruction": instruction, "horizon": 1_000}

    def make_quickly(**kwargs: Any) -> TextEnv:
        env: Any = make_env(**kwargs)
        env.keeps_splits_apart = False  # see `_tables`
        return env  # type: ignore[no-any-return]

    return play_samples(make_quickly, [{**same, **world} for world in PLAYED_WORLDS], len(tables.TASK_TYPES), _play)


def _play(env: TextEnv, task_id: str) -> list[Any]:
    observation, info = env.reset(options={"task_id": task_id})
    shown: list[Any] = [[observation, info]]
    for action in (*_OTHER_ACTIONS, *info["privileged"]["plan"]):
        observation, reward, terminated, _, info = env.step(action)
        shown.append([observation, reward, terminated, info])
    return shown
