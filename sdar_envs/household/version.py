"""The version of the generated household: a hash of what it means, not of how its files are written.

A score compares with another only in the same world. What makes the world is written down here as plain data - tables,
laws, skills, domain, grammar, hints, and what a fixed sample of tasks comes out as, played to the end - and hashed. A
comment, a renamed function or another layout of a file changes nothing; one word that a student or a teacher may read
does. Each size and instruction has a version of its own, so that a new one leaves the results of the others standing.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from functools import cache
from typing import Any

from ..assets import asset_path, asset_text
from ..skills import parse_skill_file
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
# Said before the plan is followed, since no plan says them.
_SMALL_TALK = ("look", "inventory", "help", "sing")


@cache
def world_version(size: str, instruction: str = "named") -> str:
    """Twelve hexadecimal digits for everything that scores in such houses depend on; computed once, 0.2 s."""
    return digest(world_digests(size, instruction))


def world_digests(size: str, instruction: str = "named") -> dict[str, str]:
    """The digests of the parts that make up `world_version`: which one changed is what changed in the world."""
    return {name: digest(content) for name, content in world_content(size, instruction).items()}


def world_content(size: str, instruction: str = "named") -> dict[str, Any]:
    """What is hashed, part by part, as plain data."""
    return {
        "tables": _tables(size, instruction),
        "laws": _laws(size, instruction),
        "domain": read_expression(asset_text("household", "domain.pddl"), "domain.pddl"),
        "grammar": [meaning(asset_text("household", "grammar.twl2")), engine.NOTHING_HAPPENS],
        "tasks": _tasks(size, instruction),
        "episodes": _episodes(size, instruction),
        **told_content(instruction),
    }


@cache
def told_version() -> str:
    """Twelve hexadecimal digits for what a teacher is told in any household game, official ones included."""
    return digest(told_content())


def told_content(instruction: str = "named") -> dict[str, Any]:
    """The prose of the skill bank and the words of the hints."""
    folder = asset_path("skills", "household")
    skills = {path.stem: parse_skill_file(path.read_text("utf-8"), path.name) for path in folder.glob("*.md")}
    if instruction == "habit":
        skills["habit"] = parse_skill_file(asset_text("household", "habit.md"), "habit.md")
    return {"skills": skills, "hints": [hints.RULES, hints.SENTENCES]}


def digest(content: Any) -> str:
    """Twelve hexadecimal digits of plain data; the order of sets and of a mapping's entries does not count."""
    text = json.dumps(_plain(content), sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]


def _plain(content: Any) -> Any:
    if isinstance(content, Mapping):
        return {str(key): _plain(value) for key, value in content.items()}
    if isinstance(content, frozenset | set):
        return sorted(_plain(part) for part in content)
    if isinstance(content, list | tuple | range):
        return [_plain(part) for part in content]
    return content


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
        "home scenes": regularities.COMMON_SCENES,
    }


def _laws(size: str, instruction: str = "named") -> list[Any]:
    drawn = [regularities.regularities(size, seed) for seed in (0, 1)]
    return [[laws.together, [dataclasses.asdict(claim) for claim in laws.claims(instruction)]] for laws in drawn]


def _tasks(size: str, instruction: str = "named") -> list[Any]:
    tasks = []
    for split in generator.SPLIT_SIZES:
        for task_id in generator.task_ids(split)[:GENERATED_TASKS]:
            task = generator.generate(task_id, size=size, instruction=instruction)
            tasks.append([task.problem.to_pddl(), task.draft.sentence, task.draft.regular, task.shortest])
    return tasks


def _episodes(size: str, instruction: str = "named") -> list[Any]:
    """Everything that is said, to both sides, on the shortest way through the first task of each type and split."""
    from .env import HouseholdEnv  # it has its version from here

    said: list[Any] = []
    for kwargs in PLAYED_WORLDS:
        env = HouseholdEnv(size=size, instruction=instruction, horizon=1_000, **kwargs)
        for split in generator.SPLIT_SIZES:
            for task_id in env.task_ids(split)[: len(tables.TASK_TYPES)]:
                observation, info = env.reset(options={"task_id": task_id})
                said.append([observation, info])
                plan = info["privileged"]["plan"]
                for action in (*_SMALL_TALK, *plan):
                    observation, reward, terminated, _, info = env.step(action)
                    said.append([observation, reward, terminated, info])
        env.close()
    return said
