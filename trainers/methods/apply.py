"""How a method is carried out: its signal and weight, its injection, and what must be known of a whole iteration.

The coefficient that a method names is the published one and applies unless ``distill_coef`` is set. At a coefficient of
0, or once a schedule has reached 0, no teacher is read and the loss is bit for bit that of the method without
injection.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..batch.row import ScoredRow, WeighedRow, advanced, require_stage
from ..batch.token_batch import TokenBatch, collate
from ..maths import losses, signals
from .method import COMBINES, IterationPlan, Method


@dataclass(slots=True)
class Injected:
    """What `apply` returns: advantages for the policy gradient, and loss values per token that are added to it.

    Attributes:
        advantages_BT: A, changed where the injection acts through it.
        extra_BT: What is added to the loss, coefficient included, with its gradient on S; None when nothing is.
        signal_BT: The signal, detached, for the log.
        weight_BT: The token weight, detached, for the log.
        where_BT: The tokens that signal and weight are defined on.
    """

    advantages_BT: Tensor
    extra_BT: Tensor | None = None
    signal_BT: Tensor | None = None
    weight_BT: Tensor | None = None
    where_BT: Tensor | None = None


def teacher_logprobs(method: Method, batch: TokenBatch) -> Tensor:
    """T: the method's first teacher view, or the combination of all of them; zeros when the method reads none.

    Raises:
        ValueError: The batch lacks a view that the method reads.
    """
    if not method.teacher_views:
        return torch.zeros_like(batch.behaviour_BT)
    missing = [view for view in method.teacher_views if view not in batch.teachers]
    if missing:
        raise ValueError(
            f"method {method.name!r} reads the views {', '.join(method.teacher_views)}, but the batch lacks "
            f"{', '.join(missing)}: score them, or set distill_coef to 0"
        )
    stacked = torch.stack([batch.teachers[view] for view in method.teacher_views])
    return stacked[0] if method.combine is None else COMBINES[method.combine](stacked)


def signal_and_weight(plan: IterationPlan, batch: TokenBatch) -> tuple[Tensor, Tensor]:
    """The method's detached signal (ones where it names none) and weight, ``[B, T]``, 0 outside ``batch.taught_BT``."""
    method, options = plan.method, plan.options
    where = batch.taught_BT
    with torch.no_grad():
        if method.signal is None:
            signal = where.to(batch.behaviour_BT.dtype)
        else:
            signal = losses.select(where, method.signal(batch, teacher_logprobs(method, batch), options))
        # A weight that is fixed for the iteration was computed by `weigh`.
        if method.timing == "iteration" and batch.weights_BT is not None:
            return signal, losses.select(where, batch.weights_BT)
        return signal, losses.select(where, method.weight(signal, batch, options))


def weigh(
    plan: IterationPlan,
    rows: Sequence[ScoredRow],
    advantages: Mapping[int, Sequence[float]] | None,
    *,
    mask_truncated: bool,
) -> list[WeighedRow]:
    """Rows with their advantages and with what the method must know of the whole iteration.

    Weights that are fixed for an iteration (``timing``) and ``statistics`` are computed here, with O in the place of S:
    on all rows at once, and before the first update.

    Args:
        plan: The method at this iteration.
        rows: All rows that it learns from.
        advantages: Per loss token, by the row's ``index``; None for rows that are only logged, whose advantages are 0.
        mask_truncated: Leave truncated rows out of weights and statistics.

    Raises:
        TypeError: A row has not been scored.
        ValueError: A row has no advantages.
    """
    require_stage(rows, ScoredRow, "weigh", "score the rows first (scoring.Scorer.score)")
    missing = [row.index for row in rows if advantages is not None and row.index not in advantages]
    if missing:
        raise ValueError(f"weigh: expected advantages for every row, got none for rows {missing[:5]}")
    # Advantages, and the key of counted draws.
    weighed = [
        advanced(
            row,
            WeighedRow,
            advantages_T=[0.0] * len(row) if advantages is None else advantages[row.index],
            weights_T=None,
            statistics={},
            step=plan.step,
            seed=plan.seed,
        )
        for row in rows
    ]
    method = plan.method
    frozen = method.timing == "iteration"
    if not (frozen or method.statistics) or plan.coefficient == 0.0 or not rows:
        return weighed
    # What needs the whole iteration: all rows in one batch, on the CPU, before any parameter changes.
    batch = collate(weighed, teacher_views=method.teacher_views, mask_truncated=mask_truncated)
    weight_BT = settle(plan, batch)
    weights: Sequence[Sequence[float] | None] = [None] * len(weighed)
    if weight_BT is not None:
        weights = [own[: len(row)] for row, own in zip(weighed, weight_BT.tolist(), strict=True)]
    return [
        advanced(row, WeighedRow, statistics=batch.statistics, weights_T=own)
        for row, own in zip(weighed, weights, strict=True)
    ]


