"""The checker passes a world that keeps the contract, and names the promise that a broken one breaks."""

from __future__ import annotations

import pickle

import gymnasium as gym
import pytest
import toy_world

from sdar_envs.conformance import ConformanceError, check_text_env
from sdar_envs.conformance.catalogue import ASKS_FOR_A_FUNCTION
from sdar_envs.hostile import FIXED, MEGABYTE, hostile_actions

# The toy's splits are the same few boxes, which `splits` would name.
QUICK = {"episodes": 6, "hostile_actions": 220, "step_seconds": 0.2, "sessions": 6, "skip": ("splits",)}


def test_a_world_that_keeps_the_contract_passes_every_check():
    toy_world.register()
    report = check_text_env("toy/Boxes-v0", **QUICK)
    assert {result.name for result in report.results if result.skipped} == ASKS_FOR_A_FUNCTION
    assert len(report.results) == 27
    assert "hostile_actions" in str(report)


def test_a_world_need_not_be_registered():
    report = check_text_env(toy_world.ToyWorld, **QUICK)
    assert report.env == "ToyWorld"


@pytest.mark.parametrize(
    ("broken", "check"),
    [
        (toy_world.UnseededWorld, "determinism"),
        (toy_world.EchoWorld, "hostile_actions"),
        (toy_world.NumpyWorld, "info_json"),
        (toy_world.RaggedWorld, "info_keys"),
        (toy_world.LateListWorld, "info_keys"),
        (toy_world.HalfASkillWorld, "info_keys"),
        (toy_world.SharingWorld, "info_fresh"),
        (toy_world.CountingWorld, "determinism"),
        (toy_world.ForgetfulWorld, "episode_isolation"),
        (toy_world.AmnesiacWorld, "task_replay"),
        (toy_world.PeekingWorld, "privileged_off"),
        (toy_world.LeakyWorld, "canary"),
        (toy_world.LeakyInstruction, "canary"),
        (toy_world.UnsolvableWorld, "plan"),
        (toy_world.EndlessWorld, "horizon"),
        (toy_world.FragileWorld, "hostile_actions"),
        (toy_world.SlowWorld, "hostile_actions"),
        (toy_world.TwoCommandsWorld, "hostile_actions"),
        (toy_world.ObligingWorld, "not_text"),
        (toy_world.UnpicklableWorld, "spaces"),
        (toy_world.SharedStateWorld, "sessions"),
        (toy_world.ColourfulWorld, "render"),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_a_broken_promise_is_caught_by_the_check_that_names_it(broken: type[gym.Env], check: str):
    with pytest.raises(ConformanceError) as caught:
        check_text_env(broken, **QUICK)
    assert caught.value.check == check
    assert broken.__name__ in str(caught.value)
    assert caught.value.remedy in str(caught.value)


def test_a_leak_through_other_code_is_found_where_the_user_plants():
    class Murmuring(toy_world.ToyWorld):
        def _begin(self, task_id: str) -> str:
            return super()._begin(task_id) + self.secret[::-1]

    def plant(env: toy_world.ToyWorld, canary: str) -> None:
        env.secret = canary

    assert check_text_env(Murmuring, only=("canary",), **QUICK)
    with pytest.raises(ConformanceError, match=r"\[canary\] .*privileged text reached the student at reset"):
        check_text_env(Murmuring, only=("canary",), plant=plant, **QUICK)
    assert check_text_env(toy_world.ToyWorld, only=("canary",), plant=plant, **QUICK)


def test_an_unknown_check_is_refused_and_not_passed_over():
    with pytest.raises(ValueError, match='the nearest is "canary"'):
        check_text_env(toy_world.ToyWorld, only=("canry",))


def test_a_canary_that_is_planted_nowhere_is_reported():
    class Silent(toy_world.ToyWorld):
        def _info(self, *, is_action_valid: bool) -> dict:
            info = super()._info(is_action_valid=is_action_valid)
            return info | {"privileged": toy_world.ToyWorld._privileged(self)}

    with pytest.raises(ConformanceError, match="it never came"):
        check_text_env(Silent, only=("canary",), **QUICK)


class Plain(gym.Env):
    """A third party's world: text in, text out, nothing else of this suite."""

    def __init__(self, render_mode: str | None = None) -> None:
        self.observation_space = self.action_space = gym.spaces.Text(80)

    def reset(self, *, seed: int | None = None, options: dict | None = None):
        super().reset(seed=seed)
        self.number = int(self.np_random.integers(3))
        return "Guess0"[:5], {}

    def step(self, action: str):
        if not isinstance(action, str):
            raise TypeError("text, please")
        return "Yes" if action == str(self.number) else "No", 0.0, action == str(self.number), False, {}


def test_a_third_partys_world_is_checked_as_far_as_it_goes():
    report = check_text_env(
        lambda **kwargs: gym.wrappers.TimeLimit(Plain(**kwargs), 5), episodes=3, hostile_actions=200
    )
    skipped = {result.name for result in report.results if result.skipped}
    needs_tasks = {"task_replay", "group_shares_task", "splits"}
    needs_more = {"privileged_off", "canary", "plan", "horizon", "floor_gap", "render"}
    assert skipped == needs_tasks | needs_more | ASKS_FOR_A_FUNCTION


def test_hostile_actions_are_enumerable_and_hold_what_is_known_to_hurt():
    texts = list(hostile_actions(1000, legal=["look", "wait"]))
    assert texts == list(hostile_actions(1000, legal=["look", "wait"]))
    assert len(texts) == 1000
    assert set(FIXED) <= set(texts)
    assert max(map(len, texts)) >= MEGABYTE
    assert any("\ud800" in text for text in texts)
    assert any(text.count("look") + text.count("wait") == 2 and "\n" in text for text in texts)
    assert texts != list(hostile_actions(1000, seed=1, legal=["look", "wait"]))


def test_a_conformance_error_survives_a_process_boundary():
    error = ConformanceError("canary", "what", "remedy")
    twin = pickle.loads(pickle.dumps(error))
    assert (twin.check, twin.what, twin.remedy, str(twin)) == ("canary", "what", "remedy", str(error))
