"""sdar/Household-v0 as a user meets it: episodes, the privileged side, skills, options."""

from __future__ import annotations

import warnings
from typing import Any

import gymnasium as gym
import pytest
from gymnasium.utils.env_checker import check_env
from hash_seeds import printed_under_hash_seeds
from privileged_twins import check_that_the_privileged_side_is_complete_and_costs_nothing

import sdar_envs
from sdar_envs.household import adapter, tables
from sdar_envs.household.env import HouseholdEnv
from sdar_envs.household.generator import SPLIT_SIZES, generate
from sdar_envs.household.regularities import regularities
from sdar_envs.household.searchers import receptacles_in

gym.register_envs(sdar_envs)


def begin(env: HouseholdEnv, task_id: str) -> tuple[str, dict[str, Any]]:
    return env.reset(options={"task_id": task_id})


def follow_plan(env: HouseholdEnv, task_id: str) -> int:
    """Follow the plan to the end; the number of steps it took."""
    _, info = begin(env, task_id)
    expected = len(info["privileged"]["plan"])
    for step in range(1, expected + 1):
        _, reward, terminated, truncated, info = env.step(info["privileged"]["next_action"])
        assert info["is_action_valid"]
        assert terminated == (step == expected) == info["success"]
        assert reward == float(terminated)
        assert not truncated
    return expected


@pytest.mark.parametrize("size", tables.SIZES)
@pytest.mark.parametrize("split", SPLIT_SIZES)
def test_following_the_plan_wins_every_game_of_every_split(size: str, split: str) -> None:
    env = HouseholdEnv(split=split, size=size)
    for task_id in env.task_ids()[:90]:
        assert follow_plan(env, task_id) <= env.horizon


@pytest.mark.slow
@pytest.mark.parametrize("size", tables.SIZES)
@pytest.mark.parametrize("split", SPLIT_SIZES)
def test_following_the_plan_wins_2000_games_of_every_split(size: str, split: str) -> None:
    env = HouseholdEnv(split=split, size=size, world_seed=1)
    for task_id in env.task_ids()[:2_000]:
        assert follow_plan(env, task_id) <= env.horizon


@pytest.mark.parametrize("size", tables.SIZES)
def test_gymnasiums_own_checker_passes_without_a_warning(size: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(gym.make("sdar/Household-v0", size=size, render_mode="ansi").unwrapped)


def test_the_first_observation_lists_the_receptacles_and_ends_with_the_task() -> None:
    env = HouseholdEnv(size="small")
    observation, info = begin(env, "train:000004")
    assert observation.startswith("-= Welcome to TextWorld, ALFRED! =-\n\nYou are in the middle of a room.")
    assert observation.endswith(f"\n\nYour task is to: {info['instruction']}")
    layout = generate("train:000004", size="small").draft.layout
    assert receptacles_in(observation) == [name.replace("_", " ") for name in sorted(layout.receptacles)]


def test_what_the_facts_say_is_what_one_finds() -> None:
    env = HouseholdEnv(size="full", horizon=200)
    for number in range(24):
        _, info = begin(env, f"valid:{number:06d}")
        facts = info["privileged"]["facts"]
        for target, receptacle in zip(facts["targets"], facts["target_receptacles"], strict=True):
            text = env.step(f"go to {receptacle}")[0]
            if "is closed" in text:
                text = env.step(f"open {receptacle}")[0]
            assert text == "Nothing happens." or f"a {target}" in text
        if facts["lamp"]:
            env.step(f"go to {facts['lamp_receptacle']}")
            assert f"use {facts['lamp']}" in env.step("look")[4]["admissible_actions"]


def test_the_facts_follow_what_happens() -> None:
    env = HouseholdEnv(size="small")
    _, info = begin(env, "train:000004")
    while not info["privileged"]["next_action"].startswith("take"):
        info = env.step(info["privileged"]["next_action"])[4]
    action = info["privileged"]["next_action"]
    target = action.removeprefix("take ").split(" from ")[0]
    facts = env.step(action)[4]["privileged"]["facts"]
    assert facts["holding"] == target
    assert facts["target_receptacles"][facts["targets"].index(target)] == ""


def test_hints_rise_from_the_rule_to_the_next_action() -> None:
    env = HouseholdEnv(size="small")
    _, info = begin(env, "train:000004")
    privileged = info["privileged"]
    rule, place, action = privileged["hints"]
    target, receptacle = privileged["facts"]["targets"][0], privileged["facts"]["target_receptacles"][0]
    assert "heat it with a microwave" in rule
    assert target in place and receptacle in place
    assert action.endswith(privileged["next_action"])
    assert follow_plan(env, "train:000004") and env._privileged()["hints"][1:] == ["Nothing is left to do."]


def test_the_privileged_side_is_complete_and_costs_the_student_nothing() -> None:
    check_that_the_privileged_side_is_complete_and_costs_nothing(HouseholdEnv)


@pytest.mark.parametrize("size", ["small", "full"])
def test_the_first_observation_and_its_actions_tell_the_layout_and_nothing_of_what_stands_where(size: str) -> None:
    env = HouseholdEnv(size=size)
    seen: dict[str, set[tuple[str, ...]]] = {}
    for number in range(400):
        text, info = begin(env, f"train:{number:06d}")
        room = text.partition("Your task is to")[0]
        layout = info["privileged"]["facts"]["layout_id"]
        seen.setdefault(layout, set()).add((room, *info["admissible_actions"]))
    assert len(seen) > 50
    assert all(len(told) == 1 for told in seen.values())


def test_the_privileged_side_can_be_switched_on_in_mid_episode() -> None:
    told, asked = HouseholdEnv(size="small"), HouseholdEnv(size="small", expose_privileged=False)
    action = told.reset(seed=3)[1]["privileged"]["next_action"]
    asked.reset(seed=3)
    expected = told.step(action)
    assert "privileged" not in asked.step(action)[4]
    asked.expose_privileged = True
    assert asked.step("look")[4]["privileged"] == told.step("look")[4]["privileged"] == expected[4]["privileged"]


def test_no_plan_is_computed_when_the_privileged_side_is_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapter, "Planner", None)
    env = HouseholdEnv(size="small", expose_privileged=False)
    begin(env, "train:000000")
    env.step("look")