def settle(plan: IterationPlan, batch: TokenBatch) -> Tensor | None:
    """Find out what the method must know of a whole iteration before its first update, with O in the place of S.

    Args:
        plan: The method at this iteration.
        batch: All rows of the iteration; `student_BT` and `statistics` of it are set.

    Returns:
        The weights that are fixed for the iteration, ``[B, T]``; None where they are computed at every update.
    """
    batch.student_BT = batch.behaviour_BT
    method = plan.method
    if method.statistics is not None:
        with torch.no_grad():
            batch.statistics = dict(method.statistics(batch, teacher_logprobs(method, batch), plan.options))
    return signal_and_weight(plan, batch)[1] if method.timing == "iteration" else None


def apply(plan: IterationPlan, batch: TokenBatch) -> Injected:
    """Carry out the method's injection: all injections are implemented here.

    ==========  =====================================================  ======================================
    injection   effect, w the weight and c the coefficient             gradient on S
    ==========  =====================================================  ======================================
    none        nothing                                                none
    aux         loss + c (-w S)                                        -c w
    adv_mul     A becomes A ((1 - c) + c w)                            through the clipped policy gradient
    adv_add     A becomes A + c w                                      through the clipped policy gradient
    adv_add_    the same, but A never changes its sign, and 0 stays 0  through the clipped policy gradient
    signed
    divergence  loss + c w D, D a live divergence of whole             c w dD/dS, all tokens of the vocabulary
                next-token distributions (``batch.divergence_BT``)
    ==========  =====================================================  ======================================

    Tokens that a wanted teacher has not read keep their advantage and get no auxiliary term. With a coefficient of 0
    the batch's advantages are returned and neither signal nor weight is computed.

    Raises:
        ValueError: The batch lacks a teacher view or the divergence that the method needs.
    """
    method, coef = plan.method, plan.coefficient
    if method.injection == "none" or coef == 0.0:
        return Injected(batch.advantages_BT)
    signal, weight = signal_and_weight(plan, batch)
    where = batch.taught_BT
    injected = Injected(batch.advantages_BT, None, signal, weight, where)
    if method.injection == "aux":
        injected.extra_BT = coef * losses.weighted_score(batch.live_student(), weight, where)
    elif method.injection == "adv_mul":
        factor = torch.where(where, (1.0 - coef) + coef * weight, 1.0)
        injected.advantages_BT = batch.advantages_BT * factor
    elif method.injection == "adv_add":
        injected.advantages_BT = batch.advantages_BT + coef * weight
    elif method.injection == "adv_add_signed":
        injected.advantages_BT = signals.without_crossing(batch.advantages_BT, coef * weight)
    else:
        if batch.divergence_BT is None:
            raise ValueError(
                f"method {method.name!r} needs TokenBatch.divergence_BT, which is empty: score the rows with "
                "look=forward.distributions.against(...) first"
            )
        injected.extra_BT = coef * weight * losses.select(where, batch.divergence_BT)
    return injected
