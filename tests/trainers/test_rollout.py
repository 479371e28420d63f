"""Rollouts: finished episodes cost nothing, broken environments are replaced, the teacher's side stays sealed."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import pytest
from scripted_agents import CrashingWorld, EchoEnv, FickleWorld, Peeker, ScriptedAgent
from toy_world import ToyWorld

from agents.base import Action, StopReason
from sdar_envs.privileged import Privileged
from trainers.rollout.batch_env import LoopBatchEnv
from trainers.rollout.collect import Rollout, TaskDraw, collect
from trainers.rollout.environments import EnvironmentSource, SeedTasks
from trainers.rollout.rows import build_rows, outcomes_of


def draws(count: int, tasks: int = 30) -> list[TaskDraw]:
    return [TaskDraw(f"train:{i % tasks}", ("test", i), i // 4, i % 4) for i in range(count)]


def batch_env(slots: int, make: Any = ToyWorld, **kwargs: Any) -> LoopBatchEnv:
    return LoopBatchEnv(make, slots, name="toy/Boxes-v0", **kwargs)


def story(rollouts: list[Rollout]) -> list[Any]:
    return [
        (
            r.episode.task_id,
            r.episode.stop_reason,
            [(t.view.observation, t.action.text, t.reward) for t in r.episode.turns],
        )
        for r in rollouts
    ]


def test_finished_episodes_cost_nothing() -> None:
    agent = ScriptedAgent()
    rollouts = collect(agent, batch_env(16), draws(16))
    lengths = [len(rollout.episode.turns) for rollout in rollouts]
    assert sum(map(len, agent.calls)) == sum(lengths) < 16 * max(lengths)
    assert sorted(agent.released) == list(range(16))


def test_rollouts_do_not_depend_on_the_number_of_slots() -> None:
    expected = story(collect(ScriptedAgent(), batch_env(40), draws(40)))
    for slots in (1, 3, 16):
        assert story(collect(ScriptedAgent(), batch_env(slots), draws(40))) == expected


@pytest.mark.parametrize("environments", [1, 3])
def test_fewer_environments_than_slots_change_neither_the_episodes_nor_who_acts_together(environments: int) -> None:
    many, few = ScriptedAgent(), ScriptedAgent()
    expected = story(collect(many, batch_env(8), draws(20)))
    assert story(collect(few, batch_env(8, environments=environments), draws(20))) == expected
    assert few.calls == many.calls


def test_free_slots_are_filled_when_half_are_free() -> None:
    agent = ScriptedAgent()
    collect(agent, batch_env(8), draws(24))
    begun = [len(call) for call in agent.calls]
    assert begun[0] == 8
    assert all(len(call) > 4 for call in agent.calls[: len(begun) // 3])  # never nearly empty while tasks wait


def test_a_crashed_environment_is_replaced_and_its_episode_goes_on_unchanged() -> None:
    expected = story(collect(ScriptedAgent(), batch_env(4), draws(8)))
    budget = [2]
    env = batch_env(4, lambda: CrashingWorld(crash=("train:3", 2), budget=budget))
    assert story(collect(ScriptedAgent(), env, draws(8))) == expected
    assert budget == [0] and env.replayed == 2


def test_an_environment_that_keeps_crashing_fails_its_episode_alone() -> None:
    expected = story(collect(ScriptedAgent(), batch_env(4), draws(8)))
    rollouts = collect(ScriptedAgent(), batch_env(4, lambda: CrashingWorld(crash=("train:3", 2))), draws(8))
    broken = rollouts.pop(3)
    assert broken.episode.failed and not broken.episode.success
    assert "train:3" in str(broken.failure) and "raised: OSError at scripted_agents.py" in str(broken.failure)
    # The text of an exception may be privileged: it is kept apart from what goes into the log.
    assert "the game engine died" not in str(broken.failure) and broken.detail == "the game engine died"
    expected.pop(3)
    assert story(rollouts) == expected


@pytest.mark.parametrize(("word", "fails"), [("environment_failure", True), ("failure", False)])
def test_an_environment_says_in_one_word_of_its_own_that_an_episode_does_not_count(word: str, fails: bool) -> None:
    class Telling(ToyWorld):
        def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
            *step, info = super().step(action)
            return *step, {**info, word: "the disk is full"} if self._task_id == "train:3" else info

    rollouts = collect(ScriptedAgent(), batch_env(4, Telling), draws(8))
    assert [rollout.episode.failed for rollout in rollouts] == [fails and i == 3 for i in range(8)]
    assert ("the disk is full" in str(rollouts[3].failure)) == fails


def test_a_replay_that_differs_fails_the_episode() -> None:
    budget = [1]
    rollouts = collect(
        ScriptedAgent(), batch_env(4, lambda: FickleWorld(crash=("train:3", 2), budget=budget)), draws(8)
    )
    assert [r.episode.failed for r in rollouts] == [i == 3 for i in range(8)]
    assert "not deterministic" in str(rollouts[3].failure)


def test_a_failed_episode_gives_no_rows_and_a_failed_outcome() -> None:
    rollouts = collect(ScriptedAgent(), batch_env(4, lambda: CrashingWorld(crash=("train:3", 2))), draws(8))
    assert 3 not in {row.episode_id for row in build_rows(rollouts)}
    assert [outcome.failed for outcome in outcomes_of(rollouts)] == [i == 3 for i in range(8)]


def test_an_agent_that_does_not_declare_it_never_gets_the_teachers_side() -> None:
    rollouts = collect(ScriptedAgent(), batch_env(2), draws(2))  # the agent asserts that it is handed None
    for rollout in rollouts:
        assert len(rollout.privileged) == len(rollout.episode.turns)
        assert all(isinstance(known, Privileged) for known in rollout.privileged)


def test_an_agent_that_reads_privileged_gets_the_plan_of_this_very_state() -> None:
    agent = Peeker()
    rollouts = collect(agent, batch_env(4), draws(8))
    assert all(r.episode.success and r.episode.stop_reason is StopReason.SUCCESS for r in rollouts)
    assert all(len(r.episode.turns) == 2 for r in rollouts)


@pytest.mark.parametrize(("turns", "asked"), [("every", 3), ("first", 1), ("never", 0)])
def test_the_teachers_side_is_computed_only_when_it_is_wanted(turns: str, asked: int) -> None:
    class Counting(ToyWorld):
        count = 0

        def _privileged(self) -> Any:
            Counting.count += 1
            return super()._privileged()

    (rollout,) = collect(
        ScriptedAgent(lambda view: "wait"),
        batch_env(1, lambda: Counting(horizon=2), privileged_turns=turns),
        draws(1),
    )
    assert Counting.count == asked
    assert [known is not None for known in rollout.privileged] == [turns != "never"] * 2


def test_observations_are_the_same_whatever_the_teacher_is_told() -> None:
    stories = [
        story(collect(ScriptedAgent(), batch_env(4, privileged_turns=turns), draws(8)))
        for turns in ("every", "first", "never")
    ]
    assert stories[0] == stories[1] == stories[2]


def test_an_episode_ends_at_max_turns_and_when_the_context_is_full() -> None:
    (rollout,) = collect(ScriptedAgent(lambda view: "wait"), batch_env(1), draws(1), max_turns=2)
    assert (len(rollout.episode.turns), rollout.episode.stop_reason) == (2, StopReason.HORIZON)

    class Full(ScriptedAgent):
        def _action(self, view: Any) -> Action:
            return Action("", "", context_full=view.turn == 1)

    agent = Full()
    (rollout,) = collect(agent, batch_env(1), draws(1))
    assert (len(rollout.episode.turns), rollout.episode.stop_reason) == (1, StopReason.CONTEXT_FULL)
    assert agent.released == [0]


def test_an_environment_without_tasks_is_reset_by_seed_and_judged_by_its_return() -> None:
    source = EnvironmentSource(EchoEnv, success_threshold=2.0)
    assert not source.enumerates_tasks and not source.has_privileged
    tasks = source.task_ids("valid")
    assert isinstance(tasks, SeedTasks) and tasks[0] == "1000000" and len(tasks) == 2000
    good = collect(ScriptedAgent(lambda view: view.observation), LoopBatchEnv.of(source, "valid", 2), draws_of(tasks))
    bad = collect(ScriptedAgent(lambda view: "?"), LoopBatchEnv.of(source, "valid", 2), draws_of(tasks))
    assert [r.episode.success for r in good] == [True] * 3
    assert [r.episode.return_ for r in good] == [3.0] * 3
    assert [r.episode.success for r in bad] == [False] * 3
    assert story(good) == story(
        collect(ScriptedAgent(lambda view: view.observation), LoopBatchEnv.of(source, "valid", 1), draws_of(tasks))
    )


def draws_of(tasks: Any) -> list[TaskDraw]:
    return [TaskDraw(tasks[i], (i,), i) for i in range(3)]


def test_with_seal_info_the_whole_info_is_sealed_for_the_teacher() -> None:
    (rollout,) = collect(ScriptedAgent(), batch_env(1), draws(1), seal_info=True)
    assert rollout.privileged[0] is not None
    assert rollout.privileged[0].reveal()["task_id"] == "train:0"  # type: ignore[typeddict-item]


def test_an_environment_that_is_not_text_is_refused_and_not_called_broken() -> None:
    with pytest.raises(
        TypeError, match=r"CartPole-v1, task 1, reset: expected an observation that is text .*, got ndarray: wrap"
    ):
        collect(
            ScriptedAgent(),
            LoopBatchEnv(lambda: gym.make("CartPole-v1"), 1, name="CartPole-v1", enumerates_tasks=False),
            [TaskDraw("1", (1,))],
        )
