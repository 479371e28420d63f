"""The whole loss of a micro-batch for any method, and the metrics that it reports."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..batch.token_batch import TokenBatch
from ..maths import losses
from ..options import PolicyOptions
from .apply import Injected, apply, teacher_logprobs
from .method import IterationPlan, Method


@dataclass(slots=True)
class Objective:
    """The loss of a micro-batch, ready for ``backward``, and its metrics.

    `sums` are detached sums over this micro-batch's tokens and `counts` what to divide them by once all micro-batches
    (and ranks) are added up; `maxima` combine by ``max``. `summarise` does it.
    """

    loss: Tensor
    sums: dict[str, Tensor]
    counts: dict[str, Tensor]
    maxima: dict[str, Tensor]


def objective(plan: IterationPlan, batch: TokenBatch, options: PolicyOptions, *, denominator: float) -> Objective:
    """The whole loss of a micro-batch: policy gradient, KL to the reference, entropy, and the method's injection.

    ``loss = (pg_coef PG + beta KL - entropy_coef H + injected) summed over loss tokens / denominator``. Terms with a
    coefficient of 0 are not built, so that switching one off leaves the others bit for bit as they were.

    Args:
        plan: The method at this iteration.
        batch: A micro-batch with the live ``student_BT`` (and ``entropy_BT`` where the plan reads it).
        options: Clip widths, coefficients and estimators.
        denominator: Loss tokens of the whole optimiser step, over all micro-batches and ranks.
    """
    # The advantages: as the injection leaves them, and with the KL where that is placed there.
    mask, student = batch.mask_BT, batch.live_student()
    injected = apply(plan, batch)
    advantages = injected.advantages_BT
    use_reference = plan.reads_reference
    if use_reference and batch.reference_BT is None:
        raise ValueError("beta is not 0, but TokenBatch.reference_BT is empty: score the reference, or set beta to 0")
    if use_reference and batch.reference_BT is not None and options.kl_placement == "advantage":
        advantages = advantages - options.beta * (batch.behaviour_BT - batch.reference_BT)

    # The policy gradient.
    policy = losses.clipped_policy_gradient(
        student,
        batch.behaviour_BT,
        advantages,
        mask,
        epsilon=options.epsilon,
        epsilon_high=options.epsilon_high,
        delta=options.delta,
        level=options.importance_sampling_level,
    )

    def sampled(values_BT: Tensor) -> Tensor:
        """Estimates at the sampled token, weighed by importance where another engine or precision sampled it."""
        return values_BT if batch.correction_BT is None else batch.correction_BT * values_BT

    total = losses.global_mean(sampled(plan.method.pg_coef * policy.loss_BT), mask, denominator)
    sums, counts, maxima = _policy_metrics(policy, batch)
    tokens = counts["policy/loss"]

    def report(name: str, values_BT: Tensor) -> None:
        sums[name], counts[name] = losses.select(mask, values_BT.detach()).sum(), tokens

    # The other terms; a metric is reported whether or not its term is in the loss.
    if use_reference and batch.reference_BT is not None:
        kl = losses.kl_estimate(
            student,
            batch.reference_BT,
            mask,
            estimator=options.kl_estimator,
            behaviour_BT=batch.behaviour_BT if options.use_bias_correction_kl else None,
            clamp=options.kl_clamp,
        )
        report("kl", kl)
        if options.kl_placement == "loss":
            total = total + options.beta * losses.global_mean(sampled(kl), mask, denominator)
    if batch.entropy_BT is not None:
        report("entropy", batch.entropy_BT)
    if options.entropy_coef != 0.0:
        if batch.entropy_BT is None:
            raise ValueError("entropy_coef is not 0, but TokenBatch.entropy_BT is empty: score with entropy=True")
        total = total - options.entropy_coef * losses.global_mean(batch.entropy_BT, mask, denominator)
    if injected.extra_BT is not None:
        # A divergence of whole distributions is no estimate at the sampled token.
        extra = injected.extra_BT if plan.method.injection == "divergence" else sampled(injected.extra_BT)
        total = total + losses.global_mean(extra, mask, denominator)
    _distillation_metrics(plan.method, injected, batch, sums, counts)
    return Objective(total, sums, counts, maxima)


def _policy_metrics(
    policy: losses.PolicyGradient, batch: TokenBatch
) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Tensor]]:
    """Sums, counts and maxima of the policy gradient's metrics."""
    mask = batch.mask_BT
    tokens = mask.sum()
    shift = losses.select(mask, batch.live_student().detach() - batch.behaviour_BT).abs()
    sums = {
        "policy/loss": losses.select(mask, policy.loss_BT.detach()).sum(),
        "policy/ratio": losses.select(mask, policy.ratio_BT).sum(),
        "policy/logprob_shift": shift.sum(),  # |S - O|: rounding at the first update, drift at later ones
        "policy/clipped_low": policy.clipped_low_BT.sum(),
        "policy/clipped_high": policy.clipped_high_BT.sum(),
        "policy/dual_clipped": policy.dual_clipped_BT.sum(),
    }
    counts = dict.fromkeys(sums, tokens)
    return sums, counts, {"policy/logprob_shift_max": shift.max() if shift.numel() else tokens.new_zeros(())}


