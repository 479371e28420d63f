"""The table of methods, and how a row of it is carried out.

Every training method is a row of data plus at most one pure function (`method`). `apply` carries out any row
(`objective` builds the whole loss around it), and `prepare` what must be known of a whole iteration before; no trainer
asks for a method's name. The coefficient that a row names is the published one and applies unless
``SDARConfig.distill_coef`` is set. A coefficient of 0 (or a schedule that has come to 0) means that no teacher is asked
and that the loss is bit for bit that of the row without injection.

A new row stands in a file of its kind, which is imported here; `register` adds one from anywhere else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from . import losses
from . import methods_core as methods_core
from . import methods_information as methods_information
from . import methods_successors as methods_successors
from .batching import TokenBatch, collate
from .method import (
    COMBINES,
    METHODS,
    Method,
    coefficient,
    constant,
    gate,
    get_method,
    identity,
    learns,
    linear_decay,
    live_gap,
    needs_entropy,
    needs_plan,
    needs_reference,
    needs_teacher,
    needs_vocabulary,
    register,
    relays,
    sampled_gap,
)

if TYPE_CHECKING:
    from .batch import Row
    from .config import SDARConfig

__all__ = [
    "METHODS",
    "Injected",
    "Method",
    "apply",
    "coefficient",
    "constant",
    "gate",
    "get_method",
    "identity",
    "learns",
    "linear_decay",
    "live_gap",
    "needs_entropy",
    "needs_plan",
    "needs_reference",
    "needs_teacher",
    "needs_vocabulary",
    "prepare",
    "register",
    "relays",
    "sampled_gap",
    "signal_and_weight",
    "teacher_logprobs",
]


@dataclass(slots=True)
class Injected:
    """What `apply` adds: advantages for the policy gradient, and loss values per token that are added to it.

    `extra_BT` (None when nothing is added to the loss) already holds the coefficient and carries its gradient on S.
    `signal_BT`, `weight_BT` and `where_BT` (tokens where they apply) are detached and for the log.
    """

    advantages_BT: Tensor
    extra_BT: Tensor | None = None
    signal_BT: Tensor | None = None
    weight_BT: Tensor | None = None
    where_BT: Tensor | None = None


def teacher_logprobs(method: Method, batch: TokenBatch) -> Tensor:
    """T: the first reading of the method's teachers, or the combination of all; zeros when it asks none."""
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


def signal_and_weight(method: Method, batch: TokenBatch, config: SDARConfig) -> tuple[Tensor, Tensor]:
    """The method's detached signal (ones where a row names none) and weight, zero where they are not defined."""
    where = batch.taught_BT
    with torch.no_grad():
        if method.signal is None:
            signal = where.to(batch.behaviour_BT.dtype)
        else:
            signal = losses.select(where, method.signal(batch, teacher_logprobs(method, batch), config))
        if method.timing == "iteration" and batch.weights_BT is not None:
            return signal, losses.select(where, batch.weights_BT)
        return signal, losses.select(where, method.weight(signal, batch, config))


def prepare(method: Method, rows: Sequence[Row], config: SDARConfig, *, coef: float, step: int) -> None:
    """Write what must be known of a whole iteration into its rows: ``weights_T`` and ``statistics``.

    Only for methods that ask for one of them (``timing`` ``iteration``; ``statistics``). Call it after teachers and
    advantages are in the rows and before the first update, on all rows of the iteration; `step` is the iteration.
    """
    frozen = method.timing == "iteration"
    if not (frozen or method.statistics) or coef == 0.0 or not rows:
        return
    batch = collate(rows, teacher_views=method.teacher_views, mask_truncated=config.mask_truncated_completions)
    batch.student_BT = batch.behaviour_BT
    batch.weights_BT, batch.statistics, batch.step = None, {}, step
    if method.statistics is not None:
        with torch.no_grad():
            batch.statistics = dict(method.statistics(batch, teacher_logprobs(method, batch), config))
        for row in rows:
            row.statistics = batch.statistics
    if frozen:
        _, weight_BT = signal_and_weight(method, batch, config)
        for row, weights in zip(rows, weight_BT.tolist(), strict=True):
            row.weights_T = weights[: len(row)]


def apply(method: Method, batch: TokenBatch, config: SDARConfig, *, coef: float) -> Injected:
    """Turn the method's signal into what is added to GRPO: the one place where injections are carried out.

    ==========  =====================================================  ======================================
    injection   effect, w the weight and c the coefficient             gradient on S
    ==========  =====================================================  ======================================
    none        nothing                                                none
    aux         loss + c (-w S)                                        -c w
    adv_mul     A becomes A ((1 - c) + c w)                            through the clipped policy gradient
    adv_add     A becomes A + c w                                      through the clipped policy gradient
    divergence  loss + c w D, D a live divergence of whole             c w dD/dS, all tokens of the vocabulary
                next-token distributions (``batch.divergence_BT``)
    ==========  =====================================================  ======================================

    Tokens that a wanted teacher has not read keep their advantage and get no auxiliary term. With ``coef`` 0 the batch
    comes back untouched and neither signal nor weight is evaluated.
    """
    if method.injection == "none" or coef == 0.0:
        return Injected(batch.advantages_BT)
    signal, weight = signal_and_weight(method, batch, config)
    where = batch.taught_BT
    injected = Injected(batch.advantages_BT, None, signal, weight, where)
    if method.injection == "aux":
        injected.extra_BT = coef * losses.weighted_score(batch.live_student(), weight, where)
    elif method.injection == "adv_mul":
        factor = torch.where(where, (1.0 - coef) + coef * weight, 1.0)
        injected.advantages_BT = batch.advantages_BT * factor
    elif method.injection == "adv_add":
        injected.advantages_BT = batch.advantages_BT + coef * weight
    else:
        if batch.divergence_BT is None:
            raise ValueError(f"method {method.name!r} needs TokenBatch.divergence_BT, which is empty")
        injected.extra_BT = coef * weight * losses.select(where, batch.divergence_BT)
    return injected
