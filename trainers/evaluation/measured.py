"""The evaluations on one set: the student under each prompt of its method, and the privileged-prompt policy.

Measurements under the plain prompt and under the privileged one never share a name: ``valid`` is always plain, and
``valid_privileged`` always privileged, in metric lines, in the log of episodes and in the run's state.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .evaluate import Evaluation


def measured_name(split: str, view: str) -> str:
    """The name of a measurement: the split alone under the plain prompt, else followed by the view's name."""
    return split if view == "plain" else f"{split}_{view}"


def described(evaluation: Evaluation, view: str) -> dict[str, Any]:
    """An evaluation as a summary holds it, with the prompt it was played under."""
    return {"view": view, **evaluation.to_json()}


@dataclass(frozen=True, slots=True)
class Measured:
    """The measurements on one evaluation set at one time.

    Attributes:
        split: Of the set.
        views: The student by prompt; the first prompt is the one that the method is about.
        teacher: The privileged-prompt policy, where it was measured.
    """

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
        """Whether the student was evaluated under the privileged prompt; that policy is then not played twice."""
        return "privileged" in self.views

    def named(self) -> dict[str, tuple[str, Evaluation]]:
        """All evaluations by name, each with the prompt it was played under."""
        found = {measured_name(self.split, view): (view, evaluation) for view, evaluation in self.views.items()}
        return found if self.teacher is None else {**found, "teacher": ("privileged", self.teacher)}

    def described(self) -> dict[str, Any]:
        """The same as plain JSON values."""
        return {name: described(evaluation, view) for name, (view, evaluation) in self.named().items()}

    def metrics(self) -> dict[str, Any]:
        """The numbers for a metric line."""
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