def _distillation_metrics(
    method: Method, injected: Injected, batch: TokenBatch, sums: dict[str, Tensor], counts: dict[str, Tensor]
) -> None:
    """Add the sums and counts of the injection's metrics; none where nothing was injected."""
    if injected.signal_BT is None or injected.weight_BT is None or injected.where_BT is None:
        return
    where, signal, weight = injected.where_BT, injected.signal_BT, injected.weight_BT
    values_of = {
        "distill/signal": signal,
        "distill/weight": weight,
        "distill/weight_over_half": (weight > 0.5).float(),
        "distill/signal_negative": (signal < 0).float(),
    }
    if batch.divergence_BT is not None:
        values_of["distill/divergence"] = batch.divergence_BT.detach()
    if method.injection == "aux" and batch.student_BT is not None and method.teacher_views:
        values_of["distill/value"] = losses.gated_gap(
            batch.student_BT.detach(), teacher_logprobs(method, batch), weight, where
        )
    for name, values in values_of.items():
        sums[name], counts[name] = losses.select(where, values).sum(), where.sum()
    # Over tokens that the teacher finds less likely than the student does, and over all loss tokens.
    rejected = where & (signal < 0)
    sums["distill/weight_rejected"], counts["distill/weight_rejected"] = (
        losses.select(rejected, weight).sum(),
        rejected.sum(),
    )
    sums["distill/share_read"], counts["distill/share_read"] = where.sum(), batch.mask_BT.sum()


def combined(parts: list[Objective], gather: Callable[[Any], list[Any]]) -> list[Objective]:
    """The micro-batches of all processes, by rank; the list itself in a run of one process.

    Args:
        parts: Of this process, after their backward passes.
        gather: From a value of this process to those of all.
    """

    def numbers(values: Mapping[str, Tensor]) -> dict[str, float]:
        return {name: float(value) for name, value in values.items()}

    own = [(float(p.loss), numbers(p.sums), numbers(p.counts), numbers(p.maxima)) for p in parts]
    found = gather(own)
    if len(found) == 1:
        return parts

    def tensors(values: Mapping[str, float]) -> dict[str, Tensor]:
        return {name: torch.tensor(value, dtype=torch.float64) for name, value in values.items()}

    return [
        Objective(torch.tensor(loss, dtype=torch.float64), *map(tensors, rest))
        for of_rank in found
        for loss, *rest in of_rank
    ]


def summarise(parts: Sequence[Objective]) -> Mapping[str, float]:
    """Metrics of an optimiser step from those of its micro-batches: sums over counts, maxima by ``max``."""
    metrics: dict[str, float] = {}
    for name in sorted({name for part in parts for name in part.sums}):
        total = sum(float(part.sums[name]) for part in parts if name in part.sums)
        count = sum(float(part.counts[name]) for part in parts if name in part.counts)
        metrics[name] = total / count if count else 0.0
    for name in sorted({name for part in parts for name in part.maxima}):
        metrics[name] = max(float(part.maxima[name]) for part in parts if name in part.maxima)
    return metrics
