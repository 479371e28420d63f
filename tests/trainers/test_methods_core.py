"""Rows of the core, ours and the controls: each gradient by hand, its limits, and what it is in expectation.

One long file, because all rows are tried on the same batch, with the same expected weights.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from random_models import changed, plan_of, random_rows, weighed, with_advantages
from scipy import integrate
from torch import Tensor

from trainers import methods
from trainers.batch.row import WeighedRow
from trainers.batch.token_batch import TokenBatch, collate
from trainers.config import SDARConfig
from trainers.maths import signals
from trainers.maths.divergences import divergence
from trainers.methods import METHODS, apply

CONFIG = SDARConfig()


def filled(rows: list[WeighedRow], seed: int = 5) -> list[WeighedRow]:
    """Rows with the sampler's entropies too."""
    generator = torch.Generator().manual_seed(seed)
    return [changed(row, entropies_T=(2 * torch.rand(len(row), generator=generator)).tolist()) for row in rows]


def live_batch(rows: list[WeighedRow], drift: float = 0.1) -> TokenBatch:
    """A micro-batch after the forward pass: S is O plus a drift, entropy and a divergence are live."""
    batch = collate(rows, teacher_views=("teacher",))
    generator = torch.Generator().manual_seed(5)
    noise = drift * torch.randn(batch.behaviour_BT.shape, generator=generator)
    batch.student_BT = (batch.behaviour_BT + noise).requires_grad_()
    batch.entropy_BT = 2 * torch.rand(batch.behaviour_BT.shape, generator=generator)
    batch.divergence_BT = (batch.student_BT - batch.teachers["teacher"]).square()
    return batch


def push(name: str, batch: TokenBatch, config: SDARConfig = CONFIG, coef: float = 1.0) -> Tensor:
    """Minus the gradient on S of what the row adds to the loss."""
    extra = apply(plan_of(name, config, coef), batch).extra_BT
    assert extra is not None
    (gradient,) = torch.autograd.grad(extra.sum(), batch.live_student())
    return -gradient


def parts(batch: TokenBatch) -> tuple[Tensor, Tensor, Tensor]:
    """The gap T - S, the gap T - O and the ratio, by hand."""
    student = batch.live_student().detach()
    teacher = batch.teachers["teacher"]
    return teacher - student, teacher - batch.behaviour_BT, torch.exp(student - batch.behaviour_BT)


# --- the weight of every auxiliary row, by hand ---

AUXILIARY = {
    "opsd": lambda gap, entropy, ratio: torch.sigmoid(5 * gap),
    "grpo+opsd": lambda gap, entropy, ratio: torch.full_like(gap, 0.5),
    "grpo+rkl": lambda gap, entropy, ratio: gap,
    "grpo+fkl": lambda gap, entropy, ratio: (gap.exp() - 1).clamp(max=10),
    "grpo+jsd": lambda gap, entropy, ratio: 0.5 * ((1 + gap.exp()) / 2).log(),
    "skill-sd": lambda gap, entropy, ratio: ratio * gap,
    "sdar": lambda gap, entropy, ratio: torch.sigmoid(5 * gap),
    "sdar-entropy": lambda gap, entropy, ratio: torch.sigmoid(5 * entropy),
    "sdar-soft-or": lambda gap, entropy, ratio: torch.sigmoid(5 * (1 - (1 - entropy) * (1 - gap))),
    "gated-rkl": lambda gap, entropy, ratio: torch.sigmoid(5 * gap) * gap,
    "constant-gate": lambda gap, entropy, ratio: torch.full_like(gap, 0.5),
}


@pytest.mark.parametrize("name", AUXILIARY)
def test_the_push_of_an_auxiliary_row_is_its_weight_and_nothing_outside_the_mask(name: str) -> None:
    rows = filled(random_rows(6))
    rows = weighed(plan_of(name, CONFIG, 0.3), rows)
    batch = live_batch(rows)
    gap, _, ratio = parts(batch)
    assert batch.entropy_BT is not None
    expected = AUXILIARY[name](gap, batch.entropy_BT, ratio)
    found = push(name, batch, coef=0.3)
    assert torch.allclose(found[batch.mask_BT], 0.3 * expected[batch.mask_BT], rtol=1e-5, atol=1e-7)
    assert not found[~batch.mask_BT].any()


