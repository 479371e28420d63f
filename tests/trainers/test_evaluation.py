"""Evaluation sets: a fixed file, verified; the same result for any number of environments; nothing privileged."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import toy_world
from scripted_agents import CrashingWorld, EchoEnv, Peeker, ScriptedAgent

from trainers.evaluation.evaluate import evaluate
from trainers.evaluation.evaluation_set import EvaluationSet, EvaluationSetError, content_hash, make_evaluation_set
from trainers.evaluation.intervals import wilson
from trainers.rollout.environments import EnvironmentSource

toy_world.register()


def toy_set(episodes: int = 30, **kwargs: Any) -> EvaluationSet:
    return make_evaluation_set("toy/Boxes-v0", {"horizon": 3}, "valid", episodes, **kwargs)


def test_an_evaluation_set_survives_its_file_and_its_hash_is_that_of_the_rest(tmp_path: Path) -> None:
    fixed = toy_set(5, temperature=0.4, sampler_batch=4)
    fixed.save(tmp_path / "fixed.json")
    content = json.loads((tmp_path / "fixed.json").read_text())
    stated = content.pop("hash")
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert stated == hashlib.sha256(text.encode()).hexdigest() == fixed.hash
    assert EvaluationSet.load(tmp_path / "fixed.json") == fixed
    assert content["task_ids"] == [f"valid:{i}" for i in range(5)] and content["world_version"] == "0"


@pytest.mark.parametrize(
    ("key", "value"),
    [("temperature", 0.5), ("task_ids", ["valid:0"]), ("sampler_batch", 8), ("max_turns", 4), ("split", "test")],
)
def test_an_evaluation_set_that_was_changed_by_hand_is_refused(tmp_path: Path, key: str, value: Any) -> None:
    toy_set(5).save(tmp_path / "fixed.json")
    content = json.loads((tmp_path / "fixed.json").read_text())
    (tmp_path / "fixed.json").write_text(json.dumps({**content, key: value}))
    with pytest.raises(EvaluationSetError, match="was changed after it was written"):
        EvaluationSet.load(tmp_path / "fixed.json")


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"hash": "x"}', "\ufeff{}"])
def test_a_file_that_is_no_evaluation_set_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "broken.json").write_text(text, encoding="utf-8")
    with pytest.raises(EvaluationSetError, match=r"broken\.json"):
        EvaluationSet.load(tmp_path / "broken.json")


def test_every_field_moves_the_hash() -> None:
    fixed = toy_set(3)
    for key, value in {"temperature": 0.7, "max_turns": 9, "env_kwargs": {}, "world_version": "1"}.items():
        assert content_hash({**fixed.content(), key: value}) != fixed.hash


def test_a_split_with_fewer_tasks_gives_all_of_them() -> None:
    assert len(toy_set(1000).task_ids) == 30
    with pytest.raises(ValueError, match="at least 1 episode"):
        toy_set(0)
    with pytest.raises(ValueError, match="unknown split 'vaild'"):
        make_evaluation_set("toy/Boxes-v0", {}, "vaild", 3)


def test_evaluation_is_the_same_for_any_number_of_environments() -> None:
    fixed = toy_set(sampler_batch=8)
    agents = {count: ScriptedAgent() for count in (1, 3, 16)}
    results = {count: evaluate(agent, fixed, environments=count) for count, agent in agents.items()}
    assert results[1] == results[3] == results[16]
    assert agents[1].calls == agents[3].calls == agents[16].calls  # even the batches are the same


def test_success_is_the_sum_of_wins_over_the_sum_of_episodes() -> None:
    fixed = toy_set(sampler_batch=8)
    result = evaluate(ScriptedAgent(), fixed)
    wins = sum(bool(outcome) for outcome in result.outcomes)
    assert 0 < wins < 30
    assert result.success_rate == wins / 30 and result.ci95 == wilson(wins, 30)
    assert {name: rate.episodes for name, rate in result.by_task_type.items()} == {"blue": 10, "green": 10, "red": 10}
    assert sum(rate.wins for rate in result.by_task_type.values()) == wins
    assert result.mean_score == pytest.approx(wins / 30) and result.failed == 0
    plain = result.to_json()
    assert json.loads(json.dumps(plain)) == plain and plain["panel_hash"] == fixed.hash


def test_broken_episodes_are_in_no_rate() -> None:
    source = EnvironmentSource(lambda **kw: CrashingWorld(crash=("valid:2", 1), horizon=3, **kw))
    fixed = make_evaluation_set(source, split="valid", episodes=10)
    result = evaluate(ScriptedAgent(), fixed, source=source)
    assert result.outcomes[2] is None and result.failed == 1 and result.overall.episodes == 9


def test_the_privileged_prompt_policy_is_told_at_every_turn_and_the_student_nothing_is_even_computed() -> None:
    privileged = Peeker()
    assert evaluate(privileged, toy_set(6)).success_rate == 1.0
    assert all(known is not None for known in privileged.seen)
    result = evaluate(ScriptedAgent(), toy_set(6))
    assert all(known is None for rollout in result.rollouts for known in rollout.privileged)


def test_another_version_of_the_world_is_refused() -> None:
    fixed = toy_set(3)
    later = type("Later", (toy_world.ToyWorld,), {"world_version": "2"})
    with pytest.raises(EvaluationSetError, match="expected world version 0, got 2"):
        evaluate(
            ScriptedAgent(),
            dataclasses.replace(fixed, env_id=EnvironmentSource(later).name, env_kwargs={}),
            source=EnvironmentSource(later),
        )


def test_another_environment_than_the_sets_is_refused() -> None:
    fixed = toy_set(3)
    with pytest.raises(
        EvaluationSetError, match=r'is for toy/Boxes-v0 {"horizon": 3}, got toy/Boxes-v0 {"horizon": 4}'
    ):
        evaluate(ScriptedAgent(), fixed, source=EnvironmentSource("toy/Boxes-v0", {"horizon": 4}))
    same = EnvironmentSource("toy/Boxes-v0", {"split": "test", "horizon": 3})
    assert evaluate(ScriptedAgent(), fixed, source=same) == evaluate(ScriptedAgent(), fixed)


def test_an_evaluation_set_of_which_nothing_can_be_played_has_no_success_rate() -> None:
    fixed = dataclasses.replace(toy_set(2), task_ids=("valid:0x", "valid:1x"))
    with pytest.raises(RuntimeError, match=r"every episode of the evaluation set failed; the first: .*valid:0x"):
        evaluate(ScriptedAgent(), fixed)


def test_a_task_that_an_environment_does_not_have_is_refused_with_its_reason() -> None:
    with pytest.raises(ValueError, match=r"valid:9x"):
        EnvironmentSource("toy/Boxes-v0").require_task("valid:9x")
    with pytest.raises(ValueError, match="expected a reset seed, got 'valid:0'"):
        EnvironmentSource(EchoEnv).require_task("valid:0")
    EnvironmentSource(EchoEnv).require_task("17")


def test_an_agent_of_another_temperature_is_refused() -> None:
    agent = ScriptedAgent()
    agent.temperature = 1.0  # type: ignore[attr-defined]
    with pytest.raises(EvaluationSetError, match=r"asks for temperature 0\.4, the agent samples at 1\.0"):
        evaluate(agent, toy_set(3))


def test_tasks_of_one_layout_widen_the_interval() -> None:
    class Rooms(toy_world.ToyWorld):
        """The coin of all tasks of a room lies in the same box."""

        def cluster_of(self, task_id: str) -> str:
            return str(int(task_id.split(":")[1]) // 5)

        def _begin(self, task_id: str) -> str:
            text = super()._begin(task_id)
            self._coin = 1 if self.cluster_of(task_id) in "02" else 4
            return text

    source = EnvironmentSource(Rooms)
    always_first = ScriptedAgent(lambda view: "take coin" if "A coin" in view.observation else "open 1")
    result = evaluate(always_first, make_evaluation_set(source, split="valid", episodes=30), source=source)
    assert result.success_rate == pytest.approx(1 / 3) and result.clusters[:6] == ("0",) * 5 + ("1",)
    assert result.clustered_ci95 is not None
    assert result.clustered_ci95[1] - result.clustered_ci95[0] > result.ci95[1] - result.ci95[0]


def test_a_third_partys_environment_has_evaluation_sets_of_seeds() -> None:
    source = EnvironmentSource(EchoEnv, {"turns": 2}, success_threshold=2.0)
    fixed = make_evaluation_set(source, split="test", episodes=4)
    assert fixed.task_ids == ("2000000", "2000001", "2000002", "2000003")
    assert fixed.world_version == "unknown" and fixed.env_id.endswith(":EchoEnv")
    assert evaluate(ScriptedAgent(lambda view: view.observation), fixed, source=source).success_rate == 1.0


def test_household_tasks_are_clustered_by_their_layout() -> None:
    source = EnvironmentSource("sdar/Household-v0", {"size": "small"})
    clusters = [source.cluster_of(task_id) for task_id in source.task_ids("test")[:120]]
    assert len(set(clusters)) <= 24 < 120  # six unseen layouts in each of four room kinds
    assert clusters == [source.cluster_of(task_id) for task_id in source.task_ids("test")[:120]]
    seen = {source.cluster_of(task_id) for task_id in source.task_ids("valid")[:120]}
    assert not seen & set(clusters)
