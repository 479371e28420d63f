"""Methods that others have published since, each with what it was checked against (`Method.fidelity`).

Every choice that is ours stands in the method's note. Formulas over turns and windows are in `maths.turn_signals`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..batch.token_batch import TokenBatch
from ..maths import losses, signals
from ..maths.turn_signals import (
    Turns,
    belief_revisions,
    group_returns,
    mean_within,
    neighbourhood,
    placed,
    standardised_within,
)
from ..options import MethodOptions
from .method import Method, gate, identity, live_gap, sampled_gap
from .table import register

PRIVILEGED = frozenset({"privileged"})

# PCSD: tokens of the longest window, weight per token of distance in it, and how much a falling trend can take away.
PCSD_WINDOW, PCSD_DECAY, PCSD_ATTENUATION = 8, 0.8, 0.5
# ADRS: sharpness of the reliability gate, and the published clip of 0.2 in units of the published eta of 0.02.
ADRS_TAU, ADRS_CLIP = 2.0, 10.0


@dataclass(frozen=True, slots=True)
class Span:
    """1 for `length` iterations from `start` on, else 0."""

    start: int
    length: int

    def __call__(self, step: int) -> float:
        """The factor."""
        return float(self.start <= step < self.start + self.length)

    def __str__(self) -> str:
        return f"iterations {self.start} to {self.start + self.length - 1} only"


# --- AgentOPSD ---


def belief_multiplier(signal_BT: Tensor, batch: TokenBatch, options: MethodOptions) -> Tensor:
    """clip(1 + c sign(A) z_k, 1 - c, 1 + c), z_k the turn's revision of the belief, standardised in its episode.

    With ``belief_unit=token`` a turn stands for the episode and a token for the turn.
    """
    # D_k, the evidence of a turn, is the sum of its gaps; V_0 is the mean return of the group.
    where = batch.taught_BT
    turns = Turns.of(batch, where)
    prior_E = group_returns(batch)[0][turns.row_E]
    if options.belief_unit == "token":
        order_N = torch.argsort(turns.turn_N, stable=True)
        of_turn_N = turns.turn_N[order_N]
        revision_N = belief_revisions(signal_BT[where][order_N].double(), of_turn_N, prior_E[turns.episode_K])
        z_N = torch.zeros_like(revision_N)
        z_N[order_N] = standardised_within(revision_N, of_turn_N)
    else:
        revision_K = belief_revisions(turns.sums(signal_BT[where]), turns.episode_K, prior_E)
        z_N = standardised_within(revision_K, turns.episode_K)[turns.turn_N]
    z_BT = placed(z_N, where, signal_BT)
    band = options.weight_clip
    return torch.clamp(1.0 + band * torch.sign(batch.advantages_BT) * z_BT, 1.0 - band, 1.0 + band)


register(
    Method(
        name="agent-opsd",
        summary=(
            "Turns that revise the belief in success towards the episode's outcome get more of its advantage, others "
            "less: the teacher's gaps, summed by turn, are taken as evidence in log-odds."
        ),
        gradient=(
            "that of grpo with A ((1 - lambda) + lambda clip(1 + c sign(A) z, 1 - c, 1 + c)) in place of A; z is V_k - "
            "V_{k-1} standardised in the episode, logit V_k = logit V_0 + sum over j <= k of D_j, D_k the sum of T - O "
            "over turn k"
        ),
        source="arXiv 2608.05987 and its published code",
        fidelity="code",
        group="successor",
        note=(
            "V_0 is the mean return of the group, as in the code (its prior of 0.5 is a fallback that is never used), "
            "clipped to [1e-4, 1 - 1e-4]: with returns of 10, as in the published ALFWorld runs, one win in eight "
            "saturates it. The scripts for ALFWorld go by turns, the default; those for WebShop and Search by tokens: "
            "belief_unit=token, where each turn begins again at V_0. The code's centred, decaying and telescoping "
            "variants are switched off there, and left out here."
        ),
        options=("weight_clip", "belief_unit"),
        teacher_views=("teacher",),
        signal=sampled_gap,
        weight=belief_multiplier,
        injection="adv_mul",
        coef=0.5,
        timing="iteration",
        needs=PRIVILEGED,
    )
)


# --- PCSD ---


def persistent_gate(signal_BT: Tensor, batch: TokenBatch, options: MethodOptions) -> Tensor:
    """sigmoid(beta d) eta: d lies between the gap and its mean over the last tokens, eta is below 1 where it falls."""
    around = neighbourhood(signal_BT, batch.turn_ids_BT, batch.taught_BT, longest=PCSD_WINDOW, decay=PCSD_DECAY)
    # u, the share of the mean in d, grows with the local variance.
    usual = batch.statistics["gap_variance"]
    share_BT = around.variance_BT / (around.variance_BT + usual) if usual > 0.0 else torch.zeros_like(signal_BT)
    smoothed_BT = (1.0 - share_BT) * signal_BT + share_BT * around.mean_BT
    eta_BT = 1.0 - PCSD_ATTENUATION * torch.clamp(-around.trend_BT, min=0.0)
    return gate(smoothed_BT, batch, options) * eta_BT


def mean_gap_variance(batch: TokenBatch, teacher_BT: Tensor, options: MethodOptions) -> dict[str, float]:
    """The mean over the iteration's tokens of the gap's variance among the last tokens of the turn."""
    where = batch.taught_BT
    around = neighbourhood(
        live_gap(batch, teacher_BT, options), batch.turn_ids_BT, where, longest=PCSD_WINDOW, decay=PCSD_DECAY
    )
    total = losses.select(where, around.variance_BT).double().sum()
    return {"gap_variance": float(total / max(int(where.sum()), 1))}


register(
    Method(
        name="pcsd",
        summary=(
            "sdar with a gate on persistent support: where the gap is noisy it is smoothed over the last tokens, and "
            "where it is falling the push is weakened."
        ),
        gradient="that of grpo, and -lambda sigmoid(beta d) eta / N: raises every sampled token, by lambda/N at most",
        source="arXiv 2608.01837, by second-hand descriptions; no code was published",
        fidelity="digest",
        group="successor",
        note=(
            "Known: windows of 1 token where the local variance v of the gap is low and of 8 where it is high, with "
            "continuous interpolation; exponential decay; eta = 1 - gamma relu(-slope / scale) with a least-squares "
            "slope; sigmoid(beta d) eta; lambda 0.01. Chosen by us: windows look back and stay within a turn; d = "
            "(1 - u) gap + u (decayed mean of 8), u = v / (v + mean v of the iteration); decay 0.8 per token; the "
            "scale that makes slope / scale the correlation with position; gamma 0.5; beta that of sdar. A constant "
            "gap gives sdar exactly."
        ),
        options=("gate_beta",),
        teacher_views=("teacher",),
        signal=live_gap,
        weight=persistent_gate,
        statistics=mean_gap_variance,
        injection="aux",
        coef=0.01,
        needs=PRIVILEGED,
    )
)


# --- OPID ---


def routed_gap(batch: TokenBatch, teacher_BT: Tensor, options: MethodOptions) -> Tensor:
    """T - O, with T of the view ``hints`` in turns that came no nearer to the goal and of ``teacher`` elsewhere."""
    episode_BT = signals.gap(batch.teachers["teacher"], batch.behaviour_BT)
    if batch.progress_BT is None:
        return episode_BT
    step_BT = signals.gap(batch.teachers["hints"], batch.behaviour_BT)
    return torch.where(batch.progress_BT <= 0.0, step_BT, episode_BT)


register(
    Method(
        name="opid",
        summary=(
            "Hindsight re-scores the actions: the shift of their log-prob is added to the advantage, at critical steps "
            "by a skill for the step, elsewhere by a skill for the episode."
        ),
        gradient="that of grpo with A + lambda (T - O) in place of A: unbounded in both directions",
        source="arXiv 2606.26790 and its published code",
        fidelity="code",
        group="successor",
        note=(
            "The published skills are written by a large language model that reads each finished episode, and it names "
            "up to five critical steps. We have no such analyser: the episode's skill is what `privilege` shows, the "
            "step's are the world's own hints, and critical is a turn that brought the goal no nearer, which is known "
            "only in hindsight. Formula, priority of the step and lambda are those of the code."
        ),
        options=("shaping_lambda",),
        teacher_views=("teacher", "hints"),
        signal=routed_gap,
        weight=identity,
        injection="adv_add",
        coef=0.001,
        needs=PRIVILEGED | {"plan"},
    )
)


# --- ADRS ---


def relative_score(batch: TokenBatch, teacher_BT: Tensor, options: MethodOptions) -> Tensor:
    """The score q, which is T centred and scaled within its turn."""
    where = batch.taught_BT
    scores_N = teacher_BT[where].double()
    return placed(standardised_within(scores_N, Turns.of(batch, where).turn_N), where, teacher_BT)


def whitened_in_groups(signal_BT: Tensor, batch: TokenBatch, options: MethodOptions) -> Tensor:
    """The score q whitened over its group's tokens, and clipped tighter the less the group's returns differ."""
    where = batch.taught_BT
    group_N = _groups(batch, where)[:, None].expand_as(where)[where]
    white_BT = placed(standardised_within(signal_BT[where].double(), group_N), where, signal_BT)
    # The clip: ADRS_CLIP deviations, times the deviation of the group's returns relative to the median one.
    spread_B = group_returns(batch)[1]
    differing = {group: s for group, s in zip(batch.group_ids_B.tolist(), spread_B.tolist(), strict=True) if s > 0.0}
    usual = float(torch.tensor(sorted(differing.values())).median()) if differing else 1.0
    limit_B1 = (ADRS_CLIP * (spread_B / usual).clamp(max=1.0))[:, None].to(white_BT.dtype)
    return torch.minimum(torch.maximum(white_BT, -limit_B1), limit_B1)


def reliability(batch: TokenBatch, teacher_BT: Tensor) -> Tensor:
    """The reliability m = sigmoid(tau V) per row: how far returns follow the teacher in the row's group.

    1/2 where the returns of a group do not differ.

    V is the mean return of the turns that the teacher expects minus that of the others; a turn counts as expected with
    weight sigmoid(c - mean c), c being its mean T.
    """
    # Per turn: how far the teacher expects it, and the return of its episode.
    where = batch.taught_BT
    turns = Turns.of(batch, where)
    confidence_K = turns.means(teacher_BT[where])
    aligned_K = torch.sigmoid(confidence_K - confidence_K.mean())
    return_K = batch.returns_B.to(where.device)[turns.row_K].double()
    # V, computed at every turn and the same throughout a group; then one value per group, and per row.
    group_B = _groups(batch, where)
    group_K = group_B[turns.row_K]
    value_K = mean_within(return_K, group_K, aligned_K) - mean_within(return_K, group_K, 1.0 - aligned_K)
    value_G = torch.zeros(where.shape[0], dtype=torch.float64, device=where.device)
    value_G[group_K] = value_K
    return torch.sigmoid(ADRS_TAU * value_G)[group_B]


def gated_and_whitened(signal_BT: Tensor, batch: TokenBatch, options: MethodOptions) -> Tensor:
    """The score q times the reliability m of its group's teacher, whitened over the iteration."""
    where = batch.taught_BT
    gated_BT = signal_BT * reliability(batch, batch.teachers["teacher"])[:, None].to(signal_BT.dtype)
    one_group = torch.zeros(int(where.sum()), dtype=torch.long, device=where.device)
    return placed(standardised_within(gated_BT[where].double(), one_group), where, signal_BT)