def test_every_row_of_these_groups_is_covered_here() -> None:
    elsewhere = {"grpo", "rlsd", "opsd-full", "grpo+full", "gated-full", "sdar-centred", "shuffled-teacher"}
    here = {name for name, row in METHODS.items() if row.group in ("ours", "control")} | {
        name
        for name, row in METHODS.items()
        if row.group == "core" and row.student_view == "plain" and row.injection != "none"
    }
    assert here - elsewhere <= AUXILIARY.keys()


@pytest.mark.parametrize("name", ["opsd", "sdar", "sdar-entropy", "sdar-soft-or", "grpo+opsd", "constant-gate"])
@given(gap=st.floats(-1e4, 1e4))
def test_the_push_of_a_gate_is_between_nothing_and_lambda_however_far_apart_the_readings_are(
    name: str, gap: float
) -> None:
    row = filled(random_rows(1))[0]
    row = changed(row, teacher_logprobs_T={"teacher": [o + gap for o in row.behaviour_logprobs_T]})
    [row] = weighed(plan_of(name, CONFIG, 1.0), [row])
    found = push(name, live_batch([row]), coef=0.01)
    assert torch.isfinite(found).all()
    assert (found >= 0).all()
    assert (found <= 0.01 + 1e-9).all()


def test_rows_that_push_both_ways_vanish_where_teacher_and_student_agree() -> None:
    rows = filled(random_rows(3))
    rows = [changed(row, teacher_logprobs_T={"teacher": list(row.behaviour_logprobs_T)}) for row in rows]
    batch = live_batch(rows, drift=0.0)
    for name in ("grpo+rkl", "grpo+fkl", "grpo+jsd", "skill-sd", "gated-rkl"):
        assert push(name, batch).abs().max() < 1e-6, name


def test_opsd_is_the_gated_term_of_sdar_without_the_policy_gradient() -> None:
    opsd, sdar = METHODS["opsd"], METHODS["sdar"]
    assert opsd.pg_coef == 0.0
    assert (opsd.signal, opsd.weight, opsd.injection, opsd.coef) == (
        sdar.signal,
        sdar.weight,
        sdar.injection,
        sdar.coef,
    )


def test_the_published_grpo_opsd_is_sdar_at_sharpness_zero_and_does_not_depend_on_the_teacher() -> None:
    rows = random_rows(5)
    flat = push("sdar", live_batch(rows), dataclasses.replace(CONFIG, gate_beta=0.0))
    assert torch.equal(flat, push("grpo+opsd", live_batch(rows)))
    batch = live_batch(random_rows(5))
    batch.teachers, batch.teacher_mask_BT = {}, None
    assert torch.equal(push("grpo+opsd", batch), flat)


def test_the_limit_of_the_forward_kl_cuts_one_token_and_an_unlimited_one_does_not() -> None:
    row = random_rows(1)[0]
    row = changed(row, teacher_logprobs_T={"teacher": [o + 4.0 for o in row.behaviour_logprobs_T]})
    batch = live_batch([row], drift=0.0)
    assert push("grpo+fkl", batch).max().item() == pytest.approx(10.0)
    free = dataclasses.replace(CONFIG, weight_limit=None)
    assert push("grpo+fkl", batch, free).max().item() == pytest.approx(math.exp(4) - 1, rel=1e-4)


def test_the_gated_reverse_kl_pushes_down_by_a_little_and_up_by_all() -> None:
    row = random_rows(1)[0]
    tokens = len(row)
    rising = [o + 8 * (i / tokens - 0.5) for i, o in enumerate(row.behaviour_logprobs_T)]
    row = changed(row, teacher_logprobs_T={"teacher": rising})
    batch = live_batch([row], drift=0.0)
    gap, found = parts(batch)[0], push("gated-rkl", batch)
    assert (found >= -0.2785 / 5).all()
    assert torch.allclose(found[gap > 2], gap[gap > 2], rtol=1e-3)


# --- the importance ratio ---


def test_skill_sd_is_the_gradient_of_the_ratio_times_k3_and_vanishes_at_agreement() -> None:
    batch = live_batch(random_rows(5))
    student = batch.live_student()
    difference = student - batch.teachers["teacher"]
    loss = torch.exp(student - batch.behaviour_BT) * (torch.exp(-difference) - 1 + difference)
    (exact,) = torch.autograd.grad(loss[batch.mask_BT].sum(), student)
    assert torch.allclose(push("skill-sd", batch), -exact, atol=1e-5)
    on_policy = live_batch(random_rows(5), drift=0.0)
    assert torch.allclose(push("skill-sd", on_policy), push("grpo+rkl", on_policy))


# --- rlsd ---


