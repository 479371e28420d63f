"""The core methods, our own variants, and the controls that show how much of a gain is due to the teacher's knowledge.

Each method differs from its neighbour in one thing, so that a comparison of the two has one cause. The weight of a
method is one small function here; formulas are in `maths.signals`, `maths.losses` and `maths.divergences`. The methods
stay in one long file, because each is read next to its neighbours.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sdar_envs.randomness import counted_generator

from ..batch.token_batch import TokenBatch
from ..maths import losses, signals
from ..options import MethodOptions
from .method import DIVERGENCE_OPTIONS, Method, gate, identity, live_gap, sampled_gap
from .schedules import linear_decay
from .table import register

PRIVILEGED = frozenset({"privileged"})
SDAR_SOURCE = "arXiv 2605.15155 and its published code"

# --- signals ---


def entropy(batch: TokenBatch, teacher_BT: Tensor, options: MethodOptions) -> Tensor:
    """H: the student's own uncertainty at the token, in nats."""
    if batch.entropy_BT is None:
        raise ValueError("TokenBatch.entropy_BT is empty: score with entropy=True, or sample with entropies")
    return batch.entropy_BT.detach()


def soft_or(batch: TokenBatch, teacher_BT: Tensor, options: MethodOptions) -> Tensor:
    """H or T - S: 1 - (1 - H)(1 - (T - S)), both raw or scaled to [0, 1] over the iteration (``soft_or_scale``)."""
    uncertainty, gap = entropy(batch, teacher_BT, options), live_gap(batch, teacher_BT, options)
    if options.soft_or_scale == "batch":
        of = batch.statistics
        uncertainty = signals.scaled(uncertainty, of["entropy_low"], of["entropy_high"])
        gap = signals.scaled(gap, of["gap_low"], of["gap_high"])
    return signals.soft_or(uncertainty, gap)


def one_half(batch: TokenBatch, teacher_BT: Tensor, options: MethodOptions) -> Tensor:
    """1/2: at every token, as a sigmoid gate at beta 0."""
    return torch.full_like(batch.behaviour_BT, 0.5)


def given_constant(batch: TokenBatch, teacher_BT: Tensor, options: MethodOptions) -> Tensor:
    """g: ``gate_constant`` at every token."""
    return torch.full_like(batch.behaviour_BT, options.gate_constant)


# --- weights ---


def centred_gate(signal_BT: Tensor, batch: TokenBatch, options: MethodOptions) -> Tensor:
    """sigmoid(beta x) - mean: the mean is that of the iteration; tokens below it are pushed down."""
    return gate(signal_BT, batch, options) - batch.statistics["gate_mean"]


def gated_gap(signal_BT: Tensor, batch: TokenBatch, options: MethodOptions) -> Tensor:
    """sigmoid(beta x) x: the weight of the reverse KL, weakened where the teacher rejects the token."""
    return gate(signal_BT, batch, options) * signals.reverse_kl_weight(signal_BT)


def forward_kl(signal_BT: Tensor, batch: TokenBatch, options: MethodOptions) -> Tensor:
    """e^x - 1: at most ``weight_limit``, the weight of KL(teacher, student) at the sampled token."""
    return signals.forward_kl_weight(signal_BT, options.weight_limit)


def jensen_shannon(signal_BT: Tensor, batch: TokenBatch, options: MethodOptions) -> Tensor:
    """ln((1 + e^x) / 2) / 2: the weight of the symmetric Jensen-Shannon divergence at the sampled token."""
    return signals.jsd_weight(signal_BT)


def ratio_weighted_gap(signal_BT: Tensor, batch: TokenBatch, options: MethodOptions) -> Tensor:
    """e^(S - O) x: the signal times the live ratio, detached."""
    return signals.ratio_weighted_gap(signal_BT, batch.live_student(), batch.behaviour_BT)


def signed_ratio(signal_BT: Tensor, batch: TokenBatch, options: MethodOptions) -> Tensor:
    """e^(sgn(A) x) clipped: to between 1 - ``weight_clip`` and 1 + ``weight_clip``."""
    return signals.signed_ratio_weight(signal_BT, batch.advantages_BT, options.weight_clip)


def shuffled_gate(signal_BT: Tensor, batch: TokenBatch, options: MethodOptions) -> Tensor:
    """sigmoid(beta x'): x' is x permuted over all the iteration's tokens; (seed, step) is the permutation's key."""
    where, shuffled = batch.taught_BT, torch.zeros_like(signal_BT)
    values = signal_BT[where]
    order = counted_generator("shuffled_teacher", batch.seed, batch.step).permutation(len(values))
    shuffled[where] = values[torch.as_tensor(order, device=values.device)]
    return gate(shuffled, batch, options)


