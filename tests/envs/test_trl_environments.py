"""Environments of TRL's trainers: one tool, one task a group, an end that is told, and nothing of the teacher's."""

from __future__ import annotations

import inspect
from typing import Any

import gymnasium as gym
import pytest
from toy_world import ToyWorld

import sdar_envs  # noqa: F401  # registers the environments
from sdar_envs.bridges.trl import FAILED, ONCE_OVER, STOP, TextEnvironment, environment_for
from sdar_envs.core import Transition
from sdar_envs.privileged import PrivilegedFields

CANARY = "canary-of-the-teacher"


def secretive(**kwargs: Any) -> ToyWorld:
    """The toy world with a word in its privileged side that stands nowhere else."""
    world = ToyWorld(**kwargs)
    world.secret = CANARY
    return world


class BreakingWorld(ToyWorld):
    """Breaks at an action, with an exception that says what only a teacher may know."""

    def _act(self, action: str) -> Transition:
        if action == "open 2":
            raise LookupError(f"{CANARY}: the coin is in box {self._coin}")
        return super()._act(action)


def tools_of(environment: type[TextEnvironment]) -> list[str]:
    """The policy's tools, by the rule of TRL 1.16: public functions of the class but `reset` and `get_reward`."""
    names = [name for name, _ in inspect.getmembers(environment, inspect.isfunction)]
    return [name for name in names if not name.startswith("_") and name not in ("reset", "get_reward")]


@pytest.mark.parametrize("teacher", [False, True])
@pytest.mark.parametrize("env_id", ["sdar/Household-v0", "sdar/WebShop-v0", "sdar/Trip-v0", ToyWorld])
def test_the_policys_only_tool_is_act(env_id: Any, teacher: bool) -> None:
    assert tools_of(environment_for(env_id, teacher=teacher)) == ["act"]


def test_a_public_function_more_would_be_a_tool() -> None:
    class Careless(environment_for(ToyWorld, teacher=True)):  # type: ignore[misc]
        def privileged(self) -> str:
            return "the plan"

    assert tools_of(Careless) == ["act", "privileged"]


def test_an_episode_is_that_of_the_world() -> None:
    environment = environment_for("sdar/Household-v0", list_actions=False, teacher=True, size="small")()
    world = gym.make("sdar/Household-v0", size="small")
    task = world.unwrapped.task_ids("train")[4]  # type: ignore[attr-defined]
    observation, info = world.reset(options={"task_id": task})
    assert environment.reset(task_id=task, prompt=[]) == "\n\n" + observation
    total, over = 0.0, False
    while not over:
        action = info["privileged"]["next_action"]
        assert environment.episode.decisions[-1].privileged.reveal() == info["privileged"]
        observation, reward, terminated, truncated, info = world.step(action)
        total, over = total + float(reward), terminated or truncated
        said = environment.act(action)
        assert said == (f"{observation}\n\nThe episode is over: solved, score 1.00. {STOP}" if over else observation)
    assert environment.get_reward() == total > 0.0 and environment.episode.success
    assert environment.act("look") == ONCE_OVER and environment.get_reward() == total


def test_actions_are_listed_where_it_is_asked_for() -> None:
    begun = environment_for(ToyWorld)().reset(task_id="train:3")
    assert begun.endswith("Actions that are possible now:\n- open 1\n- open 2\n- open 3\n- open 4")
    assert "possible" not in environment_for(ToyWorld, list_actions=False)().reset(task_id="train:3")


def test_a_horizon_is_told_and_keeps_the_reward() -> None:
    environment = environment_for(ToyWorld, horizon=2)()
    environment.reset(task_id="train:1")
    environment.act("hop")
    assert "The episode is over: out of turns, score 0.00." in environment.act("hop")
    assert environment.get_reward() == 0.0
    assert [reply.understood for reply in environment.episode.replies] == [False, False]
    assert [reply.decision for reply in environment.episode.replies] == [1, None]


def test_a_row_without_a_task_is_refused_since_its_group_would_play_different_ones() -> None:
    environment = environment_for(ToyWorld)()
    with pytest.raises(ValueError, match=r"column task_id .* got the columns \['plan', 'prompt'\]"):
        environment.reset(prompt=[], plan="x")
    with pytest.raises(ValueError, match="looks like train:7"):
        environment.reset(task_id="nonsense")


def test_a_seed_names_a_task_where_tasks_have_no_names() -> None:
    one, other = environment_for(ToyWorld)(), environment_for(ToyWorld)()
    assert one.reset(env_seed=7) == other.reset(env_seed=7)


@pytest.mark.parametrize("action", [5, None, ["open 1"], {"a": 1}, "\ud800", "x" * 100_000])
def test_whatever_a_model_writes_is_an_action(action: Any) -> None:
    environment = environment_for(ToyWorld)()
    environment.reset(task_id="train:1")
    assert "Nothing happens" in environment.act(action)
    assert environment.get_reward() == 0.0


def test_an_exception_of_the_world_is_never_in_what_the_policy_reads(capfd: pytest.CaptureFixture[str]) -> None:
    environment = environment_for(BreakingWorld, teacher=True)()
    environment.reset(task_id="train:1")
    assert environment.act("open 2") == FAILED and CANARY not in FAILED
    assert environment.act("open 1") == ONCE_OVER
    # TRL leaves an episode without a reward out of its group.
    assert environment.get_reward() is None and environment.episode.failed
    assert CANARY in capfd.readouterr().err  # it is told to the person who runs it
    environment.reset(task_id="train:1")
    assert environment.get_reward() == 0.0 and not environment.episode.failed


class ForgetfulTeacher(ToyWorld):
    """Its privileged side breaks in the middle of an episode."""

    def _privileged(self) -> PrivilegedFields:
        if self.steps == 2:
            raise LookupError(f"{CANARY}: the coin is in box {self._coin}")
        return super()._privileged()


def test_neither_is_an_exception_of_the_teachers_side(capfd: pytest.CaptureFixture[str]) -> None:
    environment = environment_for(ForgetfulTeacher, teacher=True)()
    environment.reset(task_id="train:1")
    said = [environment.act("hop") for _ in range(3)]
    assert said[1:] == [FAILED, ONCE_OVER] and CANARY not in said[0]
    assert environment.get_reward() is None and CANARY in capfd.readouterr().err


def test_nothing_the_teacher_knows_is_in_a_text_or_shown_by_the_environment() -> None:
    said: dict[bool, list[str]] = {}
    for teacher in (False, True):
        environment = environment_for(secretive, teacher=teacher)()
        actions = ("open 1", "open 2", "open 3", "take coin", "open 4", "take coin")
        said[teacher] = [environment.reset(task_id="train:1"), *map(environment.act, actions)]
        assert CANARY not in "".join(said[teacher])
        assert CANARY not in repr(environment) + repr(environment.episode) + repr(vars(environment))
        known = [decision.privileged for decision in environment.episode.decisions]
        assert all((fields is not None) == teacher for fields in known)
        assert all(CANARY in str(fields.reveal()) for fields in known if fields is not None)
    assert said[False] == said[True]
