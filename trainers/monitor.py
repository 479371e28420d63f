"""Watching a run: the student on its panels, and the hinted teacher beside it, whose health is the run's.

Student and teacher are one set of weights; the cheapest way for them to agree is to ignore what the teacher is shown.
So the teacher's own success is measured on the same panel, and a fall below a share of its start is said aloud. `valid`
is watched while training; `test` is read before the first and after the last iteration, and nothing is chosen by it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agents.base import Agent

from .actors import Actors
from .environments import EnvironmentSource
from .evaluation import Evaluation, Panel, evaluate, make_panel

if TYPE_CHECKING:
    from .config import SDARConfig


@dataclass
class Monitor:
    """Evaluates the agents of a run on fixed panels."""

    source: EnvironmentSource
    actors: Actors
    config: SDARConfig
    panels: dict[str, Panel] = field(default_factory=dict)
    teacher_start: float | None = None

    def panel(self, split: str) -> Panel:
        """The run's panel of a split, made when first asked for."""
        if split not in self.panels:
            config = self.config
            watched = split == config.eval_split
            self.panels[split] = make_panel(
                self.source,
                split=split,
                episodes=config.eval_episodes if watched else max(config.test_episodes, 1),
                max_turns=config.max_turns,
                temperature=config.eval_temperature,
                sampler_batch=config.sampler_batch or config.tasks_per_step * config.num_generations,
            )
        return self.panels[split]

    def use_folder(self, folder: Path) -> None:
        """Take the panels that a run directory holds, and write those that it lacks."""
        folder.mkdir(exist_ok=True)
        for split in (self.config.eval_split, "test"):
            path = folder / f"{split}.json"
            if path.exists():
                self.panels[split] = Panel.load(path)
            elif split == self.config.eval_split or self.config.test_episodes:
                self.panel(split).save(path)

    def student(self, split: str, *, keep_privileged: bool = False) -> Evaluation:
        """The student's prompt on a panel; with `keep_privileged`, rollouts hold the sealed side for later readings."""
        turns = self.actors.privileged_turns if keep_privileged else "never"
        return self._evaluate(self.actors.evaluator, split, turns)

    def teacher(self, split: str) -> Evaluation | None:
        """The hinted teacher on the same panel; None where the environment gives it nothing to read."""
        if self.actors.hinted is None:
            return None
        return self._evaluate(self.actors.hinted, split, self.actors.privileged_turns)

    def _evaluate(self, agent: Agent, split: str, turns: str) -> Evaluation:
        return evaluate(
            agent,
            self.panel(split),
            source=self.source,
            privileged_turns=turns,
            seal_info=self.actors.seals_info and turns != "never",
        )

    def check_teacher(self, rate: float) -> str | None:
        """Compare the hinted teacher with its start; a loud message when it has lost what it could."""
        if self.teacher_start is None:
            self.teacher_start = rate
        floor = self.config.teacher_health_floor * self.teacher_start
        if rate >= floor:
            return None
        return (
            f"WARNING: the hinted teacher wins {100 * rate:.1f} %, less than {self.config.teacher_health_floor:g} of "
            f"its start ({100 * self.teacher_start:.1f} %): it is learning to ignore what it is shown, and teaches "
            "nothing then. Lower distill_coef or learning_rate, or raise beta"
        )


def watched_figures(prefix: str, evaluation: Evaluation) -> dict[str, Any]:
    """The few figures of an evaluation that belong into a metric line."""
    low, high = evaluation.ci95
    return {
        f"{prefix}/success_rate": evaluation.success_rate,
        f"{prefix}/ci95_low": low,
        f"{prefix}/ci95_high": high,
        f"{prefix}/invalid_action_rate": evaluation.invalid_action_rate,
        f"{prefix}/mean_turns": evaluation.mean_turns,
        f"{prefix}/mean_score": evaluation.mean_score,
    }
