"""Divergences between whole next-token distributions: pure functions of log-probabilities.

Symbols: p student, q teacher, both over the last axis (the vocabulary ``V``, or ``K`` kept tokens and one bucket for
the rest). The KL is written out because ``torch.nn.functional.kl_div(input, target)`` is KL(target, input), which is
easily mistaken for the other direction.

=============  ==========================================  =========================================================
name           value                                       limits
=============  ==========================================  =========================================================
reverse_kl     KL(p, q) = sum p (log p - log q)            seeks the teacher's mode
forward_kl     KL(q, p) = sum q (log q - log p)            covers the teacher's mass
jsd            (1 - a) KL(p, M) + a KL(q, M),              over a to forward_kl as a goes to 0,
               M = (1 - a) p + a q                         over 1 - a to reverse_kl as a goes to 1; at most ln 2
=============  ==========================================  =========================================================

`a` is ``divergence_alpha``; the same family as in arXiv 2306.13649 and in SDPO's code, where the ends are the two KLs
by definition.

In the place of q may stand a target between student and teacher, `between`: the normalised geometric mean of both.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sdar_envs.choices import require_choice

from ..options.method import DIVERGENCES

# The log of a probability that is 0: exp gives exactly 0 and no product with it is NaN.
LOG_ZERO = -1e4


def divergence(
    student_NV: Tensor, teacher_NV: Tensor, kind: str, alpha: float = 0.5, target_share: float = 1.0
) -> Tensor:
    """The divergence per position, in nats, with gradient on the student; the teacher is detached.

    Args:
        student_NV: log p, normalised.
        teacher_NV: log q, normalised.
        kind: One of `DIVERGENCES`.
        alpha: The teacher's share in the mixture of ``jsd``, strictly between 0 and 1.
        target_share: The teacher's share in the target that stands in its place (`between`); 1 is the teacher itself.

    Raises:
        ValueError: `kind` is unknown.
    """
    require_choice("divergence", kind, DIVERGENCES, "divergences.divergence")
    student = student_NV.clamp(min=LOG_ZERO)
    teacher = teacher_NV.detach().clamp(min=LOG_ZERO)
    if target_share != 1.0:
        teacher = between(student, teacher, target_share)
    if kind == "reverse_kl":
        return _kl(student, teacher)
    if kind == "forward_kl":
        return _kl(teacher, student)
    mixture = torch.logaddexp(student + math.log1p(-alpha), teacher + math.log(alpha))
    return (1.0 - alpha) * _kl(student, mixture) + alpha * _kl(teacher, mixture)


def between(student_NV: Tensor, teacher_NV: Tensor, share: float) -> Tensor:
    """Log m, ``m = p^(1 - s) q^s / Z``: between student and teacher, and detached from both.

    Of all distributions it is the one with the smallest ``(1 - s) KL(m, p) + s KL(m, q)``, which is called a reverse-KL
    barycentre (DemoPSD, arXiv 2607.02502). Tokens that either finds very unlikely stay unlikely in it, so that a
    student is not drawn to what only its teacher can know. At the present p the gradient of KL(p, m) is s times that of
    KL(p, q) exactly; the other divergences change in direction, too.

    Args:
        student_NV: log p, normalised.
        teacher_NV: log q, normalised.
        share: s, the teacher's share: 0 is the student, 1 the teacher.
    """
    return torch.log_softmax((1.0 - share) * student_NV.detach() + share * teacher_NV.detach(), -1)


def _kl(left_NV: Tensor, right_NV: Tensor) -> Tensor:
    """KL(left, right): the expectation is under `left`."""
    return (left_NV.exp() * (left_NV - right_NV)).sum(-1)


def with_tail(logprobs_NV: Tensor, ids_NK: Tensor) -> Tensor:
    """Log-probs of the tokens `ids_NK` and, last, of all others together: ``[N, K + 1]``, normalised, with gradient.

    The tail is summed over the other tokens: one minus the kept probabilities would be lost to rounding where it is
    small. Merging tokens never raises a divergence, so the divergence over K tokens and a tail is a lower bound.
    """
    rest_NV = logprobs_NV.scatter(-1, ids_NK, torch.finfo(logprobs_NV.dtype).min)
    return torch.cat([logprobs_NV.gather(-1, ids_NK), torch.logsumexp(rest_NV, -1, keepdim=True)], -1)
