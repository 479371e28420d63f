"""Importance weights for the difference of sampler and trainer: values by hand, limits, and what they correct."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from random_models import changed, plan_of, random_rows, weighed
from torch import Tensor

from trainers.batch.token_batch import collate
from trainers.config import SDARConfig
from trainers.maths.importance import MODES, Correction, importance_correction, mismatch
from trainers.methods.objective import objective

LOG2 = math.log(2.0)
MASK = torch.tensor([[1, 1, 1], [1, 1, 0]], dtype=torch.bool)
SAMPLER = torch.tensor([[-2.0, -2.0, -2.0], [-2.0, -2.0, 99.0]], dtype=torch.float64)
# exp(O - M): 2, 1/2, 4 in the first row and 1/2, 1/2 in the second.
TRAINER = SAMPLER + torch.tensor([[LOG2, -LOG2, 2 * LOG2], [-LOG2, -LOG2, 5.0]], dtype=torch.float64)


def correct(mode: str, cap: float, trainer: Tensor = TRAINER) -> Correction:
    return importance_correction(trainer, SAMPLER, MASK, mode=mode, cap=cap)


@pytest.mark.parametrize(
    ("mode", "cap", "expected"),
    [
        ("token_truncate", 3.0, [[2.0, 0.5, 3.0], [0.5, 0.5, 1.0]]),
        ("token_mask", 3.0, [[2.0, 0.5, 0.0], [0.5, 0.5, 1.0]]),
        ("token_mask", 1.0, [[0.0, 0.5, 0.0], [0.5, 0.5, 1.0]]),
        ("sequence_truncate", 3.0, [[3.0, 3.0, 3.0], [0.25, 0.25, 1.0]]),
        ("sequence_mask", 3.0, [[0.0, 0.0, 0.0], [0.25, 0.25, 1.0]]),
        ("sequence_mask", 5.0, [[4.0, 4.0, 4.0], [0.25, 0.25, 1.0]]),
    ],
)
def test_the_weights_by_hand(mode: str, cap: float, expected: list[list[float]]) -> None:
    found = correct(mode, cap)
    torch.testing.assert_close(found.weights_BT, torch.tensor(expected, dtype=torch.float64))
    assert torch.equal(found.capped_BT, (found.ratio_BT > cap) & MASK)


@pytest.mark.parametrize("mode", MODES)
def test_equal_log_probs_give_weights_of_exactly_1_under_any_cap_from_1_on(mode: str) -> None:
    for cap in (1.0, 3.0):
        found = correct(mode, cap, SAMPLER)
        assert torch.equal(found.weights_BT, torch.ones_like(SAMPLER)) and not found.capped_BT.any()


@pytest.mark.parametrize("mode", MODES)
def test_towards_an_infinite_cap_every_mode_is_the_plain_weight(mode: str) -> None:
    difference = torch.where(MASK, TRAINER - SAMPLER, 0.0)
    whole = difference.sum(-1, keepdim=True).expand_as(difference)
    plain = torch.where(MASK, torch.exp(whole if mode.startswith("sequence") else difference), 1.0)
    found = correct(mode, 1e12)
    torch.testing.assert_close(found.weights_BT, plain)
    assert not found.capped_BT.any()


@pytest.mark.parametrize("level", ["token", "sequence"])
def test_towards_a_cap_of_0_truncation_scales_all_alike_and_a_mask_leaves_nothing(level: str) -> None:
    assert torch.equal(correct(f"{level}_truncate", 1e-6).weights_BT[MASK], torch.full((5,), 1e-6, dtype=torch.float64))
    assert not correct(f"{level}_mask", 1e-6).weights_BT[MASK].any()


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.floats(-8.0, 8.0), min_size=6, max_size=6),
    st.sampled_from(MODES),
    st.floats(0.1, 10.0),
    st.floats(1.0, 3.0),
)
def test_weights_lie_between_0_and_the_cap_and_grow_with_it(
    values: list[float], mode: str, cap: float, factor: float
) -> None:
    trainer = SAMPLER + torch.tensor(values, dtype=torch.float64).reshape(2, 3)
    small, large = correct(mode, cap, trainer).weights_BT, correct(mode, cap * factor, trainer).weights_BT
    assert bool((small[MASK] >= 0.0).all()) and bool((small[MASK] <= cap).all())
    assert bool((large >= small)[MASK].all()) and float(small[1, 2]) == 1.0


def test_truncated_weights_make_the_samplers_expectation_the_trainers_as_the_cap_grows() -> None:
    # All tokens of a small vocabulary, with the probability that the sampler gives each.
    sampler = torch.tensor([0.5, 0.3, 0.15, 0.05], dtype=torch.float64)
    trainer = torch.tensor([0.2, 0.2, 0.2, 0.4], dtype=torch.float64)
    value = torch.tensor([1.0, -2.0, 3.0, 4.0], dtype=torch.float64)
    everywhere = torch.ones((1, 4), dtype=torch.bool)

    def expected(cap: float) -> float:
        found = importance_correction(
            trainer.log()[None], sampler.log()[None], everywhere, mode="token_truncate", cap=cap
        )
        return float((sampler * found.weights_BT[0] * value).sum())

    exact = float((trainer * value).sum())
    assert expected(8.0) == pytest.approx(exact, abs=1e-12)  # the largest ratio is 8
    errors = [abs(expected(cap) - exact) for cap in (1.0, 2.0, 4.0, 8.0)]
    assert errors == sorted(errors, reverse=True)


def test_the_difference_is_reported_as_it_is_before_the_cap() -> None:
    capped, free = correct("token_truncate", 1.0), correct("token_truncate", 1e9)
    found = mismatch(TRAINER, SAMPLER, MASK, capped)
    ratios = [2.0, 0.5, 4.0, 0.5, 0.5]
    kl = sum(ratio - 1.0 - math.log(ratio) for ratio in ratios) / 5
    assert found == {
        "sampling/logp_diff_mean": pytest.approx(6 * LOG2 / 5),
        "sampling/logp_diff_max": pytest.approx(2 * LOG2),
        "sampling/ratio_mean": pytest.approx(sum(ratios) / 5),
        "sampling/ratio_max": pytest.approx(4.0),
        "sampling/kl": pytest.approx(kl),
        "sampling/effective_share": pytest.approx(sum(ratios) ** 2 / (5 * sum(r * r for r in ratios))),
        "sampling/capped_share": pytest.approx(2 / 5),
    }
    assert mismatch(TRAINER, SAMPLER, MASK, free) == {**found, "sampling/capped_share": 0.0}
    equal = mismatch(SAMPLER, SAMPLER, MASK, correct("sequence_mask", 3.0, SAMPLER))
    assert (equal["sampling/ratio_max"], equal["sampling/kl"], equal["sampling/effective_share"]) == (1.0, 0.0, 1.0)
    assert mismatch(TRAINER, SAMPLER, torch.zeros_like(MASK), capped) == {}


def test_an_unknown_mode_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown mode of importance sampling 'sequence'"):
        correct("sequence", 3.0)


@pytest.mark.parametrize(("method", "corrected"), [("grpo", True), ("opsd", True), ("opsd-full", False)])
def test_terms_at_sampled_tokens_are_weighed_and_those_of_whole_distributions_are_not(
    method: str, corrected: bool
) -> None:
    options = SDARConfig(beta=0.0 if not corrected else 0.1, method=method)
    plan = plan_of(method, options)
    rows = weighed(plan, random_rows(3))

    def loss(weight: float | None) -> float:
        given = rows if weight is None else [changed(row, correction_T=[weight] * len(row)) for row in rows]
        views = plan.method.teacher_views if plan.coefficient else ()
        batch = collate(given, teacher_views=views)
        batch.student_BT = batch.behaviour_BT - 0.1
        if plan.reads_vocabulary:
            batch.divergence_BT = batch.behaviour_BT.square()
        return float(objective(plan, batch, options, denominator=10.0).loss)

    plain = loss(None)
    assert loss(1.0) == plain != 0.0
    assert loss(2.5) == pytest.approx((2.5 if corrected else 1.0) * plain, rel=1e-5)


def test_rows_without_weights_count_as_they_are_beside_rows_with_some() -> None:
    rows = random_rows(2)
    batch = collate([changed(rows[0], correction_T=[0.5] * len(rows[0])), rows[1]])
    assert batch.correction_BT is not None
    assert set(batch.correction_BT[0, : len(rows[0])].tolist()) == {0.5}
    assert set(batch.correction_BT[1, : len(rows[1])].tolist()) == {1.0}
    assert collate(rows).correction_BT is None
