"""Evaluations during a run: the student on its evaluation sets, and the privileged-prompt policy on the same.

Student and teacher are the same parameters, and the simplest way for them to agree is to ignore the privileged context.
So the success of the privileged-prompt policy is measured too, and a fall below a share of its start is reported. The
``valid`` split is evaluated while training; ``test`` is evaluated before the first and after the last iteration, and
nothing is chosen by it. A method may be evaluated under several prompts (`Method.eval_views`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from ..engine.base import Ranks
from ..options import Options
from ..rollout.environments import EnvironmentSource
from ..rollout.policies import Policies
from .evaluate import Evaluation, evaluate
from .evaluation_set import EvaluationSet, make_evaluation_set
from .measured import Measured


@dataclass
class Monitor:
    """Evaluates the policies of a run on fixed sets.

    Attributes:
        source: The environment.
        policies: The agents of the run.
        options: Sizes of evaluation sets, temperature, and the share below which a fall is reported.
        evaluation_sets: By split; those that are missing are made from the options.
        views: The prompts that the student is evaluated under.
        teacher_start: Success rate of the privileged-prompt policy before training; None until it is measured.
        ranks: The processes that play; None plays all in this one.
        advance: Told the name of an evaluation that goes on, how many of its episodes have ended, and of how many.
        asynchronous: Whether episodes are collected asynchronously.
    """

    source: EnvironmentSource
    policies: Policies
    options: Options
    evaluation_sets: dict[str, EvaluationSet] = field(default_factory=dict)
    views: tuple[str, ...] = ("plain",)
    teacher_start: float | None = None
    ranks: Ranks | None = None
    advance: Callable[[str, int, int], None] | None = None
    asynchronous: bool = False

    def evaluation_set(self, split: str) -> EvaluationSet:
        """The run's evaluation set of a split, made at its first use."""
        if split not in self.evaluation_sets:
            options = self.options
            watched = split == options.eval_split
            self.evaluation_sets[split] = make_evaluation_set(
                self.source,
                split=split,
                episodes=options.eval_episodes if watched else max(options.test_episodes, 1),
                max_turns=options.max_turns,
                temperature=options.eval_temperature,
                sampler_batch=options.episodes_together,
            )
        return self.evaluation_sets[split]

    def use_folder(self, folder: Path) -> None:
        """Take the evaluation sets that a run directory holds, and write those that it lacks."""
        folder.mkdir(exist_ok=True)
        for split in (self.options.eval_split, "test"):
            path = folder / f"{split}.json"
            if path.exists():
                self.evaluation_sets[split] = EvaluationSet.load(path)
            elif split == self.options.eval_split or self.options.test_episodes:
                self.evaluation_set(split).save(path)

    def measure(self, split: str, *, teacher: bool, privileged_turns: str = "never") -> Measured:
        """Evaluate the student on a set under each of its prompts, and with `teacher` the privileged-prompt policy.

        A student under the privileged prompt is that policy, and is not played twice.

        Args:
            split: The set's.
            teacher: Whether the privileged-prompt policy is evaluated too.
            privileged_turns: As for `student`.
        """
        views = {view: self.student(split, view=view, privileged_turns=privileged_turns) for view in self.views}
        privileged = None
        if teacher:
            privileged = views["privileged"] if "privileged" in views else self.teacher(split)
        return Measured(split, views, privileged)

    def student(self, split: str, *, view: str = "plain", privileged_turns: str = "never") -> Evaluation:
        """The student under one prompt on an evaluation set.

        Args:
            split: The set's.
            view: Of `method.VIEWS`.
            privileged_turns: When rollouts under the plain prompt are to hold privileged information, so that a teacher
                can read them later.
        """
        return self._evaluate(split, view, privileged_turns)

    def teacher(self, split: str) -> Evaluation | None:
        """The privileged-prompt policy on the same set; None where the environment has no privileged information."""
        return None if self.policies.privileged_policy is None else self._evaluate(split, "privileged", "never")

    def _evaluate(self, split: str, view: str, turns: str) -> Evaluation:
        agent = self.policies.evaluator
        if view == "privileged":
            # `make_policies` refuses a method that needs this policy where the environment has nothing for it to read.
            assert self.policies.privileged_policy is not None
            agent, turns = self.policies.privileged_policy, self.policies.privileged_turns
        return evaluate(
            agent,
            self.evaluation_set(split),
            source=self.source,
            privileged_turns=turns,
            seal_info=self.policies.seals_info and turns != "never",
            ranks=self.ranks,
            asynchronous=self.asynchronous,
            advance=self.advance and partial(self.advance, f"evaluation on {split}, {view} prompt"),
        )

    def check_teacher(self, rate: float) -> str | None:
        """Compare the privileged-prompt policy's success rate with its start; the first call sets the start.

        Returns:
            A warning when the rate is below ``teacher_health_floor`` times the start, else None.
        """
        if self.teacher_start is None:
            self.teacher_start = rate
        share = self.options.teacher_health_floor
        if rate >= share * self.teacher_start:
            return None
        return (
            f"WARNING: the privileged-prompt policy wins {100 * rate:.1f} %, less than {share:g} of its start "
            f"({100 * self.teacher_start:.1f} %): it is learning to ignore the privileged context, and a teacher "
            "that ignores it teaches nothing. Lower distill_coef or learning_rate, or raise beta"
        )
