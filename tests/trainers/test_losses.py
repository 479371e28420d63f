"""The loss terms: gradients by hand, by finite differences, and by exact enumeration over tiny vocabularies."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from trainers.maths import losses, signals

NUMBERS = st.floats(-6.0, 0.0)


def tensors(*rows: list[float]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64)


def live(*rows: list[float]) -> Tensor:
    return tensors(*rows).requires_grad_()


def everywhere(like: Tensor) -> Tensor:
    return torch.ones_like(like, dtype=torch.bool)


def ragged(seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """S (live), T, O and a ragged mask."""
    generator = torch.Generator().manual_seed(seed)
    shape = (3, 5)
    student, teacher, behaviour = (-4 * torch.rand(shape, generator=generator, dtype=torch.float64) for _ in range(3))
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [1, 0, 0, 0, 0]], dtype=torch.bool)
    return student.requires_grad_(), teacher, behaviour, mask


def test_the_sdar_gradient_is_minus_the_gate_over_the_tokens_and_zero_outside_the_mask() -> None:
    student, teacher, _, mask = ragged()
    teacher = teacher.requires_grad_()
    gate = signals.sigmoid_gate(signals.gap(teacher, student), 5.0)
    losses.global_mean(losses.weighted_score(student, gate, mask), mask, 8).backward()
    expected = -torch.sigmoid(5.0 * (teacher - student)).detach() * mask / 8
    # Equality rules out a term from a gate that is not detached: beta g (1 - g) gap.
    assert torch.allclose(student.grad, expected, atol=1e-12)
    assert teacher.grad is None


def test_the_published_surrogate_has_the_same_gradient_as_the_weighted_score() -> None:
    student, teacher, _, mask = ragged(1)
    gate = signals.sigmoid_gate(signals.gap(teacher, student), 5.0)
    (by_score,) = torch.autograd.grad(losses.weighted_score(student, gate, mask).sum(), student)
    (by_gap,) = torch.autograd.grad(losses.gated_gap(student, teacher, gate, mask).sum(), student)
    assert torch.equal(by_score, by_gap)


def test_with_beta_zero_the_surrogate_is_half_the_ungated_one_and_its_gradient_knows_no_teacher() -> None:
    student, teacher, _, mask = ragged(2)
    gate = signals.sigmoid_gate(signals.gap(teacher, student), 0.0)
    gated = losses.gated_gap(student, teacher, gate, mask)
    ungated = losses.gated_gap(student, teacher, torch.ones_like(gate), mask)
    assert torch.equal(gated, 0.5 * ungated)
    (gradient,) = torch.autograd.grad(gated.sum(), student)
    assert torch.equal(gradient, -0.5 * mask.double())


@given(st.lists(st.floats(-1e4, 1e4), min_size=1, max_size=6), st.floats(0.0, 50.0))
def test_the_sdar_gradient_stays_between_zero_and_one_over_n_for_any_gap(gaps: list[float], beta: float) -> None:
    student = torch.zeros(1, len(gaps), requires_grad=True)
    teacher = torch.tensor([gaps])
    mask = everywhere(teacher)
    gate = signals.sigmoid_gate(signals.gap(teacher, student), beta)
    loss = losses.global_mean(losses.weighted_score(student, gate, mask), mask, len(gaps))
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(student.grad).all()
    assert (student.grad <= 0).all()
    assert (student.grad >= -1 / len(gaps) - 1e-9).all()


@given(st.floats(-20.0, 20.0), st.sampled_from([0.5, 1.0, 5.0, 20.0]))
def test_the_surrogate_value_is_never_below_its_minimum(gap: float, beta: float) -> None:
    student, teacher = tensors([0.0]), tensors([gap])
    gate = signals.sigmoid_gate(signals.gap(teacher, student), beta)
    value = losses.gated_gap(student, teacher, gate, everywhere(student))
    assert float(value) >= -0.27846455 / beta - 1e-9


def test_the_policy_gradient_at_the_sampling_weights_is_minus_the_advantage() -> None:
    student, _, _, mask = ragged(3)
    advantages = torch.linspace(-2, 2, 15, dtype=torch.float64).reshape(3, 5)
    policy = losses.clipped_policy_gradient(student, student.detach(), advantages, mask, epsilon=0.2, delta=3.0)
    policy.loss_BT.sum().backward()
    assert torch.allclose(student.grad, -advantages * mask)
    assert torch.allclose(policy.loss_BT, -advantages * mask)
    assert not policy.clipped_low_BT.any()
    assert not policy.clipped_high_BT.any()


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "gradient"),
    [
        (1.1, 2.0, -2.2, -2.2),  # inside
        (1.5, 2.0, -2.4, 0.0),  # above, would gain: clipped at 1.2
        (0.5, 2.0, -1.0, -1.0),  # below, A > 0: the pessimistic branch keeps its gradient
        (0.5, -2.0, 1.6, 0.0),  # below, A < 0: clipped at 0.8
        (1.5, -2.0, 3.0, 3.0),  # above, A < 0: free up to the dual clip
        (4.0, -2.0, 6.0, 0.0),  # beyond the dual clip: the loss is -A delta
        (4.0, 2.0, -2.4, 0.0),  # the dual clip leaves positive advantages alone
    ],
)
def test_each_branch_of_the_clip_by_hand(ratio: float, advantage: float, loss: float, gradient: float) -> None:
    student = live([math.log(ratio)])
    zero = torch.zeros_like(student)
    policy = losses.clipped_policy_gradient(
        student, zero.detach(), tensors([advantage]), everywhere(zero), epsilon=0.2, delta=3.0
    )
    policy.loss_BT.sum().backward()
    assert policy.loss_BT.item() == pytest.approx(loss)
    assert float(student.grad) == pytest.approx(gradient, abs=1e-12)


def test_clip_higher_moves_only_the_upper_bound() -> None:
    def loss(ratio: float, advantage: float, epsilon_high: float | None) -> float:
        student = tensors([math.log(ratio)])
        zero = torch.zeros_like(student)
        policy = losses.clipped_policy_gradient(
            student, zero, tensors([advantage]), everywhere(zero), epsilon=0.2, epsilon_high=epsilon_high
        )
        return float(policy.loss_BT)

    assert loss(1.5, 1.0, 0.28) == pytest.approx(-1.28)
    assert loss(1.5, 1.0, None) == pytest.approx(-1.2)
    assert loss(0.5, -1.0, 0.28) == loss(0.5, -1.0, None) == pytest.approx(0.8)


@given(st.floats(-30.0, 30.0), st.floats(-3.0, -0.01))
def test_the_dual_clip_caps_the_loss_of_negative_advantages(log_ratio: float, advantage: float) -> None:
    student = tensors([log_ratio])
    zero = torch.zeros_like(student)
    policy = losses.clipped_policy_gradient(
        student, zero, tensors([advantage]), everywhere(zero), epsilon=0.2, delta=3.0
    )
    assert float(policy.loss_BT) <= -advantage * 3.0 + 1e-9


def test_the_figures_of_the_clip_count_the_bound_that_acts() -> None:
    student = tensors([math.log(1.5), math.log(0.5), math.log(0.5), math.log(4.0), math.log(1.5)])
    zero = torch.zeros_like(student)
    mask = torch.tensor([[True, True, True, True, False]])
    policy = losses.clipped_policy_gradient(
        student, zero, tensors([1.0, 1.0, -1.0, -1.0, 1.0]), mask, epsilon=0.2, delta=3.0
    )
    assert policy.clipped_high_BT.tolist() == [[True, False, False, False, False]]
    assert policy.clipped_low_BT.tolist() == [[False, False, True, False, False]]
    assert policy.dual_clipped_BT.tolist() == [[False, False, False, True, False]]


@settings(max_examples=50)
@given(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=5))
def test_k3_is_not_negative_vanishes_at_equality_and_pulls_by_one_minus_the_ratio(
    pairs: list[tuple[float, float]],
) -> None:
    student, reference = live([s for s, _ in pairs]), tensors([r for _, r in pairs])
    value = losses.kl_estimate(student, reference, everywhere(reference), estimator="k3")
    value.sum().backward()
    assert (value >= -1e-12).all()
    assert torch.allclose(student.grad, 1 - torch.exp(reference - student.detach()))
    same = losses.kl_estimate(reference, reference, everywhere(reference), estimator="k3")
    assert torch.equal(same, torch.zeros_like(same))


def test_k3_keeps_its_gradient_far_beyond_the_clamp_that_other_code_has() -> None:
    for distance in (11.0, 25.0, 200.0):
        student = live([-distance])
        value = losses.kl_estimate(student, tensors([0.0]), everywhere(student), estimator="k3")
        value.sum().backward()
        assert torch.isfinite(value).all()
        assert float(student.grad) <= 1 - math.exp(min(distance, losses.EXPONENT_LIMIT)) + 1e-6


def test_an_unknown_kl_estimator_is_refused_with_the_choices() -> None:
    with pytest.raises(ValueError, match=r"k4.*k1, k2, k3"):
        losses.kl_estimate(tensors([0.0]), tensors([0.0]), everywhere(tensors([0.0])), estimator="k4")


@pytest.mark.parametrize("estimator", losses.KL_ESTIMATORS)
def test_gradients_of_the_kl_estimators_agree_with_finite_differences(estimator: str) -> None:
    student, reference, behaviour, mask = ragged(4)
    for ratio in (None, behaviour):

        def value(s: Tensor, ratio: Tensor | None = ratio) -> Tensor:
            return losses.kl_estimate(s, reference, mask, estimator=estimator, behaviour_BT=ratio).sum()

        assert torch.autograd.gradcheck(value, (student,))


def test_gradients_of_the_policy_loss_agree_with_finite_differences() -> None:
    student, _, behaviour, mask = ragged(5)
    advantages = torch.tensor([[1.0, -1.0, 0.5, -0.5, 2.0]], dtype=torch.float64).expand(3, 5)

    def value(s: Tensor) -> Tensor:
        return losses.clipped_policy_gradient(s, behaviour, advantages, mask, epsilon=0.2, delta=3.0).loss_BT.sum()

    assert torch.autograd.gradcheck(value, (student,))


# --- exact enumeration: expectations over a vocabulary of five tokens ---


def distributions(seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Live student logits, and log-probs of a teacher (or reference) and of stale sampling weights."""
    generator = torch.Generator().manual_seed(seed)
    logits, other, stale = torch.randn(3, 5, generator=generator, dtype=torch.float64)
    return logits.requires_grad_(), torch.log_softmax(other, -1), torch.log_softmax(stale, -1)


