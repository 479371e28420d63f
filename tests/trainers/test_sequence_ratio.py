"""GSPO's ratio of a row: by hand, equal to its formula, and what it does to clipping and to unequal advantages."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from random_models import random_rows
from torch import Tensor

from trainers.batch.token_batch import collate, loss_tokens
from trainers.config import SDARConfig
from trainers.maths.losses import PolicyGradient, clipped_policy_gradient, sequence_ratio
from trainers.methods import METHODS
from trainers.methods.objective import objective


def numbers(*rows: list[float]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64)


def policy(student: Tensor, advantages: Tensor, mask: Tensor, level: str = "sequence") -> PolicyGradient:
    return clipped_policy_gradient(
        student, torch.zeros_like(student), advantages, mask, epsilon=0.2, delta=3.0, level=level
    )


def ragged(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """S (live), O and a mask whose rows have 5, 2 and no tokens."""
    generator = torch.Generator().manual_seed(seed)
    student, behaviour = (-2 * torch.rand(3, 5, generator=generator, dtype=torch.float64) for _ in range(2))
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [0, 0, 0, 0, 0]], dtype=torch.bool)
    return student.requires_grad_(), behaviour, mask


def test_the_ratio_of_a_row_is_the_geometric_mean_of_those_of_its_tokens() -> None:
    # Ratios 2 and 1/8 make sqrt(2 / 8) = 1/2; a row of one token has that token's; a row of none has 1.
    student = numbers([math.log(2), -math.log(8)], [math.log(3), 9.0], [7.0, 7.0])
    mask = torch.tensor([[True, True], [True, False], [False, False]])
    found = sequence_ratio(student, torch.zeros_like(student), mask)
    assert found[mask].tolist() == pytest.approx([0.5, 0.5, 3.0])
    assert found[~mask].tolist() == pytest.approx([3.0, 1.0, 1.0])


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.floats(-2.0, 2.0))
def test_with_one_advantage_per_row_loss_and_gradient_are_those_of_the_published_objective(
    seed: int, advantage: float
) -> None:
    """Per row: length times min(s A, clip(s) A), s written as a power of the product of ratios, without detaching."""
    student, behaviour, mask = ragged(seed)
    found = clipped_policy_gradient(
        student, behaviour, torch.full_like(behaviour, advantage), mask, epsilon=0.2, level="sequence"
    ).loss_BT
    (gradient,) = torch.autograd.grad(found[mask].sum(), student)
    expected = torch.zeros((), dtype=torch.float64)
    for row in range(2):
        length = int(mask[row].sum())
        ratio = (student[row, :length] - behaviour[row, :length]).exp().prod() ** (1 / length)
        expected = expected - length * torch.minimum(ratio * advantage, ratio.clamp(0.8, 1.2) * advantage)
    (by_hand,) = torch.autograd.grad(expected, student)
    assert found[mask].sum().item() == pytest.approx(expected.item(), abs=1e-9)
    assert torch.allclose(gradient, by_hand, atol=1e-9)


def test_a_row_is_clipped_as_a_whole() -> None:
    # Ratios 4 and 1/4: each token would be clipped, the row's ratio is 1 and no bound acts.
    student = numbers([math.log(4), -math.log(4)]).requires_grad_()
    mask = torch.ones(1, 2, dtype=torch.bool)
    found = policy(student, numbers([1.0, 1.0]), mask)
    found.loss_BT.sum().backward()
    assert found.ratio_BT.tolist() == [[1.0, 1.0]]
    assert not found.clipped_high_BT.any()
    assert student.grad.tolist() == [[-1.0, -1.0]]
    by_token = policy(student.detach(), numbers([1.0, 1.0]), mask, "token")
    assert by_token.clipped_high_BT.tolist() == [[True, False]]
    # Ratios 4 and 1 make 2, above 1.2: both tokens are clipped and neither has a gradient.
    student = numbers([math.log(4), 0.0]).requires_grad_()
    found = policy(student, numbers([1.0, 1.0]), mask)
    found.loss_BT.sum().backward()
    assert found.clipped_high_BT.all() and found.loss_BT.flatten().tolist() == pytest.approx([-1.2, -1.2])
    assert student.grad.tolist() == [[0.0, 0.0]]


def test_advantages_may_differ_within_a_row_and_each_token_keeps_its_own() -> None:
    student = numbers([math.log(1.1), math.log(1.1)]).requires_grad_()
    policy(student, numbers([2.0, -0.5]), torch.ones(1, 2, dtype=torch.bool)).loss_BT.sum().backward()
    assert student.grad.flatten().tolist() == pytest.approx([-2.2, 0.55])


def test_before_the_first_update_both_levels_have_the_gradient_of_the_advantage() -> None:
    student, _, mask = ragged(1)
    advantages = torch.linspace(-2, 2, 15, dtype=torch.float64).reshape(3, 5)
    for level in ("token", "sequence"):
        found = clipped_policy_gradient(student, student.detach(), advantages, mask, epsilon=0.2, level=level)
        (gradient,) = torch.autograd.grad(found.loss_BT.sum(), student)
        assert torch.allclose(gradient, -advantages * mask)


def test_the_ratio_is_finite_for_any_log_prob_and_padding_never_enters_it() -> None:
    student = numbers([900.0, 900.0, math.nan], [-900.0, 0.0, math.inf]).requires_grad_()
    mask = torch.tensor([[True, True, False], [True, True, False]])
    found = policy(student, torch.ones_like(student), mask)
    found.loss_BT[mask].sum().backward()
    assert torch.isfinite(found.loss_BT).all() and torch.isfinite(student.grad).all()
    assert found.ratio_BT[1, 0] == pytest.approx(math.exp(-450.0))


def test_the_option_reaches_the_loss_and_its_default_leaves_it_as_it_was() -> None:
    rows = random_rows(4)
    losses = {}
    for name, options in {"none": {}, "token": {"level": "token"}, "sequence": {"level": "sequence"}}.items():
        config = SDARConfig(
            method="grpo", beta=0.0, **{f"importance_sampling_{key}": value for key, value in options.items()}
        )
        batch = collate(rows)
        batch.student_BT = (
            batch.behaviour_BT + torch.linspace(-0.5, 0.5, batch.behaviour_BT.numel()).reshape_as(batch.behaviour_BT)
        ).requires_grad_()
        plan = METHODS["grpo"].at(0, config)
        losses[name] = objective(plan, batch, config, denominator=loss_tokens(rows)).loss.item()
    assert losses["none"] == losses["token"] != losses["sequence"]


def test_digests_do_not_know_the_option_at_its_default_and_unknown_levels_are_refused() -> None:
    assert SDARConfig().digest() == SDARConfig(importance_sampling_level="token").digest()
    assert SDARConfig().digest() != SDARConfig(importance_sampling_level="sequence").digest()
    with pytest.raises(ValueError, match="importance_sampling_level"):
        SDARConfig(importance_sampling_level="row")
    with pytest.raises(ValueError, match="unknown level of the ratio 'row': choose from token, sequence"):
        policy(numbers([0.0]), numbers([1.0]), torch.ones(1, 1, dtype=torch.bool), "row")
