"""Signals and weight maps: values by hand, limits, monotonicity."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainers.maths import signals

GAPS = st.floats(-8.0, 8.0)


def number(value: float) -> torch.Tensor:
    return torch.tensor([[value]], dtype=torch.float64)


@pytest.mark.parametrize(
    ("gap", "gate"),
    [(-1, 0.00669), (-0.5, 0.0759), (-0.1, 0.3775), (0, 0.5), (0.1, 0.6225), (0.5, 0.9241), (1, 0.9933)],
)
def test_the_gate_at_beta_five_by_hand(gap: float, gate: float) -> None:
    assert float(signals.sigmoid_gate(number(gap), 5.0)) == pytest.approx(gate, abs=5e-5)


@given(GAPS, GAPS, st.floats(0.1, 4.0))
def test_the_gate_rises_with_the_gap_and_is_symmetric_about_one_half(left: float, right: float, beta: float) -> None:
    low, high = sorted((left, right))
    gates = [float(signals.sigmoid_gate(number(x), beta)) for x in (low, high, -low)]
    assert gates[0] <= gates[1]
    if high - low > 1e-3 and abs(beta * low) < 15 and abs(beta * high) < 15:
        assert gates[0] < gates[1]
    assert gates[0] + gates[2] == pytest.approx(1.0)
    assert float(signals.sigmoid_gate(number(0.0), beta)) == 0.5


def test_a_sharp_gate_is_a_step_and_a_flat_one_is_a_half() -> None:
    assert float(signals.sigmoid_gate(number(0.01), 1e6)) == 1.0
    assert float(signals.sigmoid_gate(number(-0.01), 1e6)) == 0.0
    assert float(signals.sigmoid_gate(number(3.0), 0.0)) == 0.5


@given(st.floats(0.0, 12.0), st.floats(0.0, 10.0))
def test_a_gate_on_entropy_never_closes_below_one_half(entropy: float, beta: float) -> None:
    assert float(signals.sigmoid_gate(number(entropy), beta)) >= 0.5


@given(GAPS)
def test_soft_or_is_the_gap_without_uncertainty_and_one_with_full_uncertainty(gap: float) -> None:
    assert float(signals.soft_or(number(0.0), number(gap))) == pytest.approx(gap)
    assert float(signals.soft_or(number(1.0), number(gap))) == 1.0


@given(GAPS, st.sampled_from([-2.0, -0.5, 0.5, 2.0]), st.floats(0.05, 0.5))
def test_the_signed_ratio_stays_within_its_clip_and_rises_in_the_direction_of_the_advantage(
    gap: float, advantage: float, clip: float
) -> None:
    def weight(x: float) -> float:
        return float(signals.signed_ratio_weight(number(x), number(advantage), clip))

    assert 1 - clip - 1e-12 <= weight(gap) <= 1 + clip + 1e-12
    assert weight(0.0) == 1.0
    assert (weight(gap + 0.5) - weight(gap)) * advantage >= 0


def test_the_jsd_weight_has_its_lower_bound_and_grows_like_half_the_gap() -> None:
    assert float(signals.jsd_weight(number(-50.0))) == pytest.approx(-math.log(2) / 2)
    assert float(signals.jsd_weight(number(0.0))) == 0.0
    assert float(signals.jsd_weight(number(60.0))) == pytest.approx(30 - math.log(2) / 2)


def test_several_teachers_combine_as_a_mixture_or_by_the_most_favourable() -> None:
    views = torch.log(torch.tensor([[[0.2, 0.5]], [[0.6, 0.1]]], dtype=torch.float64))
    assert torch.allclose(signals.mean_of_teachers(views).exp(), torch.tensor([[0.4, 0.3]], dtype=torch.float64))
    assert torch.allclose(signals.max_of_teachers(views).exp(), torch.tensor([[0.6, 0.5]], dtype=torch.float64))


def test_signals_and_weights_carry_no_gradient() -> None:
    student = torch.tensor([[-1.0]], requires_grad=True)
    teacher = torch.tensor([[-0.5]], requires_grad=True)
    gap = signals.gap(teacher, student)
    live = teacher - student
    for value in (
        gap,
        signals.soft_or(student, live),
        signals.sigmoid_gate(live, 5.0),
        signals.reverse_kl_weight(live),
        signals.forward_kl_weight(live),
        signals.jsd_weight(live),
        signals.signed_ratio_weight(live, student, 0.2),
    ):
        assert not value.requires_grad


@pytest.mark.parametrize(
    ("gap", "forward", "jensen_shannon"),
    [(0.0, 0.0, 0.0), (math.log(3.0), 2.0, 0.5 * math.log(2.0)), (-50.0, -1.0, -0.3466)],
)
def test_weights_of_divergences_by_hand_vanish_where_teacher_and_student_agree(
    gap: float, forward: float, jensen_shannon: float
) -> None:
    assert float(signals.forward_kl_weight(number(gap))) == pytest.approx(forward, abs=1e-4)
    assert float(signals.jsd_weight(number(gap))) == pytest.approx(jensen_shannon, abs=1e-4)
    assert float(signals.reverse_kl_weight(number(gap))) == gap
