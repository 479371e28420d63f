"""Wires between parts that each work alone: a cut one raises no error, and the run is another than it says."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
import torch
from scripted_agents import ParityEnv
from small_runs import make_trainer, weights

from agents.sampling.base import Sample, SampleRequest
from sdar_envs.core import resolve_split
from trainers import make_evaluation_set
from trainers.batch.row import ScoredRow, WeighedRow
from trainers.batch.token_batch import mini_batches
from trainers.engine.updater import learning_rate_at
from trainers.forward.passes import score_rows
from trainers.methods import IterationPlan
from trainers.rollout.environments import EnvironmentSource
from trainers.run.directory import read_json_lines
from trainers.run.progress import LineProgress

# The learning rate.


def rates_of(trainer: Any) -> list[tuple[float, ...]]:
    """What the optimiser's groups hold at each of its steps; filled by the next iterations."""
    seen: list[tuple[float, ...]] = []
    optimizer = trainer.updater.optimizer
    step = optimizer.step

    def watched(*arguments: Any, **keywords: Any) -> Any:
        seen.append(tuple(group["lr"] for group in optimizer.param_groups))
        return step(*arguments, **keywords)

    optimizer.step = watched
    return seen


@pytest.mark.parametrize("optim", ["adamw", "sgd"])
def test_the_schedule_of_the_learning_rate_reaches_the_optimiser(tmp_path: Path, optim: str) -> None:
    options = {"lr_scheduler_type": "linear", "warmup_steps": 2, "max_steps": 4, "num_mini_batches": 2}
    trainer = make_trainer(tmp_path, method="grpo", optim=optim, **options)
    seen = rates_of(trainer)
    trainer.train()
    assert len(trainer.updater.optimizer.param_groups) == 2  # with and without weight decay
    expected = [learning_rate_at(trainer.args, step) for step in range(4) for _ in range(2)]
    assert seen == [(rate, rate) for rate in expected]
    assert [rates[0] for rates in seen[::2]] == [5e-3, 1e-2, 1e-2, 5e-3]
    logged = [record["learning_rate"] for record in read_json_lines(tmp_path / "run" / "metrics.jsonl")[1:]]
    assert logged == expected[::2]


def test_at_a_rate_of_zero_no_weight_moves(tmp_path: Path) -> None:
    # Behind its last iteration a linear schedule has come to 0; weight decay is multiplied by the rate, too.
    trainer = make_trainer(tmp_path, method="grpo", lr_scheduler_type="linear", max_steps=2, weight_decay=0.1)
    before = weights(trainer)
    trainer.state.step = 2
    seen = rates_of(trainer)
    figures = trainer.iteration()
    assert seen == [(0.0, 0.0)] and figures["learning_rate"] == 0.0 and figures["grad_norm"] > 0.0
    assert all(torch.equal(before[name], tensor) for name, tensor in weights(trainer).items())
    trainer.state.step = 1
    trainer.iteration()
    assert any(not torch.equal(before[name], tensor) for name, tensor in weights(trainer).items())


# The keys of sampling draws.


class OneSight(ParityEnv):
    """Shows the same at every turn of every episode."""

    def _ask(self) -> str:
        super()._ask()
        return "say a word"


Asked = list[tuple[SampleRequest, Sample]]


def asked_of(trainer: Any) -> Asked:
    """Requests of the sampler, with their answers; filled by the next iterations."""
    seen: Asked = []
    sampler = trainer.policies.sampler
    sample = sampler.sample

    def watched(requests: Sequence[SampleRequest]) -> list[Sample]:
        samples: list[Sample] = sample(requests)
        seen.extend(zip(requests, samples, strict=True))
        return samples

    sampler.sample = watched
    return seen


@pytest.fixture
def same_prompts(tmp_path: Path) -> Asked:
    """An iteration in which every prompt of every turn of every episode is the same."""
    trainer = make_trainer(tmp_path, OneSight, method="grpo", context="window", history_length=0)
    seen = asked_of(trainer)
    trainer.iteration()
    assert len(seen) == 3 * 4 * 3 and len({tuple(request.prompt_ids) for request, _ in seen}) == 1
    # Nearly every token of the vocabulary may come: equal completions are equal draws.
    assert min(sample.entropies[0] for _, sample in seen) > 4.0
    return seen


def by_episode(seen: Asked) -> dict[tuple[int | str, ...], Asked]:
    """The same by the key of the episode, which is ("train", seed, iteration, group, member)."""
    episodes: dict[tuple[int | str, ...], Asked] = {}
    for request, sample in seen:
        episodes.setdefault(request.draw[:5], []).append((request, sample))
    return episodes


def test_the_turn_is_in_the_key_of_a_sampling_draw(same_prompts: Asked) -> None:
    episodes = by_episode(same_prompts)
    assert len(episodes) == 12
    for turns in episodes.values():
        assert len({request.draw for request, _ in turns}) == len(turns) == 3
        assert len({sample.ids for _, sample in turns}) > 1


