"""Collecting without waiting: the same tasks, draws and tokens; nobody waits for a slow environment."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from scripted_agents import CrashingWorld, ParityWorld, Peeker, ScriptedAgent
from small_runs import make_trainer
from test_workers import draws
from tiny_models import CHATML, make_model, make_tokenizer
from toy_world import ToyWorld

from agents.base import Action, StopReason
from agents.chat import ChatAgent
from trainers.options import RolloutOptions
from trainers.rollout.asynchronous import collect_asynchronously
from trainers.rollout.batch_env import LoopBatchEnv
from trainers.rollout.collect import Rollout, TaskDraw, collect
from trainers.rollout.environments import EnvironmentSource
from trainers.rollout.opening import collects_asynchronously, open_batch_env
from trainers.rollout.replies import Reply
from trainers.run.directory import read_json_lines


class DelayedEnv:
    """A batch environment whose answers come after a number of polls that a generator draws: timing, made countable."""

    def __init__(self, inner: LoopBatchEnv, seed: int) -> None:
        self.inner, self.random = inner, random.Random(seed)
        self.slots, self.name = inner.slots, inner.name
        self.success_threshold, self.privileged_turns, self.replayed = 1.0, "every", 0
        self.waiting: list[list[Any]] = []
        self.log: list[str] = []

    def begin(self, slot: int, task_id: str) -> None:
        self.log.append(f"begin {slot}")
        self.waiting.append([self.random.randrange(6), slot, self.inner.reset([slot], [task_id])[0]])

    def send(self, slot: int, action: str) -> None:
        self.waiting.append([self.random.randrange(6), slot, self.inner.step([slot], [action])[0]])

    def poll(self, timeout: float | None = 0.0) -> list[tuple[int, Reply]]:
        while self.waiting:
            for each in self.waiting:
                each[0] -= 1
            found = [(slot, reply) for left, slot, reply in self.waiting if left < 0]
            self.waiting = [each for each in self.waiting if each[0] >= 0]
            if found or timeout is not None:
                self.log += [f"answer {slot}" for slot, _ in found]
                return found
        return []

    def reset(self, slots: Any, task_ids: Any) -> list[Reply]:
        return self.inner.reset(slots, task_ids)

    def step(self, slots: Any, actions: Any) -> list[Reply]:
        return self.inner.step(slots, actions)

    def close(self) -> None:
        self.inner.close()


def boxes(slots: int, make: Any = ToyWorld, **kwargs: Any) -> LoopBatchEnv:
    return LoopBatchEnv(make, slots, name="toy/Boxes-v0", **kwargs)


def tasks(count: int) -> list[TaskDraw]:
    return [TaskDraw(f"train:{i % 30}", ("test", i), i // 4, i % 4) for i in range(count)]


def told(rollouts: list[Rollout]) -> list[Any]:
    """Episodes without the slot that they were played in, which nothing depends on."""
    return [
        (
            r.task,
            r.episode.stop_reason,
            [
                (t.view.observation, t.view.turn, t.action.text, t.action.tokens, t.reward, t.is_action_valid)
                for t in r.episode.turns
            ],
            r.privileged,
        )
        for r in rollouts
    ]


@pytest.mark.parametrize("seed", range(5))
def test_episodes_do_not_depend_on_when_environments_answer(seed: int) -> None:
    expected = told(collect(ScriptedAgent(), boxes(6), tasks(20)))
    for slots in (1, 4, 20):
        rollouts = collect_asynchronously(ScriptedAgent(), DelayedEnv(boxes(slots), seed), tasks(20))
        assert told(rollouts) == expected


def test_an_agent_that_reads_the_teachers_side_gets_it_and_no_other_does() -> None:
    rollouts = collect_asynchronously(Peeker(), DelayedEnv(boxes(3), 0), tasks(6))
    assert all(r.episode.stop_reason is StopReason.SUCCESS and len(r.episode.turns) == 2 for r in rollouts)
    collect_asynchronously(ScriptedAgent(), DelayedEnv(boxes(3), 0), tasks(6))  # it asserts that it gets nothing


def test_a_slow_environment_holds_up_nobody_and_finished_slots_are_filled_at_once() -> None:
    class OneSlow(DelayedEnv):
        def send(self, slot: int, action: str) -> None:
            super().send(slot, action)
            self.waiting[-1][0] = 10_000 if slot == 0 else 0

    env = OneSlow(boxes(3), 0)
    collect_asynchronously(ScriptedAgent(), env, tasks(12))
    # While slot 0 waits for its first step, the other two play everything else, one episode after another.
    first = env.log.index("answer 0", env.log.index("answer 0") + 1)
    assert sum(word in ("begin 1", "begin 2") for word in env.log[:first]) == 11
    begins = [i for i, word in enumerate(env.log) if word.startswith("begin")][3:]
    assert all(env.log[i].replace("begin", "answer") in env.log[i - 3 : i] for i in begins)


def test_agents_forget_episodes_and_failures_and_full_contexts_end_them() -> None:
    agent = ScriptedAgent()
    broken = boxes(4, lambda: CrashingWorld(crash=("train:3", 2)))
    ended: list[tuple[int, int]] = []
    rollouts = collect_asynchronously(
        agent, DelayedEnv(broken, 1), tasks(8), advance=lambda done, of: ended.append((done, of))
    )
    assert [r.episode.failed for r in rollouts] == [i == 3 for i in range(8)]
    assert len(agent.released) == 8 and ended == [(i, 8) for i in range(1, 9)]

    class Full(ScriptedAgent):
        def _action(self, view: Any) -> Action:
            return Action("", "", context_full=view.turn == 1)

    rollouts = collect_asynchronously(Full(), boxes(2), tasks(3), max_turns=5)
    assert [r.episode.stop_reason for r in rollouts] == [StopReason.CONTEXT_FULL] * 3


def test_workers_answer_asynchronously_as_in_lockstep() -> None:
    source = EnvironmentSource(ToyWorld, workers=2)
    try:
        env = open_batch_env(source, "valid", 5)
        together = collect(ScriptedAgent(), env, draws(source, 12))
        alone = collect_asynchronously(ScriptedAgent(), env, draws(source, 12))
    finally:
        source.close()
    assert told(alone) == told(together)


@pytest.mark.parametrize("context", ["transcript", "window"])
def test_token_ids_do_not_depend_on_timing_in_float32(context: str) -> None:
    tokenizer = make_tokenizer(CHATML)
    model = make_model("qwen2", len(tokenizer))
    model.generation_config.eos_token_id = list(range(3, len(tokenizer), 3))

    def agent() -> ChatAgent:
        return ChatAgent(
            model, tokenizer, style="compact", context=context, max_completion_length=6, max_prompt_length=600
        )

    def ids(rollouts: list[Rollout]) -> list[Any]:
        return [[turn.action.tokens.completion_ids for turn in r.episode.turns] for r in rollouts]  # type: ignore[union-attr]

    expected = ids(collect(agent(), boxes(4), tasks(10), max_turns=3))
    assert sum(map(len, expected)) >= 20
    for seed in range(3):
        assert ids(collect_asynchronously(agent(), DelayedEnv(boxes(4), seed), tasks(10), max_turns=3)) == expected


def test_a_run_collects_asynchronously_and_learns_from_the_same_tokens(tmp_path: Path) -> None:
    runs = {}
    for collection in ("lockstep", "asynchronous"):
        folder = tmp_path / collection
        trainer = make_trainer(folder, ParityWorld, method="grpo", collection=collection, max_steps=1)
        assert trainer.collector.asynchronous == trainer.monitor.asynchronous == (collection == "asynchronous")
        trainer.train()
        runs[collection] = [
            (record["phase"], record["task_id"], [turn["completion"] for turn in record["turns"]])
            for record in read_json_lines(folder / "run" / "episodes.jsonl")
            if record["iteration"] == 0 or record["phase"] == "train"
        ]
    assert runs["lockstep"] == runs["asynchronous"] and len(runs["lockstep"]) >= 16


# When it is chosen.


class Exact:
    exact_draws = True


class Inexact:
    exact_draws = False


@pytest.mark.parametrize(
    ("options", "sampler", "on_gpu", "asynchronous"),
    [
        ({}, Exact, False, False),  # the default on the CPU: exact resume
        ({}, Exact, True, True),
        ({}, Inexact, False, True),
        ({"deterministic": True}, Exact, True, False),
        ({"deterministic": False}, Exact, False, True),
        ({"collection": "asynchronous"}, Exact, False, True),
        ({"collection": "lockstep"}, Inexact, True, False),
    ],
)
def test_deterministic_runs_are_collected_in_lockstep(
    options: dict[str, Any], sampler: Any, on_gpu: bool, asynchronous: bool
) -> None:
    assert collects_asynchronously(RolloutOptions(**options), sampler(), on_gpu=on_gpu) == asynchronous


def test_deterministic_and_asynchronous_do_not_go_together() -> None:
    with pytest.raises(ValueError, match="expected lockstep with deterministic=true"):
        RolloutOptions(deterministic=True, collection="asynchronous")
