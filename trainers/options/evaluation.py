"""Options of evaluation: when, on how many episodes, and when a fall of the privileged-prompt policy is reported."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from .option import OptionGroup, option

_option = partial(option, group="evaluation")


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
