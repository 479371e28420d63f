"""Methods whose teacher reads what the iteration's own episodes tell, whatever ``privilege`` is."""

from __future__ import annotations

import torch
from torch import Tensor

from ..batch.token_batch import TokenBatch
from ..maths.losses import bounded_exp
from ..options import MethodOptions
from .method import DIVERGENCE_OPTIONS, Method, gate, live_gap
from .table import register

SDPO_RATIO_LIMIT = 2.0  # is_clip of the published configuration


def capped_ratio(signal_BT: Tensor, batch: TokenBatch, options: MethodOptions) -> Tensor:
    """min(e^(S - O), 2): the importance ratio of the sampled token, without gradient and capped."""
    ratio_BT = bounded_exp(batch.live_student().detach() - batch.behaviour_BT)
    return torch.clamp(ratio_BT, max=SDPO_RATIO_LIMIT)


register(
    Method(
        name="sdpo",
        summary=(
            "Self-distilled policy optimisation: the teacher reads a sibling's success, or what went wrong, and the "
            "student follows its whole next-token distributions; no other reward."
        ),
        gradient="lambda min(r, 2) dD/dz / N on the logits z of every next token, r = exp(S - O) detached",
        source="arXiv 2601.20802 and its published code",
        fidelity="code",
        group="successor",
        note=(
            "The teacher reads the view hindsight: the actions of another episode of the group that succeeded; where "
            "there is none, the environment's verdict on an episode that did not. An episode of which there is nothing "
            "to tell has no teacher and no weight. Published, and options here: divergence=jsd (alpha 0.5) and "
            "divergence_top_k=100 with a tail, of the student's likeliest tokens there, of the teacher's here; beta=0. "
            "The averaged teacher (0.05 of the new parameters per iteration) is this row's own. The published text is "
            "a sibling's whole answer without its thinking; of an episode of many turns it is here what was done, and "
            "not what was seen. The published mean is over the tokens that a teacher has read; here over all."
        ),
        options=DIVERGENCE_OPTIONS,
        teacher_views=("hindsight",),
        teacher_weights="ema",
        signal=live_gap,
        weight=capped_ratio,
        injection="divergence",
        coef=1.0,
        pg_coef=0.0,
        needs=frozenset({"vocabulary"}),
    )
)

register(
    Method(
        name="seed",
        summary=(
            "The policy writes notes on each of its own finished episodes, the teacher of the episode reads them, and "
            "the gap is gated as in sdar."
        ),
        gradient="that of grpo, and -lambda sigmoid(beta (T - S)) / N",
        source="arXiv 2607.14777, as its public summary tells it",
        fidelity="digest",
        group="successor",
        note=(
            "The teacher reads the view reflection: the policy that has just acted is shown the episode with its "
            "outcome and writes what it teaches; by the same parameters, at the sampling temperature, and without a "
            "gradient. A text that is of no use is replaced (reflection_fallback) and counted. Published is a first "
            "stage of supervised training on such texts, which is not here: a model that cannot write them has a "
            "teacher that knows nothing more. Their prompt was not seen; ours stands in assets/prompts/reflection.txt. "
            "beta 5 and lambda are those of sdar."
        ),
        options=("gate_beta",),
        teacher_views=("reflection",),
        signal=live_gap,
        weight=gate,
        injection="aux",
        coef=0.01,
    )
)
