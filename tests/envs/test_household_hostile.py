"""Hostile text on the engines themselves, below the cleaning that an environment does, with legal commands between.

A twin of each game plays the legal commands alone; the two must stay in the same state.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Iterable
from typing import Any

import household_games
import pytest

from sdar_envs.hostile import MEGABYTE, hostile_actions
from sdar_envs.household.engine import household_rules
from sdar_envs.household.generator import generate

LEGAL = ("look", "inventory", "help")


def states_agree(game: Any, twin: Any, texts: Iterable[str]) -> int:
    """Send hostile texts to `game`, and every tenth turn a legal command to both; how many legal ones there were."""
    rng = random.Random(0)
    game.reset(), twin.reset()
    legal = 0
    for number, text in enumerate(texts):
        if number % 10 == 9:
            command = rng.choice(twin.admissible())
            assert game.step(command) == twin.step(command)
            assert game.admissible() == twin.admissible()
            legal += 1
        elif text.strip() not in twin.admissible():
            assert game.step(text) == ("Nothing happens.", False)
    assert game.won == twin.won
    assert list(game.facts("atlocation")) == list(twin.facts("atlocation"))
    return legal


def native_pair() -> tuple[Any, Any]:
    return tuple(household_games.native_game("train:000004", size="small") for _ in range(2))  # type: ignore[return-value]


def test_five_thousand_hostile_texts_leave_the_native_game_as_it_is():
    assert states_agree(*native_pair(), hostile_actions(5_000, legal=LEGAL)) == 500


@pytest.mark.slow
def test_a_hundred_thousand_hostile_texts_leave_the_native_game_as_it_is():
    assert states_agree(*native_pair(), hostile_actions(100_000, legal=LEGAL)) == 10_000


@pytest.mark.parametrize("wrapped", ["look\x00", "\x00look", "look\nlook", "look;", "Look", "look\u200b"])
def test_a_command_inside_hostile_text_is_not_obeyed(wrapped: str):
    game, _ = native_pair()
    game.reset()
    assert game.step(wrapped) == ("Nothing happens.", False)


def test_hostile_texts_never_reach_textworld(monkeypatch: pytest.MonkeyPatch):
    household_games.require_textworld()
    from textworld.envs.pddl.pddl import PddlEnv

    from sdar_envs.household.textworld_engine import TextWorldGame

    reached: list[str] = []
    step = PddlEnv.step
    monkeypatch.setattr(PddlEnv, "step", lambda self, command: (reached.append(command), step(self, command))[1])
    task = generate("train:000004", size="small")
    game = TextWorldGame(*household_rules(), task.problem, task="x")
    _, twin = native_pair()
    try:
        legal = states_agree(game, twin, hostile_actions(150, legal=LEGAL))
    finally:
        game.close()
    assert legal == len(reached) == 15


RAW = """
import json, sys
from sdar_envs.household.engine import household_rules
from sdar_envs.household.generator import generate
from sdar_envs.household.textworld_engine import _textworld
from sdar_envs.hostile import FIXED, MEGABYTE, hostile_actions

domain, grammar = household_rules()
problem = generate("train:000000", size="small").problem.to_pddl()
environment = _textworld()()
environment.load({"pddl_domain": domain.text.source, "grammar": grammar.source, "pddl_problem": problem})
environment.reset()
answers = {}
for text in [*FIXED, *(piece * MEGABYTE for piece in "\\x00aé"), *hostile_actions(200, legal=("look", "help"))]:
    try:
        answer = environment.step(text)[0]["feedback"]
    except BaseException as error:
        answer = type(error).__name__
    answers.setdefault(answer, []).append(text[:40])
print(json.dumps(answers))
"""


@pytest.mark.slow
def test_textworlds_own_pddl_engine_answers_the_table_of_hostile_texts_unharmed():
    """Unlike TextWorld's z-machine engine, which hangs at NUL, this one looks commands up in a list.

    So the whitelist in front of it is a second line of defence, and this test would tell if that changed.
    """
    household_games.require_textworld()
    finished = subprocess.run([sys.executable, "-c", RAW], capture_output=True, text=True, timeout=300, check=True)
    assert set(json.loads(finished.stdout.splitlines()[-1])) == {"Nothing happens."}


def test_a_megabyte_is_answered_without_looking_at_it():
    game, _ = native_pair()
    game.reset()
    before = game.snapshot()
    assert game.step(" " * MEGABYTE + "look") == ("Nothing happens.", False)
    assert game.snapshot() == before
