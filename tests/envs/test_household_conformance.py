"""The household keeps the suite's contract, whatever is sent to it and wherever it runs."""

from __future__ import annotations

import functools
import importlib.util

import gymnasium as gym
import pytest

import sdar_envs
from sdar_envs.conformance import check_text_env
from sdar_envs.conformance.catalogue import ASKS_FOR_A_FUNCTION

ENV_ID = "sdar/Household-v0"
gym.register_envs(sdar_envs)


def household(**kwargs: object) -> functools.partial[gym.Env]:
    return functools.partial(gym.make, ENV_ID, **kwargs)


@pytest.mark.parametrize(
    "kwargs",
    [
        {"size": "small"},
        {"size": "full"},
        {"size": "full", "split": "test", "task_type": "two"},
        {"size": "small", "split": "valid", "task_type": "light", "stale": 0.5, "retrieval": "wrong"},
        {"size": "medium", "instruction": "habit", "stale": 0.25},
        {"size": "small", "instruction": "habit", "split": "test", "task_type": "two", "retrieval": "keyword"},
        {"size": "small", "regularity": 0.0, "world_seed": 5, "retrieval": "all", "reward_scale": 10.0},
    ],
    ids=str,
)
def test_the_household_passes_the_checker(kwargs: dict[str, object]):
    report = check_text_env(household(**kwargs), episodes=6, hostile_actions=250, sessions=6, split_tasks=20)
    assert {result.name for result in report.results if result.skipped} == ASKS_FOR_A_FUNCTION


def textworld_household() -> functools.partial[gym.Env]:
    if importlib.util.find_spec("fast_downward") is None or importlib.util.find_spec("textworld") is None:
        pytest.skip('the PDDL engine of TextWorld is not installed: pip install "sdar-gym[reference]"')
    return household(size="small", engine="textworld")


def test_hostile_actions_are_ordinary_steps_on_textworlds_engine():
    # Its resets take a third of a second each, so only what depends on the engine is checked at every push.
    only = ("determinism", "plan", "horizon", "hostile_actions")
    check_text_env(textworld_household(), episodes=1, hostile_actions=60, step_seconds=5.0, only=only)


@pytest.mark.slow
def test_the_household_on_textworlds_engine_passes_the_checker():
    report = check_text_env(textworld_household(), episodes=4, hostile_actions=1_000, step_seconds=5.0)
    assert {result.name for result in report.results if result.skipped} == ASKS_FOR_A_FUNCTION


def test_five_thousand_hostile_actions_are_ordinary_steps():
    check_text_env(household(size="small"), episodes=1, hostile_actions=5_000, only=("hostile_actions",))


@pytest.mark.slow
@pytest.mark.parametrize("size", ["small", "full"])
def test_a_hundred_thousand_hostile_actions_are_ordinary_steps(size: str):
    check_text_env(household(size=size), episodes=1, hostile_actions=100_000, only=("hostile_actions",))


def test_asynchronous_workers_play_as_a_single_environment_does():
    envs = gym.make_vec(
        ENV_ID,
        num_envs=2,
        vectorization_mode="async",
        vector_kwargs={"shared_memory": False, "context": "spawn"},
        size="small",
    )
    try:
        singles = [gym.make(ENV_ID, size="small") for _ in range(2)]
        observations, _ = envs.reset(seed=[3, 4])
        assert observations == tuple(env.reset(seed=seed)[0] for env, seed in zip(singles, (3, 4), strict=True))
        for action in ("inventory", "look", "\x00", "go to fridge 1"):
            observations, *_ = envs.step([action, action])
            assert observations == tuple(env.step(action)[0] for env in singles)
    finally:
        envs.close()


def test_an_unknown_argument_is_named():
    with pytest.raises(TypeError, match="colour"):
        gym.make(ENV_ID, colour="red")
