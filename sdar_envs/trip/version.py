"""The version of trips: a hash of what they mean, not of how the files are written."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import cache
from typing import Any

from .. import TRIP
from ..core import SPLITS, TextEnv
from ..versioning import MakeEnv, digest, play_samples, skill_prose
from . import generator, judge, regularities, tables, tools, wording

# Of each split, so many trips are hashed, and so many are played.
SAMPLED, PLAYED = 40, 6
WORLD_SEEDS = (0, 1)
PLAYED_WORLDS: tuple[Mapping[str, Any], ...] = ({"world_seed": 0}, {"world_seed": 1, "stale": 0.3})
# Played before the plan is followed, since no plan contains them.
_OTHER_CALLS = (
    "look",
    *(tools.call_text("ask_person", topic=topic) for topic in tables.TOPICS[:2]),
    tools.call_text("past_bookings"),
    *(tools.call_text("read_policy", section=section) for section in tools.SECTIONS),
    tools.call_text("book", id="h1"),
    tools.call_text("search_hotels", sort="price"),
    tools.call_text("move_entry", id="e2", to="mon 10:00"),
)


@cache
def world_version(make_env: MakeEnv, size: str) -> str:
    """Twelve hexadecimal digits for everything that scores on trips of a size depend on; computed once.

    Args:
        make_env: Builds the environment, which plays the sample: `TripEnv` passes itself.
        size: One of `tables.SIZES`.
    """
    return digest(world_content(make_env, size))


def world_content(make_env: MakeEnv, size: str) -> dict[str, Any]:
    """What is hashed, part by part, as plain data. The keys are hashed too, so they keep their names."""
    drawn = [regularities.regularities(size, seed) for seed in WORLD_SEEDS]
    return {
        "size": dataclasses.asdict(tables.SIZE_TABLES[size]),
        "regularities": [[dataclasses.asdict(one) for one in of.statements()] for of in drawn],
        "tools": tools.tool_schemas(size),
        "wording": [wording.REQUESTS, wording.FIRST_OBSERVATION, wording.HINTS, wording.BEST_HINT],
        "scores": [[judge.success_score(n, 7) for n in range(8)], [judge.failing_score(n) for n in range(7)]],
        "trips": [_trip(size, task_id) for split in SPLITS for task_id in generator.task_ids(split)[:SAMPLED]],
        "episodes": _episodes(make_env, size),
        "skills": skill_prose(TRIP.skill_folder),
    }


def _trip(size: str, task_id: str) -> Any:
    trip = generator.make_trip(task_id, size=size, world_seed=0, regularity=tables.REGULARITY)
    content = {field.name: getattr(trip, field.name) for field in dataclasses.fields(trip)}
    parts: list[Any] = [*trip.offers.values(), *trip.calendar, *trip.old_trips, trip.policy]
    kept = {key: content[key] for key in ("task_type", "person", "company", "city", "nights", "budget", "airlines")}
    travel = {f"{place} {other}": minutes for (place, other), minutes in trip.travel.items()}
    return [kept, [dataclasses.astuple(part) for part in parts], dataclasses.asdict(trip.hidden), travel]


def _episodes(make_env: MakeEnv, size: str) -> list[Any]:
    worlds = [{"size": size, "horizon": 30, **world} for world in PLAYED_WORLDS]
    return play_samples(make_env, worlds, PLAYED, _play)


def _play(env: TextEnv, task_id: str) -> list[Any]:
    observation, info = env.reset(options={"task_id": task_id})
    shown: list[Any] = [[observation, info]]
    shown += [list(env.step(call)) for call in _OTHER_CALLS]
    over = False
    while not over:
        plan = env.unwrapped.planner.plan(env.unwrapped.states[-1])  # type: ignore[attr-defined]  # a TripEnv
        observation, reward, over, _, info = env.step(plan[0])
        shown.append([observation, reward, info])
    return shown
