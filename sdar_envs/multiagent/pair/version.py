"""The version of Pair: a hash of what it means, not of how its files are written.

The house is the household's, so the parts of its version that Pair plays with are in it. Scores depend on the scripted
players too, so games of each of them are.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import cache
from typing import Any

from ... import PAIR
from ...assets import asset_text
from ...core import SPLITS
from ...household import engine, tables
from ...household.grammar import meaning
from ...household.pddl import read_expression
from ...versioning import digest, skill_prose
from ..game import TextGame
from ..playing import play_game
from .players import PARTNER, PLAYERS, make_player
from .tables import (
    APPLIANCES,
    CHANNELS,
    FEWEST_PLACES,
    HORIZON,
    LEFT_OUT,
    LONGEST_TALK,
    LONGEST_WORD,
    OCCASIONS,
    OTHER,
    PASS_REWARD,
    PASSES,
    REGULARITY,
    ROLES,
    RUNNER,
    SIZE,
    SPLIT_SIZES,
    TASK_TYPES,
    WIN_REWARD,
)
from .tasks import make_task, task_ids
from .wishes import cook_statements, runner_statements
from .wording import HEARD, HINTS, INSTRUCTIONS, NAMES, REACH, SAY_TEMPLATES, SEEN, TEXTS

# Of each split, so many tasks are hashed; the first of each type are played.
SAMPLED = 24
WORLD_SEEDS = (0, 1)
# Played in both seats before anything else: what no script says.
_OTHER_ACTIONS = ("sing", "say plate", "look", "inventory", "help", "wait")

MakeGame = Callable[..., TextGame]


@cache
def world_version(make_game: MakeGame) -> str:
    """Twelve hexadecimal digits for everything that scores depend on; computed once.

    Args:
        make_game: Builds the game, which plays the sample: `Pair` passes itself.
    """
    return digest(world_content(make_game))


def world_content(make_game: MakeGame) -> dict[str, Any]:
    """What is hashed, part by part, as plain data. The keys are hashed too, so they keep their names."""
    return {
        "tables": [
            *(SPLIT_SIZES, SIZE, TASK_TYPES, REGULARITY, OCCASIONS, APPLIANCES, PASSES, FEWEST_PLACES, HORIZON),
            *(CHANNELS, LONGEST_TALK, LONGEST_WORD, WIN_REWARD, PASS_REWARD, LEFT_OUT),
        ],
        "house": dataclasses.asdict(tables.SIZE_TABLES[SIZE]),
        "domain": read_expression(asset_text("household", "domain.pddl"), "domain.pddl"),
        "grammar": [meaning(asset_text("household", "grammar.twl2")), engine.NOTHING_HAPPENS],
        "regularities": [
            [dataclasses.asdict(statement) for statement in (*runner_statements(seed), *cook_statements(seed))]
            for seed in WORLD_SEEDS
        ],
        "wording": [INSTRUCTIONS, REACH, NAMES, SEEN, HEARD, TEXTS, SAY_TEMPLATES],
        "skills": skill_prose(PAIR.skill_folder),
        "hints": HINTS,
        "tasks": _tasks(),
        "games": _games(make_game),
    }


def _tasks() -> list[Any]:
    shown = []
    for split in SPLITS:
        for task_id in task_ids(split)[:SAMPLED]:
            task = make_task(task_id)
            sides = dataclasses.astuple(task.sides)
            shown.append([task.problem.to_pddl(), task.draft.sentence, sides, task.occasion, task.regular, task.joint])
    return shown


def _games(make_game: MakeGame) -> list[Any]:
    """What both sides read when they follow the plan, and how every player plays with the usual one."""
    shown: list[Any] = []
    for seed in WORLD_SEEDS:
        game = make_game(world_seed=seed, stale=0.25 * seed, channel="free", shaping=bool(seed))
        lines = [statement.compact_line() for statement in runner_statements(seed)]
        for split in SPLITS:
            for task_id in task_ids(split)[: len(TASK_TYPES)]:
                shown.append(_planned(game, task_id))
            for role in ROLES:
                for name in PLAYERS[role]:
                    task_id = task_ids(split)[0]
                    other = OTHER[role]
                    known = {one: lines if one == RUNNER else [] for one in ROLES}
                    players = {
                        role: make_player(name, role, known[role]),
                        other: make_player(PARTNER, other, known[other]),
                    }
                    returns = play_game(game, task_id, players)
                    shown.append([name, role, task_id, game.log, returns, game.observe(role)])
    return shown


def _planned(game: TextGame, task_id: str) -> list[Any]:
    game.begin(task_id)
    shown: list[Any] = []
    for action in _OTHER_ACTIONS:
        for _ in ROLES:
            shown.append([game.observe(game.turn), game.act(game.turn, action)])
    game.begin(task_id)
    while not game.over:
        role = game.turn
        info = game.info(role, expose_privileged=True)
        shown.append([game.observe(role), info, game.act(role, info["privileged"]["next_action"]), game.rewards])
    return shown
