"""Options of the backbone: what sums are divided by (Dr. GRPO), and tasks in the place of flat groups (DAPO)."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from random_models import changed, gradients, plan_of, random_rows, tiny_model, with_advantages

from agents.base import Action, Episode, StopReason, Turn, TurnTokens
from sdar_envs.privileged import StudentView
from trainers.batch.token_batch import loss_tokens
from trainers.config import SDARConfig
from trainers.engine.single import SingleProcess
from trainers.engine.updater import Updater, loss_denominator
from trainers.rollout.collect import Rollout, TaskDraw
from trainers.rollout.dynamic_sampling import flat_groups, replace_flat_groups
from trainers.rollout.tasks import TaskPlan

CONFIG = SDARConfig(
    method="grpo",
    beta=0.0,
    tasks_per_step=3,
    num_generations=2,
    max_turns=5,
    max_completion_length=7,
    bf16=False,
    device="cpu",
    gradient_checkpointing=False,
)


def accumulated(config: SDARConfig, rows: Any) -> list[torch.Tensor]:
    engine = SingleProcess.of(config)
    updater = Updater(engine.prepare(tiny_model()), config, engine, pad_id=0)
    updater.accumulate(rows, plan_of("grpo", config))
    return gradients(updater.root)


def test_a_step_is_divided_by_its_loss_tokens_and_in_dr_grpo_by_what_it_could_have_had() -> None:
    rows = random_rows(6)
    tokens = sum(len(row) for row in rows)
    assert loss_denominator(tokens, CONFIG) == tokens == loss_tokens(rows)
    constant = dataclasses.replace(CONFIG, loss_type="dr_grpo", num_mini_batches=2)
    # 3 tasks, 2 episodes each, of 5 turns with 7 tokens, in two optimiser steps: whatever the rows.
    assert loss_denominator(tokens, constant) == loss_denominator(len(rows[0]), constant) == 3 * 2 * 5 * 7 / 2
    by_rows = dataclasses.replace(constant, mini_batch_rows=4)
    assert loss_denominator(tokens, by_rows) == 4 * 7
    assert loss_denominator(tokens, dataclasses.replace(by_rows, context="transcript")) == 4 * 5 * 7
    rows[0] = changed(rows[0], truncated=True)
    assert loss_tokens(rows, mask_truncated=True) == tokens - len(rows[0])
    # What is masked is in no sum, and the step is divided by the tokens of the other rows.
    masked = dataclasses.replace(CONFIG, mask_truncated_completions=True)
    with_it, without = accumulated(masked, [*with_advantages(rows[:1], 9.0), *rows[1:]]), accumulated(masked, rows[1:])
    assert all(torch.allclose(left, right, atol=1e-7) for left, right in zip(with_it, without, strict=True))


def test_dr_grpo_changes_the_scale_of_a_gradient_and_nothing_else() -> None:
    rows = random_rows(5)
    mean = accumulated(CONFIG, rows)
    constant = accumulated(dataclasses.replace(CONFIG, loss_type="dr_grpo"), rows)
    ratio = sum(len(row) for row in rows) / (3 * 2 * 5 * 7)
    for left, right in zip(mean, constant, strict=True):
        assert torch.allclose(ratio * left, right, atol=1e-7)


def test_in_dr_grpo_a_token_counts_the_same_beside_long_rows_and_short_ones() -> None:
    first, *others = random_rows(5)
    others = with_advantages(others, 0.0)
    alone, beside = (
        accumulated(dataclasses.replace(CONFIG, loss_type="dr_grpo"), r) for r in ([first], [first, *others])
    )
    assert all(torch.allclose(left, right, atol=1e-7) for left, right in zip(alone, beside, strict=True))
    usual = accumulated(CONFIG, [first])
    diluted = accumulated(CONFIG, [first, *others])
    assert not any(torch.allclose(left, right, atol=1e-7) for left, right in zip(usual, diluted, strict=True))


# --- dynamic sampling ---


def played(draw: TaskDraw, return_: float, failed: bool = False) -> Rollout:
    action = Action("go", "go", tokens=TurnTokens((1,), False, (2, 3), (0.0, 0.0)))
    episode = Episode("env", draw.task_id, "kind", draw.draw, [Turn(StudentView("x"), action, return_, True)])
    if failed:
        episode.stop_reason = StopReason.FAILED
    return Rollout(episode, draw)


class Players:
    """Plays draws to the returns that a rule gives their tasks, and remembers what was asked."""

    def __init__(self, wins: Any) -> None:
        self.wins = wins
        self.asked: list[list[TaskDraw]] = []

    def __call__(self, draws: Sequence[TaskDraw]) -> list[Rollout]:
        self.asked.append(list(draws))
        return [played(draw, float(self.wins(draw))) for draw in draws]


def task_plan(tries: int, tasks: int = 100) -> TaskPlan:
    return TaskPlan([f"train:{i}" for i in range(tasks)], dataclasses.replace(CONFIG, dynamic_sampling=tries))


def test_a_group_is_flat_without_two_usable_episodes_of_different_return() -> None:
    draws = task_plan(0).draws(0)
    returns = [1.0, 0.0, 1.0, 1.0, 1.0, 0.0]
    rollouts = [played(d, r, failed=index == 5) for index, (d, r) in enumerate(zip(draws, returns, strict=True))]
    assert flat_groups(rollouts) == [1, 2]


def test_flat_groups_give_way_to_further_tasks_in_their_place() -> None:
    plan = task_plan(3)
    # Of the first tasks only group 1 has both returns; of those that stand in, all do.
    play = Players(lambda draw: draw.member == 1 and (draw.group == 1 or "again" in draw.draw))
    rollouts = play(plan.draws(4))
    result = replace_flat_groups(rollouts, play, plan, step=4, tries=3)
    assert len(play.asked) == 2
    assert [(r.task.group, r.task.member) for r in result.rollouts] == [(r.task.group, r.task.member) for r in rollouts]
    assert result.rollouts[2:4] == rollouts[2:4]
    assert result.replaced == [*rollouts[:2], *rollouts[4:]]
    assert flat_groups(result.rollouts) == []
    assert len({r.task.task_id for r in result.rollouts}) == 3
    assert result.metrics(2) == {"groups/replaced": 2.0, "tokens/replaced": 8.0}


def test_after_the_last_try_what_is_flat_stays() -> None:
    plan = task_plan(2)
    play = Players(lambda draw: False)
    result = replace_flat_groups(play(plan.draws(0)), play, plan, step=0, tries=2)
    assert [len(draws) for draws in play.asked] == [6, 6, 6]
    assert len(result.rollouts) == 6 and len(result.replaced) == 12
    assert len({r.task.draw for r in [*result.rollouts, *result.replaced]}) == 18


def test_switched_off_it_plays_nothing_and_changes_nothing() -> None:
    play = Players(lambda draw: False)
    rollouts = play(task_plan(0).draws(0))
    result = replace_flat_groups(rollouts, play, task_plan(0), step=0, tries=0)
    assert result.rollouts == rollouts and result.replaced == [] and len(play.asked) == 1


def test_what_stands_in_for_a_group_depends_on_iteration_try_and_group_alone() -> None:
    plan = task_plan(2, tasks=1000)
    alone = plan.replacements(7, 1, [2])
    among = [draw for draw in task_plan(2, tasks=1000).replacements(7, 1, [0, 1, 2]) if draw.group == 2]
    assert alone == among
    told = [tuple(d.task_id for d in plan.replacements(s, t, [0, 1, 2])) for s in range(5) for t in range(2)]
    assert len({task for tasks in told for task in tasks}) == 5 * 2 * 3  # none twice
    assert task_plan(0).draws(3) == [dataclasses.replace(draw) for draw in task_plan(2).draws(3)]


def test_a_small_split_comes_round_again() -> None:
    tasks = {draw.task_id for step in range(9) for draw in task_plan(2, tasks=2).replacements(step, 1, [0, 1])}
    assert tasks == {"train:0", "train:1"}


@pytest.mark.parametrize("wrong", [{"dynamic_sampling": -1}, {"loss_type": "dr grpo"}])
def test_options_that_mean_nothing_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        dataclasses.replace(CONFIG, **wrong)


@pytest.mark.parametrize("name", ["opsd", "opsd-full", "context-distillation", "rft"])
def test_what_acts_through_advantages_alone_is_refused_where_nothing_is_learned_from_them(name: str) -> None:
    with pytest.raises(ValueError, match=r"dynamic_sampling: .* no policy gradient.*: expected 0, got 2"):
        SDARConfig(method=name, dynamic_sampling=2)
    with pytest.raises(ValueError, match=r"kl_placement: .* no policy gradient.*kl_placement=loss, or beta=0"):
        SDARConfig(method=name, kl_placement="advantage", beta=0.1)
    SDARConfig(method=name, kl_placement="advantage", beta=0.0)


def test_a_method_that_does_not_learn_stands_behind_any_backbone() -> None:
    for name in ("vanilla", "skill-prompt"):
        SDARConfig(method=name, dynamic_sampling=2, kl_placement="advantage", beta=0.1)
