"""A method of your own: one entry of the table of methods, and one pure function of tensors.

SDAR's gate raises a token a little even where the teacher finds it less likely. This one does not: it distils where the
teacher finds the sampled token likelier by more than a margin, and leaves all other tokens to the reward. In this
folder, where a module of yours is found by its name:

    sdar methods own_method:confident
    sdar train --env parcels:Parcels-v0 --model tiny --teacher-context parcels:context --method own_method:confident

The trainer asks for a method's fields and never for its name, so nothing else has to be changed: evaluations, logs,
several processes and the report work as with any other method.
"""

from __future__ import annotations

from torch import Tensor

from trainers.batch.token_batch import TokenBatch
from trainers.methods import Method, live_gap, register
from trainers.options import MethodOptions

MARGIN = 0.5  # nats


def above_margin(signal_BT: Tensor, batch: TokenBatch, options: MethodOptions) -> Tensor:
    """1 where the gap T - S is above the margin, else 0: ``[B, T]``."""
    return (signal_BT > MARGIN).to(signal_BT.dtype)


register(
    Method(
        name="confident",
        summary="GRPO, and a push towards tokens that the teacher finds likelier than the student by half a nat.",
        gradient="that of grpo, and -lambda / N where T - S > 0.5",
        source="examples/own_method.py",
        fidelity="ours",
        teacher_views=("teacher",),
        signal=live_gap,
        weight=above_margin,
        injection="aux",
        coef=0.01,
        needs=frozenset({"privileged"}),
    )
)
