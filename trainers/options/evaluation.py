"""Options of evaluation: when, on how many episodes, and from where on a run's health is reported."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from .option import OptionGroup, option

_option = partial(option, group="evaluation")
_share = partial(_option, above=0.0, high=1.0, maths=False)


@dataclass(frozen=True, kw_only=True)
class EvaluationOptions(OptionGroup):
    """Evaluation sets and how often they are played."""

    eval_before: bool = _option(
        True, "evaluate before the first iteration; without it a summary has no before and no difference", maths=False
    )
    eval_steps: int = _option(5, "iterations between evaluations; 0 is never", low=0, maths=False)
    eval_episodes: int = _option(128, "episodes per evaluation", low=1, maths=False)
    test_episodes: int = _option(400, "episodes on the test split, before and after; 0 is never", low=0, maths=False)
    eval_temperature: float = _option(0.4, "sampling temperature in evaluation", low=0.0, maths=False)
    eval_split: str = _option("valid", "split that is watched in training", maths=False, choices=("valid", "test"))
    teacher_health_floor: float = _option(
        0.5,
        "warn when the privileged-prompt policy falls below this share of its start",
        low=0.0,
        high=1.0,
        maths=False,
    )
    stop_on_teacher_collapse: bool = _option(False, "and stop the run then")
    strict_health: bool = _option(False, "end the run with an error when it cannot learn", maths=False)
    health_patience: int = _option(3, "iterations in a row before a finding is said", low=1, maths=False)
    health_context_full: float = _share(0.5, "say it from this share of episodes on whose prompt no longer fits")
    health_malformed: float = _share(0.5, "say it from this share of malformed completions on")
    health_truncated: float = _share(0.5, "say it from this share of completions on that are cut off")
    health_zero_variance: float = _share(0.9, "say it from this share of zero-variance groups on")
    health_logprob_difference: float = _option(
        0.1, "say it from this mean difference of sampler and trainer on, in nats", above=0.0, maths=False
    )
    health_entropy: float = _option(
        0.01, "say it when the entropy of sampling is at most this, in nats", low=0.0, maths=False
    )
    health_adapter_change: float = _option(
        0.002,
        "say it when adapters are to change their weights by at most this share of their norm by the last iteration",
        low=0.0,
        maths=False,
    )
    health_unchanged: float = _share(
        0.9, "say it from this share of 16-bit parameters on that an iteration leaves as they are"
    )
    health_teacher_lead: float = _option(
        0.0,
        "say it when the privileged-prompt policy starts at most this far above the student",
        low=-1.0,
        high=1.0,
        maths=False,
    )
