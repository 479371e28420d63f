"""The version of Haggle: a hash of what it means, not of how its files are written.

Scores depend on the scripted opponents too, so a sample of games with every one of them is part of it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import cache
from typing import Any

from ... import HAGGLE
from ...core import SPLITS
from ...versioning import digest, skill_prose
from ..game import TextGame
from ..playing import play_game
from .players import PLAYERS, make_player
from .regularities import regularities, things
from .tables import OTHER, REGULARITY, ROLES, SIZE_TABLES, SPLIT_SIZES, SUCCESS_SHARE, usual_limits
from .tasks import make_bargain, task_ids
from .wording import HINTS, INSTRUCTIONS, LOT_INSTRUCTIONS, OPENINGS, SENTENCES

# Of each split, so many tasks are hashed, and played by every scripted player against the usual opponent.
SAMPLED = 40
PLAYED = 4
WORLD_SEEDS = (0, 1)
# Played in both seats before anything else: what no script says.
_OTHER_ACTIONS = ("sing", "offer 50 : take it or leave it", "accept", "wait")


MakeGame = Callable[..., TextGame]


@cache
def world_version(make_game: MakeGame, size: str) -> str:
    """Twelve hexadecimal digits for everything that scores in bargains of a size depend on; computed once.

    Args:
        make_game: Builds the game, which plays the sample: `Haggle` passes itself.
        size: One of `tables.SIZES`.
    """
    return digest(world_content(make_game, size))


def world_content(make_game: MakeGame, size: str) -> dict[str, Any]:
    """What is hashed, part by part, as plain data. The keys are hashed too, so they keep their names."""
    drawn = [regularities(size, seed) for seed in WORLD_SEEDS]
    return {
        "size": dataclasses.asdict(SIZE_TABLES[size]),
        "tables": [SPLIT_SIZES, REGULARITY, SUCCESS_SHARE, list(things(size)), len(usual_limits(SIZE_TABLES[size]))],
        "regularities": [
            [dataclasses.asdict(statement) for role in ROLES for statement in of.statements(role)] for of in drawn
        ],
        "wording": [INSTRUCTIONS, LOT_INSTRUCTIONS, {str(key): text for key, text in OPENINGS.items()}, SENTENCES],
        "skills": skill_prose(HAGGLE.skill_folder),
        "hints": HINTS,
        "tasks": _tasks(size),
        "games": _games(make_game, size),
    }


def _tasks(size: str) -> list[Any]:
    sampled = [task_id for split in SPLITS for task_id in task_ids(split)[:SAMPLED]]
    return [dataclasses.asdict(make_bargain(task_id, size=size)) for task_id in sampled]


def _games(make_game: MakeGame, size: str) -> list[Any]:
    """What every player does in both seats, and what both sides read on the way."""
    shown: list[Any] = []
    for seed in WORLD_SEEDS:
        game = make_game(size=size, world_seed=seed, stale=0.25 * seed)
        known = {
            role: [statement.compact_line() for statement in regularities(size, seed).statements(role)]
            for role in ROLES
        }
        for split in SPLITS:
            for task_id in task_ids(split)[:PLAYED]:
                shown.append(_talked(game, task_id))
                for name in PLAYERS:
                    for role in ROLES:
                        players = {role: make_player(name, known[role]), OTHER[role]: make_player("limiter")}
                        returns = play_game(game, task_id, players)
                        shown.append([name, role, task_id, game.log, returns, game.observe(role)])
    return shown


def _talked(game: TextGame, task_id: str) -> list[Any]:
    game.begin(task_id)
    shown: list[Any] = []
    for action in _OTHER_ACTIONS:
        for _ in ROLES:
            role = game.turn
            if not game.over:
                shown.append([game.observe(role), game.info(role, expose_privileged=True), game.act(role, action)])
    return shown
