"""What a run is watched by: its evaluations before, during and after training, and the findings of what goes wrong.

Nothing here changes what is learned. State that a resume needs is kept in `RunState`, which is handed in.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from agents.offered import empty_share

from ..batch.row import ScoredRow
from ..engine.base import Engine
from ..evaluation.evaluate import Evaluation
from ..evaluation.health import NEARLY_ALL, Finding, Health, UnhealthyRunError, empty_message, judge, judge_start
from ..evaluation.measured import Measured
from ..evaluation.monitor import Monitor
from ..methods import Method
from ..methods.method import IterationPlan
from ..options import Options
from ..rollout.collect import Rollout
from ..rollout.environments import EnvironmentSource
from ..rollout.policies import Policies, another_privilege
from ..rollout.rows import build_rows
from ..rollout.selection import mark_kept, measure_progress
from ..scoring.scorer import Scorer
from .callbacks import CallbackList
from .log import RunLog
from .progress import Progress
from .run_state import RunState

LAST_EVALUATION_TOKEN_EPISODES = 64  # episodes of the last evaluation whose tokens are logged one by one


@dataclass(slots=True)
class Watch:
    """Evaluates a run and judges what it shows.

    Attributes:
        args: All options.
        method: The method.
        source: Makes environments.
        policies: Who acts and who reads.
        monitor: Plays evaluation sets.
        scorer: Reads rows for the log of the last evaluation.
        engine: Where the model computes.
        callbacks: Hear of evaluations; may be asked to end the run.
        teaches: Whether the run learns from a teacher at any iteration.
        shown_turns: When environments fill in the privileged context in the last evaluation, whose log shows it; one of
            `batch_env.PRIVILEGED_TURNS`.
        health: The findings so far.
        last: The iteration and result of the last evaluation of the watched set in this process.
    """

    args: Options
    method: Method
    source: EnvironmentSource
    policies: Policies
    monitor: Monitor
    scorer: Scorer
    engine: Engine
    callbacks: CallbackList
    teaches: bool
    shown_turns: str
    health: Health
    last: tuple[int, Measured] | None = None

    def restore(self, state: RunState) -> None:
        """Go on with the findings of a run that is resumed."""
        self.monitor.teacher_start = state.teacher_start
        self.health.load(state.health, state.streaks)

    def before(
        self, state: RunState, log: RunLog, progress: Progress, log_metrics: Callable[[dict[str, Any]], None]
    ) -> None:
        """The evaluations before the first iteration: on the watched set, and on the test set where it has episodes.

        Args:
            state: Gets what was measured.
            log: Gets the episodes.
            progress: Says what was measured and found.
            log_metrics: Logs metrics.

        Raises:
            HopelessRunError: Nothing can be played.
            UnhealthyRunError: Something was found, and ``strict_health`` is on.
        """
        watched = self.monitor.measure(self.args.eval_split, teacher=True)
        measured = [watched]
        teacher = None if watched.plays_its_teacher else watched.teacher
        found = judge_start(
            watched.student, teacher, self.args, teaches=self.teaches, empty=self._empty_contexts(watched.teacher)
        )
        if watched.teacher is not None:
            self.monitor.check_teacher(watched.teacher.success_rate)
            state.teacher_start = self.monitor.teacher_start
        if self.args.test_episodes:
            test = self.monitor.measure("test", teacher=False)
            state.before_outcomes = {name: list(found.outcomes) for name, (_, found) in test.named().items()}
            measured.append(test)
        for each in measured:
            progress.say(f"before: {each}")
            log.evaluation(each, iteration=0)
            state.before |= each.described()
        state.watched_at = 0
        log_metrics(watched.metrics())
        findings = self._note(self.health.note(0, found), (), state, progress)
        if self.args.strict_health and findings:
            self.end_unhealthy(findings, state)

    def during(self, state: RunState, log: RunLog, progress: Progress, *, last: bool) -> dict[str, Any]:
        """Evaluate on the watched set; with the privileged-prompt policy where the run learns from its context.

        Returns:
            The metrics; ``teacher/collapsed`` is among them where that policy has fallen too far.
        """
        start, step = self.engine.clock(), state.step
        with_teacher = self.teaches or self.method.student_view == "privileged"
        watched = self.monitor.measure(self.args.eval_split, teacher=with_teacher or last)
        metrics = watched.metrics()
        if watched.teacher is not None and with_teacher:
            message = self.monitor.check_teacher(watched.teacher.success_rate)
            state.teacher_start = self.monitor.teacher_start  # without an evaluation before, this is the first
            if message is not None:
                progress.say(message)
                metrics["teacher/collapsed"] = 1.0
                self.health.note(step, {"teacher_collapsed": message})
                state.health = self.health.to_json()
                if self.args.stop_on_teacher_collapse:
                    self.callbacks.control.should_training_stop = True
        if state.watched_at != step:  # a finished run that is resumed has logged it already
            log.evaluation(watched, iteration=step)
            state.watched_at = step
        metrics["seconds/evaluation"] = self.engine.clock() - start
        self.callbacks.fire("on_evaluate", metrics=metrics)
        self.last = (step, watched)
        return metrics

    def after(self, state: RunState, log: RunLog, progress: Progress) -> tuple[Measured, Measured | None]:
        """The last evaluations.

        Returns:
            Of the watched set, and of the test set; None where that has no episodes.
        """
        if self.last is None or self.last[0] != state.step:
            self.during(state, log, progress, last=True)
        assert self.last is not None
        _, watched = self.last
        test = None
        if self.args.test_episodes:
            # Token weights of the last evaluation are only logged: their counted draws are those of iteration 0.
            plan = dataclasses.replace(self.method.at(max(state.step - 1, 0), self.args), step=0)
            test = self.monitor.measure("test", teacher=False, privileged_turns=self.shown_turns)
            self._log_last(state, log, test, plan)
        progress.say(f"after: {test or watched}")
        return watched, test

    def judge(self, state: RunState, metrics: dict[str, Any], progress: Progress) -> list[Finding]:
        """Judge an iteration by its metrics and mark there what holds; what is new is said. Returns what holds."""
        known = set(self.health.findings)
        # GiGPO also compares steps, whose discounted returns differ where those of the episodes are equal.
        estimator = self.method.advantage or self.args.advantage
        by_episode = self.method.pg_coef != 0.0 and estimator != "gigpo"
        instead = self._instead if self._reads_context else None
        messages = judge(metrics, self.args, reads_groups=by_episode, instead=instead)
        found = self.health.observe(state.step, messages)
        metrics |= {f"health/{finding.name}": 1.0 for finding in found}
        return self._note(found, known, state, progress)

    def end_unhealthy(self, findings: Sequence[Finding], state: RunState) -> None:
        """End the run.

        Raises:
            UnhealthyRunError: Always.
        """
        found = "; ".join(finding.message for finding in findings)
        raise UnhealthyRunError(f"ended after iteration {state.step} by strict_health: {found}")

    @property
    def _reads_context(self) -> bool:
        """Whether the run learns from a privileged context that is meant to hold something."""
        meant = self.args.privilege != "none" or self.policies.seals_info
        return meant and (self.teaches or self.method.student_view == "privileged")

    def _instead(self) -> str:
        """What could be read in the place of an empty privileged context."""
        if self.policies.seals_info:  # a user's own
            return "the teacher_context function returned no text for them"
        return another_privilege(self.args, self.source)

    def _empty_contexts(self, teacher: Evaluation | None) -> str:
        """That the privileged-prompt policy was shown nothing in an evaluation; "" where it was, or is not meant to."""
        own = self.policies.teacher
        if teacher is None or own is None or not self._reads_context:
            return ""
        played = ([turn.view for turn in each.episode.turns] for each in teacher.rollouts)
        share = empty_share(own, zip(played, (each.privileged for each in teacher.rollouts), strict=True))
        return "" if share is None or share < NEARLY_ALL else empty_message(share, self.args, self._instead())

    def _note(
        self, findings: list[Finding], known: Collection[str], state: RunState, progress: Progress
    ) -> list[Finding]:
        """Say the findings whose names are not `known`, and keep them in the state of the run; returns all."""
        for finding in findings:
            if finding.name not in known:
                progress.say(f"WARNING: {finding.message}")
        state.health, state.streaks = self.health.to_json(), self.health.streaks()
        return findings

    def _log_last(self, state: RunState, log: RunLog, test: Measured, plan: IterationPlan) -> None:
        """Log the last evaluation with token arrays: the student's tokens, and the teacher's log-probs of them."""
        rows: list[ScoredRow] = []
        scorer = self.scorer.at_temperature(self.args.eval_temperature)
        if "plain" in test.views:
            rows = self._shown_rows(scorer, test.views["plain"].rollouts, plan)
        columns = partial(scorer.columns, plan=plan)
        log.evaluation(test, iteration=state.step, rows=rows, columns=columns)

    def _shown_rows(self, scorer: Scorer, rollouts: Sequence[Rollout], plan: IterationPlan) -> list[ScoredRow]:
        """The rows of the first episodes of an evaluation, selected and scored as in an iteration."""
        shown = [row for row in build_rows(rollouts) if row.episode_id < LAST_EVALUATION_TOKEN_EPISODES]
        rows = mark_kept(plan, shown, rollouts).rows
        if plan.reads_plan_length:
            rows = measure_progress(rows, rollouts, self.args, self.policies.plan_length).rows
        return scorer.score(rows, rollouts, plan)[0]
