"""Successors that multiply the advantage, token by token or turn by turn, and leave the direction to the reward."""

from __future__ import annotations

import torch
from torch import Tensor

from ..batch.token_batch import TokenBatch
from ..maths import signals
from ..maths.turn_signals import (
    STD_EPSILON,
    Turns,
    belief_revisions,
    group_returns,
    mean_within,
    placed,
    standardised_within,
)
from ..options import MethodOptions
from .filters import successes
from .method import Method, sampled_gap
from .table import register

PRIVILEGED = frozenset({"privileged"})


# --- AgentOPSD by token ---


def token_belief_multiplier(signal_BT: Tensor, batch: TokenBatch, options: MethodOptions) -> Tensor:
    """clip(1 + c sign(A) z_t, 1 - c, 1 + c), z_t the token's revision of the belief, standardised in its turn."""
    where = batch.taught_BT
    turns = Turns.of(batch, where)
    prior_E = group_returns(batch)[0][turns.row_E]
    # Tokens of a turn follow one another, turns in their order; each turn begins again at V_0.
    order_N = torch.argsort(turns.turn_N, stable=True)
    of_turn_N = turns.turn_N[order_N]
    revision_N = belief_revisions(signal_BT[where][order_N].double(), of_turn_N, prior_E[turns.episode_K])
    z_N = torch.zeros_like(revision_N)
    z_N[order_N] = standardised_within(revision_N, of_turn_N, floor=STD_EPSILON)
    band, sign_BT = options.weight_clip, torch.sign(batch.advantages_BT)
    return torch.clamp(1.0 + band * sign_BT * placed(z_N, where, signal_BT), 1.0 - band, 1.0 + band)


register(
    Method(
        name="agent-opsd-token",
        summary=(
            "Tokens that revise the belief in success towards the episode's outcome get more of its advantage, others "
            "less: agent-opsd with the gaps of single tokens as evidence, each turn by itself."
        ),
        gradient=(
            "that of grpo with A ((1 - lambda) + lambda clip(1 + c sign(A) z, 1 - c, 1 + c)) in place of A; z is V_t - "
            "V_{t-1} standardised in the turn, logit V_t = logit V_0 + the sum of T - O over the turn's tokens up to t"
        ),
        source="arXiv 2608.05987 and its published code",
        fidelity="code",
        group="successor",
        note=(
            "What the published scripts for WebShop and Search run. The code divides by sqrt(variance + 1e-6) + 1e-6, "
            "so a turn in which the belief hardly moves is multiplied by 1; belief_unit=token of agent-opsd divides by "
            "the deviation alone, as by turns, and multiplies such a turn like any other. V_0 as in agent-opsd."
        ),
        options=("weight_clip",),
        teacher_views=("teacher",),
        signal=sampled_gap,
        weight=token_belief_multiplier,
        injection="adv_mul",
        coef=0.5,
        timing="iteration",
        needs=PRIVILEGED,
    )
)


# --- RLRT ---


def reversed_gap(batch: TokenBatch, teacher_BT: Tensor, options: MethodOptions) -> Tensor:
    """O - T: how much less likely the teacher finds the token than the policy that sampled it did."""
    return signals.gap(batch.behaviour_BT, teacher_BT)


def reversed_ratio(signal_BT: Tensor, batch: TokenBatch, options: MethodOptions) -> Tensor:
    """e^(sign(A) x) clipped: and 1 in episodes that did not succeed."""
    ratio_BT = signals.signed_ratio_weight(signal_BT, batch.advantages_BT, options.weight_clip)
    return torch.where(batch.kept_B[:, None], ratio_BT, torch.ones_like(ratio_BT))


