"""SDARTrainer: collect -> choose -> score -> weigh -> update -> evaluate, for any method and any text environment.

This file holds the order of things; what each step does stands in `collecting`, `rows`, `lessons`, `scoring`,
`advantages`, `methods`, `update` and `monitor`. It never asks for a method's name.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from . import methods
from .actors import TeacherContext, make_actors
from .advantages import compute_advantages
from .anchors import merge_similar_anchors
from .bandit import SkillBandit
from .batch import Row
from .callbacks import CallbackList, TrainerState
from .checkpoint import CheckpointStore, open_checkpoint
from .collecting import Collector
from .config import SDARConfig
from .engine import Engine, fingerprint, frozen_copy, load_model, quiet_transformers
from .environments import Environment, EnvironmentSource
from .evaluation import Evaluation, Panel
from .interrupts import Interrupts
from .lessons import choose_lessons, mark_kept, measure_progress
from .measurement import Measured
from .monitor import Monitor
from .progress import Progress, make_progress
from .rows import build_rows, outcomes_of
from .run_directory import RunDirectory, RunDirectoryError
from .run_log import RunLog, require_sinks
from .run_state import Progressed, restore_run, save_run
from .scoring import Scorer
from .summary import rollout_figures, run_summary
from .tasks import TaskPlan
from .update import Updater

TOKEN_EPISODES = 2  # episodes per iteration whose tokens are logged one by one
LAST_PANEL_TOKEN_EPISODES = 64  # and of the last panel


class SDARTrainer:
    """Trains a causal LM on a text environment.

    Args:
        model: A model's name or folder, or a model object (then with `processing_class`).
        env_id: A registered Gymnasium id, or a callable that makes an environment; keyword arguments for it stand in
            ``args.env_kwargs``. Any environment with text in and text out will do.
        args: The configuration; None takes the defaults.
        processing_class: The tokenizer, with a chat template.
        teacher_context: Your own function from `info` to the text that the teacher is shown; it makes any environment
            one with a teacher.
        callbacks: Objects with methods of `callbacks.CallbackList`; those of transformers work.
        panels: Panels by split instead of those made from the configuration.

    Raises:
        ValueError: The method needs a teacher and the environment gives it nothing to read; or as for `SDARConfig`.
        ImportError: ``report_to`` names a sink whose package is not installed.
    """

    def __init__(
        self,
        model: Any,
        env_id: str | Callable[..., Environment],
        args: SDARConfig | None = None,
        *,
        processing_class: Any = None,
        teacher_context: TeacherContext | None = None,
        callbacks: Sequence[Any] = (),
        panels: Mapping[str, Panel] | None = None,
    ) -> None:
        self.args = args or SDARConfig()
        require_sinks(self.args)
        self.method = methods.get_method(self.args.method)
        self.source = EnvironmentSource(env_id, self.args.environment_kwargs, self.args.success_threshold)
        self.engine = Engine.of(self.args)
        loaded, self.processing_class = load_model(model, processing_class)
        self.model = self.engine.prepare(loaded)
        # With a coefficient of 0 throughout, a run has no teacher, whatever its row says.
        coefs = [methods.coefficient(self.method, self.args, step) for step in range(max(self.args.max_steps, 1))]
        self._teaches = any(methods.needs_teacher(self.method, coef) for coef in coefs)
        # A method without anything to learn from is measured, and that is all.
        self._steps = self.args.max_steps if methods.learns(self.method) else 0
        self.bandit = SkillBandit.of(self.args, self.source.skill_bank, self.method)
        self.actors = make_actors(
            self.model,
            self.processing_class,
            self.args,
            self.method,
            self.source,
            teacher_context,
            teaches=any(coefs),
            skill_choice=None if self.bandit is None else self.bandit.choose,
        )
        self._initial = fingerprint(self.model)
        reference = frozen_copy(self.model) if self._steps and methods.needs_reference(self.args) else None
        pad_id = self.actors.renderer.pad_id
        self.scorer = Scorer(self.model, reference, self.method, self.args, self.engine, pad_id, self.actors.readers)
        self.updater = Updater(self.model, self.method, self.args, self.engine, pad_id)
        self.monitor = Monitor(self.source, self.actors, self.args, dict(panels or {}), self.method.eval_views)
        self.plan = TaskPlan(self.source.task_ids("train"), self.args)
        self.collector = Collector(self.source, self.actors, self.method, self.args, self.plan)
        self._told = self.collector.privileged_turns(max(coefs))
        self.callbacks = CallbackList(list(callbacks), self.args, TrainerState(max_steps=self._steps))
        self.progressed = Progressed()
        self._last_watched: tuple[int, Measured] | None = None

    # What a user calls.

    def train(self, resume_from_checkpoint: bool | str | Path | None = None) -> dict[str, Any]:
        """Run until ``max_steps``, writing the run directory; returns what `summary.json` holds.

        Args:
            resume_from_checkpoint: True goes on from the newest checkpoint of ``output_dir`` that verifies (from the
                start when there is none yet), a path from that one; later ones of ``output_dir`` are removed then, as
                the logs are cut.

        Raises:
            RunDirectoryError: The directory is in use or holds another run.
            CheckpointError: There are checkpoints and none is whole.
            NonFiniteGradientsError: Too many updates had to be skipped.
            KeyboardInterrupt: Ctrl-C; the iteration was finished and saved before.
        """
        resume = resume_from_checkpoint not in (None, False)
        identity = {"env_id": self.source.name, "initial_weights": self._initial}
        directory = RunDirectory(self.args.output_dir, self.args, resume=resume, extra=identity)
        try:
            self.monitor.use_folder(directory.path / "panels")
            store = CheckpointStore(directory.checkpoints, keep=self.args.save_total_limit)
            if resume:
                path = None if resume_from_checkpoint is True else Path(str(resume_from_checkpoint))
                self._restore(directory, store, path)
            log = RunLog(directory, self.args, lambda token: str(self.processing_class.decode([token])))
            progress = make_progress(self._steps, done=self.progressed.step, title=self.method.name)
            try:
                return self._run(directory, store, log, progress)
            finally:
                progress.close()
                log.close()
        finally:
            directory.close()
            self.collector.close()

    @property
    def initial_weights(self) -> str:
        """Fingerprint of the weights it was made with, as in `run.json`."""
        return self._initial

    def evaluate(self, split: str | None = None, *, view: str | None = None) -> Evaluation:
        """Play the panel of `split` (default: the watched one) behind `view` (the prompt that the method is about)."""
        return self.monitor.student(split or self.args.eval_split, view=view or self.method.eval_views[0])

    def save_model(self, output_dir: str | Path) -> None:
        """Write model and tokenizer in Hugging Face's format."""
        with quiet_transformers():
            self.model.save_pretrained(output_dir)
            self.processing_class.save_pretrained(output_dir)

    # The run.

    def _run(self, directory: RunDirectory, store: CheckpointStore, log: RunLog, progress: Progress) -> dict[str, Any]:
        args, state = self.args, self.progressed
        start = self.engine.clock() - state.seconds
        self.callbacks.fire("on_train_begin")
        if not state.before:
            self._measure_start(log, progress)
        saved = state.step if state.step else None
        with Interrupts() as interrupts:
            while state.step < self._steps and not self.callbacks.control.should_training_stop:
                self._reset_requests()
                self.callbacks.fire("on_step_begin")
                figures = self.iteration(log)
                state.step += 1
                self.callbacks.state.global_step = state.step
                self.callbacks.fire("on_step_end")
                control = self.callbacks.control
                last = state.step == self._steps or control.should_training_stop
                if control.should_evaluate or last or (args.eval_steps and state.step % args.eval_steps == 0):
                    figures |= self._watch(log, progress, last=last)
                state.seconds = self.engine.clock() - start
                if control.should_log or last or state.step % args.logging_steps == 0:
                    self._log(log, figures)
                progress.step(state.step, figures)
                wanted = args.save_steps and state.step % args.save_steps == 0
                if wanted or last or control.should_save or interrupts.received is not None:
                    self._save(directory, store)
                    saved = state.step
                if interrupts.received is not None:
                    progress.say(f"interrupted after iteration {state.step}, which is saved: resume goes on from there")
                    interrupts.raise_received()
        if saved != state.step:
            self._save(directory, store)
        summary = self._finish(directory, log, progress, start)
        self.callbacks.fire("on_train_end")
        return summary

    def iteration(self, log: RunLog | None = None) -> dict[str, Any]:
        """One iteration: collect, choose, score, weigh, update. Returns its figures.

        Raises:
            RuntimeError: Every episode's environment broke.
        """
        step, clock, args = self.progressed.step, self.engine.clock, self.args
        coef = methods.coefficient(self.method, args, step)
        start, cpu_start = clock(), time.process_time()
        resampled = self.collector.collect(step, coef)
        rollouts = resampled.rollouts
        rows = build_rows(rollouts)
        merge_similar_anchors(rows, rollouts, args.gigpo_similarity)
        collected = clock()
        figures = rollout_figures(rollouts, rows, view=self.method.student_view)
        self.callbacks.fire("on_rollout_end", rollouts=rollouts)
        if methods.needs_plan(self.method, coef):
            figures |= measure_progress(rows, rollouts, args, self.actors.plan_length)
        learned, chosen = choose_lessons(self.method, rows, rollouts, args, coef=coef, plain=self.actors.plain)
        figures |= chosen
        figures |= self.scorer.score(learned, rollouts, coef=coef)
        advantages = compute_advantages(rows, outcomes_of(rollouts), args, self.method.advantage)
        methods.prepare(self.method, learned, args, coef=coef, step=step)
        cpu_logging = time.process_time()
        if log is not None:
            shown = [row for row in rows if row.episode_id < TOKEN_EPISODES]
            columns, view = partial(self.scorer.columns, coef=coef), self.method.student_view
            log.episodes(rollouts, iteration=step, phase="train", view=view, rows=shown, columns=columns)
        weighed, cpu_weighed = clock(), time.process_time()
        figures |= self.updater.update(learned, step=step, coef=coef)
        if self.bandit is not None:
            figures |= self.bandit.learn(rows, rollouts, resampled.replaced)
            self.progressed.retrieval = self.bandit.state()
        figures |= {
            "groups": float(advantages.groups),
            "groups/flat": float(advantages.flat_groups),
            "groups/single": float(advantages.single_groups),
            **advantages.figures,
            **(resampled.figures(args.num_generations) if args.dynamic_sampling else {}),
            "coefficient": coef,
            "seconds/rollout": collected - start,
            "seconds/update": clock() - weighed,
        }
        state = self.progressed
        state.cpu_seconds += cpu_logging - cpu_start + time.process_time() - cpu_weighed
        figures["seconds/cpu"] = state.cpu_seconds
        state.sampled_tokens += int(figures["tokens/sampled"] + figures.get("tokens/replaced", 0))
        state.trained_tokens += sum(len(row.student.ids) for row in learned)
        state.failed_episodes += int(figures["episodes/failed"])
        return figures

    # Evaluation and logs.

    def _measure_start(self, log: RunLog, progress: Progress) -> None:
        state = self.progressed
        watched = self.monitor.measure(self.args.eval_split, teacher=True)
        measured = [watched]
        if watched.teacher is not None:
            self.monitor.check_teacher(watched.teacher.success_rate)
            state.teacher_start = self.monitor.teacher_start
        if self.args.test_episodes:
            test = self.monitor.measure("test", teacher=False)
            state.before_outcomes = {name: list(found.outcomes) for name, (_, found) in test.named().items()}
            measured.append(test)
        for each in measured:
            progress.say(f"before: {each}")
            log.panel(each, iteration=0)
            state.before |= each.described()
        state.watched_at = 0
        self._log(log, watched.figures())

    def _watch(self, log: RunLog, progress: Progress, *, last: bool) -> dict[str, Any]:
        """Measure on the watched panel, the hinted teacher beside the student where what is learned comes from it."""
        start = self.engine.clock()
        step = self.progressed.step
        hints = self._teaches or self.method.student_view == "privileged"
        watched = self.monitor.measure(self.args.eval_split, teacher=hints or last)
        figures = watched.figures()
        if watched.teacher is not None and hints:
            message = self.monitor.check_teacher(watched.teacher.success_rate)
            if message is not None:
                progress.say(message)
                figures["teacher/collapsed"] = 1.0
                if self.args.stop_on_teacher_collapse:
                    self.callbacks.control.should_training_stop = True
        if self.progressed.watched_at != step:  # a finished run that is resumed has it already
            log.panel(watched, iteration=step)
            self.progressed.watched_at = step
        figures["seconds/evaluation"] = self.engine.clock() - start
        self.callbacks.fire("on_evaluate", metrics=figures)
        self._last_watched = (step, watched)
        return figures

    def _log(self, log: RunLog, figures: dict[str, Any]) -> None:
        log.metrics(self.progressed.step, figures)
        self.callbacks.state.log_history.append({"step": self.progressed.step, **figures})
        self.callbacks.fire("on_log", logs=figures)

    def _finish(self, directory: RunDirectory, log: RunLog, progress: Progress, start: float) -> dict[str, Any]:
        """The last measurements, and `summary.json`; the clock that stood at `start` counts them too."""
        if self._last_watched is None or self._last_watched[0] != self.progressed.step:
            self._watch(log, progress, last=True)
        assert self._last_watched is not None
        _, watched = self._last_watched
        test = None
        if self.args.test_episodes:
            coef = methods.coefficient(self.method, self.args, max(self.progressed.step - 1, 0))
            test = self.monitor.measure("test", teacher=False, privileged_turns=self._told)
            self._log_last_panel(log, test, coef)
        progress.say(f"after: {test or watched}")
        self.progressed.seconds = self.engine.clock() - start
        summary = run_summary(
            method=self.method.name,
            env_id=self.source.name,
            config=self.args,
            progressed=self.progressed,
            counters=self.updater.counters,
            watched=watched,
            test=test,
        )
        directory.write_summary(summary)
        return summary

    def _log_last_panel(self, log: RunLog, test: Measured, coef: float) -> None:
        """The last panel with token arrays: what the student wrote, and how the teacher reads it."""
        rows: list[Row] = []
        scorer = self.scorer.at_temperature(self.args.eval_temperature)
        if "plain" in test.views:
            rollouts = test.views["plain"].rollouts
            rows = [row for row in build_rows(rollouts) if row.episode_id < LAST_PANEL_TOKEN_EPISODES]
            mark_kept(self.method, rows, rollouts, self.args, coef=coef)
            if methods.needs_plan(self.method, coef):
                measure_progress(rows, rollouts, self.args, self.actors.plan_length)
            scorer.score(rows, rollouts, coef=coef)
        log.panel(test, iteration=self.progressed.step, rows=rows, columns=partial(scorer.columns, coef=coef))

    # State.

    def _save(self, directory: RunDirectory, store: CheckpointStore) -> None:
        save_run(store, directory, self.progressed, self.updater, self.args, self._initial, self.save_model)
        self.callbacks.fire("on_save")

    def _restore(self, directory: RunDirectory, store: CheckpointStore, path: Path | None) -> None:
        checkpoint = store.newest() if path is None else open_checkpoint(path)
        if checkpoint is not None and not store.holds(checkpoint) and store.paths():
            raise RunDirectoryError(
                f"{directory.path} has checkpoints of its own, and {checkpoint.path} is none of them: resume from one "
                "of its own, or choose another output_dir"
            )
        self.progressed = restore_run(checkpoint, directory, self.updater, self.args, self._initial)
        if checkpoint is not None:
            # Their log lengths are those of a story that is not told any more.
            store.drop_after(checkpoint.step)
        self.monitor.teacher_start = self.progressed.teacher_start
        if self.bandit is not None:
            self.bandit.load(self.progressed.retrieval)
        self.callbacks.state.global_step = self.progressed.step

    def _reset_requests(self) -> None:
        control = self.callbacks.control
        control.should_evaluate = control.should_save = control.should_log = False