def expected_gradient(
    logits: Tensor, per_token: Callable[[Tensor], Tensor], sampled_by: Tensor | None = None
) -> Tensor:
    """Sum over the vocabulary of probability (held fixed) times the gradient of the per-token loss."""
    logprobs = torch.log_softmax(logits, -1)[None, :]
    weights = (logprobs.detach() if sampled_by is None else sampled_by[None, :]).exp()
    (gradient,) = torch.autograd.grad((weights * per_token(logprobs)).sum(), logits)
    return gradient


def exact_gradient(logits: Tensor, divergence: Callable[[Tensor], Tensor]) -> Tensor:
    (gradient,) = torch.autograd.grad(divergence(torch.log_softmax(logits, -1)), logits)
    return gradient


def kl(left: Tensor, right: Tensor) -> Tensor:
    return (left.exp() * (left - right)).sum()


@pytest.mark.parametrize("seed", range(3))
def test_on_policy_a_constant_weight_has_no_expected_gradient(seed: int) -> None:
    logits, teacher, _ = distributions(seed)
    mask = torch.ones(1, 5, dtype=torch.bool)

    def beta_zero(s: Tensor) -> Tensor:
        gate = signals.sigmoid_gate(signals.gap(teacher[None, :], s), 0.0)
        return losses.weighted_score(s, gate, mask)

    assert expected_gradient(logits, beta_zero).abs().max() < 1e-12