def scaled_advantages(rows: list[WeighedRow], coef: float, config: SDARConfig = CONFIG) -> tuple[Tensor, TokenBatch]:
    batch = live_batch(rows)
    injected = apply(plan_of(METHODS["rlsd"], config, coef), batch)
    assert injected.extra_BT is None
    return injected.advantages_BT, batch


def test_rlsd_scales_the_advantage_by_the_clipped_signed_ratio() -> None:
    found, batch = scaled_advantages(random_rows(6), 0.5)
    _, gap, _ = parts(batch)
    advantages = batch.advantages_BT
    ratio = torch.exp(torch.sign(advantages) * gap).clamp(0.8, 1.2)
    expected = advantages * (0.5 + 0.5 * ratio)
    assert torch.allclose(found[batch.mask_BT], expected[batch.mask_BT])


@pytest.mark.parametrize(("coef", "clip"), [(0.5, 0.2), (0.25, 0.2), (1.0, 0.5)])
def test_rlsd_keeps_the_sign_and_stays_in_its_band(coef: float, clip: float) -> None:
    found, batch = scaled_advantages(random_rows(8), coef, dataclasses.replace(CONFIG, weight_clip=clip))
    relative = (found / batch.advantages_BT)[batch.mask_BT]
    assert (relative >= 1 - coef * clip - 1e-6).all()
    assert (relative <= 1 + coef * clip + 1e-6).all()


def test_rlsd_is_grpo_where_the_teacher_agrees_where_nothing_is_gained_and_at_lambda_zero() -> None:
    rows = random_rows(4)
    unchanged, batch = scaled_advantages(rows, 0.0)
    assert torch.equal(unchanged, batch.advantages_BT)
    agreeing = [changed(row, teacher_logprobs_T={"teacher": list(row.behaviour_logprobs_T)}) for row in rows[2:]]
    found, batch = scaled_advantages([*with_advantages(rows[:2], 0.0), *agreeing], 0.5)
    assert torch.equal(found, batch.advantages_BT)


def test_a_token_that_the_teacher_has_not_read_keeps_its_whole_advantage_under_rlsd() -> None:
    rows = random_rows(4)
    rows[2] = changed(rows[2], teacher_logprobs_T={})
    method = METHODS["rlsd"]
    batch = collate(rows, teacher_views=method.teacher_views)
    batch.student_BT = batch.behaviour_BT
    found = apply(plan_of(method, CONFIG, 0.5), batch).advantages_BT
    assert torch.equal(found[2], batch.advantages_BT[2])
    assert not torch.equal(found[1], batch.advantages_BT[1])


def test_the_schedule_of_rlsd_ends_after_a_hundred_iterations_and_with_it_the_teacher() -> None:
    row = METHODS["rlsd"]
    coefs = [row.coefficient(step, CONFIG) for step in (0, 50, 99, 100, 150)]
    assert coefs == pytest.approx([0.5, 0.25, 0.005, 0.0, 0.0])
    assert [plan_of(row, CONFIG, coef).reads_teacher for coef in coefs] == [True, True, True, False, False]


def test_a_configured_decay_replaces_the_schedule_of_any_row() -> None:
    for name, decay, expected in [
        ("rlsd", 30, [0.5, 0.25, 0.0]),
        ("rlsd", 0, [0.5, 0.5, 0.5]),
        ("sdar", 30, [0.01, 0.005, 0.0]),
    ]:
        config = SDARConfig(distill_decay=decay)
        assert [METHODS[name].coefficient(step, config) for step in (0, 15, 30)] == pytest.approx(expected)


# --- what asks no teacher ---


def test_rows_that_know_nothing_of_a_teacher_read_none() -> None:
    reads = {name for name, row in METHODS.items() if plan_of(row, CONFIG, 1.0).reads_teacher}
    assert reads.isdisjoint({"grpo", "grpo+opsd", "sdar-entropy", "constant-gate"})
    assert reads >= {"sdar", "opsd", "opsd-full", "grpo+rkl", "rlsd", "skill-sd", "shuffled-teacher", "gated-full"}
    for name in ("sdar-entropy", "sdar-soft-or"):
        assert plan_of(name, CONFIG, 0.01).reads_entropy
        assert not plan_of(name, CONFIG, 0.0).reads_entropy


# --- gates on entropy ---


def test_a_gate_on_entropy_is_open_by_half_at_least() -> None:
    assert (push("sdar-entropy", live_batch(random_rows(4)))[live_batch(random_rows(4)).mask_BT] >= 0.5).all()


