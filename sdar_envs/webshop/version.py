"""The version of the store: a hash of what it means, not of how its files are written.

What makes a generated store is written down here as plain data - tables, regularities, phrasings, skills, hints, and a
fixed sample of products, goals and episodes, played to the end - and hashed as `sdar_envs/versioning.py` does. On
official data the goods are the user's own, and the version is of what a teacher reads about them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import cache
from typing import Any

from .. import WEBSHOP
from ..core import SPLITS, TextEnv
from ..versioning import MakeEnv, digest, play_samples, skill_prose
from . import generator, hints, instructions, regularities, taxonomy

# Of each split's store, so many products and goals are hashed, and the first tasks of each department are played.
SAMPLED = 40
PLAYED_WORLDS: tuple[Mapping[str, Any], ...] = ({"world_seed": 0}, {"world_seed": 1, "stale": 0.3})
# Played before the plan is followed, since no plan contains them.
_OTHER_ACTIONS = ("look", "search[nothing of the kind]", "click[back to search]")


@cache
def world_version(make_env: MakeEnv, size: str) -> str:
    """Twelve hexadecimal digits for everything that scores in stores of a size depend on; computed once, 0.5 s.

    Args:
        make_env: Builds the store's environment, which plays the sample: `WebShopEnv` passes itself.
        size: One of `taxonomy.SIZES`.
    """
    return digest(world_content(make_env, size))


def world_content(make_env: MakeEnv, size: str) -> dict[str, Any]:
    """What is hashed, part by part, as plain data. The keys are hashed too, so they keep their names."""
    drawn = [regularities.regularities(size, seed) for seed in (0, 1)]
    return {
        "tables": dataclasses.asdict(taxonomy.taxonomy(size)),
        "size": dataclasses.asdict(taxonomy.SIZE_TABLES[size]),
        "laws": [[dataclasses.asdict(statement) for statement in of.statements()] for of in drawn],
        "phrasings": instructions.PHRASINGS,
        "stores": [_store(size, split) for split in SPLITS],
        "episodes": _episodes(make_env, size),
        **told_content(WEBSHOP.skill_folder),
    }


@cache
def told_version(bank: str) -> str:
    """Twelve hexadecimal digits for what a teacher reads besides facts and plans."""
    return digest(told_content(bank))


def told_content(bank: str) -> dict[str, Any]:
    """The prose of a skill bank and the words of the hints."""
    return {"skills": skill_prose(bank), "hints": hints.SENTENCES}


def _store(size: str, split: str) -> list[Any]:
    """A sample of a store's goods and goals, and the number of all."""
    made = generator.generate(size, split)
    requests = [request for some in made.requests.values() for request in some]
    goods = [made.catalog.product(asin) for asin in made.catalog.asins[:SAMPLED]]
    products = [
        [p.document(), p.bullets, p.attributes, p.pricing, [dataclasses.astuple(r) for r in p.reviews]] for p in goods
    ]
    goals = [dataclasses.asdict(request.goal(n % 16)) for n, request in enumerate(requests[:SAMPLED])]
    return [len(made.catalog), len(requests), products, goals]


def _episodes(make_env: MakeEnv, size: str) -> list[Any]:
    """Everything that both sides read on the shortest way through the first task of each department."""
    same = {"size": size, "horizon": 1_000}
    worlds = [{**same, **world} for world in PLAYED_WORLDS]
    return play_samples(make_env, worlds, len(taxonomy.taxonomy().departments), _play)


def _play(env: TextEnv, task_id: str) -> list[Any]:
    shown: list[Any] = [list(env.reset(options={"task_id": task_id}))]
    shown += [list(env.step(action)) for action in _OTHER_ACTIONS]
    over = False
    while not over:
        # Looking around changes nothing in a store, and shows the next action of the plan from here.
        observation, reward, over, _, info = env.step(env.step("look")[4]["privileged"]["next_action"])
        shown.append([observation, reward, info])
    return shown