@pytest.mark.parametrize("seed", range(3))
def test_on_policy_the_gate_and_the_centred_gate_push_the_same_way_and_not_nowhere(seed: int) -> None:
    logits, teacher, _ = distributions(seed)
    mask = torch.ones(1, 5, dtype=torch.bool)

    def pushed(centre: float) -> Tensor:
        def loss(s: Tensor) -> Tensor:
            return losses.weighted_score(s, signals.sigmoid_gate(signals.gap(teacher, s), 5.0) - centre, mask)

        return expected_gradient(logits, loss)

    assert torch.allclose(pushed(0.0), pushed(0.37), atol=1e-12)
    assert pushed(0.0).abs().max() > 1e-3


@pytest.mark.parametrize("seed", range(3))
def test_sampled_token_weights_are_exact_divergence_gradients_in_expectation(seed: int) -> None:
    logits, teacher, _ = distributions(seed)
    mask = torch.ones(1, 5, dtype=torch.bool)

    def jsd(s: Tensor) -> Tensor:
        mixture = torch.logaddexp(s, teacher) - math.log(2)
        return 0.5 * kl(s, mixture) + 0.5 * kl(teacher, mixture)

    cases = [
        (signals.reverse_kl_weight, lambda s: kl(s, teacher)),
        (signals.forward_kl_weight, lambda s: kl(teacher, s)),
        (signals.jsd_weight, jsd),
    ]
    for weight, divergence in cases:

        def loss(s: Tensor, weight: Callable[[Tensor], Tensor] = weight) -> Tensor:
            return losses.weighted_score(s, weight(signals.gap(teacher[None, :], s)), mask)

        assert torch.allclose(expected_gradient(logits, loss), exact_gradient(logits, divergence), atol=1e-10)