def test_the_soft_or_is_the_gap_gate_without_uncertainty_and_a_constant_with_full_uncertainty() -> None:
    batch = live_batch(random_rows(4))
    batch.entropy_BT = torch.zeros_like(batch.behaviour_BT)
    assert torch.allclose(push("sdar-soft-or", batch), push("sdar", batch))
    batch.entropy_BT = torch.ones_like(batch.behaviour_BT)
    assert torch.allclose(push("sdar-soft-or", batch)[batch.mask_BT], torch.sigmoid(torch.tensor(5.0)))


def test_a_soft_or_scaled_over_the_iteration_is_an_or_whatever_part_of_the_iteration_is_looked_at() -> None:
    rows, config = filled(random_rows(6)), dataclasses.replace(CONFIG, soft_or_scale="batch")
    rows = weighed(plan_of(METHODS["sdar-soft-or"], config, 1.0), rows)
    gaps = [
        t - o for row in rows for t, o in zip(row.teacher_logprobs_T["teacher"], row.behaviour_logprobs_T, strict=True)
    ]
    entropies = [h for row in rows for h in row.entropies_T]
    for part in (rows[:1], rows[2:5], rows):
        batch = live_batch(part)
        gap = (parts(batch)[0] - min(gaps)) / (max(gaps) - min(gaps))
        assert batch.entropy_BT is not None
        entropy = (batch.entropy_BT - min(entropies)) / (max(entropies) - min(entropies))
        either = 1 - (1 - gap.clamp(0, 1)) * (1 - entropy.clamp(0, 1))
        expected = torch.sigmoid(5 * either)[batch.mask_BT]
        assert (either[batch.mask_BT] <= 1).all()
        assert torch.allclose(push("sdar-soft-or", batch, config)[batch.mask_BT], expected, atol=1e-5)


def test_a_batch_without_entropy_is_refused() -> None:
    batch = live_batch(random_rows(2))
    batch.entropy_BT = None
    with pytest.raises(ValueError, match="score with entropy=True"):
        push("sdar-entropy", batch)


# --- the centred gate ---


def test_the_centred_gate_is_the_gate_minus_one_number_of_the_whole_iteration() -> None:
    rows = random_rows(6)
    rows = weighed(plan_of(METHODS["sdar-centred"], CONFIG, 1.0), rows)
    gates = [
        1 / (1 + math.exp(-5 * (t - o)))
        for row in rows
        for t, o in zip(row.teacher_logprobs_T["teacher"], row.behaviour_logprobs_T, strict=True)
    ]
    mean = sum(gates) / len(gates)
    assert rows[0].statistics["gate_mean"] == pytest.approx(mean, rel=1e-5)
    for part in (rows[:1], rows[1:4], rows):
        batch = live_batch(part)
        difference = (push("sdar", batch) - push("sdar-centred", batch))[batch.mask_BT]
        assert torch.allclose(difference, torch.full_like(difference, mean), atol=1e-6)


def test_the_centred_gates_of_an_iteration_sum_to_nothing_before_its_first_update() -> None:
    rows = random_rows(6)
    rows[2] = changed(rows[2], teacher_logprobs_T={})  # not read: neither in the mean nor pushed
    rows = weighed(plan_of(METHODS["sdar-centred"], CONFIG, 1.0), rows)
    batch = live_batch(rows, drift=0.0)
    found = push("sdar-centred", batch)
    assert found.sum().item() == pytest.approx(0.0, abs=1e-4)
    assert not found[2].any()
    assert (found[0, : len(rows[0])] != 0).all()


# --- controls ---


def test_the_constant_gate_is_the_number_it_is_given() -> None:
    batch = live_batch(random_rows(3))
    found = push("constant-gate", batch, dataclasses.replace(CONFIG, gate_constant=0.37), coef=0.1)
    assert torch.allclose(found[batch.mask_BT], torch.tensor(0.037))


def shuffled(rows: list[WeighedRow], step: int = 0, seed: int = 0) -> list[WeighedRow]:
    return weighed(plan_of("shuffled-teacher", dataclasses.replace(CONFIG, seed=seed), 1.0, step), rows)


def dealt_weights(rows: list[WeighedRow]) -> list[float]:
    return [w for row in rows for w in row.weights_T or ()]


