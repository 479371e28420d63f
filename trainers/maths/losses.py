"""The loss terms: pure functions of ``[B, T]`` tensors over loss tokens.

Every function returns values *per token*. `global_mean` turns them into a scalar: a sum over the mask divided by the
number of loss tokens of the whole optimiser step, which the caller passes in, so that a gradient does not depend on how
a step is cut into micro-batches or ranks. Not here: which terms a method uses (`methods.objective`), advantages
(`maths.advantages`), log-probabilities (`forward.logprobs`).

Symbols: S live student log-prob, O log-prob under the policy that sampled, R log-prob under the reference policy, A
advantage, all of the sampled token.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from ..options.policy import RATIO_LEVELS

# exp(20) is 4.9e8: far beyond any meaningful ratio, and still far from overflow in float32.
EXPONENT_LIMIT = 20.0

KL_ESTIMATORS = ("k1", "k2", "k3")


def select(mask_BT: Tensor, values_BT: Tensor) -> Tensor:
    """Zero everything outside the mask, values and gradients alike.

    Applied to *inputs* of a formula: a NaN or infinity in padding would otherwise survive a multiplication by zero and
    even the backward pass of ``torch.where``.
    """
    return torch.where(mask_BT, values_BT, torch.zeros((), dtype=values_BT.dtype, device=values_BT.device))


def bounded_exp(exponent: Tensor) -> Tensor:
    """``exp(x)`` up to `EXPONENT_LIMIT`, and its tangent beyond: finite, increasing, and never without a gradient."""
    excess = torch.clamp(exponent - EXPONENT_LIMIT, min=0.0)
    return torch.exp(torch.clamp(exponent, max=EXPONENT_LIMIT)) + math.exp(EXPONENT_LIMIT) * excess


def global_mean(values_BT: Tensor, mask_BT: Tensor, denominator: float) -> Tensor:
    """Sum `values_BT` over the mask and divide by `denominator`, the loss tokens of the whole optimiser step.

    An empty mask gives exactly 0 with zero gradients, whatever the denominator.
    """
    return select(mask_BT, values_BT).sum() / max(float(denominator), 1.0)


def sequence_ratio(logprobs_BT: Tensor, behaviour_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """GSPO's ratio of a row, at each of its loss tokens: ``s = exp(mean over the row's loss tokens of (S - O))``.

    That is the ratio of the two probabilities of the whole row to the power ``1 / length`` (arXiv 2507.18071). The
    value is s at every token, and the gradient on S at a token is s at that token alone: the form that its paper calls
    GSPO-token. Summed over a row whose tokens have one advantage, it is the gradient of ``length * s`` exactly, and it
    lets advantages differ within a row, as those of turns do. 1 for rows without loss tokens.

    Args:
        logprobs_BT: S, with gradient.
        behaviour_BT: O.
        mask_BT: Loss tokens; a row is a sequence.
    """
    student = select(mask_BT, logprobs_BT)
    difference = student.detach() - select(mask_BT, behaviour_BT.detach())
    mean_B1 = difference.sum(-1, keepdim=True) / mask_BT.sum(-1, keepdim=True).clamp(min=1)
    return bounded_exp(mean_B1) * torch.exp(student - student.detach())


class PolicyGradient(NamedTuple):
    """Per token: the clipped loss (with gradient), the ratio (detached), and which bound acts (boolean)."""

    loss_BT: Tensor
    ratio_BT: Tensor
    clipped_low_BT: Tensor
    clipped_high_BT: Tensor
    dual_clipped_BT: Tensor


def clipped_policy_gradient(
    logprobs_BT: Tensor,
    behaviour_BT: Tensor,
    advantages_BT: Tensor,
    mask_BT: Tensor,
    *,
    epsilon: float,
    epsilon_high: float | None = None,
    delta: float | None = None,
    level: str = "token",
) -> PolicyGradient:
    """Proximal policy-gradient loss per token, with a separate upper bound and a dual clip.

    With the ratio ``r = exp(S - O)``: ``max(-A r, -A clip(r, 1 - epsilon, 1 + epsilon_high))``, and for ``A < 0`` at
    most ``-A delta``. The gradient on S is ``-A r`` inside the bounds and 0 where one of them acts.

    Args:
        logprobs_BT: S, with gradient.
        behaviour_BT: O.
        advantages_BT: A; detached here.
        mask_BT: Loss tokens.
        epsilon: Width of the lower bound, and of the upper one when `epsilon_high` is None.
        epsilon_high: Width of the upper bound ("clip-higher", arXiv 2503.14476).
        delta: Dual clip (arXiv 1912.09729): the largest ratio that a negative advantage can be multiplied with. TRL
            calls the same bound ``delta``. None switches it off.
        level: Whose ratio r is: of the ``token``, or that of its whole row (``sequence``, `sequence_ratio`). A row is
            then clipped as a whole, token by token only where its advantages differ in sign.

    Raises:
        ValueError: `level` is unknown.
    """
    if level not in RATIO_LEVELS:
        raise ValueError(f"unknown level of the ratio {level!r}: choose from {', '.join(RATIO_LEVELS)}")
    high = epsilon if epsilon_high is None else epsilon_high
    # Inputs are zeroed outside the mask, so that padding gives the ratio 1 and no NaN.
    advantages = select(mask_BT, advantages_BT.detach())
    if level == "sequence":
        ratio = sequence_ratio(logprobs_BT, behaviour_BT, mask_BT)
    else:
        ratio = bounded_exp(select(mask_BT, logprobs_BT) - select(mask_BT, behaviour_BT.detach()))
    free = -advantages * ratio
    bounded = -advantages * torch.clamp(ratio, 1.0 - epsilon, 1.0 + high)
    loss = torch.maximum(free, bounded)
    clipped = bounded > free
    dual = torch.zeros_like(clipped)
    if delta is not None:
        ceiling = -advantages * delta
        dual = (advantages < 0) & (loss > ceiling)
        loss = torch.where(dual, ceiling, loss)
    return PolicyGradient(
        loss,
        ratio.detach(),
        clipped & (ratio < 1.0 - epsilon) & mask_BT,
        clipped & (ratio > 1.0 + high) & mask_BT,
        dual & mask_BT,
    )


def kl_estimate(
    logprobs_BT: Tensor,
    reference_BT: Tensor,
    mask_BT: Tensor,
    *,
    estimator: str,
    behaviour_BT: Tensor | None = None,
    clamp: float | None = None,
) -> Tensor:
    """Estimate KL(student to reference) at the sampled token, as a loss per token.

    =====  ==========================  ================  ==========================================================
    name   value                       gradient on S     expectation of that gradient under the student
    =====  ==========================  ================  ==========================================================
    k1     S - R                       1                 0: as a loss it only reports; use it in the advantage
    k2     (S - R)^2 / 2               S - R             gradient of KL(student, reference)
    k3     exp(R - S) - (R - S) - 1    1 - exp(R - S)    gradient of KL(reference, student): unbiased as a value only
    =====  ==========================  ================  ==========================================================

    The exponential continues as its tangent beyond `EXPONENT_LIMIT`. A clamp removes the gradient where the policies
    differ most, and with it the few tokens that carry most of a large one.

    Args:
        logprobs_BT: S, with gradient.
        reference_BT: R.
        mask_BT: Loss tokens.
        estimator: One of `KL_ESTIMATORS`.
        behaviour_BT: O. When given, the value is multiplied by the live ratio ``exp(S - O)``, so that it stays an
            estimate under the student after the parameters have moved away from the policy that sampled.
        clamp: Values are cut to between -clamp and clamp, before that multiplication; beyond, the gradient is 0. None
            cuts nothing.

    Raises:
        ValueError: `estimator` is unknown.
    """
    student = select(mask_BT, logprobs_BT)
    difference = student - select(mask_BT, reference_BT.detach())
    if estimator == "k1":
        value = difference
    elif estimator == "k2":
        value = 0.5 * difference.square()
    elif estimator == "k3":
        value = bounded_exp(-difference) + difference - 1.0
    else:
        raise ValueError(f"unknown KL estimator {estimator!r}: choose from {', '.join(KL_ESTIMATORS)}")
    if clamp is not None:
        value = torch.clamp(value, -clamp, clamp)
    if behaviour_BT is not None:
        value = value * bounded_exp(student - select(mask_BT, behaviour_BT.detach()))
    return value


def weighted_score(logprobs_BT: Tensor, weights_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """The auxiliary term: ``-w S`` per token with `weights_BT` detached, so the gradient on S is exactly ``-w``.

    A positive weight raises the sampled token, a negative one lowers it. Every auxiliary method is a choice of `w`.
    """
    return -select(mask_BT, weights_BT.detach()) * select(mask_BT, logprobs_BT)


def gated_gap(logprobs_BT: Tensor, teacher_BT: Tensor, gate_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """The published surrogate ``g (T - S)`` per token, gate and teacher detached.

    Its gradient on S is ``-g``, the same as that of ``weighted_score(S, g)``. Its value is for the log only: it may be
    negative and is not monotone in the gap, so it measures no convergence.
    """
    gap = select(mask_BT, teacher_BT.detach()) - select(mask_BT, logprobs_BT)
    return select(mask_BT, gate_BT.detach()) * gap