def test_a_skill_stands_in_the_privileged_side_whole_and_nowhere_else() -> None:
    env = HouseholdEnv(size="small", retrieval="all")
    canary = "canary-5d1c"
    bank = env.skill_bank
    env.skill_bank = type(bank)(f"{canary} {bank.general}", bank.tasks, bank.statements)
    text, info = begin(env, "train:000002")
    privileged = info.pop("privileged")
    assert privileged["skills"]["general"].startswith(canary)
    assert canary not in text + repr(info)
    while not env._over:
        text, _, _, _, info = env.step(privileged["next_action"])
        privileged = info.pop("privileged")
        assert canary in privileged["skills"]["general"] and canary not in text + repr(info)


def test_the_right_statements_are_retrieved() -> None:
    env = HouseholdEnv(size="small")
    homes = regularities("small", 0).homes
    for number in range(30):
        _, info = begin(env, f"train:{number:06d}")
        skills = info["privileged"]["skills"]
        expected = {f"home:{key}" for key in info["skill_keys"][1:]}
        if info["task_type"] in tables.APPLIANCES:
            expected.add(f"appliance:{info['task_type']}")
        if info["task_type"] == "two":
            expected.add("habit:two")
        assert set(skills["claim_ids"]) == expected
        target = info["skill_keys"][1]
        assert f"the {target} is usually in the {homes[target]}." in skills["compact_lines"]
        assert not any(skills["stale"])
        assert skills["general"] and info["task_type"] in tables.TASK_TYPES and len(skills["task"].split()) > 140


def test_stale_statements_are_wrong_by_key_and_leave_the_house_alone() -> None:
    fresh, stale = HouseholdEnv(size="small"), HouseholdEnv(size="small", stale=0.25, stale_seed=3)
    wrong = stale.skill_bank.stale_keys()
    # 24 object types, three verbs and one habit, all with alternatives.
    assert len(wrong) == round(0.25 * (len(tables.object_types("small")) + 4))
    assert HouseholdEnv(size="small", stale=0.25, stale_seed=3, split="test").skill_bank.stale_keys() == wrong
    homes = regularities("small", 0).homes
    seen = set()
    for number in range(60):
        (text, info), (other_text, other_info) = (begin(env, f"train:{number:06d}") for env in (fresh, stale))
        assert text == other_text
        assert info["privileged"]["plan"] == other_info["privileged"]["plan"]
        skills = other_info["privileged"]["skills"]
        target = info["skill_keys"][1]
        is_stale = skills["stale"][skills["claim_ids"].index(f"home:{target}")]
        assert is_stale == (target in wrong)
        assert is_stale != (f"the {target} is usually in the {homes[target]}." in skills["compact_lines"])
        seen.add(is_stale)
    assert seen == {True, False}


