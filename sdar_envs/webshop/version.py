"""The version of the store: a hash of what it means, not of how its files are written.

A score compares with another only in the same store. What makes a generated store is written down here as plain data -
tables, laws, phrasings, skills, hints, and a fixed sample of products, goals and episodes, played to the end - and
hashed. A comment or a renamed function changes nothing; one word that a student or a teacher may read does. On official
data the goods are the user's own, and the version is of what is told about them.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from functools import cache
from typing import Any

from ..assets import asset_path
from ..core import SPLITS
from ..skills import parse_skill_file
from . import generator, hints, instructions, regularities, taxonomy

# Of each split's store, so many products and goals are hashed, and the first tasks of each department are played.
SAMPLED = 40
PLAYED_WORLDS: tuple[Mapping[str, Any], ...] = ({"world_seed": 0}, {"world_seed": 1, "stale": 0.3})
# Said before the plan is followed, since no plan says them.
_SMALL_TALK = ("look", "search[nothing of the kind]", "click[back to search]")


@cache
def world_version(size: str) -> str:
    """Twelve hexadecimal digits for everything that scores in stores of a size depend on; computed once, 0.5 s."""
    return digest(world_content(size))


def world_content(size: str) -> dict[str, Any]:
    """What is hashed, part by part, as plain data."""
    drawn = [regularities.regularities(size, seed) for seed in (0, 1)]
    return {
        "tables": dataclasses.asdict(taxonomy.taxonomy(size)),
        "size": dataclasses.asdict(taxonomy.SIZE_TABLES[size]),
        "laws": [[dataclasses.asdict(claim) for claim in laws.claims()] for laws in drawn],
        "phrasings": instructions.PHRASINGS,
        "stores": [_store(size, split) for split in SPLITS],
        "episodes": _episodes(size),
        **told_content("webshop"),
    }


@cache
def told_version(bank: str) -> str:
    """Twelve hexadecimal digits for what a teacher is told besides facts and plans."""
    return digest(told_content(bank))


def told_content(bank: str) -> dict[str, Any]:
    """The prose of a skill bank and the words of the hints."""
    paths = asset_path("skills", bank).glob("*.md")
    skills = {path.stem: parse_skill_file(path.read_text("utf-8"), path.name) for path in paths}
    return {"skills": skills, "hints": hints.SENTENCES}


def digest(content: Any) -> str:
    """Twelve hexadecimal digits of plain data; the order of a mapping's entries does not count."""
    text = json.dumps(content, sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]


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


def _episodes(size: str) -> list[Any]:
    """Everything that is said, to both sides, on the shortest way through the first task of each department."""
    from .env import WebShopEnv  # it has its version from here

    said: list[Any] = []
    for kwargs in PLAYED_WORLDS:
        env = WebShopEnv(size=size, horizon=1_000, **kwargs)
        for split in SPLITS:
            for task_id in env.task_ids(split)[: len(taxonomy.taxonomy().departments)]:
                observation, info = env.reset(options={"task_id": task_id})
                said.append([observation, info])
                for action in _SMALL_TALK:
                    said.append(list(env.step(action)))
                over = False
                while not over:
                    observation, reward, over, _, info = env.step(env.step("look")[4]["privileged"]["next_action"])
                    said.append([observation, reward, info])
    return said
