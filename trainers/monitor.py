"""Watching a run: the student on its panels, and the hinted teacher beside it, whose health is the run's.

Student and teacher are one set of weights; the cheapest way for them to agree is to ignore what the teacher is shown.
So the teacher's own success is measured on the same panel, and a fall below a share of its start is said aloud. `valid`
is watched while training; `test` is read before the first and after the last iteration, and nothing is chosen by it.
A method may be evaluated behind several prompts (`Method.eval_views`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from .actors import Actors
from .environments import EnvironmentSource
from .evaluation import Evaluation, Panel, evaluate, make_panel
from .measurement import Measured

if TYPE_CHECKING:
    from .config import SDARConfig


@dataclass
class Monitor:
    """Evaluates the agents of a run on fixed panels; `views` are the prompts that the method is evaluated behind."""

    source: EnvironmentSource
    actors: Actors
    config: SDARConfig
    panels: dict[str, Panel] = field(default_factory=dict)
    views: tuple[str, ...] = ("plain",)
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

    def measure(self, split: str, *, teacher: bool, privileged_turns: str = "never") -> Measured:
        """The student on a panel behind each of its prompts, and with `teacher` the hinted teacher beside it.

        A student behind the privileged prompt is the hinted teacher, and is not played twice.
        """
        views = {view: self.student(split, view=view, privileged_turns=privileged_turns) for view in self.views}
        hinted = None
        if teacher:
            hinted = views["privileged"] if "privileged" in views else self.teacher(split)
        return Measured(split, views, hinted)

    def student(self, split: str, *, view: str = "plain", privileged_turns: str = "never") -> Evaluation:
        """The student behind one prompt on a panel.

        Args:
            split: The panel's.
            view: Of `method.VIEWS`.
            privileged_turns: When rollouts are to hold the sealed side for later readings, for the plain prompt.
        """
        return self._evaluate(split, view, privileged_turns)

    def teacher(self, split: str) -> Evaluation | None:
        """The hinted teacher on the same panel; None where the environment gives it nothing to read."""
        return None if self.actors.hinted is None else self._evaluate(split, "privileged", "never")

    def _evaluate(self, split: str, view: str, turns: str) -> Evaluation:
        agent = self.actors.evaluator
        if view == "privileged":
            assert self.actors.hinted is not None  # `make_actors` refuses a method that asks for more than there is
            agent, turns = self.actors.hinted, self.actors.privileged_turns
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
