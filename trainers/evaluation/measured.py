"""What was measured on an evaluation set: the student under each prompt of its method, and its teacher.

What was measured under the plain prompt and what was measured under the privileged one never share a name: ``valid``
is always plain, and ``valid_privileged`` never, in metric lines, in the log of episodes and in the run's state alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .evaluate import Evaluation


def measured_name(split: str, view: str) -> str:
    """What a measurement is called: the split alone under the plain prompt, else with the view."""
    return split if view == "plain" else f"{split}_{view}"


def described(evaluation: Evaluation, view: str) -> dict[str, Any]:
    """An evaluation as a summary holds it, with the prompt it was played under."""
    return {"view": view, **evaluation.to_json()}


@dataclass(frozen=True, slots=True)
class Measured:
    """One look at an evaluation set; `views` begins with the prompt that the method is about."""

    split: str
    views: dict[str, Evaluation]
    teacher: Evaluation | None = None

    def __str__(self) -> str:
        lines = [str(self.student) + ("" if self.view == "plain" else f", under the {self.view} prompt")]
        lines += [f"under the {view} prompt: {self.views[view]}" for view in list(self.views)[1:]]
        if self.teacher is not None and not self.plays_its_teacher:
            lines.append(f"privileged-prompt policy: {self.teacher}")
        return "; ".join(lines)

    @property
    def view(self) -> str:
        """The prompt that the method is about."""
        return next(iter(self.views))

    @property
    def student(self) -> Evaluation:
        """The student under that prompt."""
        return self.views[self.view]

    @property
    def plays_its_teacher(self) -> bool:
        """Whether the privileged-prompt policy is one of the student's own views, and was not played besides."""
        return "privileged" in self.views

    def named(self) -> dict[str, tuple[str, Evaluation]]:
        """All that was measured, by name, each with the prompt it was played under."""
        found = {measured_name(self.split, view): (view, evaluation) for view, evaluation in self.views.items()}
        return found if self.teacher is None else {**found, "teacher": ("privileged", self.teacher)}

    def described(self) -> dict[str, Any]:
        """The same as plain JSON values."""
        return {name: described(evaluation, view) for name, (view, evaluation) in self.named().items()}

    def metrics(self) -> dict[str, Any]:
        """The few numbers that belong into a metric line."""
        metrics: dict[str, Any] = {}
        for name, (_, evaluation) in self.named().items():
            low, high = evaluation.ci95
            metrics |= {
                f"{name}/success_rate": evaluation.success_rate,
                f"{name}/ci95_low": low,
                f"{name}/ci95_high": high,
                f"{name}/invalid_action_rate": evaluation.invalid_action_rate,
                f"{name}/mean_turns": evaluation.mean_turns,
                f"{name}/mean_score": evaluation.mean_score,
            }
        return metrics
