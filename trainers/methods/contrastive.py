"""Methods whose signal is a contrast between readings: what a right hint changes and a wrong one does not."""

from __future__ import annotations

from torch import Tensor

from ..batch.token_batch import TokenBatch
from ..maths import signals
from ..options import MethodOptions
from .method import Method
from .table import register

# The published scale of the contrast in nats, and the threshold of 0.02 in units of the published lambda of 0.5.
RLCSD_TAU, RLCSD_LEAST = 0.02, 0.04


def right_minus_wrong(batch: TokenBatch, teacher_BT: Tensor, options: MethodOptions) -> Tensor:
    """T - T wrong: the contrast of the teacher's reading with that of a skill for another kind of task."""
    return signals.contrast(teacher_BT, batch.teachers["wrong_skill"][None])


def bounded_contrast(signal_BT: Tensor, batch: TokenBatch, options: MethodOptions) -> Tensor:
    """tanh(x / tau): 0 where the contrast is small."""
    return signals.squashed(signal_BT, RLCSD_TAU, RLCSD_LEAST)


register(
    Method(
        name="rlcsd",
        summary=(
            "The advantage of a token is shifted by whether a right hint makes it likelier than a wrong one does: what "
            "any hint does to the wording cancels, and the reward alone decides the direction."
        ),
        gradient=(
            "that of grpo with A + lambda tanh(e / tau) in place of A, never beyond 0; e = T - T', T' given a wrong "
            "hint; unchanged where |tanh(e / tau)| <= 0.04"
        ),
        source="arXiv 2606.11709 and its published settings",
        fidelity="paper",
        group="successor",
        note=(
            "Published: hints are sibling episodes, one that succeeded and up to four that failed, these as a mean "
            "probability; tau 0.02, lambda 0.5, threshold 0.02, a teacher synchronised every ten steps. Here the right "
            "hint is what `privilege` shows and the wrong one a skill for another kind of task, so groups without a "
            "success have a contrast too (at an advantage of 0 it changes nothing). The published loss is the sum of "
            "two means, over shifted and over other tokens; here all tokens are divided by their common number. At tau "
            "0.02 the shift is nearly the sign of the contrast."
        ),
        teacher_views=("teacher", "wrong_skill"),
        signal=right_minus_wrong,
        weight=bounded_contrast,
        injection="adv_add_signed",
        coef=0.5,
        needs=frozenset({"privileged"}),
    )
)
