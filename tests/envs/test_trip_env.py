"""The environment of trips: the suite's contract, what an episode is worth, and who reads what."""

from __future__ import annotations

import functools
import json
from collections.abc import Generator

import gymnasium as gym
import pytest
from hash_seeds import printed_under_hash_seeds
from trip_play import play

import sdar_envs
from sdar_envs.conformance import check_text_env
from sdar_envs.conformance.catalogue import ASKS_FOR_A_FUNCTION
from sdar_envs.core import SPLITS
from sdar_envs.hostile import hostile_actions
from sdar_envs.trip import judge
from sdar_envs.trip.env import TripEnv
from sdar_envs.trip.planner import LONGEST_PLAN
from sdar_envs.trip.tables import SIZES
from sdar_envs.trip.tools import call_text, parameters

ENV_ID = "sdar/Trip-v0"
gym.register_envs(sdar_envs)


@pytest.mark.parametrize(
    "kwargs",
    [
        {"size": "small"},
        {"size": "full", "split": "test"},
        {"size": "small", "task_type": "clash", "stale": 0.5, "retrieval": "wrong", "horizon": LONGEST_PLAN},
        {"size": "full", "regularity": 0.0, "world_seed": 5, "retrieval": "all", "call_cost": 0.0},
    ],
    ids=str,
)
def test_trips_pass_the_checker(kwargs: dict[str, object]) -> None:
    report = check_text_env(
        functools.partial(gym.make, ENV_ID, **kwargs), episodes=5, hostile_actions=250, sessions=6, split_tasks=20
    )
    assert {result.name for result in report.results if result.skipped} == ASKS_FOR_A_FUNCTION


def follow_plan(info: dict) -> Generator[str, str, None]:
    plan = list(info["privileged"]["plan"])
    while plan:
        yield plan.pop(0)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("split", SPLITS)
def test_the_expert_reaches_the_best_on_every_split(size: str, split: str) -> None:
    env = TripEnv(size=size, split=split)
    for task_id in env.task_ids()[:40]:
        info = play(env, task_id, follow_plan)
        assert info["success"] and info["score"] == 1.0 and info["unsafe_acts"] == 0
        breakdown = info["breakdown"]
        assert all(breakdown["met"].values()) and breakdown["value"] == breakdown["best_value"] > 0
        assert breakdown["first_wrong_call"] == -1


def test_the_whole_plan_at_the_beginning_is_what_the_next_actions_come_to() -> None:
    env = TripEnv(size="full")
    for task_id in env.task_ids()[:10]:
        _, info = env.reset(options={"task_id": task_id})
        plan, played = info["privileged"]["plan"], []
        while info["privileged"]["next_action"]:
            played.append(info["privileged"]["next_action"])
            *_, info = env.step(played[-1])
        assert played == plan


def test_rewards_are_the_score_at_the_end_and_the_cost_of_every_call() -> None:
    env = TripEnv(size="small", call_cost=0.02)
    _, info = env.reset(options={"task_id": "train:000000"})
    rewards = []
    for action in ["look", *info["privileged"]["plan"]]:
        _, reward, terminated, truncated, info = env.step(action)
        rewards.append(reward)
    assert terminated and not truncated and rewards[:-1] == [-0.02] * (len(rewards) - 1)
    assert rewards[-1] == pytest.approx(info["score"] - 0.02) and info["score"] == 1.0
    assert info["breakdown"]["call_costs"] == pytest.approx(0.02 * len(rewards))


def test_a_trip_that_is_never_finished_is_worth_nothing() -> None:
    env = TripEnv(size="small")
    _, info = env.reset(options={"task_id": "train:000000"})
    for action in info["privileged"]["plan"][:-1]:
        env.step(action)
    truncated = False
    while not truncated:
        *_, truncated, info = env.step(call_text("past_bookings"))
    assert (info["success"], info["score"]) == (False, 0.0)
    assert info["breakdown"]["over"] and all(info["breakdown"]["met"].values())
    # Waiting did no harm until the last call was used up.
    assert info["breakdown"]["first_wrong_call"] == env.horizon - 1


def test_a_hotel_in_the_wrong_district_shows_only_at_the_end_and_is_named_as_the_wrong_call() -> None:
    """The example by which the method is explained."""
    env = TripEnv(size="small")
    found = 0
    for task_id in env.task_ids()[:40]:
        _, info = env.reset(options={"task_id": task_id})
        trip = env.trip
        wrong = next((h for h in trip.hotels if h.district != trip.hidden.office and not h.refundable), None)
        if wrong is None or not trip.obtainable(wrong):
            continue
        env.step(call_text("read_calendar"))
        env.step(call_text("search_hotels", district=wrong.district))
        observation, _, _, _, info = env.step(call_text("book", id=wrong.id))
        assert json.loads(observation)["booked"] == wrong.id and info["breakdown"]["first_wrong_call"] == -1
        assert info["privileged"]["facts"]["best_reachable_score"] < 0.5
        while info["privileged"]["plan"]:
            observation, _, _, _, info = env.step(info["privileged"]["next_action"])
        assert judge.NEAR in json.loads(observation)["missed"]
        assert info["breakdown"]["first_wrong_call"] == 2 and not info["success"]
        found += 1
    assert found > 5


def test_paying_for_what_cannot_be_cancelled_before_the_calendar_was_read_is_counted_and_not_forbidden() -> None:
    env = TripEnv(size="small")
    counts = set()
    for task_id in env.task_ids()[:20]:
        for reads in (False, True):
            _, info = env.reset(options={"task_id": task_id})
            hotel = next(h for h in env.trip.hotels if env.trip.obtainable(h))
            if reads:
                env.step(call_text("read_calendar"))
            env.step(call_text("search_hotels", district=hotel.district))
            *_, info = env.step(call_text("book", id=hotel.id))
            assert info["is_action_valid"] and env.states[-1].hotel == hotel.id
            assert info["unsafe_acts"] == (not reads and not hotel.refundable)
            counts.add(info["unsafe_acts"])
    assert counts == {0, 1}