def everywhere(signal_BT: Tensor, batch: TokenBatch, options: MethodOptions) -> Tensor:
    """1: at every token that the teacher has scored."""
    return torch.ones_like(signal_BT)


# --- statistics of a whole iteration, computed before its first update ---


def mean_gate(batch: TokenBatch, teacher_BT: Tensor, options: MethodOptions) -> dict[str, float]:
    """The mean gate over the iteration's tokens that the teacher has scored."""
    where = batch.taught_BT
    gates = gate(live_gap(batch, teacher_BT, options), batch, options)
    return {"gate_mean": float(losses.select(where, gates).double().sum() / max(int(where.sum()), 1))}


def ranges(batch: TokenBatch, teacher_BT: Tensor, options: MethodOptions) -> dict[str, float]:
    """Smallest and largest entropy and gap over the iteration's tokens; zeros where they are used raw."""
    if options.soft_or_scale == "raw" or not bool(batch.taught_BT.any()):
        return {"entropy_low": 0.0, "entropy_high": 0.0, "gap_low": 0.0, "gap_high": 0.0}
    found: dict[str, float] = {}
    for name, values in (("entropy", entropy), ("gap", live_gap)):
        read = values(batch, teacher_BT, options)[batch.taught_BT]
        found |= {f"{name}_low": float(read.min()), f"{name}_high": float(read.max())}
    return found


# --- core: the methods of the published comparison, and what their names mean elsewhere ---