def test_member_and_group_are_in_the_key_of_a_sampling_draw(same_prompts: Asked) -> None:
    assert len({request.draw for request, _ in same_prompts}) == len(same_prompts)
    firsts = [turns[0] for turns in by_episode(same_prompts).values()]
    groups: dict[int | str, list[tuple[int, ...]]] = {}
    for request, sample in firsts:
        groups.setdefault(request.draw[3], []).append(sample.ids)
    assert {len(own) for own in groups.values()} == {4} and len(groups) == 3
    for own in groups.values():
        assert len(set(own)) > 1
    assert len({tuple(own) for own in groups.values()}) == 3


def test_the_iteration_is_in_the_key_of_a_sampling_draw_and_a_run_is_the_same_twice(tmp_path: Path) -> None:
    runs = []
    for _ in range(2):
        trainer = make_trainer(tmp_path, OneSight, method="grpo", context="window", history_length=0)
        seen = asked_of(trainer)
        for step in range(2):
            trainer.state.step = step
            trainer.iteration()
        runs.append([(request.draw, sample.ids) for request, sample in seen])
    assert runs[0] == runs[1]
    draws = [draw for draw, _ in runs[0]]
    assert len(set(draws)) == len(draws) == 2 * 36


# The keys of mini-batches.


def deals_of(trainer: Any) -> tuple[list[list[int]], list[list[WeighedRow]]]:
    """The rows of each optimiser step by index, and all rows of each iteration; filled by the next iterations."""
    steps: list[list[int]] = []
    iterations: list[list[WeighedRow]] = []
    optimiser_step, update = trainer.updater.optimiser_step, trainer.updater.update

    def stepping(rows: Sequence[WeighedRow], plan: IterationPlan) -> Any:
        steps.append([row.index for row in rows])
        return optimiser_step(rows, plan)

    def updating(rows: Sequence[WeighedRow], plan: IterationPlan) -> Any:
        iterations.append(list(rows))
        return update(rows, plan)

    trainer.updater.optimiser_step, trainer.updater.update = stepping, updating
    return steps, iterations


def composition(steps: Sequence[Sequence[int]]) -> set[frozenset[int]]:
    return {frozenset(step) for step in steps}


def test_each_pass_over_the_rows_deals_them_anew_and_the_same_key_deals_them_alike(tmp_path: Path) -> None:
    runs = []
    for _ in range(2):
        trainer = make_trainer(tmp_path, method="grpo", num_iterations=2, num_mini_batches=3)
        steps, iterations = deals_of(trainer)
        for step in range(2):
            trainer.state.step = step
            trainer.iteration()
        runs.append(steps)
    assert runs[0] == runs[1] and len(steps) == 2 * 2 * 3
    passes = [steps[start : start + 3] for start in range(0, 12, 3)]
    for number, rows in enumerate(iterations):
        for repeat in range(2):
            own = passes[2 * number + repeat]
            assert sorted(index for step in own for index in step) == [row.index for row in rows]
            dealt = mini_batches(rows, 3, key=(trainer.args.seed, number, repeat))
            assert own == [[row.index for row in part] for part in dealt]
    assert all(composition(passes[i]) != composition(passes[j]) for i in range(4) for j in range(i))


# Whose words are scored, and what they count.


def test_the_reference_policy_speaks_as_the_first_policy_did(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, method="grpo", beta=0.1)
    first = trainer.engine.frozen(trainer.root)
    scored: list[ScoredRow] = []
    score = trainer.scorer.score

    def watched(*arguments: Any) -> Any:
        found = score(*arguments)
        scored[:] = found[0]
        return found

    trainer.scorer.score = watched
    for step in range(2):
        trainer.state.step = step
        trainer.iteration()
    pad_id, args = trainer.policies.renderer.pad_id, trainer.args
    expected = score_rows(
        first,
        [row.student for row in scored],
        temperature=args.temperature,
        pad_id=pad_id,
        token_budget=args.micro_batch_tokens,
    )
    assert [row.reference_logprobs_T for row in scored] == expected
    differences = [
        abs(reference - behaviour)
        for row in scored
        for reference, behaviour in zip(row.reference_logprobs_T or (), row.behaviour_logprobs_T, strict=True)
    ]
    assert max(differences) > 1e-2  # the first update has moved the policy away from it


def test_the_teacher_is_scored_given_its_own_prompt(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, method="sdar")
    read: list[tuple[ScoredRow, list[float], list[float]]] = []
    score = trainer.scorer.score

    def watched(rows: Any, rollouts: Any, plan: IterationPlan) -> Any:
        scored, metrics = score(rows, rollouts, plan)
        options = {
            "temperature": trainer.args.temperature,
            "pad_id": trainer.policies.renderer.pad_id,
            "token_budget": trainer.args.micro_batch_tokens,
        }
        given_its_own = score_rows(trainer.root, [row.teachers["teacher"] for row in scored], **options)
        given_the_students = score_rows(trainer.root, [row.student for row in scored], **options)
        read.extend(zip(scored, given_its_own, given_the_students, strict=True))
        return scored, metrics

    trainer.scorer.score = watched
    trainer.iteration()
    assert len(read) == 12
    for row, given_its_own, given_the_students in read:
        assert len(row.teachers["teacher"].ids) > len(row.student.ids)
        assert row.teacher_logprobs_T["teacher"] == pytest.approx(given_its_own, abs=1e-6)
        assert max(abs(t - s) for t, s in zip(given_its_own, given_the_students, strict=True)) > 1e-3


