"""Importance correction for tokens that another engine or precision sampled than the one that trains.

The sampler says that it drew a token with log-prob M; the trainer finds O for the same parameters. Expectations over
the sampler's tokens become expectations over the trainer's policy with weights ``exp(O - M)``, per token or per
sequence, whose rare large values are truncated or masked. Names are TRL's, where they begin with ``vllm_``:

===================  =================================================================
mode                 weight of a token, C the cap
===================  =================================================================
token_truncate       min(exp(O - M), C)
token_mask           exp(O - M), and 0 where that is above C
sequence_truncate    min(exp(sum over the row of (O - M)), C), the same for all of it
sequence_mask        that exponential, and 0 where it is above C
===================  =================================================================

With O = M all weights are 1; with C towards infinity truncation and masking both become the plain weight. Truncation is
that of Ionides (Journal of Computational and Graphical Statistics 17, 2008); both are options of TRL.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from .losses import bounded_exp, select

MODES = ("token_truncate", "token_mask", "sequence_truncate", "sequence_mask")


class Correction(NamedTuple):
    """Per token: the weight (1 outside the mask), the ratio before the cap, and whether the cap acts."""

    weights_BT: Tensor
    ratio_BT: Tensor
    capped_BT: Tensor


def importance_correction(
    trainer_BT: Tensor, sampler_BT: Tensor, mask_BT: Tensor, *, mode: str, cap: float
) -> Correction:
    """The weights of sampled tokens.

    Args:
        trainer_BT: O, by the trainer.
        sampler_BT: M, by the sampler.
        mask_BT: Sampled tokens; a row is a sequence.
        mode: One of `MODES`.
        cap: C, above 0.

    Raises:
        ValueError: `mode` is unknown.
    """
    if mode not in MODES:
        raise ValueError(f"unknown mode of importance sampling {mode!r}: choose from {', '.join(MODES)}")
    level, _, action = mode.partition("_")
    difference = select(mask_BT, trainer_BT) - select(mask_BT, sampler_BT)
    if level == "sequence":
        difference = difference.sum(-1, keepdim=True).expand_as(difference)
    ratio = bounded_exp(difference)
    capped = (ratio > cap) & mask_BT
    bound = torch.full_like(ratio, cap) if action == "truncate" else torch.zeros_like(ratio)
    weights = torch.where(capped, bound, ratio)
    return Correction(torch.where(mask_BT, weights, 1.0), ratio, capped)


def mismatch(trainer_BT: Tensor, sampler_BT: Tensor, mask_BT: Tensor, correction: Correction) -> dict[str, float]:
    """How far apart sampler and trainer are, before any cap; nothing for an empty mask.

    ``ratio_mean`` and ``ratio_max`` are of ``exp(O - M)`` per token, and so is ``kl``: the estimate
    ``mean of (exp(O - M) - 1 - (O - M))`` of KL(sampler, trainer), never below 0. ``effective_share`` is Kish's
    effective sample size of the mode's ratios over their number, ``(sum r)^2 / (N sum r^2)``, 1 where all are equal.
    ``capped_share`` is the share of tokens on which the cap acts.
    """
    if not bool(mask_BT.any()):
        return {}
    difference = (trainer_BT - sampler_BT)[mask_BT].double()
    ratio = bounded_exp(difference)
    ratios = correction.ratio_BT[mask_BT].double()
    return {
        "sampling/logp_diff_mean": float(difference.abs().mean()),
        "sampling/logp_diff_max": float(difference.abs().max()),
        "sampling/ratio_mean": float(ratio.mean()),
        "sampling/ratio_max": float(ratio.max()),
        "sampling/kl": float((ratio - 1.0 - difference).mean()),
        "sampling/effective_share": float(ratios.sum().square() / (len(ratios) * ratios.square().sum())),
        "sampling/capped_share": float(correction.capped_BT[mask_BT].double().mean()),
    }