def test_the_shuffled_teacher_deals_the_gates_of_an_iteration_to_other_tokens() -> None:
    rows = random_rows(8)
    batch = live_batch(rows, drift=0.0)
    gates = push("sdar", batch)[batch.mask_BT].tolist()
    rows = shuffled(rows)
    dealt = dealt_weights(rows)
    assert sorted(dealt) == pytest.approx(sorted(gates), abs=1e-6)
    assert sum(abs(a - b) > 1e-6 for a, b in zip(dealt, gates, strict=True)) > len(gates) / 2
    assert push("shuffled-teacher", live_batch(rows[:2]))[0, : len(rows[0])].tolist() == pytest.approx(
        rows[0].weights_T
    )


def test_a_shuffle_is_a_function_of_seed_and_step() -> None:
    first = dealt_weights(shuffled(random_rows(8)))
    torch.manual_seed(123)
    assert dealt_weights(shuffled(random_rows(8))) == first
    assert dealt_weights(shuffled(random_rows(8), step=1)) != first
    assert dealt_weights(shuffled(random_rows(8), seed=1)) != first


def test_a_shuffle_leaves_out_rows_that_the_teacher_has_not_read() -> None:
    rows = random_rows(4)
    rows[1] = changed(rows[1], teacher_logprobs_T={})
    rows = shuffled(rows)
    assert rows[1].weights_T == [0.0] * len(rows[1])
    read = [row for row in rows if row.teacher_logprobs_T]
    gates = [
        1 / (1 + math.exp(-5 * (t - o)))
        for row in read
        for t, o in zip(row.teacher_logprobs_T["teacher"], row.behaviour_logprobs_T, strict=True)
    ]
    assert sorted(dealt_weights(read)) == pytest.approx(sorted(gates), abs=1e-6)


# --- divergences of whole distributions (their values are tested in test_divergences and test_distributions) ---


def test_full_vocabulary_rows_add_the_live_divergence_gated_or_not() -> None:
    batch = live_batch(random_rows(4))
    gap, _, _ = parts(batch)
    live = batch.divergence_BT
    assert live is not None
    for name, weight in [("opsd-full", 1.0), ("grpo+full", 1.0), ("gated-full", torch.sigmoid(5 * gap))]:
        extra = apply(plan_of(name, CONFIG, 0.1), batch).extra_BT
        assert extra is not None
        assert torch.allclose(extra[batch.mask_BT], (0.1 * weight * live)[batch.mask_BT])
        assert not extra[~batch.mask_BT].any()
    assert METHODS["opsd-full"].pg_coef == 0.0
    assert METHODS["grpo+full"].pg_coef == METHODS["gated-full"].pg_coef == 1.0


# --- in expectation: exact enumeration of a vocabulary of seven tokens ---

TOKENS = 7


