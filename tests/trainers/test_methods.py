"""The methods table: rows, injections, off-switches, and the loss built from them."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from random_models import changed, plan_of, random_rows, weighed
from torch import Tensor

from trainers import methods
from trainers.batch.row import WeighedRow
from trainers.batch.token_batch import TokenBatch, collate, loss_tokens
from trainers.config import SDARConfig
from trainers.maths import losses, signals
from trainers.methods import METHODS, Method, apply, get_method
from trainers.methods.objective import objective, summarise
from trainers.options import MethodOptions

SDAR, GRPO = METHODS["sdar"], METHODS["grpo"]


def batch_of(rows: list[WeighedRow], method: Method = SDAR) -> TokenBatch:
    """A micro-batch as it is after the forward pass, with a live S that differs a little from O."""
    batch = collate(rows, teacher_views=method.teacher_views)
    generator = torch.Generator().manual_seed(5)
    noise = 0.1 * torch.randn(batch.behaviour_BT.shape, generator=generator)
    batch.student_BT = (batch.behaviour_BT + noise).requires_grad_()
    batch.entropy_BT = torch.rand(batch.behaviour_BT.shape, generator=generator)
    return batch


def live_gradient(method: Method, rows: list[WeighedRow], config: SDARConfig, coef: float) -> tuple[Tensor, Tensor]:
    batch = batch_of(rows, method)
    result = objective(plan_of(method, config, coef), batch, config, denominator=loss_tokens(rows))
    result.loss.backward()
    student = batch.live_student()
    assert student.grad is not None
    return result.loss.detach(), student.grad


def auxiliary(**changes: Any) -> Method:
    """A method of our own for the tests: the gap, an identity weight, added as changes say."""
    base: dict[str, Any] = {
        "name": "test",
        "summary": "",
        "gradient": "",
        "source": "",
        "fidelity": "ours",
        "teacher_views": ("teacher",),
        "signal": methods.sampled_gap,
        "injection": "aux",
        "coef": 0.5,
    }
    return Method(**{**base, **changes})


def test_the_table_holds_the_published_coefficients() -> None:
    assert SDAR.coef == 0.01
    config = SDARConfig()
    assert SDAR.coefficient(0, config) == SDAR.coefficient(149, config) == 0.01
    assert config.gate_beta == 5.0
    assert GRPO.coefficient(0, config) == 0.0


def test_every_row_says_where_it_is_from_and_what_its_gradient_is() -> None:
    for name, method in METHODS.items():
        assert method.name == name
        assert method.summary
        assert method.gradient
        assert method.source


def test_a_configured_coefficient_wins_over_the_published_one_and_the_schedule_multiplies() -> None:
    fading = auxiliary(schedule=methods.linear_decay(100))
    half = dataclasses.replace(fading, coef=0.5)
    assert [half.coefficient(n, SDARConfig()) for n in (0, 50, 100, 150)] == [0.5, 0.25, 0.0, 0.0]
    assert half.coefficient(50, SDARConfig(distill_coef=0.2)) == pytest.approx(0.1)


def test_no_teacher_is_read_at_coefficient_zero_or_by_a_method_without_one() -> None:
    assert plan_of(SDAR, SDARConfig(), 0.01).reads_teacher
    assert not plan_of(SDAR, SDARConfig(), 0.0).reads_teacher
    assert not plan_of(GRPO, SDARConfig(), 0.3).reads_teacher


def test_an_unknown_method_is_refused_with_the_nearest() -> None:
    with pytest.raises(ValueError, match=r'choose from .*sdar.*the nearest is "sdar"'):
        get_method("sdra")


def test_a_taken_name_cannot_be_registered() -> None:
    with pytest.raises(ValueError, match="registered already"):
        methods.register(auxiliary(name="sdar"))


@pytest.mark.parametrize(
    "changes",
    [
        {"injection": "aux", "signal": None},
        {"injection": "none"},
        {"injection": "auxx"},
        {"fidelity": "rumour"},
        {"teacher_views": ("a", "b"), "combine": "median"},
        {"timing": "never"},
    ],
)
def test_a_row_that_contradicts_itself_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="test"):
        auxiliary(**changes)


def test_sdar_adds_minus_lambda_times_the_gate_over_the_tokens_to_the_gradient_of_grpo() -> None:
    rows, config = random_rows(6), SDARConfig(distill_coef=0.3)
    _, without = live_gradient(GRPO, rows, config, 0.0)
    _, with_teacher = live_gradient(SDAR, rows, config, 0.3)
    batch = batch_of(rows)
    gate = torch.sigmoid(5.0 * (batch.teachers["teacher"] - batch.live_student().detach()))
    expected = -0.3 * gate * batch.mask_BT / loss_tokens(rows)
    assert torch.allclose(with_teacher - without, expected, atol=1e-7)


@pytest.mark.parametrize("name", sorted(METHODS))
def test_with_coefficient_zero_every_method_is_its_backbone_bit_for_bit(name: str) -> None:
    method, rows, config = METHODS[name], random_rows(6), SDARConfig()

    def explode(*arguments: object) -> Tensor:
        raise AssertionError("signal or weight was evaluated at coefficient 0")

    bare = dataclasses.replace(method, injection="none", teacher_views=(), signal=None, combine=None, needs=frozenset())
    if method.injection != "none":
        method = dataclasses.replace(method, signal=explode, weight=explode)
    off, bare_result = live_gradient(method, rows, config, 0.0), live_gradient(bare, rows, config, 0.0)
    assert torch.equal(off[0], bare_result[0])
    assert torch.equal(off[1], bare_result[1])


def test_sdar_at_coefficient_zero_is_grpo_bit_for_bit_and_needs_no_teacher_in_the_rows() -> None:
    rows = random_rows(6)
    grpo = live_gradient(GRPO, rows, SDARConfig(), 0.0)
    rows = [changed(row, teacher_logprobs_T={}) for row in rows]
    sdar = live_gradient(SDAR, rows, SDARConfig(), 0.0)
    assert torch.equal(grpo[0], sdar[0])
    assert torch.equal(grpo[1], sdar[1])


@pytest.mark.parametrize(
    "off",
    [
        {"entropy_coef": 0.0},
        {"epsilon_high": 0.2},
        {"mask_truncated_completions": True},  # no row is truncated
        {"kl_estimator": "k1", "beta": 0.0},
        {"kl_placement": "advantage", "beta": 0.0},
        {"use_bias_correction_kl": True, "beta": 0.0},
        {"logprob_chunk": 0},
        {"gate_beta": 2.0, "method": "grpo"},
    ],
)
def test_an_option_that_is_switched_off_leaves_the_loss_bit_for_bit(off: dict[str, Any]) -> None:
    rows = random_rows(6)
    base = SDARConfig(beta=off.get("beta", 0.01), method=off.get("method", "sdar"))
    switched = dataclasses.replace(base, **off)
    method = METHODS[base.method]
    left = live_gradient(method, rows, base, method.coefficient(0, base))
    right = live_gradient(method, rows, switched, method.coefficient(0, switched))
    assert torch.equal(left[0], right[0])
    assert torch.equal(left[1], right[1])


def test_adv_mul_scales_advantages_and_changes_nothing_where_the_teacher_agrees() -> None:
    def ratio(signal: Tensor, batch: TokenBatch, options: MethodOptions) -> Tensor:
        return signals.signed_ratio_weight(signal, batch.advantages_BT, 0.2)

    rows = random_rows(6)
    method = auxiliary(weight=ratio, injection="adv_mul")
    batch = batch_of(rows, method)
    injected = apply(plan_of(method, SDARConfig(), 0.5), batch)
    assert injected.extra_BT is None
    relative = (injected.advantages_BT / batch.advantages_BT)[batch.mask_BT]
    assert (relative >= 0.9 - 1e-6).all()
    assert (relative <= 1.1 + 1e-6).all()
    assert relative.unique().numel() > 1
    rows = [changed(row, teacher_logprobs_T={"teacher": list(row.behaviour_logprobs_T)}) for row in rows]
    batch = batch_of(rows, method)
    agreed = apply(plan_of(method, SDARConfig(), 0.5), batch).advantages_BT
    assert torch.equal(agreed[batch.mask_BT], batch.advantages_BT[batch.mask_BT])


def test_adv_add_adds_the_weighted_signal_to_the_advantage() -> None:
    method = auxiliary(injection="adv_add")
    batch = batch_of(random_rows(6), method)
    injected = apply(plan_of(method, SDARConfig(), 0.25), batch)
    gap = batch.teachers["teacher"] - batch.behaviour_BT
    assert torch.allclose(injected.advantages_BT, batch.advantages_BT + 0.25 * gap * batch.mask_BT)


def test_divergence_adds_the_weighted_live_divergence_and_says_when_there_is_none() -> None:
    method = auxiliary(injection="divergence", signal=None, needs=frozenset({"vocabulary"}))
    batch = batch_of(random_rows(6), method)
    with pytest.raises(ValueError, match="divergence_BT"):
        apply(plan_of(method, SDARConfig(), 0.5), batch)
    batch.divergence_BT = batch.live_student().square()
    extra = apply(plan_of(method, SDARConfig(), 0.5), batch).extra_BT
    assert extra is not None
    assert torch.allclose(extra, 0.5 * batch.live_student().square() * batch.mask_BT)
    extra.sum().backward()
    assert batch.live_student().grad is not None


def test_a_method_of_iteration_timing_uses_the_same_weights_at_every_later_update() -> None:
    def centred(signal: Tensor, batch: TokenBatch, options: MethodOptions) -> Tensor:
        gate = signals.sigmoid_gate(signal, options.gate_beta)
        return gate - gate[batch.mask_BT].mean()

    method = auxiliary(signal=methods.live_gap, weight=centred, timing="iteration")
    rows, config = random_rows(6), SDARConfig()
    rows = weighed(plan_of(method, config, 0.5), rows)
    weights = [w for row in rows for w in row.weights_T or ()]
    assert len(weights) == loss_tokens(rows)
    assert sum(weights) == pytest.approx(0.0, abs=1e-4)
    for part in ([rows[0]], rows[:3], rows):
        batch = batch_of(part, method)
        injected = apply(plan_of(method, config, 0.5), batch)
        assert injected.weight_BT is not None
        assert injected.weight_BT[0, : len(rows[0])].tolist() == pytest.approx(rows[0].weights_T)


def test_weighing_fixes_no_weights_for_methods_that_weigh_at_the_update_or_at_coefficient_zero() -> None:
    rows = random_rows(3)
    for plan in (plan_of(SDAR, SDARConfig(), 0.3), plan_of(auxiliary(timing="iteration"), SDARConfig(), 0.0)):
        own = weighed(plan, rows)
        assert all(row.weights_T is None and row.statistics == {} for row in own)
        assert [row.advantages_T for row in own] == [row.advantages_T for row in rows]


def test_a_row_whose_teacher_was_not_read_still_learns_from_its_reward_and_from_no_teacher() -> None:
    rows, config = random_rows(4), SDARConfig(distill_coef=0.3)
    rows[1] = changed(rows[1], teacher_logprobs_T={})
    _, grpo = live_gradient(GRPO, rows, config, 0.0)
    batch = batch_of(rows)
    result = objective(plan_of(SDAR, config, 0.3), batch, config, denominator=loss_tokens(rows))
    result.loss.backward()
    student = batch.live_student()
    assert student.grad is not None
    assert torch.equal(student.grad[1], grpo[1])
    assert not torch.equal(student.grad[0], grpo[0])
    assert summarise([result])["distill/share_read"] == pytest.approx(1 - len(rows[1]) / loss_tokens(rows))


def test_a_batch_without_the_wanted_reading_is_refused() -> None:
    batch = batch_of(random_rows(2), GRPO)
    with pytest.raises(ValueError, match=r"lacks teacher.*distill_coef to 0"):
        apply(plan_of(SDAR, SDARConfig(), 0.3), batch)


def test_a_missing_reference_is_refused_when_the_kl_counts() -> None:
    rows = [changed(row, reference_logprobs_T=None) for row in random_rows(2)]
    with pytest.raises(ValueError, match="score the reference, or set beta to 0"):
        live_gradient(GRPO, rows, SDARConfig(beta=0.1), 0.0)


def test_the_kl_in_the_advantage_leaves_the_loss_term_out() -> None:
    rows = random_rows(5)
    config = SDARConfig(kl_placement="advantage", beta=0.2)
    placed = live_gradient(GRPO, rows, config, 0.0)
    for place, row in enumerate(rows):
        assert row.reference_logprobs_T is not None
        known = zip(row.advantages_T, row.behaviour_logprobs_T, row.reference_logprobs_T, strict=True)
        rows[place] = changed(row, advantages_T=[a - 0.2 * (o - r) for a, o, r in known])
    by_hand = live_gradient(GRPO, rows, SDARConfig(beta=0.0), 0.0)
    assert torch.allclose(placed[1], by_hand[1], atol=1e-7)


def test_the_bias_correction_multiplies_the_kl_term_by_the_ratio() -> None:
    rows = random_rows(5)
    config = SDARConfig(beta=0.2, use_bias_correction_kl=True)
    _, corrected = live_gradient(GRPO, rows, config, 0.0)
    _, without = live_gradient(GRPO, rows, SDARConfig(beta=0.0), 0.0)
    batch = batch_of(rows, GRPO)
    student = batch.live_student()
    k3 = losses.kl_estimate(student, batch.reference_BT, batch.mask_BT, estimator="k3", behaviour_BT=batch.behaviour_BT)
    (term,) = torch.autograd.grad(0.2 * k3.sum() / loss_tokens(rows), student)
    assert torch.allclose(corrected - without, term, atol=1e-7)
    _, uncorrected = live_gradient(GRPO, rows, SDARConfig(beta=0.2), 0.0)
    assert not torch.allclose(corrected, uncorrected, atol=1e-5)


def test_the_entropy_bonus_enters_with_its_sign() -> None:
    rows = random_rows(3)
    batch = batch_of(rows)
    entropy = torch.rand_like(batch.behaviour_BT).requires_grad_()
    batch.entropy_BT = entropy
    config = SDARConfig(entropy_coef=0.01)
    objective(plan_of(GRPO, config, 0.0), batch, config, denominator=10).loss.backward()
    assert torch.allclose(entropy.grad, -0.001 * batch.mask_BT.float())
    batch.entropy_BT = None
    with pytest.raises(ValueError, match="entropy=True"):
        objective(plan_of(GRPO, config, 0.0), batch, config, denominator=10)


# --- shapes of method that the table must hold, each a row and at most one pure function ---


def test_the_importance_weighted_gap_is_the_gradient_of_the_ratio_times_k3() -> None:
    def ratio_gap(signal: Tensor, batch: TokenBatch, options: MethodOptions) -> Tensor:
        return torch.exp(batch.live_student().detach() - batch.behaviour_BT) * signal

    rows = random_rows(5)
    method = auxiliary(signal=methods.live_gap, weight=ratio_gap)
    batch = batch_of(rows, method)
    student, teacher = batch.live_student(), batch.teachers["teacher"]
    extra = apply(plan_of(method, SDARConfig(), 0.001), batch).extra_BT
    assert extra is not None
    (ours,) = torch.autograd.grad(extra.sum(), student)
    k3 = losses.kl_estimate(student, teacher, batch.mask_BT, estimator="k3", behaviour_BT=batch.behaviour_BT)
    (exact,) = torch.autograd.grad(0.001 * k3.sum(), student)
    assert torch.allclose(ours, exact, atol=1e-7)
    agreed = dict(batch.teachers, teacher=student.detach())
    batch.teachers = agreed
    nothing = apply(plan_of(method, SDARConfig(), 0.001), batch).extra_BT
    assert nothing is not None
    assert not nothing.any()


def test_distillation_alone_leaves_only_the_gate_and_the_anchor() -> None:
    rows, config = random_rows(5), SDARConfig(beta=0.0)
    alone = dataclasses.replace(SDAR, name="alone", pg_coef=0.0)
    batch = batch_of(rows)
    objective(plan_of(alone, config, 0.01), batch, config, denominator=loss_tokens(rows)).loss.backward()
    student = batch.live_student()
    gate = torch.sigmoid(5.0 * (batch.teachers["teacher"] - student.detach()))
    assert torch.allclose(student.grad, -0.01 * gate * batch.mask_BT / loss_tokens(rows), atol=1e-8)


def test_a_gate_on_entropy_asks_no_teacher() -> None:
    def entropy(batch: TokenBatch, teacher_BT: Tensor, options: MethodOptions) -> Tensor:
        assert batch.entropy_BT is not None
        return batch.entropy_BT

    method = auxiliary(signal=entropy, weight=methods.gate, teacher_views=(), needs=frozenset({"entropy"}))
    assert not plan_of(method, SDARConfig(), 0.5).reads_teacher
    assert plan_of(method, SDARConfig(), 0.5).reads_entropy
    assert not plan_of(method, SDARConfig(), 0.0).reads_entropy
    batch = batch_of(random_rows(3), method)
    injected = apply(plan_of(method, SDARConfig(), 0.5), batch)
    assert injected.weight_BT is not None
    assert (injected.weight_BT[batch.mask_BT] >= 0.5).all()


def test_a_signal_may_compare_two_readings() -> None:
    def residual(batch: TokenBatch, teacher_BT: Tensor, options: MethodOptions) -> Tensor:
        return teacher_BT - batch.teachers["ablated"]

    rows = []
    for row in random_rows(3):
        read = row.teacher_logprobs_T["teacher"]
        rows.append(changed(row, teacher_logprobs_T={"teacher": read, "ablated": [t - 0.25 for t in read]}))
    method = auxiliary(signal=residual, teacher_views=("teacher", "ablated"), injection="adv_add")
    batch = batch_of(rows, method)
    added = apply(plan_of(method, SDARConfig(), 2.0), batch).advantages_BT - batch.advantages_BT
    assert torch.allclose(added, 0.5 * batch.mask_BT, atol=1e-5)
    combined = dataclasses.replace(method, signal=methods.sampled_gap, combine="max")
    assert torch.equal(methods.teacher_logprobs(combined, batch), batch.teachers["teacher"])


def test_a_weight_may_look_at_a_whole_episode_whose_rows_are_updated_apart() -> None:
    def share_of_episode(signal: Tensor, batch: TokenBatch, options: MethodOptions) -> Tensor:
        mass = (signal.abs() * batch.mask_BT).sum(1)
        same = (batch.episode_ids_B[:, None] == batch.episode_ids_B[None, :]).to(mass.dtype)
        return signal.abs() / (same @ mass)[:, None]

    rows = [changed(row, episode_id=index // 2) for index, row in enumerate(random_rows(4))]
    method = auxiliary(weight=share_of_episode, timing="iteration", injection="adv_mul")
    rows = weighed(plan_of(method, SDARConfig(), 1.0), rows)
    for episode in (0, 1):
        weights = [w for row in rows if row.episode_id == episode for w in row.weights_T or ()]
        assert sum(weights) == pytest.approx(1.0, abs=1e-5)
    alone = batch_of(rows[:1], method)
    injected = apply(plan_of(method, SDARConfig(), 1.0), alone)
    expected = torch.tensor(rows[0].advantages_T) * torch.tensor(rows[0].weights_T)
    assert torch.allclose(injected.advantages_BT[0], expected, atol=1e-6)
