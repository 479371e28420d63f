"""Cloning, shaping and learning given the privileged prompt: formulas by hand, gradients, limits, masks."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from random_models import changed, plan_of, random_rows, weighed, with_advantages
from torch import Tensor

from trainers.batch.row import WeighedRow
from trainers.batch.token_batch import TokenBatch, collate, loss_tokens
from trainers.config import SDARConfig
from trainers.methods import METHODS, Method, apply
from trainers.methods.objective import objective

CLONING = ("context-distillation", "rft")
PLAIN = SDARConfig(beta=0.0)


def batch_of(rows: list[WeighedRow], **options: Any) -> TokenBatch:
    """A micro-batch with a live S that differs from O by a few hundredths, inside every clip."""
    batch = collate(rows, **options)
    batch.student_BT = (batch.behaviour_BT + 0.02 * torch.sin(100.0 * batch.behaviour_BT)).requires_grad_()
    return batch


def live_gradient(
    method: Method, rows: list[WeighedRow], coef: float | None = None, config: SDARConfig = PLAIN
) -> tuple[Tensor, Tensor]:
    """The loss and its gradient on S."""
    plan = plan_of(method, config, coef)
    mask_truncated = config.mask_truncated_completions
    rows = weighed(plan, rows, mask_truncated=mask_truncated)
    batch = batch_of(rows, mask_truncated=mask_truncated)
    result = objective(plan, batch, config, denominator=loss_tokens(rows, mask_truncated=mask_truncated))
    result.loss.backward()
    grad = batch.live_student().grad
    assert grad is not None
    return result.loss.detach(), grad


def rows_with(kept: list[bool] | None = None, progress: float | None = None) -> list[WeighedRow]:
    rows = [changed(row, kept=True if kept is None else kept[index]) for index, row in enumerate(random_rows(6))]
    if progress is None:
        return rows
    return [changed(row, progress_T=[progress * (turn - 1) for turn in row.turn_ids_T]) for row in rows]


def test_what_the_rows_say_about_prompts_and_what_they_need() -> None:
    views = {name: (row.student_view, row.learn_view, row.eval_views) for name, row in METHODS.items()}
    assert views["vanilla"] == views["rft"] == views["shaped-grpo"] == ("plain", None, ("plain",))
    assert views["skill-prompt"] == ("plain", None, ("privileged",))
    assert views["skill-grpo"] == ("privileged", None, ("plain", "privileged"))
    assert views["context-distillation"] == ("privileged", "plain", ("plain",))
    assert [name for name, row in METHODS.items() if row.relabels] == ["context-distillation"]
    assert [name for name, row in METHODS.items() if not row.learns] == ["vanilla", "skill-prompt"]
    assert plan_of("shaped-grpo", PLAIN, 1.0).reads_plan_length
    assert not plan_of("shaped-grpo", PLAIN, 0.0).reads_plan_length
    silent = (*CLONING, "grpo+rft", "shaped-grpo", "skill-grpo")
    assert not any(plan_of(name, PLAIN, 1.0).reads_teacher for name in silent)


def test_the_documented_coefficients() -> None:
    found = {name: METHODS[name].coef for name in (*CLONING, "grpo+rft", "shaped-grpo")}
    assert found == {"context-distillation": 1.0, "rft": 1.0, "grpo+rft": 0.1, "shaped-grpo": 1.0}
    assert (SDARConfig().keep_per_task, SDARConfig().shaping_lambda) == (4, 0.0)


@pytest.mark.parametrize(
    "changes",
    [
        {"learn_view": "privileged"},
        {"student_view": "privileged", "learn_view": "secret"},
        {"eval_views": ()},
        {"eval_views": ("plain", "plain")},
        {"eval_views": ("hinted",)},
    ],
)
def test_a_row_that_asks_for_a_prompt_that_is_not_to_be_had_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="method 'grpo'"):
        dataclasses.replace(METHODS["grpo"], **changes)
    with pytest.raises(ValueError, match="under the plain prompt, not under the privileged"):
        dataclasses.replace(METHODS["sdar"], student_view="privileged")


@pytest.mark.parametrize("name", CLONING)
@pytest.mark.parametrize("coef", [1.0, 0.3])
def test_cloning_raises_every_kept_token_by_the_coefficient_over_their_number(name: str, coef: float) -> None:
    rows = rows_with()
    loss, gradient = live_gradient(METHODS[name], rows, coef)
    mask = batch_of(rows).mask_BT
    assert torch.allclose(gradient, -coef * mask / loss_tokens(rows), atol=1e-9)
    student = batch_of(rows).live_student().detach()
    assert loss == pytest.approx(float(-coef * student[mask].mean()), rel=1e-5)


@pytest.mark.parametrize("name", [*CLONING, "grpo+rft"])
def test_actions_that_were_not_understood_are_not_cloned(name: str) -> None:
    rows, method = rows_with(), METHODS[name]
    rows[1] = changed(rows[1], invalid_T=[turn == 1 for turn in rows[1].turn_ids_T])
    batch = batch_of(rows)
    weight = apply(plan_of(method, PLAIN, 0.5), batch).weight_BT
    assert weight is not None and rows[1].invalid_T[3] and not rows[1].invalid_T[0]
    assert weight[1, : len(rows[1])].tolist() == [float(not wrong) for wrong in rows[1].invalid_T]
    assert torch.equal(weight[0], batch.mask_BT[0].float())


@pytest.mark.parametrize("name", CLONING)
def test_cloning_looks_at_no_reward(name: str) -> None:
    rows = rows_with()
    expected = live_gradient(METHODS[name], rows)
    assert torch.equal(live_gradient(METHODS[name], with_advantages(rows, -7.0))[1], expected[1])


def test_grpo_with_rft_is_grpo_and_a_push_on_kept_tokens_alone() -> None:
    kept = [True, False, False, True, True, False]
    rows = rows_with(kept)
    _, backbone = live_gradient(METHODS["grpo"], rows)
    _, gradient = live_gradient(METHODS["grpo+rft"], rows, 0.25)
    expected = -0.25 * (batch_of(rows).mask_BT & torch.tensor(kept)[:, None]) / loss_tokens(rows)
    assert torch.allclose(gradient - backbone, expected, atol=1e-8)


def test_grpo_with_rft_that_keeps_nothing_is_grpo_bit_for_bit() -> None:
    rows = rows_with([False] * 6)
    backbone, found = live_gradient(METHODS["grpo"], rows), live_gradient(METHODS["grpo+rft"], rows)
    assert torch.equal(backbone[0], found[0]) and torch.equal(backbone[1], found[1])


@pytest.mark.parametrize("name", [*CLONING, "grpo+rft"])
def test_a_truncated_row_that_is_masked_has_no_gradient_and_no_weight_in_the_mean(name: str) -> None:
    rows = rows_with()
    rows[2] = changed(rows[2], truncated=True)
    config = SDARConfig(beta=0.0, mask_truncated_completions=True)
    _, gradient = live_gradient(METHODS[name], rows, config=config)
    assert not gradient[2].any()
    _, without = live_gradient(METHODS[name], [row for row in rows if not row.truncated], config=config)
    rest = torch.cat([gradient[:2], gradient[3:]])[:, : without.shape[1]]
    assert torch.allclose(rest, without, atol=1e-7) and rest.any()


def test_shaping_adds_the_centred_progress_to_the_advantage_by_hand() -> None:
    rows, coef = rows_with(progress=0.5), 0.7
    method = METHODS["shaped-grpo"]
    rows = weighed(plan_of(method, PLAIN, coef), rows)
    batch = batch_of(rows)
    progress = torch.tensor([value for row in rows for value in row.progress_T], dtype=torch.float64)
    assert batch.statistics == {"progress_mean": pytest.approx(float(progress.mean()))}
    added = apply(plan_of(method, PLAIN, coef), batch).advantages_BT - batch.advantages_BT
    for index, row in enumerate(rows):
        expected = [coef * (value - float(progress.mean())) for value in row.progress_T]
        assert added[index, : len(row)].tolist() == pytest.approx(expected, abs=1e-6)
    # The added credits cancel out over the iteration: a usual step is neither good nor bad.
    assert float(added[batch.mask_BT].sum()) == pytest.approx(0.0, abs=1e-4)
    _, gradient = live_gradient(method, rows, coef)
    ratio = torch.exp(batch.live_student().detach() - batch.behaviour_BT)
    by_hand = -(batch.advantages_BT + added) * ratio * batch.mask_BT / loss_tokens(rows)
    assert torch.allclose(gradient, by_hand, atol=1e-6)


@pytest.mark.parametrize("coef", [1.0, 0.3])
def test_where_no_plan_changes_its_length_shaping_is_grpo_bit_for_bit(coef: float) -> None:
    rows = rows_with(progress=0.0)
    backbone, found = live_gradient(METHODS["grpo"], rows), live_gradient(METHODS["shaped-grpo"], rows, coef)
    assert torch.equal(backbone[0], found[0]) and torch.equal(backbone[1], found[1])


def test_progress_that_every_turn_shares_is_grpo_too() -> None:
    rows = [changed(row, progress_T=[0.25] * len(row)) for row in rows_with(progress=0.0)]
    backbone, found = live_gradient(METHODS["grpo"], rows), live_gradient(METHODS["shaped-grpo"], rows)
    assert torch.allclose(backbone[1], found[1], atol=1e-8)


def test_the_mean_progress_is_over_loss_tokens_alone() -> None:
    rows = rows_with(progress=0.0)
    rows[0] = changed(rows[0], truncated=True, progress_T=[100.0] * len(rows[0]))
    config = SDARConfig(beta=0.0, mask_truncated_completions=True)
    rows = weighed(plan_of("shaped-grpo", config, 1.0), rows, mask_truncated=True)
    assert rows[1].statistics == {"progress_mean": 0.0}


def test_shaping_that_was_not_measured_is_an_error() -> None:
    with pytest.raises(ValueError, match="measure it first"):
        live_gradient(METHODS["shaped-grpo"], rows_with())