register(
    Method(
        name="rlrt",
        summary=(
            "The teacher's signal reversed, on successes alone: what succeeded although the teacher would not have "
            "said it gets more of the advantage, what it would have said less."
        ),
        gradient=(
            "that of grpo with A ((1 - lambda) + lambda clip(exp(sign(A) (O - T)), 1 - c, 1 + c)) in place of A in "
            "episodes that succeeded, A in all others"
        ),
        source="arXiv 2605.10781, by second-hand descriptions that agree; no code by its authors was at hand",
        fidelity="digest",
        group="successor",
        note=(
            "The exponent of rlsd with the other sign. Published: lambda 0.5 throughout, c (weight_clip) 1.0 for base "
            "models, 0.5 for instruction-tuned and 0.2 for thinking ones, and a teacher that reads a correct episode: "
            "privilege=sibling. Without the restriction to successes its authors report growing length and entropy, "
            "and collapse."
        ),
        options=("weight_clip",),
        keep=successes,
        teacher_views=("teacher",),
        signal=reversed_gap,
        weight=reversed_ratio,
        injection="adv_mul",
        coef=0.5,
        needs=PRIVILEGED,
    )
)


# --- GRSD ---


def contrasted_turns(signal_BT: Tensor, batch: TokenBatch, options: MethodOptions) -> Tensor:
    """1 + clip(u / mean |u|): u = e^(sign(A) d) - 1, d the turn's mean gap; 1 in groups of one outcome only."""
    where = batch.taught_BT
    turns = Turns.of(batch, where)
    sign_K = torch.sign(turns.means(batch.advantages_BT[where]))
    aligned_K = (sign_K * turns.means(signal_BT[where])).clamp(-signals.EXPONENT_LIMIT, signals.EXPONENT_LIMIT)
    signal_K = torch.expm1(aligned_K)
    # Turns of groups in which one episode succeeded and one did not, over the mean size of their own group's.
    group_B = torch.unique(batch.group_ids_B.to(where.device), return_inverse=True)[1]
    mixed_B = _of_two_outcomes(batch.kept_B, group_B)
    group_K, mixed_K = group_B[turns.row_K], mixed_B[turns.row_K]
    scaled_K = signal_K / (mean_within(signal_K.abs(), group_K) + STD_EPSILON)
    bounded_K = torch.where(mixed_K, scaled_K.clamp(-options.weight_clip, options.weight_clip), 0.0)
    return torch.ones_like(signal_BT) + placed(bounded_K[turns.turn_N], where, signal_BT)


def _of_two_outcomes(kept_B: Tensor, group_B: Tensor) -> Tensor:
    """Per row, whether episodes of its group succeeded and others did not."""
    size = int(group_B.max()) + 1 if len(group_B) else 0
    won_G, lost_G = (
        torch.zeros(size, dtype=torch.long, device=group_B.device).index_add(0, group_B, flags.long())
        for flags in (kept_B, ~kept_B)
    )
    return ((won_G > 0) & (lost_G > 0))[group_B]


register(
    Method(
        name="grsd",
        summary=(
            "Turns that the teacher finds likelier get more of a positive advantage and less of a negative one, scaled "
            "within the group; only groups with both outcomes, whose contrast the teacher's text is made of."
        ),
        gradient=(
            "that of grpo with A (1 + lambda clip(u / mean |u|, -c, c)) in place of A; u = exp(sign(A) d) - 1, d the "
            "mean of T - O over the turn, mean |u| over the turns of the group"
        ),
        source="arXiv 2607.28076 and its published code",
        fidelity="code",
        group="successor",
        note=(
            "The published guidance is written by the policy: notes on each episode, told its outcome, and of the "
            "notes of a group with both outcomes one guide, which is privilege=group_reflection here (an ablation has "
            "a large language model write it); the teacher reads what `privilege` shows. The published notes are "
            "trained as well, by a reward of 0.01 weight from a large language model that grades them; here nothing "
            "that is written is learned from. c (weight_clip) is 0.2 as in the scripts; the code's own default is 3, "
            "with a floor of 0.1 under the factor, which a c below 0.9 / lambda never reaches. Its dead zone eta is 0 "
            "in every script and left out."
        ),
        options=("weight_clip",),
        keep=successes,
        teacher_views=("teacher",),
        signal=sampled_gap,
        weight=contrasted_turns,
        injection="adv_mul",
        coef=0.5,
        timing="iteration",
        needs=PRIVILEGED,
    )
)
