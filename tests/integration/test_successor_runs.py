"""Whole runs with what stands around the core: estimators, resampling, several teachers, a bandit, successors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from scripted_agents import ParityWorld
from small_runs import make_trainer, weights
from test_resume import StopAfter, equal, story

from agents.hindsight import HINDSIGHTS
from trainers.methods import METHODS

OPTIONS: dict[str, Any] = {"learning_rate": 1e-2, "save_steps": 2, "eval_steps": 2, "max_steps": 4}


def figures(folder: Path, name: str) -> list[Any]:
    return [record[name] for record in story(folder, "metrics") if name in record]


@pytest.mark.parametrize(
    "options",
    [
        {"retrieval": "ucb", "ucb_reward": "gap", "method": "grpo+rkl", "distill_coef": 0.5},
        {"dynamic_sampling": 2, "method": "sdar"},
        {"advantage": "gigpo", "method": "agent-opsd"},
    ],
    ids=["ucb", "dynamic sampling", "gigpo"],
)
def test_an_interrupted_run_goes_on_as_if_nothing_had_stopped(tmp_path: Path, options: dict[str, Any]) -> None:
    options = {**OPTIONS, **options}
    (tmp_path / "straight").mkdir()
    straight = make_trainer(tmp_path / "straight", ParityWorld, **options)
    straight.train()
    make_trainer(tmp_path, ParityWorld, trainer={"callbacks": [StopAfter(2)]}, **options).train()
    resumed = make_trainer(tmp_path, ParityWorld, **options)
    resumed.train(resume_from_checkpoint=True)
    assert equal(weights(straight), weights(resumed))
    assert story(tmp_path, "metrics") == story(tmp_path / "straight", "metrics")
    if resumed.bandit is not None:
        assert resumed.bandit.state() == straight.bandit.state()
        pulls = [arm[0] for arms in resumed.bandit.state().values() for arm in arms.values()]
        assert sum(pulls) == 4 * 3  # iterations times groups
        assert any(figures(tmp_path, "retrieval/reward"))
        saved = json.loads((tmp_path / "run/checkpoints/step-00000004/training_state.json").read_text())
        assert saved["progressed"]["retrieval"] == resumed.bandit.state()


def test_flat_groups_are_replaced_and_their_tokens_counted(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, num_generations=2, dynamic_sampling=3, max_steps=3, method="grpo")
    trainer.train()
    replaced, flat = figures(tmp_path, "groups/replaced"), figures(tmp_path, "groups/flat")
    assert sum(replaced) > 0 and sum(flat) < sum(replaced)
    sampled = sum(figures(tmp_path, "tokens/sampled")) + sum(figures(tmp_path, "tokens/replaced"))
    assert trainer.state.sampled_tokens == sampled
    (tmp_path / "off").mkdir()
    make_trainer(tmp_path / "off", num_generations=2, max_steps=3, method="grpo").train()
    assert figures(tmp_path / "off", "groups/replaced") == []


@pytest.mark.parametrize("context", ["transcript", "window"])
@pytest.mark.parametrize("name", [name for name, method in METHODS.items() if method.group == "successor"])
def test_every_successor_trains_behind_gigpo_in_both_contexts(tmp_path: Path, name: str, context: str) -> None:
    # Schedules off, so that the teacher matters from the first iteration.
    options = {"method": name, "distill_coef": 0.5, "distill_decay": 0, "advantage": "gigpo", "context": context}
    trainer = make_trainer(tmp_path, max_steps=1, **options)
    before = weights(trainer)
    trainer.train()
    assert any(not torch.equal(before[key], value) for key, value in weights(trainer).items())
    (read,) = figures(tmp_path, "distill/share_read")
    assert read == 1.0 or (set(METHODS[name].teacher_views) <= set(HINDSIGHTS) and 0.0 < read < 1.0)
    assert 0.0 < figures(tmp_path, "groups/shared_states")[0] <= 1.0


@pytest.mark.parametrize("how", ["mean", "max", "agreement"])
def test_two_contexts_are_two_readings_and_one_teacher(tmp_path: Path, how: str) -> None:
    options = {"privilege": "skill+next_action", "teacher_combine": how, "method": "sdar", "distill_coef": 0.5}
    trainer = make_trainer(tmp_path, max_steps=1, **options)
    read: list[set[str]] = []
    score = trainer.scorer.score

    def watched(rows: Any, rollouts: Any, plan: Any) -> Any:
        scored, metrics = score(rows, rollouts, plan)
        read.extend(set(row.teacher_logprobs_T) for row in scored)
        return scored, metrics

    trainer.scorer.score = watched
    trainer.train()
    assert all(names == {"teacher", "teacher:skill", "teacher:next_action"} for names in read) and read
    assert 0.0 < figures(tmp_path, "teacher/agreement")[0] <= 1.0
    record = next(r for r in story(tmp_path, "episodes") if r["phase"] == "train")
    assert "teacher" in record["turns"][0]["tokens"]


def test_a_skill_that_the_student_acts_with_is_judged_by_the_groups_that_gave_way_too(tmp_path: Path) -> None:
    options = {"method": "skill-grpo", "retrieval": "ucb", "dynamic_sampling": 2, "num_generations": 2, "max_steps": 2}
    trainer = make_trainer(tmp_path, ParityWorld, **options)
    trainer.train()
    replaced = sum(figures(tmp_path, "groups/replaced"))
    pulls = [arm[0] for arms in trainer.bandit.state().values() for arm in arms.values()]
    assert replaced > 0 and sum(pulls) == 2 * 3 + replaced


def test_a_bandit_where_nothing_is_chosen_from_is_refused_before_the_run(tmp_path: Path) -> None:
    class World(ParityWorld):
        skill_bank = None

    with pytest.raises(ValueError, match="two skills or more"):
        make_trainer(tmp_path, World, retrieval="ucb")
    with pytest.raises(ValueError, match="chooses what privilege='skill' shows"):
        make_trainer(tmp_path, ParityWorld, retrieval="ucb", privilege="plan")


@pytest.fixture(scope="module")
def plain_run(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    trainer = make_trainer(tmp_path_factory.mktemp("plain"), ParityWorld, max_steps=2)
    trainer.train()
    return weights(trainer)


@pytest.mark.parametrize(
    "off",
    [
        {"advantage": "gigpo", "gigpo_weight": 0.0},
        {"gigpo_gamma": 0.1, "gigpo_similarity": 0.5},  # of an estimator that is not chosen
        {"teacher_combine": "agreement"},  # of one context
        {"ucb_c": 9.0, "ucb_reward": "gap"},  # of a retrieval that is not chosen
    ],
)
def test_what_is_switched_off_leaves_a_run_bit_for_bit(
    tmp_path: Path, off: dict[str, Any], plain_run: dict[str, Any]
) -> None:
    trainer = make_trainer(tmp_path, ParityWorld, max_steps=2, **off)
    trainer.train()
    assert equal(plain_run, weights(trainer))
