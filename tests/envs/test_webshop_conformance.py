"""The store keeps the suite's contract, whatever is sent to it and wherever it runs."""

from __future__ import annotations

import functools

import gymnasium as gym
import pytest
from hash_seeds import printed_under_hash_seeds

import sdar_envs
from sdar_envs.conformance import check_text_env
from sdar_envs.conformance.catalogue import ASKS_FOR_A_FUNCTION
from sdar_envs.hostile import hostile_actions
from sdar_envs.webshop.env import WebShopEnv
from sdar_envs.webshop.shoppers import read_results

ENV_ID = "sdar/WebShop-v0"
gym.register_envs(sdar_envs)


def store(**kwargs: object) -> functools.partial[gym.Env]:
    return functools.partial(gym.make, ENV_ID, **kwargs)


@pytest.mark.parametrize(
    "kwargs",
    [
        {"size": "small"},
        {"size": "full", "observation_mode": "text_rich", "split": "test"},
        {"size": "small", "observation_mode": "html", "task_type": "beauty_health", "stale": 0.5, "retrieval": "wrong"},
        {"size": "small", "observation_mode": "url", "regularity": 0.0, "world_seed": 5, "retrieval": "all"},
        {"size": "full", "reward": "sparse10", "strict_options": True, "show_attributes": True},
    ],
    ids=str,
)
def test_the_store_passes_the_checker(kwargs: dict[str, object]):
    report = check_text_env(store(**kwargs), episodes=6, hostile_actions=250, sessions=6, split_tasks=20)
    assert {result.name for result in report.results if result.skipped} == ASKS_FOR_A_FUNCTION


def test_five_thousand_hostile_actions_are_ordinary_steps():
    check_text_env(store(size="small"), episodes=1, hostile_actions=5_000, only=("hostile_actions",))


@pytest.mark.slow
@pytest.mark.parametrize("size", ["small", "full"])
def test_a_hundred_thousand_hostile_actions_are_ordinary_steps(size: str):
    check_text_env(store(size=size), episodes=1, hostile_actions=100_000, only=("hostile_actions",))


def test_hostile_queries_and_clicks_leave_the_store_as_it_is():
    """Hostile text inside the brackets, where it is a query or a name, on a page with products and on an item's."""
    for prefix in ([], ["click[{}]"]):
        env = WebShopEnv(size="small", horizon=3_000)
        env.reset(options={"task_id": "train:000000"})
        results = env.step("search[shirt]")[0]
        for action in prefix:
            results = env.step(action.format(read_results(results)[0].asin.lower()))[0]
        for text in hostile_actions(600, legal=("click[buy now]", "search[shirt]")):
            shown, reward, over, _, info = env.step(f"click[{text}]")
            assert shown == results and not over and reward == 0 and not info["is_action_valid"]
        for text in hostile_actions(200, seed=1):
            shown, reward, over, _, _ = env.step(f"search[{text}]")
            assert reward == 0 and not over and shown.encode("utf-8")


def test_episodes_are_the_same_under_every_hash_seed():
    code = """
import hashlib, json
from sdar_envs.webshop.env import WebShopEnv
said = []
env = WebShopEnv(size="full", split="test", stale=0.3)
for seed in range(12):
    observation, info = env.reset(seed=seed)
    over = False
    while not over:
        action = info["privileged"]["next_action"]
        said.append([observation, info])
        observation, reward, terminated, truncated, info = env.step(action)
        over = terminated or truncated
    said.append([observation, reward, info])
print(hashlib.sha256(json.dumps(said).encode()).hexdigest())
"""
    assert len(printed_under_hash_seeds(code).strip()) == 64


def test_an_episode_does_not_depend_on_what_was_played_before():
    env = WebShopEnv(size="small")
    script = ["search[shirt]", "click[next >]", "look", "search[retro rug]", "click[back to search]"]

    def played(task_id: str) -> list[str]:
        first, _ = env.reset(options={"task_id": task_id})
        return [first, *(env.step(action)[0] for action in script)]

    alone = {task_id: played(task_id) for task_id in ("train:000000", "train:000007")}
    for task_id in ("train:000007", "train:000000", "train:000007"):
        assert played(task_id) == alone[task_id]


def test_many_policies_of_nonsense_earn_less_than_a_naive_purchase():
    """Repeated purchases, options and page turns are worth no more than one honest try."""
    env = WebShopEnv(size="small", horizon=15)
    total = 0.0
    for number in range(200):
        env.reset(options={"task_id": f"train:{number:06d}"})
        for action in ["click[buy now]", "click[next >]", "click[< prev]", "search[-1]", *(["click[buy now]"] * 11)]:
            _, reward, terminated, truncated, _ = env.step(action)
            total += reward
            if terminated or truncated:
                break
    assert total == 0.0


def test_an_unknown_argument_is_named():
    with pytest.raises(TypeError, match="colour"):
        gym.make(ENV_ID, colour="red")
