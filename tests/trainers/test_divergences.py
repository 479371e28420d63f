"""Divergences of whole distributions: values by hand, directions, gradients, limits, and what a tail can lose."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import rel_entr
from torch import Tensor

from trainers.config import SDARConfig
from trainers.maths.divergences import between, divergence, with_tail
from trainers.options.method import DIVERGENCES


def distribution(*probabilities: float) -> Tensor:
    return torch.tensor([probabilities], dtype=torch.float64).log()


def random_logits(seed: int, positions: int = 3, tokens: int = 6) -> Tensor:
    return torch.randn(positions, tokens, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def kl(left: Tensor, right: Tensor) -> Tensor:
    return torch.from_numpy(rel_entr(left.exp().numpy(), right.exp().numpy()).sum(-1))


def test_values_by_hand() -> None:
    student, teacher = distribution(0.5, 0.5), distribution(0.25, 0.75)
    assert divergence(student, teacher, "reverse_kl").item() == pytest.approx(0.5 * math.log(2) + 0.5 * math.log(2 / 3))
    assert divergence(student, teacher, "forward_kl").item() == pytest.approx(
        0.25 * math.log(0.5) + 0.75 * math.log(1.5)
    )
    halves = 0.5 * math.log(0.5 / 0.375) + 0.5 * math.log(0.5 / 0.625)
    others = 0.25 * math.log(0.25 / 0.375) + 0.75 * math.log(0.75 / 0.625)
    assert divergence(student, teacher, "jsd").item() == pytest.approx(0.5 * halves + 0.5 * others)


def test_the_directions_are_those_of_scipy_and_torch_takes_its_arguments_the_other_way_round() -> None:
    student, teacher = (torch.log_softmax(random_logits(seed), -1) for seed in (1, 2))
    reverse, forward = (divergence(student, teacher, kind) for kind in ("reverse_kl", "forward_kl"))
    assert torch.allclose(reverse, kl(student, teacher))
    assert torch.allclose(forward, kl(teacher, student))
    assert not torch.allclose(reverse, forward, atol=1e-2)
    torch_forward = F.kl_div(student, teacher, reduction="none", log_target=True).sum(-1)  # (input, target)
    assert torch.allclose(torch_forward, forward)


@pytest.mark.parametrize("kind", DIVERGENCES)
@pytest.mark.parametrize("alpha", [0.1, 0.5, 0.8])
def test_gradients_agree_with_finite_differences_on_the_logits(kind: str, alpha: float) -> None:
    teacher = torch.log_softmax(random_logits(4), -1)
    logits = random_logits(3).requires_grad_()
    assert torch.autograd.gradcheck(lambda z: divergence(torch.log_softmax(z, -1), teacher, kind, alpha), (logits,))


@pytest.mark.parametrize("kind", DIVERGENCES)
def test_gradients_of_the_reduced_form_agree_with_finite_differences(kind: str) -> None:
    teacher = torch.log_softmax(random_logits(4), -1)
    ids = teacher.topk(2).indices
    logits = random_logits(3).requires_grad_()

    def reduced(z: Tensor) -> Tensor:
        return divergence(with_tail(torch.log_softmax(z, -1), ids), with_tail(teacher, ids), kind)

    assert torch.autograd.gradcheck(reduced, (logits,))


@pytest.mark.parametrize("kind", DIVERGENCES)
def test_the_gradient_stays_with_the_student(kind: str) -> None:
    student, teacher = random_logits(1).requires_grad_(), random_logits(2).requires_grad_()
    divergence(torch.log_softmax(student, -1), torch.log_softmax(teacher, -1), kind).sum().backward()
    assert student.grad is not None
    assert student.grad.abs().max() > 1e-3
    assert teacher.grad is None


LOGITS = st.lists(st.floats(-12.0, 12.0), min_size=5, max_size=5)


@settings(max_examples=80)
@given(LOGITS, LOGITS, st.floats(0.01, 0.99))
def test_divergences_are_not_negative_vanish_at_agreement_and_a_jsd_is_at_most_ln_two(
    left: list[float], right: list[float], alpha: float
) -> None:
    student, teacher = (torch.log_softmax(torch.tensor([z], dtype=torch.float64), -1) for z in (left, right))
    for kind in DIVERGENCES:
        assert divergence(student, teacher, kind, alpha).item() >= -1e-12
        assert divergence(student, student, kind, alpha).item() == pytest.approx(0.0, abs=1e-12)
    assert divergence(student, teacher, "jsd", alpha).item() <= math.log(2) + 1e-12
    assert divergence(student, teacher, "jsd").item() == pytest.approx(divergence(teacher, student, "jsd").item())


def test_the_generalised_jsd_runs_from_the_forward_to_the_reverse_kl() -> None:
    student, teacher = (torch.log_softmax(random_logits(seed), -1) for seed in (1, 2))
    small = 1e-6
    towards_forward = divergence(student, teacher, "jsd", small) / small
    towards_reverse = divergence(student, teacher, "jsd", 1 - small) / small
    assert torch.allclose(towards_forward, kl(teacher, student), rtol=1e-4)
    assert torch.allclose(towards_reverse, kl(student, teacher), rtol=1e-4)


def test_the_ends_of_alpha_are_refused_because_the_jsd_is_zero_there() -> None:
    for alpha in (0.0, 1.0):
        with pytest.raises(ValueError, match="choose divergence=forward_kl"):
            SDARConfig(divergence="jsd", divergence_alpha=alpha)
        assert SDARConfig(divergence="reverse_kl", divergence_alpha=alpha)


@settings(max_examples=60)
@given(LOGITS, LOGITS, st.sampled_from(DIVERGENCES))
def test_merging_tokens_into_a_tail_never_raises_a_divergence_and_one_token_as_tail_loses_nothing(
    left: list[float], right: list[float], kind: str
) -> None:
    student, teacher = (torch.log_softmax(torch.tensor([z], dtype=torch.float64), -1) for z in (left, right))
    order = teacher.argsort(-1, descending=True)
    reduced = [
        divergence(with_tail(student, order[:, :k]), with_tail(teacher, order[:, :k]), kind).item() for k in range(1, 5)
    ]
    assert all(few <= more + 1e-12 for few, more in itertools.pairwise(reduced))
    assert reduced[-1] == pytest.approx(divergence(student, teacher, kind).item(), abs=1e-12)


def test_a_tail_is_normalised_and_survives_where_one_minus_the_rest_would_be_nothing() -> None:
    logprobs = torch.log_softmax(torch.tensor([[30.0, 0.0, -1.0, 1.0]]), -1)
    reduced = with_tail(logprobs, torch.tensor([[0]]))
    assert reduced.exp().sum().item() == pytest.approx(1.0)
    assert float(1 - reduced[0, 0].exp()) == 0.0  # float32
    assert reduced[0, 1].item() == pytest.approx(math.log(1 + math.exp(-1) + math.exp(1)) - 30, rel=1e-6)


@pytest.mark.parametrize("kind", DIVERGENCES)
def test_a_forbidden_token_leaves_value_and_gradient_finite(kind: str) -> None:
    logits = torch.tensor([[1.0, 0.0, -math.inf]], requires_grad=True)
    for teacher in (torch.tensor([[0.0, 1.0, -math.inf]]), torch.tensor([[0.0, 1.0, 2.0]])):
        logits.grad = None
        value = divergence(torch.log_softmax(logits, -1), torch.log_softmax(teacher, -1), kind).sum()
        value.backward()
        assert torch.isfinite(value)
        assert logits.grad is not None
        assert torch.isfinite(logits.grad).all()


# --- a target between student and teacher ---


def test_the_target_is_the_normalised_geometric_mean_by_hand() -> None:
    # p = (1/2, 1/2), q = (1/10, 9/10), half of each: sqrt(p q) is in the proportion 1 : 3.
    student, teacher = distribution(0.5, 0.5), distribution(0.1, 0.9)
    assert between(student, teacher, 0.5).exp().flatten().tolist() == pytest.approx([0.25, 0.75])
    value = divergence(student, teacher, "forward_kl", target_share=0.5)
    assert value.item() == pytest.approx(0.25 * math.log(0.5) + 0.75 * math.log(1.5))


def test_it_is_the_student_at_share_0_the_teacher_at_share_1_and_nearest_to_both_between() -> None:
    student, teacher = (torch.log_softmax(random_logits(seed), -1) for seed in (1, 2))
    assert torch.allclose(between(student, teacher, 0.0), student)
    assert torch.allclose(between(student, teacher, 1.0), teacher)
    target = between(student, teacher, 0.3)

    def distance(candidate: Tensor) -> Tensor:
        return 0.7 * kl(candidate, student) + 0.3 * kl(candidate, teacher)

    for seed in range(20):
        other = torch.log_softmax(target + 0.1 * random_logits(seed), -1)
        assert (distance(target) <= distance(other)).all()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.01, 1.0))
def test_with_the_reverse_kl_the_target_scales_the_gradient_and_turns_it_not(seed: int, share: float) -> None:
    logits, teacher = random_logits(seed).requires_grad_(), torch.log_softmax(random_logits(seed + 1), -1)
    gradients = [
        torch.autograd.grad(
            divergence(torch.log_softmax(logits, -1), teacher, "reverse_kl", target_share=each).sum(), logits
        )[0]
        for each in (share, 1.0)
    ]
    assert torch.allclose(gradients[0], share * gradients[1], atol=1e-9)


def test_with_the_forward_kl_the_student_is_drawn_less_to_what_it_finds_impossible() -> None:
    """The pull on a token's logit is m - p: near 0.5 towards the teacher itself, next to nothing towards the target."""
    logits = torch.tensor([[0.0, 0.0, -12.0]], dtype=torch.float64, requires_grad=True)
    teacher = distribution(0.25, 0.25, 0.5)
    pulls = []
    for share in (1.0, 0.5):
        value = divergence(torch.log_softmax(logits, -1), teacher, "forward_kl", target_share=share)
        pulls.append(-torch.autograd.grad(value.sum(), logits)[0][0, 2].item())
    assert pulls[0] == pytest.approx(0.5, abs=1e-4)
    assert 0.0 < pulls[1] < 0.01


def test_a_share_of_1_is_the_divergence_as_it_was_and_no_digest_knows_it() -> None:
    student, teacher = (torch.log_softmax(random_logits(seed), -1) for seed in (5, 6))
    for kind in DIVERGENCES:
        assert torch.equal(divergence(student, teacher, kind), divergence(student, teacher, kind, 0.5, 1.0))
    assert SDARConfig().digest() == SDARConfig(divergence_target_share=1.0).digest()
    assert SDARConfig().digest() != SDARConfig(divergence_target_share=0.5).digest()
    with pytest.raises(ValueError, match="divergence_target_share"):
        SDARConfig(divergence_target_share=0.0)
