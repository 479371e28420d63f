"""What an environment returns is checked where it comes in: what no episode can be made of fails that episode."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scripted_agents import EchoEnv, ParityWorld, ScriptedAgent
from small_runs import make_trainer

from agents.base import Episode
from sdar_envs.privileged import Privileged
from sdar_envs.text_only import NotTextError
from trainers.rollout.batch_env import LoopBatchEnv
from trainers.rollout.collect import Rollout, TaskDraw, collect
from trainers.rollout.replies import (
    MAX_OBSERVATION,
    MAX_PUBLIC_ITEMS,
    FaultKind,
    InvalidReplyError,
    read_reset,
    read_step,
)
from trainers.run.directory import read_json_lines
from trainers.run.episode_log import episode_record, plain_json, privileged_record

GOOD: tuple[Any, ...] = ("You see a box.", 0.5, False, False, {"success": False, "score": 0.0})


class OddText(str):
    """A text that is no plain `str`."""

    __slots__ = ()


class Unfriendly:
    def __float__(self) -> float:
        raise RuntimeError("no number")


def changed(place: int, value: Any) -> tuple[Any, ...]:
    return (*GOOD[:place], value, *GOOD[place + 1 :])


def with_info(**more: Any) -> tuple[Any, ...]:
    return changed(4, {**GOOD[4], **more})


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        (None, "expected a tuple of observation, reward, terminated, truncated and info, got NoneType"),
        (GOOD[:4], "got tuple of 4"),
        (list(GOOD), "got list of 5"),
        (
            changed(0, None),
            "observation: expected an observation that is text (a str, as in gymnasium.spaces.Text), got NoneType",
        ),
        (changed(0, b"You"), "got bytes"),
        (changed(0, "x" * (MAX_OBSERVATION + 1)), "at most 200,000 characters, got 200,001"),
        (changed(0, "a \ud800 b"), "lone surrogate"),
        (changed(1, math.nan), "reward: expected a finite number, got nan"),
        (changed(1, -math.inf), "got -inf"),
        (changed(1, "1.0"), "reward: expected a number, got str"),
        (changed(1, None), "got NoneType"),
        (changed(1, np.array([1.0, 2.0])), "got ndarray"),
        (changed(1, Unfriendly()), "got Unfriendly"),
        (changed(2, "False"), "terminated: expected a bool, got str"),
        (changed(3, 2), "truncated: expected a bool, got int"),
        (changed(4, None), "info: expected a mapping, got NoneType"),
        (changed(4, [GOOD[4]]), "info: expected a mapping, got list of 1"),
        (with_info(success="False"), "info['success']: expected a bool, got str"),
        (with_info(score=math.nan), "info['score']: expected a finite number"),
        (with_info(score="high"), "info['score']: expected a number"),
        (with_info(is_action_valid="yes"), "info['is_action_valid']: expected a bool"),
        (with_info(admissible_actions=7), "info['admissible_actions']: expected a list of str, got int"),
        (with_info(admissible_actions=(text for text in "ab")), "got generator"),
        (with_info(admissible_actions=[object()]), "expected text, got object"),
        (with_info(admissible_actions=["a"] * (MAX_PUBLIC_ITEMS + 1)), "at most 20,000 texts"),
        (with_info(admissible_actions=["a" * 600_000] * 2), "at most 1,000,000 characters"),
        (with_info(instruction=["find it"]), "info['instruction']: expected a str, got list of 1"),
        (with_info(instruction="\ud800"), "lone surrogate"),
    ],
)
def test_what_no_episode_can_be_made_of_is_refused_and_named(returned: Any, said: str) -> None:
    with pytest.raises(InvalidReplyError) as refused:
        read_step(returned)
    assert said in str(refused.value)
    assert "You see a box" not in str(refused.value)  # never the content


@pytest.mark.parametrize(
    "returned",
    [
        GOOD,
        changed(0, OddText("a box")),
        changed(1, True),
        changed(1, np.float32(0.25)),
        changed(1, np.array(0.25)),
        changed(2, np.True_),
        changed(3, 1),
        with_info(success=None, score=None, instruction=None, admissible_actions=None),
        with_info(success=np.bool_(True), score=np.float64(1.0), admissible_actions=np.array(["a", "b"])),
        with_info(admissible_actions=("a",), skill_keys="one", instruction=7, anything=object()),
        changed(4, {}),
    ],
)
def test_what_environments_may_well_return_is_taken(returned: Any) -> None:
    reply = read_step(returned)
    assert type(reply.observation) is str and type(reply.reward) is float
    assert type(reply.terminated) is bool and reply.failure is None


def test_a_reset_is_a_pair() -> None:
    assert read_reset(("a box", {})).reward == 0.0
    for returned in ("a box", ("a box",), ("a box", {}, None)):
        with pytest.raises(InvalidReplyError, match="reset: expected a tuple of observation and info"):
            read_reset(returned)


class BrokenEnv(EchoEnv):
    """One broken return, at the second step of the task with seed 1000001, every time."""

    def __init__(self, broken: Any) -> None:
        super().__init__()
        self.broken, self.seed = broken, 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        self.seed = seed or 0
        return super().reset(seed=seed)

    def step(self, action: str) -> Any:
        found = super().step(action)
        return self.broken(found) if self.seed == 1_000_001 and self._left == 1 else found


class NoCopy:
    def __deepcopy__(self, memo: Any) -> Any:
        raise TypeError("cannot be copied")


class OddError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("not even that")


def _odd(found: Any) -> Any:
    raise OddError


@pytest.mark.parametrize(
    ("broken", "fault", "said"),
    [
        (lambda found: (found[0], math.nan, *found[2:]), FaultKind.INVALID, "finite"),
        (lambda found: (*found[:4], None), FaultKind.INVALID, "mapping"),
        (lambda found: (*found[:4], {"privileged": {"plan": NoCopy()}}), FaultKind.INVALID, "copied: TypeError"),
        (lambda found: (None, *found[1:]), FaultKind.INVALID, "expected an observation that is text"),
        (_odd, FaultKind.RAISED, "OddError at test_replies.py"),
    ],
)
def test_a_broken_return_fails_its_own_episode_alone(broken: Any, fault: FaultKind, said: str) -> None:
    batch_env = LoopBatchEnv(lambda: BrokenEnv(broken), 2, enumerates_tasks=False)
    draws = [TaskDraw(str(1_000_000 + i), ("x", i), i) for i in range(3)]
    rollouts = collect(ScriptedAgent(), batch_env, draws)
    assert [rollout.episode.failed for rollout in rollouts] == [False, True, False]
    assert rollouts[1].fault is fault and said in str(rollouts[1].failure)
    assert "task 1000001, step 2" in str(rollouts[1].failure)


def test_an_environment_that_never_gives_text_is_refused_and_one_that_stops_to_is_broken() -> None:
    class Numbers(EchoEnv):
        def reset(self, **kwargs: Any) -> Any:
            return np.zeros(3), {}

    with pytest.raises(NotTextError, match="got ndarray"):
        collect(ScriptedAgent(), LoopBatchEnv(Numbers, 1, enumerates_tasks=False), [TaskDraw("1", (1,))])


def test_an_episode_that_broke_is_no_success_whatever_its_environment_said_before() -> None:
    class Premature(EchoEnv):
        def step(self, action: str) -> Any:
            if self._left == 2:
                raise OSError("gone")
            return (*super().step(action)[:4], {"success": True, "score": 1.0})

    (rollout,) = collect(ScriptedAgent(), LoopBatchEnv(Premature, 1, enumerates_tasks=False), [TaskDraw("1", (1,))])
    assert len(rollout.episode.turns) == 1 and rollout.episode.failed and not rollout.episode.success


def test_an_environment_whose_close_raises_is_closed() -> None:
    class Stuck(EchoEnv):
        def close(self) -> None:
            raise OSError("the socket is gone")

    batch_env = LoopBatchEnv(Stuck, 1, enumerates_tasks=False)
    collect(ScriptedAgent(), batch_env, [TaskDraw("1", (1,))])
    batch_env.close()


def test_one_reward_that_is_no_number_in_an_evaluation_costs_one_episode_and_the_run_is_saved(tmp_path: Path) -> None:
    class Sometimes(ParityWorld):
        def step(self, action: str) -> Any:
            observation, reward, *rest = super().step(action)
            broken = self._task_id in ("valid:1", "train:8")
            return observation, math.nan if broken else reward, *rest

    trainer = make_trainer(tmp_path, Sometimes, method="grpo", save_steps=1, max_steps=1, log_privileged=True)
    summary = trainer.train()
    assert summary["before"]["failed"] == summary["after"]["failed"] == 1
    failed = [r for r in read_json_lines(tmp_path / "run" / "episodes.jsonl") if r["stop_reason"] == "failed"]
    assert {record["failure"].partition(": ")[2] for record in failed} == {
        "invalid: reward: expected a finite number, got nan"
    }
    assert any((tmp_path / "run" / "checkpoints").iterdir())


def test_an_exceptions_text_goes_to_standard_error_once_and_into_no_log_but_the_privileged_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Talkative(ParityWorld):
        def step(self, action: str) -> Any:
            if self._task_id == "valid:2":
                raise ValueError("the apple is in the CANARY drawer")
            return super().step(action)

    trainer = make_trainer(tmp_path, Talkative, method="grpo", max_steps=0, log_privileged=True)
    trainer.train()
    run = tmp_path / "run"
    written = {path.name: path.read_text(errors="replace") for path in run.rglob("*") if path.is_file()}
    assert [name for name, text in written.items() if "CANARY" in text] == ["privileged.jsonl"]
    assert "ValueError at test_replies.py" in written["episodes.jsonl"]
    assert capsys.readouterr().err.count("CANARY") == 1


def test_privileged_fields_of_any_kind_can_be_written() -> None:
    odd = {"a": math.nan, "b": np.arange(2), "c": (1, {2}), "d": object(), 5: b"x", "skills": {"claim_ids": 3}}
    rollout = Rollout(Episode("x", "1", "", ()), TaskDraw("1", ()), [Privileged(odd)])
    for record in (
        privileged_record(rollout, run="r", iteration=0, phase="train"),
        episode_record(rollout, run="r", iteration=0, phase="train", seed=0),
    ):
        json.dumps(record, allow_nan=False)
    assert plain_json(odd)["b"] == [0, 1] and plain_json(odd)["d"] == "<object>"
    deep: Any = []
    for _ in range(1000):
        deep = [deep]
    json.dumps(plain_json(deep))