@pytest.mark.parametrize("seed", range(3))
def test_k2_as_a_loss_is_the_kl_gradient_k1_is_nothing_and_k3_is_that_of_the_other_direction(seed: int) -> None:
    logits, reference, _ = distributions(seed)
    mask = torch.ones(1, 5, dtype=torch.bool)
    expected = {
        name: expected_gradient(
            logits, lambda s, name=name: losses.kl_estimate(s, reference[None, :], mask, estimator=name)
        )
        for name in losses.KL_ESTIMATORS
    }
    reverse = exact_gradient(logits, lambda s: kl(s, reference))
    forward = exact_gradient(logits, lambda s: kl(reference, s))
    assert expected["k1"].abs().max() < 1e-12
    assert torch.allclose(expected["k2"], reverse, atol=1e-10)
    assert torch.allclose(expected["k3"], forward, atol=1e-10)
    assert not torch.allclose(expected["k3"], reverse, atol=1e-3)


@pytest.mark.parametrize("seed", range(3))
def test_k1_in_the_advantage_is_the_kl_gradient(seed: int) -> None:
    logits, reference, _ = distributions(seed)
    mask = torch.ones(1, 5, dtype=torch.bool)

    def loss(s: Tensor) -> Tensor:
        advantages = -(s.detach() - reference[None, :])
        return losses.clipped_policy_gradient(s, s.detach(), advantages, mask, epsilon=0.2).loss_BT

    assert torch.allclose(
        expected_gradient(logits, loss), exact_gradient(logits, lambda s: kl(s, reference)), atol=1e-10
    )


