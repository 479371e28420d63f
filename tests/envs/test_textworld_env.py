"""TextWorld's games as a world: made here or files; the plan, the guard, both sides. Some 20 CPU-seconds."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from sdar_envs.adapters.textworld import TextWorldEnv, demonstrate, hints
from sdar_envs.adapters.textworld_games import GeneratedGames
from sdar_envs.adapters.textworld_words import SAMPLE, describe
from sdar_envs.conformance import Status, run_checks

ENV_ID = "sdar/TextWorld-v0"
pytestmark = pytest.mark.skipif(find_spec("textworld") is None, reason="TextWorld is not installed")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("games")


@pytest.fixture(scope="module")
def coins(cache: Path) -> dict[str, Any]:
    """Arguments of a small set of coin games that need no compiler."""
    return {"file_format": "json", "train_games": 2, "held_out_games": 1, "cache_dir": str(cache)}


@pytest.fixture(scope="module")
def cooking(cache: Path) -> dict[str, Any]:
    """Arguments of one compiled cooking game."""
    return {"challenge": "cooking", "train_games": 1, "held_out_games": 1, "cache_dir": str(cache)}


def play_plan(env: TextWorldEnv, info: dict[str, Any]) -> tuple[float, int, dict[str, Any]]:
    """Follow the live plan to the end: return, steps, last info."""
    total, over = 0.0, False
    while not over:
        _, reward, terminated, truncated, info = env.step(info["privileged"]["next_action"])
        total, over = total + reward, terminated or truncated
    return total, env.steps, info


def test_every_check_holds_or_says_why_it_could_not_be_made(coins: dict[str, Any]):
    report = run_checks(
        lambda **more: gym.make(ENV_ID, **coins, **more),
        episodes=3, hostile_actions=80, step_seconds=5.0, sessions=8,
    )  # fmt: skip
    assert report.failures == [], str(report)
    assert {"determinism", "task_replay", "privileged_off", "canary", "plan", "hostile_actions", "splits"} <= set(
        report.by_status(Status.HELD)
    ), str(report)
    assert all(result.skipped for result in report.results if result.status is Status.SKIPPED)


def test_a_compiled_game_is_won_by_its_plan_and_pays_one(cooking: dict[str, Any]):
    env = TextWorldEnv(**cooking)
    observation, info = env.reset(seed=0)
    assert observation.startswith(info["instruction"]) and "$$" not in observation
    plan = info["privileged"]["plan"]
    total, steps, last = play_plan(env, info)
    assert (steps, total, last["success"], last["score"]) == (len(plan), pytest.approx(1.0), True, 1.0)
    assert last["privileged"]["plan"] == [] and last["admissible_actions"] == []
    env.close()


def test_the_plan_is_of_the_present_state_also_after_a_detour(coins: dict[str, Any]):
    env = TextWorldEnv(**coins)
    _, info = env.reset(options={"task_id": "train:000000"})
    first = info["privileged"]["plan"]
    _, _, _, _, info = env.step(first[0])
    assert info["privileged"]["plan"] == first[1:]
    back = {"north": "south", "south": "north", "east": "west", "west": "east"}[first[0].removeprefix("go ")]
    _, _, _, _, info = env.step(f"go {back}")
    assert info["privileged"]["plan"] == first
    assert play_plan(env, info)[2]["success"]


def test_no_text_of_an_agent_raises_or_reaches_the_interpreter(cooking: dict[str, Any]):
    env = TextWorldEnv(**cooking, horizon=200)
    before, info = env.reset(seed=0)
    texts = ["é" * 300, "x" * 149 + "é", "take \N{FIRE} pan", "restart", "undo", "quit", "save", "tw-print state", "\0"]
    for text in texts:
        observation, reward, terminated, truncated, after = env.step(text)
        assert not after["is_action_valid"] and reward == 0.0 and not (terminated or truncated), text
        assert after["privileged"] == info["privileged"] and "not understood" in observation
    rng = np.random.default_rng(0)
    for _ in range(60):  # any text between commands leaves the facts in step with the game
        admissible = after["admissible_actions"] or ["look"]
        _, _, terminated, truncated, after = env.step(str(rng.choice([*admissible, *texts])))
        if terminated or truncated:
            _, after = env.reset(seed=0)
    assert env.reset(seed=0)[0] == before
    env.close()


def test_case_articles_and_abbreviations_do_not_count(coins: dict[str, Any]):
    env = TextWorldEnv(**coins)
    _, info = env.reset(options={"task_id": "train:000000"})
    words = info["privileged"]["next_action"]
    for said in ("I", "l", words.upper(), words.removeprefix("go ")[0]):
        _, info = env.reset(options={"task_id": "train:000000"})
        assert env.step(said)[4]["is_action_valid"], said


def test_the_objective_does_not_tell_the_way(coins: dict[str, Any]):
    env = TextWorldEnv(**coins)
    _, info = env.reset(options={"task_id": "train:000000"})
    assert "coin" in info["instruction"]
    assert not any(f"{word} " in info["instruction"].lower() for word in ("north", "south", "east", "west"))


def test_a_game_is_the_same_whatever_the_hash_seed_and_the_order(coins: dict[str, Any], tmp_path: Path):
    code = (
        "import json, sys; from sdar_envs.adapters.textworld import TextWorldEnv; env = TextWorldEnv(**json.loads("
        "sys.argv[1])); o, i = env.reset(options={'task_id': 'train:000001'}); print(json.dumps([o, i]))"
    )
    own = {**coins, "cache_dir": str(tmp_path)}
    said = subprocess.run(
        [sys.executable, "-c", code, json.dumps(own)],
        env={**os.environ, "PYTHONHASHSEED": "77"}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    env = TextWorldEnv(**coins)
    env.reset(options={"task_id": "valid:000000"})
    assert json.loads(said.stdout) == list(env.reset(options={"task_id": "train:000001"}))


def test_seeds_of_splits_never_meet(cache: Path):
    sizes = {"train": 1000, "valid": 1000, "test": 1000}
    games = GeneratedGames(
        "cooking", None, file_format="json", sizes=sizes, game_seed=0, cache_dir=cache, where="this test"
    )
    seeds = {games.seed(split, number) for split in sizes for number in range(1000)}
    assert len(seeds) == 3000


def test_files_of_a_user_are_tasks_by_their_names(coins: dict[str, Any], cooking: dict[str, Any], tmp_path: Path):
    for split, arguments, name in (("train", cooking, "meal"), ("valid", coins, "coin")):
        env = TextWorldEnv(**arguments)
        env.reset(options={"task_id": "train:000000"})
        folder = tmp_path / split
        folder.mkdir()
        for file in env._playing.path.parent.iterdir():
            shutil.copy(file, folder / f"{name}{file.suffix}")
    env = TextWorldEnv(games=tmp_path)
    assert (list(env.task_ids()), list(env.task_ids("valid"))) == (["train:meal"], ["valid:coin"])
    for task in ("train:meal", "valid:coin"):
        assert play_plan(env, env.reset(options={"task_id": task})[1])[2]["success"], task
    with pytest.raises(ValueError, match=r"did you mean 'train:meal'|train:meal"):
        env.reset(options={"task_id": "train:mael"})
    (tmp_path / "train" / "meal.json").unlink()
    with pytest.raises(ValueError, match=r"expects meal\.json beside"):
        TextWorldEnv(games=tmp_path)


def test_an_episode_survives_a_pickle(coins: dict[str, Any]):
    env = TextWorldEnv(**coins)
    _, info = env.reset(options={"task_id": "train:000000"})
    env.step(info["privileged"]["next_action"])
    again = pickle.loads(pickle.dumps(env))
    assert again.step("look") == env.step("look")


def test_versions_tell_games_apart(coins: dict[str, Any]):
    versions = {
        TextWorldEnv(**{**coins, **change}).world_version
        for change in ({}, {"settings": {"level": 6}}, {"game_seed": 1}, {"file_format": "z8"})
    }
    assert len(versions) == 4
    assert TextWorldEnv(**coins, split="test", horizon=9).world_version in versions


def test_only_what_is_in_sight_is_told():
    said = describe(SAMPLE)
    assert said.splitlines() == [
        "-= Kitchen =-",
        "There is the fridge (open). In it is the milk.",
        "There is the oven (closed).",
        "There is the table. On it is the apple (sliced).",
        "There is an exit to the north.",
        "There is an exit to the west, by the screen door (locked).",
        "You carry the key.",
    ]
    assert "pie" not in said and "coin" not in said


def test_hints_say_more_and_more():
    assert hints([]) == []
    assert hints(["go north", "take coin"]) == [
        "It takes 2 more commands.", "The last of them is: take coin.", "The next is: go north.",
    ]  # fmt: skip


def test_the_demonstrator_follows_the_plan_only_where_it_may_read_it(coins: dict[str, Any]):
    env = TextWorldEnv(**coins)
    observation, info = env.reset(options={"task_id": "train:000000"})
    rng = np.random.default_rng(0)
    assert demonstrate(observation, info, rng) == info["privileged"]["next_action"]
    public = {key: value for key, value in info.items() if key != "privileged"}
    drawn = {demonstrate(observation, public, rng) for _ in range(40)}
    assert drawn <= set(info["admissible_actions"]) - {"look", "inventory"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"challenge": "coin_colector"}, "coin_collector"),
        ({"settings": {"levle": 3}}, "level"),
        ({"file_format": "z5"}, "z8"),
        ({"train_games": 0}, "train_games"),
        ({"games": {"train": "/nowhere/*.z8"}}, "found none"),
    ],
)
def test_mistakes_are_named_with_what_was_expected(arguments: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        TextWorldEnv(**arguments)


def test_settings_that_make_no_game_are_said_to(tmp_path: Path):
    env = TextWorldEnv(settings={"level": 1000}, file_format="json", cache_dir=tmp_path)
    with pytest.raises(ValueError, match=r"cannot make train:\d+ of coin_collector"):
        env.reset(seed=0)
    assert list(tmp_path.rglob("game*")) == []
