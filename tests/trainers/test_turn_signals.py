"""Formulas over turns and windows, by hand and in their limits."""

from __future__ import annotations

import math
import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trainers.maths.turn_signals import belief_revisions, mean_within, neighbourhood, standardised_within

LOG3 = math.log(3.0)


def numbers(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_evidence_moves_the_belief_in_log_odds_from_the_prior_of_its_own_episode() -> None:
    # From 1/2: log 3 to 3/4, back to 1/2. From 1/4: log 3 to 1/2, log 3 to 3/4.
    episodes = torch.tensor([0, 0, 1, 1])
    moved = belief_revisions(numbers(LOG3, -LOG3, LOG3, LOG3), episodes, numbers(0.5, 0.25))
    assert moved.tolist() == pytest.approx([0.25, -0.25, 0.25, 0.25])


def test_a_settled_belief_hardly_moves_and_stays_finite_for_any_evidence() -> None:
    sure = belief_revisions(numbers(1.0), torch.tensor([0]), numbers(1.0))  # a prior of 1 counts as 0.9999
    assert 0 < float(sure) < 1e-4
    wild = belief_revisions(numbers(1e4, -2e4, 1e4), torch.tensor([0, 0, 0]), numbers(0.0))
    assert wild.isfinite().all()
    assert wild.tolist() == pytest.approx([1.0, -1.0, 1e-4], abs=2e-4)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6))
def test_revisions_of_an_episode_add_up_to_its_last_belief_minus_its_prior(seed: int) -> None:
    draw = random.Random(seed)
    lengths = [draw.randrange(1, 6) for _ in range(draw.randrange(1, 5))]
    episodes = torch.tensor([e for e, length in enumerate(lengths) for _ in range(length)])
    evidence = numbers(*(draw.uniform(-2, 2) for _ in episodes))
    prior = numbers(*(draw.uniform(0.1, 0.9) for _ in lengths))
    moved = belief_revisions(evidence, episodes, prior)
    for episode, start in enumerate(prior.tolist()):
        total = math.log(start / (1 - start)) + float(evidence[episodes == episode].sum())
        assert float(moved[episodes == episode].sum()) == pytest.approx(1 / (1 + math.exp(-total)) - start, abs=1e-5)


def test_means_and_deviations_are_taken_within_groups() -> None:
    groups = torch.tensor([1, 0, 1, 0])
    assert mean_within(numbers(1, 5, 3, 7), groups).tolist() == [2.0, 6.0, 2.0, 6.0]
    weights = numbers(3, 1, 1, 1)
    assert mean_within(numbers(1, 5, 3, 7), groups, weights).tolist() == pytest.approx([1.5, 6.0, 1.5, 6.0])
    assert standardised_within(numbers(1, 5, 3, 9), groups).tolist() == pytest.approx([-1, -1, 1, 1], abs=1e-5)
    assert standardised_within(numbers(4, 5, 5), torch.tensor([0, 1, 1])).tolist() == [0.0, 0.0, 0.0]
    assert len(standardised_within(numbers(), torch.tensor([], dtype=torch.long))) == 0


def around(
    values: list[float], turns: list[int], counted: list[bool] | None = None, *, longest: int = 8
) -> list[list[float]]:
    """Mean, variance and trend of each token."""
    where = torch.tensor([counted or [True] * len(values)])
    found = neighbourhood(
        torch.tensor([values], dtype=torch.float64),
        torch.tensor([turns]),
        where,
        longest=longest,
        decay=0.5,
    )
    return [found.mean_BT[0].tolist(), found.variance_BT[0].tolist(), found.trend_BT[0].tolist()]


def test_a_window_looks_back_with_decaying_weight_by_hand() -> None:
    mean, variance, trend = around([1.0, 3.0, 2.0], [0, 0, 0])
    assert mean == pytest.approx([1.0, (3 + 0.5) / 1.5, (2 + 1.5 + 0.25) / 1.75])
    assert variance == pytest.approx([0.0, 1.0, 2 / 3])
    assert trend == pytest.approx([0.0, 1.0, 0.5])  # of positions -2, -1, 0 with 1, 3, 2


def test_a_window_ends_at_its_length_at_its_turn_and_at_tokens_that_do_not_count() -> None:
    values = [9.0, 1.0, 1.0, 1.0]
    assert around(values, [0, 0, 0, 0], longest=2)[1] == pytest.approx([0.0, 16.0, 0.0, 0.0])
    assert around(values, [0, 1, 1, 1])[1] == [0.0] * 4
    assert around(values, [0] * 4, [False, True, True, True])[1] == [0.0] * 4
    assert around(values, [0] * 4, longest=1) == [values, [0.0] * 4, [0.0] * 4]


@settings(max_examples=40, deadline=None)
@given(st.floats(-50, 50), st.integers(1, 12))
def test_equal_values_have_no_variance_and_no_trend_to_the_last_bit(value: float, length: int) -> None:
    mean, variance, trend = around([value] * length, [0] * length)
    assert mean == pytest.approx([value] * length)
    assert variance == trend == [0.0] * length


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(-20, 20), min_size=1, max_size=12))
def test_the_trend_is_a_correlation(values: list[float]) -> None:
    mean, _, trend = around(values, [0] * len(values))
    assert all(-1.0 <= t <= 1.0 for t in trend)
    assert all(min(values) - 1e-9 <= m <= max(values) + 1e-9 for m in mean)
    steady = around([float(i) for i in range(len(values))], [0] * len(values))[2]
    assert steady[1:] == pytest.approx([1.0] * (len(values) - 1))
