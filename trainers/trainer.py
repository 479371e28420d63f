"""SDARTrainer: collect -> score -> weigh -> update -> evaluate, for any method of the table and any text environment.

This file holds the order of things; what each step does stands in `rollout`, `rows`, `scoring`, `advantages`,
`methods`, `update` and `monitor`. It never asks for a method's name.
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
from .batch_env import LoopBatchEnv
from .callbacks import CallbackList, TrainerState
from .checkpoint import CheckpointStore, open_checkpoint
from .config import SDARConfig
from .engine import Engine, fingerprint, frozen_copy, load_model, quiet_transformers
from .environments import Environment, EnvironmentSource
from .evaluation import Evaluation, Panel
from .interrupts import Interrupts
from .monitor import Monitor, watched_figures
from .progress import Progress, make_progress
from .resampling import Resampled, replace_flat_groups
from .rollout import collect
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
        coefs = (methods.coefficient(self.method, self.args, step) for step in range(max(self.args.max_steps, 1)))
        self._teaches = any(methods.needs_teacher(self.method, coef) for coef in coefs)
        self.actors = make_actors(
            self.model,
            self.processing_class,
            self.args,
            self.method,
            self.source,
            teacher_context,
            teaches=self._teaches,
        )
        self._initial = fingerprint(self.model)
        reference = frozen_copy(self.model) if methods.needs_reference(self.args) else None
        pad_id = self.actors.renderer.pad_id
        self.scorer = Scorer(self.model, reference, self.method, self.args, self.engine, pad_id, self.actors.readers)
        self.updater = Updater(self.model, self.method, self.args, self.engine, pad_id)
        self.monitor = Monitor(self.source, self.actors, self.args, dict(panels or {}))
        self.plan = TaskPlan(self.source.task_ids("train"), self.args)
        self.callbacks = CallbackList(list(callbacks), self.args, TrainerState(max_steps=self.args.max_steps))
        self.progressed = Progressed()
        self._train_env: LoopBatchEnv | None = None
        self._last_watched: tuple[int, Evaluation, Evaluation | None] | None = None

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
            progress = make_progress(self.args.max_steps, done=self.progressed.step, title=self.method.name)
            try:
                return self._run(directory, store, log, progress)
            finally:
                progress.close()
                log.close()
        finally:
            directory.close()
            self._close_environments()

    def evaluate(self, split: str | None = None) -> Evaluation:
        """Play the panel of `split` (the watched one by default) with the student's prompt."""
        return self.monitor.student(split or self.args.eval_split)

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
            while state.step < args.max_steps and not self.callbacks.control.should_training_stop:
                self._reset_requests()
                self.callbacks.fire("on_step_begin")
                figures = self.iteration(log)
                state.step += 1
                self.callbacks.state.global_step = state.step
                self.callbacks.fire("on_step_end")
                control = self.callbacks.control
                last = state.step == args.max_steps or control.should_training_stop
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
        """One iteration: collect, score, weigh, update. Returns its figures.

        Raises:
            RuntimeError: Every episode's environment broke.
        """
        step, clock = self.progressed.step, self.engine.clock
        coef = methods.coefficient(self.method, self.args, step)
        start, cpu_start = clock(), time.process_time()
        resampled = self._collect(step, coef)
        rollouts = resampled.rollouts
        rows = build_rows(rollouts)
        merge_similar_anchors(rows, rollouts, self.args.gigpo_similarity)
        collected = clock()
        figures = rollout_figures(rollouts, rows)
        self.callbacks.fire("on_rollout_end", rollouts=rollouts)
        figures |= self.scorer.score(rows, rollouts, coef=coef)
        advantages = compute_advantages(rows, outcomes_of(rollouts), self.args, self.method.advantage)
        methods.prepare(self.method, rows, self.args, coef=coef, step=step)
        cpu_logging = time.process_time()
        if log is not None:
            shown = [row for row in rows if row.episode_id < TOKEN_EPISODES]
            columns = partial(self.scorer.columns, coef=coef)
            log.episodes(rollouts, iteration=step, phase="train", rows=shown, columns=columns)
        weighed, cpu_weighed = clock(), time.process_time()
        figures |= self.updater.update(rows, step=step, coef=coef)
        figures |= {
            "groups": float(advantages.groups),
            "groups/flat": float(advantages.flat_groups),
            "groups/single": float(advantages.single_groups),
            **advantages.figures,
            **(resampled.figures(self.args.num_generations) if self.args.dynamic_sampling else {}),
            "coefficient": coef,
            "seconds/rollout": collected - start,
            "seconds/update": clock() - weighed,
        }
        state = self.progressed
        state.cpu_seconds += cpu_logging - cpu_start + time.process_time() - cpu_weighed
        figures["seconds/cpu"] = state.cpu_seconds
        state.sampled_tokens += int(figures["tokens/sampled"] + figures.get("tokens/replaced", 0))
        state.trained_tokens += sum(len(row.student.ids) for row in rows)
        state.failed_episodes += int(figures["episodes/failed"])
        return figures

    def _collect(self, step: int, coef: float) -> Resampled:
        args = self.args
        if self._train_env is None:
            slots = args.sampler_batch or args.tasks_per_step * args.num_generations
            self._train_env = LoopBatchEnv.of(self.source, "train", slots)
        reads = methods.needs_teacher(self.method, coef) or self.actors.student.reads_privileged
        self._train_env.privileged_turns = self.actors.privileged_turns if reads else "never"
        seal_info = self.actors.seals_info and reads
        play = partial(collect, self.actors.student, self._train_env, max_turns=args.max_turns, seal_info=seal_info)
        rollouts = play(self.plan.draws(step))
        if all(rollout.episode.failed for rollout in rollouts):
            raise RuntimeError(f"every episode of iteration {step} failed; the first: {rollouts[0].failure}")
        return replace_flat_groups(rollouts, play, self.plan, step=step, tries=args.dynamic_sampling)

    # Evaluation and logs.

    def _measure_start(self, log: RunLog, progress: Progress) -> None:
        watched = self.monitor.student(self.args.eval_split)
        before = {self.args.eval_split: watched.to_json()}
        figures = watched_figures(self.args.eval_split, watched)
        hinted = self.monitor.teacher(self.args.eval_split)
        if hinted is not None:
            before["teacher"] = hinted.to_json()
            figures |= watched_figures("teacher", hinted)
            self.monitor.check_teacher(hinted.success_rate)
            self.progressed.teacher_start = self.monitor.teacher_start
        progress.say(f"before: {watched}" + ("" if hinted is None else f"; hinted teacher: {hinted}"))
        if self.args.test_episodes:
            test = self.monitor.student("test")
            before["test"] = test.to_json()
            self.progressed.before_outcomes = list(test.outcomes)
            progress.say(f"before: {test}")
            log.episodes(test.rollouts, iteration=0, phase="test")
        log.episodes(watched.rollouts, iteration=0, phase=self.args.eval_split)
        self.progressed.before, self.progressed.watched_at = before, 0
        self._log(log, figures)

    def _watch(self, log: RunLog, progress: Progress, *, last: bool) -> dict[str, Any]:
        """Evaluate on the watched panel, the hinted teacher beside the student where it teaches."""
        start = self.engine.clock()
        split, step = self.args.eval_split, self.progressed.step
        watched = self.monitor.student(split)
        figures = watched_figures(split, watched)
        hinted = self.monitor.teacher(split) if self._teaches or last else None
        if hinted is not None:
            figures |= watched_figures("teacher", hinted)
            message = self.monitor.check_teacher(hinted.success_rate) if self._teaches else None
            if message is not None:
                progress.say(message)
                figures["teacher/collapsed"] = 1.0
                if self.args.stop_on_teacher_collapse:
                    self.callbacks.control.should_training_stop = True
        if self.progressed.watched_at != step:  # a finished run that is resumed has it already
            log.episodes(watched.rollouts, iteration=step, phase=split)
            self.progressed.watched_at = step
        figures["seconds/evaluation"] = self.engine.clock() - start
        self.callbacks.fire("on_evaluate", metrics=figures)
        self._last_watched = (step, watched, hinted)
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
        _, watched, hinted = self._last_watched
        test = None
        if self.args.test_episodes:
            test = self.monitor.student("test", keep_privileged=self._teaches)
            self._log_last_panel(log, test)
        progress.say(f"after: {test or watched}")
        self.progressed.seconds = self.engine.clock() - start
        summary = run_summary(
            method=self.method.name,
            env_id=self.source.name,
            config=self.args,
            progressed=self.progressed,
            counters=self.updater.counters,
            watched=watched,
            hinted=hinted,
            test=test,
        )
        directory.write_summary(summary)
        return summary

    def _log_last_panel(self, log: RunLog, test: Evaluation) -> None:
        """The last panel with token arrays: what the student wrote, and how the teacher reads it."""
        coef = methods.coefficient(self.method, self.args, max(self.progressed.step - 1, 0))
        rows = [row for row in build_rows(test.rollouts) if row.episode_id < LAST_PANEL_TOKEN_EPISODES]
        scorer = self.scorer.at_temperature(self.args.eval_temperature)
        scorer.score(rows, test.rollouts, coef=coef)
        columns = partial(scorer.columns, coef=coef)
        step = self.progressed.step
        log.episodes(test.rollouts, iteration=step, phase="test", rows=rows, columns=columns)

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
        self.callbacks.state.global_step = self.progressed.step

    def _reset_requests(self) -> None:
        control = self.callbacks.control
        control.should_evaluate = control.should_save = control.should_log = False

    def _close_environments(self) -> None:
        if self._train_env is not None:
            self._train_env.close()
            self._train_env = None