register(
    Method(
        name="grpo",
        summary="Group-relative policy optimisation: advantages from siblings of one task, clipped ratio, no teacher.",
        gradient="-A r / N inside the clip, 0 where it binds",
        source="arXiv 2402.03300; dual clip arXiv 1912.09729",
        fidelity="code",
        group="core",
    )
)
register(
    Method(
        name="opsd",
        summary="What the published scripts call OPSD: the gated term of sdar without the policy gradient.",
        gradient="-lambda sigmoid(beta (T - S)) / N; no reward enters",
        source=SDAR_SOURCE,
        fidelity="code",
        group="core",
        note=(
            "Not a divergence of whole distributions, which is what other work means by the name: see opsd-full. The "
            "KL to the reference stays on, as published; the published entropy bonus of 0.001 is entropy_coef here."
        ),
        options=("gate_beta",),
        teacher_views=("teacher",),
        signal=live_gap,
        weight=gate,
        injection="aux",
        coef=0.01,
        pg_coef=0.0,
        needs=PRIVILEGED,
    )
)
register(
    Method(
        name="opsd-full",
        summary="On-policy self-distillation over the whole vocabulary: the divergence to the teacher, and no reward.",
        gradient="lambda dD/dz / N on the logits z of every next token, D the chosen divergence at the sampled states",
        source="on-policy distillation: arXiv 2306.13649; top-k with a tail and alpha as in the public code of SDPO",
        fidelity="ours",
        group="core",
        note=(
            "SDPO's defaults are the JSD at alpha 0.5, the 100 most likely tokens and a slowly averaged teacher; ours "
            "are the reverse KL, all tokens, and a teacher with the parameters that sampled. The coefficient matters "
            "little without a reward: Adam divides it out, up to the KL to the reference."
        ),
        options=DIVERGENCE_OPTIONS,
        teacher_views=("teacher",),
        signal=live_gap,
        weight=everywhere,
        injection="divergence",
        coef=1.0,
        pg_coef=0.0,
        needs=PRIVILEGED | {"vocabulary"},
    )
)
register(
    Method(
        name="grpo+opsd",
        summary="What the published scripts call GRPO+OPSD: sdar with gate sharpness 0, which is 1/2 at every token.",
        gradient="that of grpo, and -lambda / (2 N): zero in expectation on policy, so only noise",
        source=SDAR_SOURCE,
        fidelity="code",
        group="core",
        note=(
            "The weight does not depend on the teacher, so no teacher pass is made and the method costs what grpo "
            "costs; the published code makes one for a metric in the log. For a teacher's signal without a gate see "
            "grpo+rkl and grpo+full."
        ),
        signal=one_half,
        weight=identity,
        injection="aux",
        coef=0.01,
    )
)
register(
    Method(
        name="grpo+rkl",
        summary="GRPO and ungated self-distillation: the sampled-token gradient of KL(student, teacher).",
        gradient="that of grpo, and -lambda (T - S) / N: raises what the teacher endorses, lowers what it rejects",
        source="the score-function gradient of the reverse KL; the sampled-token mode of SDPO's public code",
        fidelity="ours",
        group="core",
        note="The coefficient is that of sdar, so that the two methods differ in the token weight alone.",
        teacher_views=("teacher",),
        signal=live_gap,
        weight=identity,
        injection="aux",
        coef=0.01,
        needs=PRIVILEGED,
    )
)
register(
    Method(
        name="grpo+fkl",
        summary="GRPO and the sampled-token gradient of KL(teacher, student).",
        gradient="that of grpo, and -lambda min(exp(T - S) - 1, limit) / N",
        source="f-divergence weights, derived in docs/methods.md; arXiv 2605.15155 compares the direction",
        fidelity="ours",
        group="core",
        note="Only tokens that the student sampled can be raised: a token that it never samples gets no push.",
        options=("weight_limit",),
        teacher_views=("teacher",),
        signal=live_gap,
        weight=forward_kl,
        injection="aux",
        coef=0.01,
        needs=PRIVILEGED,
    )
)
register(
    Method(
        name="grpo+jsd",
        summary="GRPO and the sampled-token gradient of the symmetric Jensen-Shannon divergence.",
        gradient="that of grpo, and -lambda ln((1 + exp(T - S)) / 2) / (2 N): at most lambda ln(2) / (2 N) downwards",
        source="f-divergence weights, derived in docs/methods.md; arXiv 2605.15155 compares the divergence",
        fidelity="ours",
        group="core",
        teacher_views=("teacher",),
        signal=live_gap,
        weight=jensen_shannon,
        injection="aux",
        coef=0.01,
        needs=PRIVILEGED,
    )
)
register(
    Method(
        name="grpo+full",
        summary="GRPO and the ungated divergence of whole next-token distributions, which sees every token.",
        gradient="that of grpo, and lambda dD/dz / N on the logits z of every next token",
        source="on-policy distillation (arXiv 2306.13649) as an auxiliary of RL",
        fidelity="ours",
        group="core",
        options=DIVERGENCE_OPTIONS,
        teacher_views=("teacher",),
        signal=live_gap,
        weight=everywhere,
        injection="divergence",
        coef=0.01,
        needs=PRIVILEGED | {"vocabulary"},
    )
)
register(
    Method(
        name="rlsd",
        summary="The teacher scales the advantage: more of it where teacher and reward agree, less where they do not.",
        gradient="that of grpo with A ((1 - lambda) + lambda clip(exp(sign(A) (T - O)), 1 - c, 1 + c)) in place of A",
        source=f"RLSD, in the form of {SDAR_SOURCE}",
        fidelity="code",
        group="core",
        note=(
            "The sign of A stays and its size changes by 10 % at most; zero-variance groups get no signal. The "
            "original has lambda 1 throughout. After the last iteration of the decay no teacher pass is made any more."
        ),
        options=("weight_clip",),
        teacher_views=("teacher",),
        signal=sampled_gap,
        weight=signed_ratio,
        injection="adv_mul",
        coef=0.5,
        schedule=linear_decay(100),
        needs=PRIVILEGED,
    )
)
register(
    Method(
        name="skill-sd",
        summary="GRPO and the importance-weighted reverse-KL push; the gradient of the published loss r k3.",
        gradient="that of grpo, and -lambda r (T - S) / N with the live ratio r: unbounded in both directions",
        source=f"Skill-SD, in the form of {SDAR_SOURCE}",
        fidelity="code",
        group="core",
        note=(
            "The original also summarises its own episodes into skills and retrieves them with a bandit; this is its "
            "loss on the given skills, as in the published comparison. At r = 1 it is grpo+rkl, at a tenth of the "
            "coefficient."
        ),
        teacher_views=("teacher",),
        signal=live_gap,
        weight=ratio_weighted_gap,
        injection="aux",
        coef=0.001,
        needs=PRIVILEGED,
    )
)
register(
    Method(
        name="sdar",
        summary=(
            "Self-distilled agentic RL: the same parameters, given the privileged prompt, decide how much each sampled "
            "token is raised, by a sigmoid gate on the gap, on top of GRPO."
        ),
        gradient="that of grpo, and -lambda sigmoid(beta (T - S)) / N: raises every sampled token, by lambda/N at most",
        source=SDAR_SOURCE,
        fidelity="code",
        group="core",
        note=(
            "The paper motivates it as a reverse KL; the published loss differentiates the value g (T - S), whose "
            "weight is g, not g (T - S): see gated-rkl. Its expected gradient is that of sdar-centred."
        ),
        options=("gate_beta",),
        teacher_views=("teacher",),
        signal=live_gap,
        weight=gate,
        injection="aux",
        coef=0.01,
        needs=PRIVILEGED,
    )
)
register(
    Method(
        name="sdar-entropy",
        summary="sdar with the gate on the student's own entropy: uncertain tokens are raised more. Uses no teacher.",
        gradient="that of grpo, and -lambda sigmoid(beta H) / N: between lambda / (2 N) and lambda / N",
        source="arXiv 2605.15155, an ablation; its form is known second-hand",
        fidelity="digest",
        group="core",
        options=("gate_beta",),
        signal=entropy,
        weight=gate,
        injection="aux",
        coef=0.01,
        needs=frozenset({"entropy"}),
    )
)
register(
    Method(
        name="sdar-soft-or",
        summary="sdar with the gate on 'uncertain or endorsed': the soft OR of the student's entropy and the gap.",
        gradient="that of grpo, and -lambda sigmoid(beta (1 - (1 - H)(1 - (T - S)))) / N",
        source="arXiv 2605.15155, an ablation; its form is known second-hand",
        fidelity="digest",
        group="core",
        note=(
            "Sources differ on whether both inputs are normalised over the batch first, without which it is not an OR: "
            "soft_or_scale=batch does it, over the iteration's loss tokens, raw (the default) does not."
        ),
        options=("gate_beta", "soft_or_scale"),
        teacher_views=("teacher",),
        signal=soft_or,
        weight=gate,
        injection="aux",
        coef=0.01,
        statistics=ranges,
        needs=PRIVILEGED | {"entropy"},
    )
)