def test_nothing_is_retrieved_when_nothing_is_asked_for_and_wrong_lines_are_wrong() -> None:
    _, info = begin(HouseholdEnv(size="small", retrieval="none"), "train:000004")
    assert info["privileged"]["skills"]["general"] == "" and info["privileged"]["skills"]["lines"] == []
    _, info = begin(HouseholdEnv(size="small", retrieval="wrong"), "train:000004")
    lines = info["privileged"]["skills"]["compact_lines"]
    assert lines and all(info["privileged"]["skills"]["stale"])
    assert "to heat, use the microwave." not in lines


def test_the_task_type_restricts_the_tasks() -> None:
    env = HouseholdEnv(size="small", task_type="cool")
    assert {env.reset(seed=seed)[1]["task_type"] for seed in range(12)} == {"cool"}
    assert len(env.task_ids("valid")) == 333


def test_an_episode_is_cut_at_the_horizon_and_the_reward_is_scaled() -> None:
    env = HouseholdEnv(size="small", horizon=3, reward_scale=10.0)
    begin(env, "train:000004")
    assert [env.step("look")[3] for _ in range(3)] == [False, False, True]
    env = HouseholdEnv(size="small", reward_scale=10.0)
    _, info = begin(env, "train:000004")
    rewards = []
    while not env._over:
        _, reward, _, _, info = env.step(info["privileged"]["next_action"])
        rewards.append(reward)
    assert rewards == [0.0] * (len(rewards) - 1) + [10.0]
    assert info["score"] == 1.0


def test_the_default_horizons_are_50_and_the_small_houses_own() -> None:
    assert [HouseholdEnv(size=size).horizon for size in tables.SIZES] == [50, 14, 10, 9]
    hidden = [HouseholdEnv(size=size, instruction="habit").horizon for size in tables.SIZES]
    assert hidden == [50, 19, 13, 11]


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"split": "trian"}, "split.*train"),
        ({"task_type": "heet"}, 'nearest is "heat"'),
        ({"size": "tiny"}, "full, medium, small, short"),
        ({"instruction": "habits"}, 'nearest is "habit"'),
        ({"engine": "textwrld"}, "textworld"),
        ({"retrieval": "all_of_it"}, "task_type"),
        ({"regularity": 1.5}, r"regularity in \[0, 1\], got 1.5"),
        ({"stale": -0.1}, r"stale in \[0, 1\]"),
        ({"horizon": 0}, "horizon >= 1"),
        ({"horizon": "50"}, "horizon to be a whole number, got '50'"),
        ({"horizon": 2.5}, "horizon to be a whole number, got 2.5"),
        ({"split": ["train"]}, "unknown split"),
        ({"regularity": "high"}, "regularity to be a number, got 'high'"),
        ({"regularity": float("nan")}, "got nan"),
        ({"world_seed": "0"}, "world_seed to be a whole number, got '0'"),
        ({"world_seed": True}, "world_seed to be a whole number, got True"),
        ({"stale": "some"}, "stale to be a number, got 'some'"),
        ({"stale_seed": 1.5}, "stale_seed to be a whole number, got 1.5"),
        ({"reward_scale": "ten"}, "reward_scale to be a number, got 'ten'"),
        ({"reward_scale": float("inf")}, "reward_scale to be finite, got inf"),
        ({"expose_privileged": "no"}, "expose_privileged to be True or False, got 'no'"),
    ],
)
def test_a_wrong_option_is_refused_with_the_choices(kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        HouseholdEnv(**kwargs)


_PRINT_EPISODES = """
import hashlib, json, sys
from sdar_envs.household.env import HouseholdEnv
from sdar_envs.randomness import counted_generator
for size in ("small", "full"):
    env = HouseholdEnv(size=size, stale=0.3, retrieval="random")
    rng = counted_generator("episodes", size)
    for number in range(8):
        observation, info = env.reset(seed=number)
        said = [observation, json.dumps(info)]
        over = False
        while not over:
            actions = info["admissible_actions"]
            observation, reward, terminated, truncated, info = env.step(actions[int(rng.integers(len(actions)))])
            said += [observation, str(reward), json.dumps(info)]
            over = terminated or truncated
        print(info["task_id"], hashlib.sha256("|".join(said).encode()).hexdigest())
print(env.world_version)
"""


def test_whole_episodes_with_all_they_say_are_the_same_under_every_hash_seed() -> None:
    assert len(printed_under_hash_seeds(_PRINT_EPISODES).splitlines()) == 17