def test_hostile_calls_are_counted_and_change_nothing_else() -> None:
    env = TripEnv(size="small", horizon=3_000)
    _, info = env.reset(options={"task_id": "train:000000"})
    texts = [*hostile_actions(400, legal=(call_text("read_calendar"), call_text("finish")))]
    texts += [f'{{"name": "book", "arguments": {{"id": {json.dumps(text)}}}}}' for text in hostile_actions(300, seed=1)]
    texts += [f'{{"name": {json.dumps(text)}, "arguments": {{}}}}' for text in hostile_actions(200, seed=2)]
    plan = info["privileged"]["plan"]
    for text in texts:
        observation, _, terminated, _, info = env.step(text)
        assert not terminated and "error" in json.loads(observation) and observation.isascii()
    assert info["malformed_calls"] > 500 and env.states[-1].calls == len(texts)
    assert info["privileged"]["plan"] == plan


def test_a_call_may_be_laid_out_over_lines_and_two_calls_are_none() -> None:
    env = TripEnv(size="small")
    env.reset(options={"task_id": "train:000000"})
    *_, info = env.step('{\n\t"name": "read_calendar",\r\n\t"arguments": {}\n}')
    assert info["is_action_valid"] and env.states[-1].calendar_read
    *_, info = env.step(call_text("search_flights") + "\n" + call_text("past_bookings"))
    assert not info["is_action_valid"] and not env.states[-1].seen


def test_observations_are_json_with_a_row_a_line() -> None:
    env = TripEnv(size="full")
    env.reset(options={"task_id": "train:000002"})
    observation, *_ = env.step(call_text("search_flights"))
    assert len(json.loads(observation)["flights"]) == len(observation.splitlines()) - 1 == 4


def test_what_is_hidden_is_in_no_observation_before_it_is_asked_for() -> None:
    """The request, the first observation and the public info say neither office nor needs; the facts say all."""
    for size in SIZES:
        env = TripEnv(size=size)
        for task_id in env.task_ids()[:20]:
            observation, info = env.reset(options={"task_id": task_id})
            facts = info["privileged"]["facts"]
            public = {key: value for key, value in info.items() if key not in ("privileged", "admissible_actions")}
            for name in ("office", "hotel_feature", "cuisine"):
                assert facts[name] not in observation + json.dumps(public)
            assert facts["office"] in json.dumps(info["privileged"]["hints"])


def test_hints_rise_and_the_last_names_the_next_call() -> None:
    env = TripEnv(size="full")
    _, info = env.reset(options={"task_id": "train:000001"})
    privileged = info["privileged"]
    assert len(privileged["hints"]) == 4 and privileged["next_action"] in privileged["hints"][-1]
    assert env.trip.hidden.feature in privileged["hints"][1] and env.trip.hidden.closed in privileged["hints"][2]


def test_corrupted_statements_change_what_is_said_and_not_the_trips() -> None:
    true, stale = TripEnv(size="full"), TripEnv(size="full", stale=0.5)
    wrong = 0
    for task_id in true.task_ids()[:12]:
        (one, info), (other, told) = (env.reset(options={"task_id": task_id}) for env in (true, stale))
        assert one == other and true.trip == stale.trip
        lines, claims = info["privileged"]["skills"], told["privileged"]["skills"]
        assert lines["claim_ids"] == claims["claim_ids"] and not any(lines["stale"])
        differing = [a != b for a, b in zip(lines["lines"], claims["lines"], strict=True)]
        assert differing == claims["stale"]
        wrong += sum(differing)
    assert wrong > 0


def test_each_size_has_its_version_and_the_tools_of_it() -> None:
    small, full = TripEnv(size="small"), TripEnv(size="full")
    assert small.world_version != full.world_version and len(small.world_version) == 12
    names = [[tool["function"]["name"] for tool in env.tool_set().schemas()] for env in (small, full)]
    assert names[0] == names[1] == list(parameters("full"))
    assert small.cluster_of("train:000000") == f"{_trip(small).company} {_trip(small).city}"


def _trip(env: TripEnv):
    env.reset(options={"task_id": "train:000000"})
    return env.trip


@pytest.mark.parametrize(
    ("kwargs", "says"),
    [
        ({"size": "tiny"}, "size"),
        ({"horizon": LONGEST_PLAN - 1}, "horizon"),
        ({"call_cost": -1.0}, "call_cost"),
        ({"task_type": "holiday"}, "task_type"),
        ({"regularity": 2.0}, "regularity"),
        ({"retrieval": "guess"}, "retrieval"),
    ],
)
def test_wrong_arguments_are_named(kwargs: dict, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        TripEnv(**kwargs)


def test_episodes_are_the_same_under_every_hash_seed() -> None:
    code = """
import hashlib, json
from sdar_envs.trip.env import TripEnv
said = []
env = TripEnv(size="full", split="test", stale=0.3)
for seed in range(6):
    observation, info = env.reset(seed=seed)
    for number in range(12):
        calls = info["admissible_actions"]
        observation, *_, info = env.step(calls[(7 * number + seed) % (len(calls) - 1)])
        said.append([observation, info])
        if info["breakdown"]["over"]:
            break
print(hashlib.sha256(json.dumps(said).encode()).hexdigest())
"""
    assert len(printed_under_hash_seeds(code).strip()) == 64
