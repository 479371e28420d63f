"""Options of the method, and of the privileged context that its teacher reads."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

from agents.hindsight import HINDSIGHTS, WRITTEN
from agents.teacher import POSITIONS, PRIVILEGES, split_privilege
from sdar_envs.skills import RETRIEVALS

from .option import OptionGroup, option
from .reading import (
    AVERAGED_TEACHER,
    INJECTION,
    JSD,
    LEARNING,
    NAMED_BY_METHOD,
    SEVERAL_CONTEXTS,
    TEACHER,
    UCB,
    WRITTEN_TEXT,
)

DIVERGENCES = ("reverse_kl", "forward_kl", "jsd")  # formulas in `maths.divergences`, which imports torch
_option = partial(option, group="method")


@dataclass(frozen=True, kw_only=True)
class MethodOptions(OptionGroup):
    """The method, its coefficient, its formulas' numbers, and the privileged context.

    `distill_coef` None takes the method's published coefficient.
    """

    method: str = _option("sdar", "method, by its name in the table of methods")
    distill_coef: float | None = _option(
        None,
        "coefficient of the method's teacher term; none takes the published one",
        low=0.0,
        read=(LEARNING, INJECTION),
    )
    distill_decay: int | None = _option(
        None,
        "iterations over which that coefficient falls linearly to 0; 0 keeps it, none takes the method's schedule",
        low=0,
        read=(LEARNING, INJECTION),
    )
    gate_beta: float = _option(5.0, "sharpness of the sigmoid gate", low=0.0, read=(NAMED_BY_METHOD,))
    gate_constant: float = _option(
        0.5,
        "weight of every token in constant-gate: the mean gate of the run it is paired with",
        low=0.0,
        high=1.0,
        read=(NAMED_BY_METHOD,),
    )
    soft_or_scale: str = _option(
        "raw",
        "entropy and gap in the soft-OR gate: as they are, or each scaled to [0, 1] over the iteration",
        choices=("raw", "batch"),
        read=(NAMED_BY_METHOD,),
    )
    weight_clip: float = _option(
        0.2,
        "half-width of the band around 1 for weights that multiply the advantage",
        low=0.0,
        high=1.0,
        read=(NAMED_BY_METHOD,),
    )
    belief_unit: str = _option(
        "turn",
        "what moves the belief of agent-opsd: the turns of an episode, or the tokens of a turn, each turn by itself",
        choices=("turn", "token"),
        read=(NAMED_BY_METHOD,),
        omit_at_default=True,
    )
    weight_limit: float | None = _option(
        10.0,
        "largest weight of the sampled forward KL, exp(gap) - 1; none is off",
        above=0.0,
        read=(NAMED_BY_METHOD,),
    )
    divergence: str = _option(
        "reverse_kl",
        "divergence of whole next-token distributions: KL(student, teacher), KL(teacher, student), or between",
        choices=DIVERGENCES,
        read=(NAMED_BY_METHOD,),
    )
    divergence_alpha: float = _option(
        0.5,
        "the teacher's share in the mixture of the generalised JSD",
        low=0.0,
        high=1.0,
        read=(JSD, NAMED_BY_METHOD),
    )
    divergence_target_share: float = _option(
        1.0,
        "the teacher's share in what the student is compared with: 1 is the teacher, below 1 the normalised geometric "
        "mean of student and teacher",
        above=0.0,
        high=1.0,
        read=(NAMED_BY_METHOD,),
        omit_at_default=True,
    )
    divergence_top_k: int = _option(
        0,
        "the teacher's most likely next tokens that are kept, the rest in one; 0 keeps all",
        low=0,
        read=(NAMED_BY_METHOD,),
    )
    keep_per_task: int = _option(
        4,
        "episodes of one task that are cloned at most: the best of those that succeeded",
        low=1,
        read=(NAMED_BY_METHOD,),
    )
    shaping_lambda: float = _option(
        0.0,
        "how far a turn is credited with later changes of the plan's length",
        low=0.0,
        high=1.0,
        read=(NAMED_BY_METHOD,),
    )
    privilege: str = _option(
        "skill",
        f"what the teacher is shown ({', '.join(PRIVILEGES)}; of the iteration's own episodes: "
        f"{', '.join(HINDSIGHTS)}), or several joined by +, each a reading of its own",
    )
    teacher_combine: str = _option(
        "mean",
        "how joined privileges become one teacher: mean probability, the highest, or where all agree in sign",
        choices=("mean", "max", "agreement"),
        read=(SEVERAL_CONTEXTS,),
    )
    position: str = _option("auto", "where the privileged context stands", choices=POSITIONS)
    retrieval: str = _option(
        "task_type",
        "how skills are retrieved; ucb learns while training which skill of the bank the teacher reads",
        choices=(*RETRIEVALS, "ucb"),
    )
    ucb_c: float = _option(math.sqrt(2.0), "what uncertainty is worth to retrieval=ucb", low=0.0, read=(UCB,))
    ucb_reward: str = _option(
        "success",
        "what retrieval=ucb rewards a skill by: success of the episodes, or the gap of what was rewarded",
        choices=("success", "gap"),
        read=(UCB,),
    )
    teacher_weights: str | None = _option(
        None,
        "parameters of the teacher: current (those that sampled; also called old), initial, ema (a moving average), or "
        "the folder or name of a model; none is the method's own",
        read=(LEARNING, TEACHER),
        omit_at_default=True,
    )
    teacher_ema_decay: float = _option(
        0.95,
        "share of itself that teacher_weights=ema keeps at each iteration",
        low=0.0,
        high=1.0,
        read=(LEARNING, TEACHER, AVERAGED_TEACHER),
        omit_at_default=True,
    )
    reflection_tokens: int | None = _option(
        None,
        f"tokens that the policy may write where privilege is {' or '.join(WRITTEN)}; none is max_completion_length, "
        "and never more than teacher_budget has room for",
        low=1,
        read=(LEARNING, WRITTEN_TEXT),
        omit_at_default=True,
    )
    reflection_prompt_length: int | None = _option(
        None,
        "tokens of what the policy is shown of a finished episode at most, earlier turns left out first; none is "
        "max_prompt_length + teacher_budget",
        low=1,
        read=(LEARNING, WRITTEN_TEXT),
        omit_at_default=True,
    )
    reflection_reads: str = _option(
        "outcome",
        "what the policy is told of a finished episode beside its turns: outcome (success, score, how it ended, what "
        "was not understood), or verdict (also from which turn on less could be reached, where the world knows)",
        choices=("outcome", "verdict"),
        read=(LEARNING, WRITTEN_TEXT),
        omit_at_default=True,
    )
    reflection_fallback: str = _option(
        "feedback",
        "what the teacher is told where what was written is of no use: feedback (what the policy was told of the "
        "outcome, if it did not succeed), or none",
        choices=("feedback", "none"),
        read=(LEARNING, WRITTEN_TEXT),
        omit_at_default=True,
    )
    teacher_budget: int = _option(2048, "tokens of the privileged context at most", low=1)

    def check(self) -> None:
        """Refuse an unknown privilege, and a JSD whose alpha is 0 or 1."""
        super().check()
        split_privilege(self.privilege)
        if self.divergence == "jsd" and not 0.0 < self.divergence_alpha < 1.0:
            raise ValueError(
                f"{type(self).__name__}.divergence_alpha: expected between 0 and 1 for a JSD, got "
                f"{self.divergence_alpha:g}; at the ends it is 0 for any two distributions: choose "
                "divergence=forward_kl (towards 0) or reverse_kl (towards 1)"
            )