def draw(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Student logits, and log-probs of a teacher and of stale sampling weights."""
    generator = torch.Generator().manual_seed(seed)
    logits, teacher, stale = torch.randn(3, TOKENS, generator=generator, dtype=torch.float64)
    return logits.requires_grad_(), torch.log_softmax(teacher, -1), torch.log_softmax(stale, -1)


def expected_push(
    name: str, logits: Tensor, teacher: Tensor, sampled_by: Tensor | None = None, **options: Any
) -> Tensor:
    """Minus the expected gradient on the logits of what a row adds, one batch column per possible token."""
    student = torch.log_softmax(logits, -1)
    behaviour = student.detach() if sampled_by is None else sampled_by
    row = random_rows(1)[0]
    names = ("behaviour_logprobs_T", "turn_ids_T", "advantages_T", "reference_logprobs_T")
    row = changed(
        row,
        student=dataclasses.replace(row.student, loss_positions=list(range(1, TOKENS + 1))),
        invalid_T=[False] * TOKENS,
        teacher_logprobs_T={"teacher": [0.0] * TOKENS},
        **{name_T: [0] * TOKENS for name_T in names},
    )
    batch = collate([row], teacher_views=("teacher",))
    entropy = float(-(student.exp() * student).sum().detach())
    batch.behaviour_BT, batch.student_BT, batch.teachers = behaviour[None], student[None], {"teacher": teacher[None]}
    batch.entropy_BT, batch.statistics = torch.full_like(behaviour, entropy)[None], {"gate_mean": 0.41}
    kind = options.get("divergence", "reverse_kl")
    batch.divergence_BT = divergence(student, teacher, kind).expand(1, TOKENS)
    extra = apply(plan_of(name, SDARConfig(**options), 1.0), batch).extra_BT
    assert extra is not None
    (gradient,) = torch.autograd.grad((behaviour.exp() * extra).sum(), logits)
    return -gradient


@pytest.mark.parametrize("seed", range(3))
def test_in_expectation_a_row_that_knows_nothing_pushes_nowhere(seed: int) -> None:
    logits, teacher, _ = draw(seed)
    for name in ("grpo+opsd", "constant-gate", "sdar-entropy"):
        assert expected_push(name, logits, teacher).abs().max() < 1e-12, name
    assert expected_push("sdar", logits, teacher).abs().max() > 1e-3


@pytest.mark.parametrize("seed", range(3))
def test_in_expectation_the_centred_gate_is_sdar(seed: int) -> None:
    logits, teacher, _ = draw(seed)
    assert torch.allclose(expected_push("sdar-centred", logits, teacher), expected_push("sdar", logits, teacher))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("name", "kind"), [("grpo+rkl", "reverse_kl"), ("grpo+fkl", "forward_kl"), ("grpo+jsd", "jsd")]
)
def test_in_expectation_a_sampled_divergence_is_the_divergence_of_whole_distributions(
    seed: int, name: str, kind: str
) -> None:
    logits, teacher, _ = draw(seed)
    sampled = expected_push(name, logits, teacher, weight_limit=None)
    whole = expected_push("grpo+full", logits, teacher, divergence=kind)
    assert torch.allclose(sampled, whole, atol=1e-10)
    (exact,) = torch.autograd.grad(divergence(torch.log_softmax(logits, -1), teacher, kind), logits)
    assert torch.allclose(whole, -exact, atol=1e-10)


@pytest.mark.parametrize("seed", range(3))
def test_off_policy_the_ratio_keeps_skill_sd_the_reverse_kl_and_the_row_without_it_drifts_off(seed: int) -> None:
    logits, teacher, stale = draw(seed)
    (exact,) = torch.autograd.grad(divergence(torch.log_softmax(logits, -1), teacher, "reverse_kl"), logits)
    assert torch.allclose(expected_push("skill-sd", logits, teacher, stale), -exact, atol=1e-10)
    assert not torch.allclose(expected_push("grpo+rkl", logits, teacher, stale), -exact, atol=1e-3)


@pytest.mark.parametrize("seed", range(3))
def test_in_expectation_sdar_is_a_divergence_of_its_own(seed: int) -> None:
    """D = sum of p f(q / p), f(r) = r times the integral of gate(x) exp(-x) from 0 to ln r (s = exp(x) in the docs)."""
    logits, teacher, _ = draw(seed)

    def generator(ratio: float) -> float:
        return ratio * integrate.quad(lambda x: math.exp(-x) / (1 + math.exp(-5 * x)), 0.0, math.log(ratio))[0]

    def divergence_at(point: Tensor) -> float:
        student = torch.log_softmax(point, -1)
        return sum(
            p * generator(r) for p, r in zip(student.exp().tolist(), (teacher - student).exp().tolist(), strict=True)
        )

    around, step = torch.eye(TOKENS, dtype=torch.float64), 1e-4
    point = logits.detach()
    slope = [(divergence_at(point + step * e) - divergence_at(point - step * e)) / (2 * step) for e in around]
    found = expected_push("sdar", logits, teacher)
    assert torch.allclose(found, -torch.tensor(slope, dtype=torch.float64), atol=1e-7) and found.abs().max() > 1e-3


def test_the_gated_reverse_kl_is_none_it_pushes_less_where_the_teacher_rejects_more() -> None:
    gap = torch.linspace(-4, 4, 801, dtype=torch.float64)
    weight, gate = (AUXILIARY[name](gap, gap, gap) for name in ("gated-rkl", "sdar"))
    assert gap[weight.argmin()].item() == pytest.approx(-1.278 / 5, abs=0.01)
    assert (weight[gap < -0.27].diff() < 0).all() and (gate.diff() > 0).all()


def test_what_the_gate_does_to_the_reverse_kl_is_not_what_sdar_does() -> None:
    logits, teacher, _ = draw(1)
    found = [expected_push(name, logits, teacher) for name in ("sdar", "gated-rkl", "grpo+rkl")]
    cosines = [torch.cosine_similarity(a, b, dim=0).item() for a, b in ((found[0], found[1]), (found[1], found[2]))]
    assert all(0 < cosine < 0.9999 for cosine in cosines)


def test_weights_of_the_rows_stand_in_the_named_formulas() -> None:
    gap = torch.linspace(-3, 3, 7)[None]
    assert torch.allclose(signals.forward_kl_weight(gap), gap.exp() - 1)
    assert torch.equal(methods.identity(gap, live_batch(random_rows(1)), CONFIG), gap)
