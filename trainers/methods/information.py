"""Methods that use the privileged information in simpler ways than a gate does; and the model without any learning.

A claim that a gated teacher helps has to be compared with other uses of the same information: put it into the prompt,
learn under that prompt, clone what was done under it, or shape the reward with it. `rft` and `grpo+rft` use nothing
privileged at all, only the student's own successes.

Cloning is the auxiliary term with weight 1 on the tokens of kept episodes whose action was understood. Where there is
no policy gradient beside it, episodes that were not kept leave the update, so N counts kept tokens; an iteration that
keeps nothing changes no parameter. How often the rows of an iteration are gone through is ``num_iterations`` and
``num_mini_batches``, as for every other method, so that none has more optimiser steps than its neighbour.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from ..batch.token_batch import TokenBatch
from ..options import MethodOptions
from .filters import best_successes, successes
from .method import Method
from .table import register

PUBLISHED_TABLE = "arXiv 2605.15155, table 1, and its published code"

# --- signals ---


def kept_tokens(batch: TokenBatch, teacher_BT: Tensor, options: MethodOptions) -> Tensor:
    """1 on the tokens of kept rows, 0 on others and on actions that the environment did not understand.

    A success may hold such actions; policy gradients charge them (``invalid_action_penalty``), so cloning does not
    teach them.
    """
    return (batch.kept_B[:, None] & ~batch.invalid_BT).to(batch.behaviour_BT.dtype)


def plan_progress(batch: TokenBatch, teacher_BT: Tensor, options: MethodOptions) -> Tensor:
    """What the token's turn did for the rest of the plan, `shaping.progress`.

    Raises:
        ValueError: It has not been measured.
    """
    if batch.progress_BT is None:
        raise ValueError("TokenBatch.progress_BT is empty: measure it first (lessons.measure_progress)")
    return batch.progress_BT


# --- weights and metrics ---


def mean_progress(batch: TokenBatch, teacher_BT: Tensor, options: MethodOptions) -> Mapping[str, float]:
    """The mean of `plan_progress` over the iteration's loss tokens."""
    values = plan_progress(batch, teacher_BT, options)[batch.mask_BT]
    return {"progress_mean": float(values.double().sum()) / max(batch.tokens, 1)}


def centred_progress(signal_BT: Tensor, batch: TokenBatch, options: MethodOptions) -> Tensor:
    """The progress minus its mean over the iteration, so that a usual step is neither good nor bad.

    A constant baseline. Exactly 0 everywhere when no plan's length has changed.
    """
    return signal_BT.detach() - batch.statistics["progress_mean"]


# --- methods ---

register(
    Method(
        name="vanilla",
        summary="No learning: the model as it is, evaluated under the plain prompt.",
        gradient="none",
        source=PUBLISHED_TABLE,
        fidelity="code",
        group="core",
        note="A run has no iterations.",
        pg_coef=0.0,
    )
)
register(
    Method(
        name="skill-prompt",
        summary="No learning: the model as it is, evaluated under the privileged prompt.",
        gradient="none",
        source=PUBLISHED_TABLE,
        fidelity="code",
        group="core",
        note=(
            "A run has no iterations. The privileged context stands where the teacher's prompt has it (position), "
            "which is inside a role; the published code puts it in front of the user message. It is the same "
            "measurement as the success of the privileged-prompt policy before training."
        ),
        pg_coef=0.0,
        eval_views=("privileged",),
    )
)
register(
    Method(
        name="skill-grpo",
        summary="GRPO of a student that acts and learns under the privileged prompt; evaluated under both prompts.",
        gradient="that of grpo, S and O both given the privileged prompt",
        source=PUBLISHED_TABLE,
        fidelity="code",
        group="core",
        note=(
            "before and after in a summary, and the plain name of an evaluation set, are under the plain prompt; under "
            "the privileged prompt every name ends in _privileged. The published code has it the other way round, and "
            "draws other tasks for the second evaluation; ours plays the same evaluation set twice."
        ),
        student_view="privileged",
        eval_views=("plain", "privileged"),
    )
)
register(
    Method(
        name="context-distillation",
        summary="Act under the privileged prompt, keep the successes, and clone them given the plain prompt.",
        gradient="-lambda / N per kept token, S given the plain prompt",
        source="after arXiv 2209.15189 and 2112.00861, made online with a filter",
        fidelity="ours",
        group="equal information",
        note=(
            "Each iteration acts with the current parameters. All successes are kept. An episode in which the model "
            "itself writes out the whole privileged context is left out, since the plain row would contain it. O is "
            "the log-prob given the plain prompt by the parameters that sampled."
        ),
        student_view="privileged",
        learn_view="plain",
        keep=successes,
        signal=kept_tokens,
        injection="aux",
        coef=1.0,
        pg_coef=0.0,
        needs=frozenset({"privileged"}),
    )
)
register(
    Method(
        name="shaped-grpo",
        summary="GRPO whose turns are also credited with what they did for the length of the remaining plan.",
        gradient="-(A + lambda (P - mean P)) r / N inside the clip, P the progress of the token's turn",
        source="potential-based shaping, Ng, Harada and Russell 1999; as a critic, arXiv 1506.02438",
        fidelity="ours",
        group="equal information",
        note=(
            "P is generalised advantage estimation of the reward 'success', undiscounted, with the share of the plan "
            "that is done as its critic (shaping). At shaping_lambda 0, the default, it adds up to 1 over a success "
            "and to 0 over anything else, wherever a plan is known. It is added to the group-normalised advantage, "
            "minus its mean over the iteration. It reads the plan's length at every turn and shows the student "
            "nothing; the option privilege has no effect."
        ),
        options=("shaping_lambda",),
        signal=plan_progress,
        weight=centred_progress,
        injection="adv_add",
        coef=1.0,
        statistics=mean_progress,
        needs=frozenset({"plan"}),
    )
)
register(
    Method(
        name="rft",
        summary="Clone the student's own best successes of each task, iterated: rejection-sampling fine-tuning.",
        gradient="-lambda / N per kept token",
        source="arXiv 2308.01825; iterated with a bound per task as in arXiv 2312.06585",
        fidelity="ours",
        group="equal information",
        note=(
            "Of each task the keep_per_task best successes are kept: by return, then by fewest turns. Nothing "
            "privileged is read."
        ),
        options=("keep_per_task",),
        keep=best_successes,
        signal=kept_tokens,
        injection="aux",
        coef=1.0,
        pg_coef=0.0,
    )
)
register(
    Method(
        name="grpo+rft",
        summary="GRPO, and the cloning of the student's own best successes as a term beside it.",
        gradient="that of grpo, and -lambda / N per kept token",
        source="rft as a term of the loss, its coefficient as that of the positive examples in arXiv 2504.05118",
        fidelity="ours",
        group="equal information",
        note="N counts all loss tokens; the source divides the cloned part by its own tokens.",
        options=("keep_per_task",),
        keep=best_successes,
        signal=kept_tokens,
        injection="aux",
        coef=0.1,
    )
)
