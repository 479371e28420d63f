"""The whole loss: invariant to how a step is cut, and equal to a slow reference token by token."""

from __future__ import annotations

import dataclasses
import math
import random
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from random_models import changed, gradients, largest_difference, plan_of, random_rows, tiny_model
from torch import Tensor

from trainers.batch.row import WeighedRow
from trainers.batch.token_batch import collate, loss_tokens, micro_batches
from trainers.config import SDARConfig
from trainers.forward.passes import score_views
from trainers.forward.root import PolicyModel
from trainers.methods import METHODS
from trainers.methods.objective import Objective, objective, summarise

SDAR = METHODS["sdar"]


# --- invariance: micro-batch split, row order, padding ---


def parameter_gradient(model: Any, rows: list[WeighedRow], split: list[list[int]], **options: Any) -> list[Tensor]:
    config = SDARConfig(beta=0.1, distill_coef=0.3, entropy_coef=0.01, **options)
    model.zero_grad(set_to_none=True)
    root, tokens = PolicyModel(model), loss_tokens(rows)
    for indices in split:
        part = [rows[i] for i in indices]
        batch = collate(part, teacher_views=SDAR.teacher_views)
        scored = score_views(root, [r.student for r in part], temperature=1.0, pad_id=0, grad=True, entropy=True)
        batch.student_BT, batch.entropy_BT = scored.logprobs_BT, scored.entropy_BT
        objective(plan_of(SDAR, config, 0.3), batch, config, denominator=tokens).loss.backward()
    return gradients(model)


@pytest.mark.parametrize("options", [{}, {"kl_estimator": "k2"}, {"kl_placement": "advantage"}, {"delta": None}])
def test_the_gradient_does_not_depend_on_the_micro_batch_split_or_the_row_order(options: dict[str, Any]) -> None:
    model, rows = tiny_model(), random_rows(8)
    lengths = [len(row.student.ids) for row in rows]
    whole = parameter_gradient(model, rows, [list(range(8))], **options)
    order = list(range(8))
    random.Random(3).shuffle(order)
    splits = [
        [list(range(4)), list(range(4, 8))],
        [[i] for i in range(8)],
        [[0], [1, 2, 3, 4, 5, 6, 7]],  # token-poor beside token-rich: a mean of means would overweight the first
        [order],
        micro_batches(lengths, 40),
    ]
    scale = max(float(g.abs().max()) for g in whole)
    for split in splits:
        assert largest_difference(whole, parameter_gradient(model, rows, split, **options)) < 2e-6 * max(1, scale)


def test_rows_without_loss_tokens_change_no_gradient() -> None:
    model, rows = tiny_model(), random_rows(4)
    whole = parameter_gradient(model, rows, [[0, 1, 2, 3]])
    empty_T = ("behaviour_logprobs_T", "advantages_T", "turn_ids_T", "reference_logprobs_T", "invalid_T")
    padding = [
        changed(
            row,
            student=dataclasses.replace(row.student, loss_positions=[]),
            teacher_logprobs_T={"teacher": []},
            **{name: [] for name in empty_T},
        )
        for row in random_rows(7, seed=9)[4:]
    ]
    padded = parameter_gradient(model, rows + padding, [list(range(7))])
    assert largest_difference(whole, padded) < 2e-6


