"""Environments can be pickled in mid-episode: the copy goes on as the original does."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import gymnasium as gym
import pytest
import toy_world
from official_data import official_folder

import sdar_envs
from sdar_envs.core import ClosedError

gym.register_envs(sdar_envs)

WORLDS: list[tuple[str, dict[str, Any]]] = [
    ("sdar/Household-v0", {"size": "small", "instruction": "habit", "stale": 0.5}),
    ("sdar/Household-v0", {}),
    ("sdar/WebShop-v0", {"size": "small", "num_products": 80}),
    ("sdar/WebShop-v0", {"size": "small", "num_products": 80, "observation_mode": "html"}),
    ("sdar/SearchQA-v0", {"size": "small"}),
    ("sdar/SearchQA-v0", {"size": "small", "obs_mode": "prompt", "reward": "format_em"}),
    ("sdar/Trip-v0", {"size": "small", "stale": 0.5}),
]
worlds = pytest.mark.parametrize(("env_id", "kwargs"), WORLDS)


def needed_packages(env_id: str) -> None:
    """Skip where a world cannot be played without a package that is not installed."""
    if "SearchQA" in env_id:
        pytest.importorskip("faiss")


def check_that_copies_go_on_alike(env: gym.Env[str, str]) -> None:
    """Before an episode, at each of its steps and after its end, and in the episode that follows."""
    twins = [pickle.loads(pickle.dumps(env)), copy.deepcopy(env)]
    beginning = env.reset(seed=5)
    assert all(twin.reset(seed=5) == beginning for twin in twins)
    info = beginning[1]
    for number in range(200):
        plan = info["privileged"]["plan"]
        action = plan[0] if plan and number % 3 else "sing"
        twins = [pickle.loads(pickle.dumps(env)), copy.deepcopy(twins[0])]
        step = env.step(action)
        assert all(twin.step(action) == step for twin in twins)
        info = step[4]
        if step[2] or step[3]:
            break
    else:
        raise AssertionError("the episode does not end")
    after = pickle.loads(pickle.dumps(env))
    for ended in (env, after):
        with pytest.raises(gym.error.ResetNeeded):
            ended.step("sing")
    following = env.reset()
    assert all(twin.reset() == following for twin in (*twins, after))


@worlds
def test_a_copy_in_mid_episode_goes_on_as_the_original_does(env_id: str, kwargs: dict[str, Any]) -> None:
    needed_packages(env_id)
    check_that_copies_go_on_alike(gym.make(env_id, **kwargs))


def test_a_world_that_asks_for_nothing_is_pickled_as_any_object() -> None:
    env = toy_world.ToyWorld()
    env.reset(seed=1)
    twin = pickle.loads(pickle.dumps(env))
    assert twin.step("open 1") == env.step("open 1")


def test_what_was_changed_after_the_constructor_is_kept() -> None:
    env = gym.make("sdar/Household-v0", size="small").unwrapped
    env.horizon = 3  # type: ignore[attr-defined]
    env.reset(seed=0)
    twin = pickle.loads(pickle.dumps(env))
    assert twin.horizon == 3
    assert [twin.step("look")[3] for _ in range(3)] == [False, False, True]


@pytest.mark.official
def test_an_official_game_in_mid_episode_goes_on_as_the_original_does() -> None:
    data = official_folder("alfworld")
    check_that_copies_go_on_alike(gym.make("sdar/ALFWorld-v0", split="valid", data_dir=str(data)))


@worlds
def test_a_closed_environment_says_so_and_can_be_opened_again(env_id: str, kwargs: dict[str, Any]) -> None:
    needed_packages(env_id)
    env = gym.make(env_id, **kwargs).unwrapped
    env.reset(seed=0)
    env.close()
    env.close()
    for _ in range(2):
        with pytest.raises(ClosedError, match=r"is closed, and cannot step: reset\(\) opens it again"):
            env.step("look")
    for error in (gym.error.ResetNeeded, gym.error.ClosedEnvironmentError):
        with pytest.raises(error):
            env.step("look")
    twin = pickle.loads(pickle.dumps(env))
    with pytest.raises(ClosedError):
        twin.step("look")
    env.reset(seed=0)
    env.step("look")


@worlds
@pytest.mark.parametrize("options", [["train:000000"], [], "train:000000", 3, [("task_id", "train:000000")]])
def test_options_that_are_no_mapping_are_refused(env_id: str, kwargs: dict[str, Any], options: Any) -> None:
    env = gym.make(env_id, **kwargs).unwrapped
    with pytest.raises(TypeError, match=r"reset options as a mapping such as .*task_id.*, got a (list|str|int)"):
        env.reset(options=options)
