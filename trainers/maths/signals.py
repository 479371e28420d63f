"""Token signals, and the maps from a signal to a token weight: formulas, each a pure function of tensors.

A signal compares the log-prob of a token given the privileged prompt with that given the plain prompt. A token weight
``w`` enters the auxiliary loss as ``-w S``: a positive one raises the sampled token, a negative one lowers it.
Everything returned is detached. Which method uses which formula is data in `methods`.

Symbols: S live student, O policy that sampled, T teacher log-prob of the sampled token; H student entropy in nats.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from .losses import EXPONENT_LIMIT as EXPONENT_LIMIT
from .losses import bounded_exp


def gap(teacher_BT: Tensor, student_BT: Tensor) -> Tensor:
    """How much more likely the teacher finds the sampled token: ``T - S`` in nats, detached."""
    return teacher_BT.detach() - student_BT.detach()


def scaled(values: Tensor, low: float, high: float) -> Tensor:
    """``(x - low) / (high - low)``, cut to [0, 1], detached; 0 throughout where the range is empty."""
    if not high > low:
        return torch.zeros_like(values)
    return ((values.detach() - low) / (high - low)).clamp(0.0, 1.0)


def soft_or(entropy_BT: Tensor, gap_BT: Tensor) -> Tensor:
    """Uncertain or endorsed: ``1 - (1 - H)(1 - gap)``.

    The inputs are taken as they are; the reading as "or" holds only when both were brought into [0, 1] before.
    """
    return 1.0 - (1.0 - entropy_BT.detach()) * (1.0 - gap_BT.detach())


def sigmoid_gate(signal_BT: Tensor, beta: float) -> Tensor:
    """``sigmoid(beta x)``: 1/2 at 0, increasing, bounded by 0 and 1; a step function as beta grows, 1/2 at beta 0."""
    return torch.sigmoid(beta * signal_BT.detach())


# Weights of an f-divergence D(teacher, student) = E[f(r)], r = exp(gap), under the student: w = r f'(r) - f(r). A
# constant added to w changes no expected gradient on policy and adds noise; each is written so that it is 0 where
# teacher and student agree.


def reverse_kl_weight(gap_BT: Tensor) -> Tensor:
    """The gap itself: on policy, its expected effect is the descent direction of KL(student, teacher)."""
    return gap_BT.detach()


def forward_kl_weight(gap_BT: Tensor, limit: float | None = None) -> Tensor:
    """``exp(gap) - 1``: on policy, its expected effect is the descent direction of KL(teacher, student).

    `limit` bounds it from above, since a single token that the student finds very unlikely would otherwise outweigh all
    others. The bound makes the estimate biased.
    """
    weight = bounded_exp(gap_BT.detach()) - 1.0
    return weight if limit is None else weight.clamp(max=limit)


def jsd_weight(gap_BT: Tensor) -> Tensor:
    """``ln((1 + exp(gap)) / 2) / 2``: the weight of the symmetric Jensen-Shannon divergence; at least -ln(2)/2."""
    return 0.5 * (F.softplus(gap_BT.detach()) - math.log(2.0))


def signed_ratio_weight(gap_BT: Tensor, advantages_BT: Tensor, clip: float) -> Tensor:
    """``clip(exp(sign(A) gap), 1 - clip, 1 + clip)``: rises with the gap for A > 0, falls with it for A < 0."""
    sign = torch.sign(advantages_BT.detach())
    return torch.clamp(bounded_exp(sign * gap_BT.detach()), 1.0 - clip, 1.0 + clip)


def ratio_weighted_gap(gap_BT: Tensor, student_BT: Tensor, behaviour_BT: Tensor) -> Tensor:
    """``exp(S - O) (T - S)``: the weight of the loss ``rho k3``, whose gradient on S is ``-rho (T - S)`` exactly."""
    return bounded_exp(student_BT.detach() - behaviour_BT.detach()) * gap_BT.detach()


def mean_of_teachers(teachers_VBT: Tensor) -> Tensor:
    """Several readings as a mixture: the log of the mean probability over the first axis."""
    return torch.logsumexp(teachers_VBT, dim=0) - math.log(teachers_VBT.shape[0])


def max_of_teachers(teachers_VBT: Tensor) -> Tensor:
    """Several readings as one: the highest log-prob of each token over the first axis."""
    return teachers_VBT.max(dim=0).values


def contrast(right_BT: Tensor, wrong_VBT: Tensor) -> Tensor:
    """``e = T_right - log mean_v exp(T_wrong,v)``: how much likelier a right hint makes the token than wrong ones do.

    What any hint does to the wording, right or wrong, cancels (RLCSD, arXiv 2606.11709). Detached.

    Args:
        right_BT: Log-probs given the right hint.
        wrong_VBT: Log-probs given each of the wrong hints.
    """
    return right_BT.detach() - mean_of_teachers(wrong_VBT.detach())


def squashed(signal_BT: Tensor, tau: float, least: float) -> Tensor:
    """``tanh(x / tau)``, and 0 where that is no larger than `least`: a bounded push, or none. Detached."""
    bounded_BT = torch.tanh(signal_BT.detach() / tau)
    return torch.where(bounded_BT.abs() > least, bounded_BT, torch.zeros_like(bounded_BT))


def without_crossing(advantages_BT: Tensor, shift_BT: Tensor) -> Tensor:
    """``A + shift``, stopped at 0: the sign stays that of A, and an A of 0 stays 0."""
    shifted_BT = advantages_BT + shift_BT
    up_BT, down_BT = shifted_BT.clamp(min=0.0), shifted_BT.clamp(max=0.0)
    kept_BT = torch.where(advantages_BT < 0.0, down_BT, torch.zeros_like(shifted_BT))
    return torch.where(advantages_BT > 0.0, up_BT, kept_BT)