def test_every_step_of_an_iteration_is_handed_the_plan_of_that_iteration(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, method="sdar", distill_coef=0.8, distill_decay=2, max_steps=3)
    plans: dict[str, list[IterationPlan]] = {"collect": [], "score": [], "update": []}
    collect, score, update = trainer.collector.collect, trainer.scorer.score, trainer.updater.update
    trainer.collector.collect = lambda plan: (plans["collect"].append(plan), collect(plan))[1]
    trainer.scorer.score = lambda rows, own, plan: (plans["score"].append(plan), score(rows, own, plan))[1]
    trainer.updater.update = lambda rows, plan: (plans["update"].append(plan), update(rows, plan))[1]
    trainer.train()
    for seen in plans.values():
        assert [(plan.step, plan.coefficient, plan.reads_teacher) for plan in seen] == [
            (0, 0.8, True),
            (1, 0.4, True),
            (2, 0.0, False),
        ]
    records = read_json_lines(tmp_path / "run" / "metrics.jsonl")[1:]
    assert [record["coefficient"] for record in records] == [0.8, 0.4, 0.0]
    assert ["distill/weight" in record for record in records] == [True, True, False]


# Names of splits.

ALIASES = {
    "train": "train",
    "valid": "valid",
    "valid_seen": "valid",
    "eval_in_distribution": "valid",
    "dev": "valid",
    "test": "test",
    "valid_unseen": "test",
    "eval_out_of_distribution": "test",
    "eval": "test",
}
HOUSEHOLD: tuple[str, dict[str, Any]] = ("sdar/Household-v0", {"size": "small"})


@pytest.mark.parametrize(("alias", "split"), ALIASES.items())
def test_a_published_name_of_a_split_means_the_split_it_was_published_for(alias: str, split: str) -> None:
    assert resolve_split(alias, "here") == split
    env_id, kwargs = HOUSEHOLD
    world = gym.make(env_id, split=alias, **kwargs).unwrapped
    assert world.split == split  # type: ignore[attr-defined]
    source = EnvironmentSource(env_id, kwargs)
    for asked in (source, EnvironmentSource(ParityEnv)):
        tasks = {name: list(asked.task_ids(name)[:20]) for name in ("train", "valid", "test")}
        assert list(asked.task_ids(alias)[:20]) == tasks[split]
        assert all(tasks[split] != tasks[other] for other in tasks if other != split)
    assert source.make(alias).unwrapped.split == split


@pytest.mark.parametrize(("alias", "split"), [(alias, split) for alias, split in ALIASES.items() if alias != split])
def test_an_evaluation_set_by_a_published_name_is_that_of_the_split(alias: str, split: str) -> None:
    for env_id, kwargs in (HOUSEHOLD, (ParityEnv, {})):
        fixed = {name: make_evaluation_set(env_id, kwargs, name, 6) for name in (alias, "train", "valid", "test")}
        assert fixed[alias].split == split and fixed[alias].task_ids == fixed[split].task_ids
        assert fixed[alias] == fixed[split] and fixed[alias].hash == fixed[split].hash
        assert len({own.task_ids for own in fixed.values()}) == 3


def test_an_unknown_split_is_refused_with_the_nearest() -> None:
    with pytest.raises(ValueError, match=r'unknown split .*the nearest is "valid"'):
        resolve_split("valids", "here")


def test_the_episodes_of_an_evaluation_are_counted_on_the_screen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, list[tuple[int, int]]] = {}

    class Recorded(LineProgress):
        def advance(self, stage: str, done: int, total: int) -> None:
            seen.setdefault(stage, []).append((done, total))

    monkeypatch.setattr("trainers.trainer.make_progress", lambda total, **_: Recorded(total, "x"))
    trainer = make_trainer(tmp_path, method="grpo", max_steps=1, eval_episodes=6, test_episodes=4)
    trainer.train()
    # Before and after, and each set to its last episode.
    assert seen["evaluation on valid, plain prompt"] == [(n, 6) for n in range(1, 7)] * 2
    assert seen["evaluation on test, plain prompt"] == [(n, 4) for n in range(1, 5)] * 2


# Prompts that rows share.


def test_a_run_with_shared_prompts_reads_fewer_tokens_and_learns_the_same(tmp_path: Path) -> None:
    moved, read = {}, {}
    for share in (False, True):
        trainer = make_trainer(
            tmp_path / str(share), method="sdar", optim="sgd", context="transcript", share_prompts=share
        )
        tokens: list[int] = []
        trainer.model.get_decoder().register_forward_pre_hook(
            lambda _, __, given, tokens=tokens: tokens.append(given["input_ids"].numel()), with_kwargs=True
        )
        trainer.iteration()
        moved[share], read[share] = weights(trainer), sum(tokens)
    assert read[True] < read[False]
    for name, tensor in moved[False].items():
        torch.testing.assert_close(moved[True][name], tensor, atol=1e-6, rtol=0)