@pytest.mark.parametrize("estimator", ["k1", "k3"])
def test_off_policy_the_ratio_makes_the_kl_term_exact_and_without_it_it_is_biased(estimator: str) -> None:
    logits, reference, stale = distributions(7)
    mask = torch.ones(1, 5, dtype=torch.bool)

    def loss(ratio: bool) -> Callable[[Tensor], Tensor]:
        behaviour = stale[None, :] if ratio else None
        return lambda s: losses.kl_estimate(s, reference[None, :], mask, estimator=estimator, behaviour_BT=behaviour)

    exact = exact_gradient(logits, lambda s: kl(s, reference))
    assert torch.allclose(expected_gradient(logits, loss(True), stale), exact, atol=1e-10)
    assert not torch.allclose(expected_gradient(logits, loss(False), stale), exact, atol=1e-3)


# --- numerics ---


def test_nan_and_infinity_outside_the_mask_reach_neither_value_nor_gradient() -> None:
    bad = torch.tensor([[-1.0, math.nan, math.inf, -math.inf]], dtype=torch.float64)
    mask = torch.tensor([[True, False, False, False]])
    student = bad.clone().requires_grad_()
    terms = (
        losses.clipped_policy_gradient(student, bad, bad, mask, epsilon=0.2, delta=3.0).loss_BT
        + losses.kl_estimate(student, bad, mask, estimator="k3", behaviour_BT=bad)
        + losses.weighted_score(student, bad, mask)
        + losses.gated_gap(student, bad, bad, mask)
    )
    loss = losses.global_mean(terms, mask, 1)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(student.grad).all()
    assert student.grad[0, 1:].abs().max() == 0


@pytest.mark.parametrize("denominator", [0, 1, 17])
def test_an_empty_mask_gives_zero_and_zero_gradients(denominator: int) -> None:
    student = live([-1.0, -2.0])
    mask = torch.zeros(1, 2, dtype=torch.bool)
    loss = losses.global_mean(losses.weighted_score(student, torch.ones_like(student), mask), mask, denominator)
    loss.backward()
    assert loss.item() == 0.0
    assert student.grad.abs().max() == 0


@given(st.floats(-100.0, 100.0))
def test_the_bounded_exponential_is_exact_below_its_limit_finite_above_and_never_flat(exponent: float) -> None:
    x = torch.tensor(exponent, dtype=torch.float64, requires_grad=True)
    value = losses.bounded_exp(x)
    value.backward()
    if exponent <= losses.EXPONENT_LIMIT:
        assert value.item() == pytest.approx(math.exp(exponent))
    assert math.isfinite(value.item())
    assert float(x.grad) > 0


def test_no_gradient_flows_into_advantages_that_carry_one() -> None:
    student, advantages = live([-1.0, -2.0]), live([0.5, -0.5])
    policy = losses.clipped_policy_gradient(
        student, student.detach(), advantages, everywhere(student), epsilon=0.2, delta=3.0
    )
    policy.loss_BT.sum().backward()
    assert student.grad is not None
    assert advantages.grad is None


def test_a_clamped_kl_is_the_same_within_the_clamp_and_has_no_gradient_beyond() -> None:
    # k3 at R - S = 0, 1, -3, 5: 0, 0.718, 2.05, 142.4
    reference = tensors([0.0, 1.0, -3.0, 5.0])
    found = {}
    for clamp in (None, 10.0):
        student = tensors([0.0, 0.0, 0.0, 0.0]).requires_grad_()
        value = losses.kl_estimate(student, reference, everywhere(student), estimator="k3", clamp=clamp)
        value.sum().backward()
        found[clamp] = (value.detach().flatten().tolist(), student.grad.flatten().tolist())
    assert found[10.0][0][:3] == found[None][0][:3] and found[10.0][1][:3] == found[None][1][:3]
    assert found[None][0][3] == pytest.approx(math.exp(5) - 6, rel=1e-6) and found[10.0][0][3] == 10.0
    assert found[None][1][3] == pytest.approx(1 - math.exp(5), rel=1e-6) and found[10.0][1][3] == 0.0