def test_figures_of_a_step_do_not_depend_on_the_split() -> None:
    rows, config = random_rows(8), SDARConfig(distill_coef=0.3)
    noise = torch.Generator().manual_seed(1)
    shifts = [[0.2 * float(torch.randn((), generator=noise)) for _ in range(len(row))] for row in rows]

    def figures(split: list[list[int]]) -> dict[str, float]:
        parts: list[Objective] = []
        for indices in split:
            part = [rows[i] for i in indices]
            batch = collate(part, teacher_views=SDAR.teacher_views)
            student = torch.zeros_like(batch.behaviour_BT)
            for place, i in enumerate(indices):
                student[place, : len(rows[i])] = torch.tensor(shifts[i])
            batch.student_BT = batch.behaviour_BT + student
            parts.append(objective(plan_of(SDAR, config, 0.3), batch, config, denominator=loss_tokens(rows)))
        return dict(summarise(parts))

    whole, cut = figures([list(range(8))]), figures([[0], [1, 2, 3], [4, 5, 6, 7]])
    assert whole.keys() == cut.keys()
    assert whole == pytest.approx(cut, rel=1e-4, abs=1e-6)
    assert 0 < whole["distill/weight"] < 1
    gaps = [
        teacher - behaviour - shift
        for row, moved in zip(rows, shifts, strict=True)
        for teacher, behaviour, shift in zip(
            row.teacher_logprobs_T["teacher"], row.behaviour_logprobs_T, moved, strict=False
        )
    ]
    rejected = [1 / (1 + math.exp(-config.gate_beta * gap)) for gap in gaps if gap < 0]
    assert 0 < len(rejected) < len(gaps)
    assert whole["distill/signal_negative"] == pytest.approx(len(rejected) / len(gaps), rel=1e-3)
    assert whole["distill/weight_rejected"] == pytest.approx(sum(rejected) / len(rejected), rel=1e-3)
    assert whole["policy/logprob_shift_max"] == pytest.approx(max(abs(s) for row in shifts for s in row), rel=1e-3)


# --- against a slow reference ---


def slow_loss(rows: list[WeighedRow], student: list[list[float]], config: SDARConfig, coef: float) -> float:
    """The loss of grpo + sdar token by token in Python floats."""
    total, tokens = 0.0, 0
    for row, scores in zip(rows, student, strict=True):
        assert row.reference_logprobs_T is not None
        for t, s in enumerate(scores):
            o, a, r = row.behaviour_logprobs_T[t], row.advantages_T[t], row.reference_logprobs_T[t]
            teacher = row.teacher_logprobs_T["teacher"][t]
            ratio = math.exp(s - o)
            pg = max(-a * ratio, -a * min(max(ratio, 1 - config.epsilon), 1 + config.epsilon))
            if a < 0:
                pg = min(pg, -a * 3.0)
            gate = 1 / (1 + math.exp(-config.gate_beta * (teacher - s)))
            total += pg + config.beta * (math.exp(r - s) - (r - s) - 1) - coef * gate * s
            tokens += 1
    return total / max(tokens, 1)


@st.composite
def filled_rows(draw: st.DrawFn) -> tuple[list[WeighedRow], list[list[float]]]:
    logprob = st.floats(-6.0, 0.0)
    rows, student = [], []
    for index, length in enumerate(draw(st.lists(st.integers(0, 4), min_size=1, max_size=4))):
        row = random_rows(1)[0]

        def some(of: Any, length: int = length) -> list[float]:
            return draw(st.lists(of, min_size=length, max_size=length))

        rows.append(
            changed(
                row,
                index=index,
                student=dataclasses.replace(row.student, loss_positions=list(range(1, length + 1))),
                behaviour_logprobs_T=some(logprob),
                reference_logprobs_T=some(logprob),
                teacher_logprobs_T={"teacher": some(logprob)},
                advantages_T=some(st.floats(-3.0, 3.0)),
                turn_ids_T=[0] * length,
                invalid_T=[False] * length,
                episode_id=index,
            )
        )
        student.append(some(logprob))
    return rows, student


@settings(max_examples=60, deadline=None)
@given(filled_rows(), st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_loss_and_gradient_are_finite_and_equal_a_slow_reference(
    case: tuple[list[WeighedRow], list[list[float]]], coef: float, beta: float
) -> None:
    rows, student = case
    config = SDARConfig(beta=beta, distill_coef=coef)
    batch = collate(rows, teacher_views=SDAR.teacher_views)
    batch.student_BT = torch.zeros_like(batch.behaviour_BT)
    for index, scores in enumerate(student):
        batch.student_BT[index, : len(scores)] = torch.tensor(scores)
    batch.student_BT.requires_grad_()
    result = objective(plan_of(SDAR, config, coef), batch, config, denominator=loss_tokens(rows))
    result.loss.backward()
    assert torch.isfinite(batch.student_BT.grad).all()
    assert all(math.isfinite(v) for v in summarise([result]).values())
    assert float(result.loss.detach()) == pytest.approx(slow_loss(rows, student, config, coef), rel=1e-4, abs=1e-4)