def _groups(batch: TokenBatch, where_BT: Tensor) -> Tensor:
    """The group of each row, numbered from 0."""
    return torch.unique(batch.group_ids_B.to(where_BT.device), return_inverse=True)[1]  # type: ignore[no-any-return]


ADRS_SOURCE = "arXiv 2608.03223 and its published code"

register(
    Method(
        name="adrs",
        summary=(
            "The teacher's relative preference among the tokens of a turn is added to the advantage, whitened, for a "
            "span of iterations: reward shaping in place of a distillation loss."
        ),
        gradient="that of grpo with A + eta clip(white(q)) in place of A; q is T centred and scaled within its turn",
        source=ADRS_SOURCE,
        fidelity="code",
        group="successor",
        note=(
            "The code adds q to the token rewards before the advantage operator, where it sums to 0 in every turn and "
            "changes nothing; what acts is the second addition, after it: whitened over the tokens of a group, clipped "
            "to 10 deviations (0.2 at its eta), tighter in groups of little variance and to 0 in zero-variance groups. "
            "Over a group the paper's reliability gate, one number per group, cancels: see adrs-gated. q is made of T "
            "alone, not of T - O, so a token that anyone expects is rewarded, too. The span is that of the published "
            "ALFWorld script; distill_decay=0 uses the teacher throughout."
        ),
        teacher_views=("teacher",),
        signal=relative_score,
        weight=whitened_in_groups,
        injection="adv_add",
        coef=0.02,
        schedule=Span(20, 50),
        timing="iteration",
        needs=PRIVILEGED,
    )
)
register(
    Method(
        name="adrs-gated",
        summary="adrs whitened over the iteration, so that the gate on how far returns follow the teacher can act.",
        gradient=(
            "that of grpo with A + eta white(m q) in place of A; m = sigmoid(2 V), V the mean return of the group's "
            "turns that the teacher expects minus that of the others"
        ),
        source=ADRS_SOURCE,
        fidelity="digest",
        group="successor",
        note=(
            "The gate is that of the code, at the level of groups. Whitening over the iteration and not over the group "
            "is our reading of what the gate is for. No clip; in zero-variance groups m = 1/2."
        ),
        teacher_views=("teacher",),
        signal=relative_score,
        weight=gated_and_whitened,
        injection="adv_add",
        coef=0.02,
        schedule=Span(20, 50),
        timing="iteration",
        needs=PRIVILEGED,
    )
)