# --- ours ---

register(
    Method(
        name="sdar-centred",
        summary="sdar with the gate minus its mean: the same expected gradient without the part that only adds noise.",
        gradient="that of grpo, and -lambda (sigmoid(beta (T - S)) - mean gate of the iteration) / N: both directions",
        source="a baseline for the score function, applied to the gate of arXiv 2605.15155",
        fidelity="ours",
        group="ours",
        note=(
            "The mean is taken once per iteration, before its first update, over all tokens that the teacher has "
            "scored: a mean over a step would change with the number of mini-batches, one over a micro-batch with the "
            "machine's memory. The gate itself stays live, so sdar differs by a constant and nothing else."
        ),
        options=("gate_beta",),
        teacher_views=("teacher",),
        signal=live_gap,
        weight=centred_gate,
        injection="aux",
        coef=0.01,
        statistics=mean_gate,
        needs=PRIVILEGED,
    )
)
register(
    Method(
        name="gated-rkl",
        summary="The gate times the gap: the reverse KL that the paper describes, weakened where the teacher rejects.",
        gradient="that of grpo, and -lambda sigmoid(beta (T - S)) (T - S) / N: at most 0.2785 lambda / (beta N) down",
        source="the gate of arXiv 2605.15155 on the gradient of the reverse KL",
        fidelity="ours",
        group="ours",
        options=("gate_beta",),
        teacher_views=("teacher",),
        signal=live_gap,
        weight=gated_gap,
        injection="aux",
        coef=0.01,
        needs=PRIVILEGED,
    )
)
register(
    Method(
        name="gated-full",
        summary="The gate on the divergence of whole distributions: the teacher counts where it endorses the token.",
        gradient="that of grpo, and lambda sigmoid(beta (T - S)) dD/dz / N on the logits z, the gate detached",
        source="the gate of arXiv 2605.15155 on the divergence of arXiv 2306.13649",
        fidelity="ours",
        group="ours",
        options=("gate_beta", *DIVERGENCE_OPTIONS),
        teacher_views=("teacher",),
        signal=live_gap,
        weight=gate,
        injection="divergence",
        coef=0.01,
        needs=PRIVILEGED | {"vocabulary"},
    )
)

# --- controls: the same kinds of token weights without the teacher's knowledge ---

register(
    Method(
        name="constant-gate",
        summary="sdar with one weight for all tokens: what is left of it when the gate ignores the teacher.",
        gradient="that of grpo, and -lambda g / N, g given: zero in expectation on policy",
        source="a control for arXiv 2605.15155",
        fidelity="ours",
        group="control",
        note="Set gate_constant to the mean of distill/weight in the run that it is paired with. Uses no teacher.",
        options=("gate_constant",),
        signal=given_constant,
        weight=identity,
        injection="aux",
        coef=0.01,
    )
)
register(
    Method(
        name="shuffled-teacher",
        summary="sdar with the gaps of an iteration permuted at random among its tokens: the same gates, other tokens.",
        gradient="that of grpo, and -lambda sigmoid(beta (T - O) of another token) / N",
        source="a control for arXiv 2605.15155",
        fidelity="ours",
        group="control",
        note=(
            "The gaps are permuted once, before the first update, so the gates do not follow the parameters as they "
            "change within the iteration. The teacher pass is made as in sdar; the method costs as much."
        ),
        options=("gate_beta",),
        teacher_views=("teacher",),
        signal=sampled_gap,
        weight=shuffled_gate,
        injection="aux",
        coef=0.01,
        timing="iteration",
        needs=PRIVILEGED,
    )
)
