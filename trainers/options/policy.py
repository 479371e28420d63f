"""Options of learning from reward: advantages, clipping, the KL to the initial policy."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal

from .option import AUTO, OptionGroup, option
from .reading import CORRECTION, DEVIATION, GIGPO, KL, KL_IN_THE_LOSS, LEARNING, PENALTY, POLICY_GRADIENT, ROLE_BASELINE

RATIO_LEVELS = ("token", "sequence")  # formulas in `maths.losses`, which imports torch
_option = partial(option, group="policy")
_ADVANTAGES = (LEARNING, POLICY_GRADIENT)


@dataclass(frozen=True, kw_only=True)
class PolicyOptions(OptionGroup):
    """Advantages, clipping, KL, entropy and the invalid-action penalty.

    `delta` is the dual clip: with a negative advantage the ratio counts as `delta` at most, as in TRL's two-sided
    clipping.
    """

    advantage: str = _option("grpo", "advantage estimator: grpo, rloo, gigpo or rae", read=_ADVANTAGES)
    advantage_unit: str = _option(
        "trajectory",
        "what a group's statistics run over: episodes, or rows (the official statistics)",
        choices=("trajectory", "row"),
        read=_ADVANTAGES,
    )
    scale_rewards: str = _option(
        "group",
        "standard deviation that advantages are divided by",
        choices=("group", "batch", "none"),
        read=(*_ADVANTAGES, DEVIATION),
    )
    gigpo_gamma: float = _option(
        0.95,
        "discount of the returns that gigpo compares steps by",
        low=0.0,
        high=1.0,
        read=(*_ADVANTAGES, GIGPO),
    )
    gigpo_weight: float = _option(
        1.0, "weight of gigpo's step advantages beside those of episodes", low=0.0, read=(*_ADVANTAGES, GIGPO)
    )
    gigpo_similarity: float = _option(
        1.0,
        "how alike two observations must be to count as one state in gigpo; 1 is equal",
        above=0.0,
        high=1.0,
        read=(*_ADVANTAGES, GIGPO),
    )
    role_baseline_decay: float = _option(
        0.95,
        "how much of a role's baseline stays after each of its episodes (rae)",
        low=0.0,
        high=1.0,
        read=(*_ADVANTAGES, ROLE_BASELINE),
        omit_at_default=True,
    )
    loss_type: str = _option(
        "dapo",
        "what sums over tokens are divided by: the step's loss tokens, or (dr_grpo) what it could have had at most, a "
        "constant",
        choices=("dapo", "dr_grpo"),
    )
    dynamic_sampling: int = _option(
        0,
        "how often, per iteration, groups whose returns are all equal give way to groups of further tasks; 0 is off",
        low=0,
    )
    epsilon: float = _option(
        0.2, "clip width below the ratio 1 (and above, without epsilon_high)", low=0.0, high=1.0, read=_ADVANTAGES
    )
    epsilon_high: float | None = _option(None, "clip width above the ratio 1", low=0.0, read=_ADVANTAGES)
    delta: float | None = _option(
        3.0, "dual clip: largest ratio for negative advantages; none is off", above=1.0, read=_ADVANTAGES
    )
    importance_sampling_level: str = _option(
        "token",
        "whose ratio the policy gradient clips: each token's, or (sequence, GSPO) the geometric mean of its row's",
        choices=RATIO_LEVELS,
        read=_ADVANTAGES,
        omit_at_default=True,
    )
    beta: float = _option(0.01, "coefficient of the KL to the initial policy", low=0.0, read=(LEARNING,))
    kl_estimator: str = _option("k3", "estimator of that KL", choices=("k1", "k2", "k3"), read=(KL, KL_IN_THE_LOSS))
    kl_placement: str = _option(
        "loss", "KL as a term of the loss, or as k1 in the advantage", choices=("loss", "advantage"), read=(KL,)
    )
    kl_clamp: float | None = _option(
        None,
        "largest size of that estimate at a token, which has no gradient beyond; none is off (the official code: 10)",
        above=0.0,
        read=(KL, KL_IN_THE_LOSS),
        omit_at_default=True,
    )
    use_bias_correction_kl: bool = _option(False, "multiply the KL term by the live ratio", read=(KL, KL_IN_THE_LOSS))
    old_logprobs: str = _option(
        AUTO,
        "whose log-probs the ratio starts from: the sampler's, or the trainer's, computed once before the first "
        "update; auto: the sampler's where both compute in float32 in this process, else the trainer's",
        choices=(AUTO, "sampler", "trainer"),
        read=(LEARNING,),
        omit_at_default=True,
    )
    importance_sampling_correction: bool | Literal["auto"] = _option(
        AUTO,
        "weigh tokens by what the trainer's log-probs differ from the sampler's; auto: where old_logprobs would choose "
        "the trainer's",
        read=(LEARNING,),
        omit_at_default=True,
    )
    importance_sampling_mode: str = _option(
        "token_truncate",
        "weights per token or per row, above the cap truncated to it or 0",
        choices=("token_truncate", "token_mask", "sequence_truncate", "sequence_mask"),
        read=(LEARNING, CORRECTION),
        omit_at_default=True,
    )
    importance_sampling_cap: float = _option(
        3.0, "largest importance weight", above=0.0, read=(LEARNING, CORRECTION), omit_at_default=True
    )
    entropy_coef: float = _option(0.0, "coefficient of the entropy bonus", low=0.0)
    invalid_action_penalty: float = _option(
        0.1, "what an action that was not understood costs", low=0.0, read=_ADVANTAGES
    )
    invalid_action_placement: str = _option(
        "token",
        "token: subtracted from the advantage of that turn's tokens; baseline: from the score, before group "
        "statistics (the official placement)",
        choices=("token", "baseline"),
        read=(*_ADVANTAGES, PENALTY),
    )
    mask_truncated_completions: bool = _option(False, "leave truncated rows out of the loss")

    def check(self) -> None:
        """Refuse a dual clip within the upper clip, and a correction of log-probs that are the sampler's."""
        super().check()
        if self.old_logprobs == "sampler" and self.importance_sampling_correction is True:
            raise ValueError(
                f"{type(self).__name__}.importance_sampling_correction: expected old_logprobs=trainer (or auto) with "
                "it, got sampler: the ratio from the sampler's log-probs holds the difference already"
            )
        if self.delta is not None:
            upper_width = self.epsilon if self.epsilon_high is None else self.epsilon_high
            if self.delta <= 1.0 + upper_width:
                raise ValueError(
                    f"{type(self).__name__}.delta: expected above 1 + the upper clip width = {1.0 + upper_width:g}, "
                    f"got {self.delta:g}; the dual clip bounds what the clip leaves free (none switches it off)"
                )
