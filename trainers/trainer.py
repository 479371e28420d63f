"""SDARTrainer: collect -> select -> score -> weigh -> update -> evaluate, for any method and any text environment.

This file holds the order of the steps; each step is in the folder of its name (`rollout` holds the first two, `methods`
and `maths` the fourth, `engine` the fifth). Nothing here depends on a method's name.
It is long for one reason: making a trainer names every part of it once, and so has that order in one place.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from torch import Tensor

from agents.chat import require_lengths
from agents.rendering import ChatRenderer
from agents.sampling.base import Sampler
from sdar_envs.model_files import load_tokenizer, positions_of

from .config import SDARConfig, configuration
from .engine.adapters import (
    adapted_layers,
    attach,
    base_identity,
    merge_in_place,
    save_adapter,
    save_merged,
    state_digest,
)
from .engine.agreement import require_agreement
from .engine.base import Engine
from .engine.checkpoint import Checkpoint, CheckpointStore, open_checkpoint
from .engine.choice import choose_engine, local_engine
from .engine.policies import averaged_policy, initial_policy, stored_policy
from .engine.processes import join
from .engine.rank_failures import shared_failures
from .engine.single import check_before_loading, fingerprint, fitted, load_model, quiet_transformers
from .engine.updater import Updater
from .evaluation.evaluate import Evaluation
from .evaluation.evaluation_set import EvaluationSet
from .evaluation.health import Health, UnhealthyRunError
from .evaluation.monitor import Monitor
from .forward.weights import PolicyWeights
from .iteration import Iteration
from .methods import get_method
from .rollout import generation_server
from .rollout.collector import Collector, EpisodeSource
from .rollout.making import Environment
from .rollout.opening import collects_asynchronously, source_of
from .rollout.policies import TeacherContext, load_teacher_context, make_policies
from .rollout.reflecting import Reflector
from .rollout.skill_bandit import SkillBandit
from .rollout.tasks import TaskPlan
from .run.callbacks import CallbackList, TrainerControl, TrainerState
from .run.directory import RunDirectory, RunDirectoryError, warm_start_of
from .run.frozen_opponents import load_frozen
from .run.hub import push_folder, require_hub_name
from .run.interrupts import Interrupts
from .run.log import RunLog
from .run.model_card import write_card
from .run.progress import NoProgress, Progress, make_progress
from .run.provenance import provenance_of
from .run.run_state import RunState, misfit, restore_run, save_run
from .run.shared_start import common_facts, open_directory
from .run.sinks import require_sinks
from .run.summary import run_summary
from .run.watch import Watch
from .scoring.old_logprobs import OldLogprobs
from .scoring.scorer import Scorer


class SDARTrainer:
    """Trains a causal LM on a text environment.

    Args:
        model: A model's name or folder, or a model object (then with `processing_class`).
        env_id: A registered Gymnasium id (``module:id`` imports the module first), or a callable that makes an
            environment; its keyword arguments are ``args.env_kwargs``. Any environment with text in and text out works.
        args: The configuration; None takes the defaults. With `preset` it is a mapping of the options that win over the
            preset's.
        preset: The preset that the run starts from; ``auto`` is the one that the command line would choose for
            this environment and model (the defaults, where there is none).
        processing_class: The tokenizer, with a chat template.
        teacher_context: A function from `info` to the text that the teacher reads, or ``module:function``; with it any
            environment can have a teacher.
        callbacks: Objects with the methods that `run.callbacks` lists; those of transformers work.
        evaluation_sets: Evaluation sets by split instead of those made from the configuration.
        sampler: Samples completions for student, evaluator and privileged-prompt policy; None samples from the model
            that is trained, in this process.
        engine: Where and how the model computes; None is one process on the configured device, or the processes that
            a launcher such as torchrun has started.
        episodes: What iterations learn from in the place of episodes that the student plays (stored ones:
            `offline.supervised.StoredEpisodes`); evaluations are played in any case.
        trust_remote_code: Whether code that the model brings may run; the run's `versions.json` then says so.

    Raises:
        ValueError: The method needs a teacher and the environment has no privileged information; the preset is for
            another environment; or as `SDARConfig`.
        TypeError: `args` is a whole configuration and there is a preset, or a mapping and there is none.
        ImportError: ``report_to`` names a sink whose package is not installed.
        ProcessesError: There are several processes, and they cannot meet or were given different things.
    """

    def __init__(
        self,
        model: Any,
        env_id: str | Callable[..., Environment],
        args: SDARConfig | Mapping[str, Any] | None = None,
        *,
        preset: str | None = None,
        processing_class: Any = None,
        teacher_context: TeacherContext | str | None = None,
        callbacks: Sequence[Any] = (),
        evaluation_sets: Mapping[str, EvaluationSet] | None = None,
        sampler: Sampler | None = None,
        engine: Engine | None = None,
        episodes: EpisodeSource | None = None,
        trust_remote_code: bool = False,
    ) -> None:
        # Configuration, method and environment; `_identity` is what a run directory is checked against on a resume.
        self.args = configuration(model, env_id, args, preset)
        require_sinks(self.args)
        self.method = get_method(self.args.method)
        self.source = source_of(env_id, self.args.environment_kwargs, self.args)
        self._identity: dict[str, Any] = {"env_id": self.source.name, **(episodes.identity() if episodes else {})}
        if isinstance(teacher_context, str):
            self._identity["teacher_context"] = teacher_context
            teacher_context = load_teacher_context(teacher_context)

        # The processes of the run, and what they must have in common.
        group = join(self.args) if engine is None else None
        if group is not None:
            require_agreement(group, common_facts(self.args, self.source, self._identity))

        # What can be checked before a model is read: its lengths, its kind, its chat template, and the environment.
        if isinstance(model, (str, Path)):
            require_lengths(positions_of(model), self.args.max_prompt_length, self.args.max_completion_length)
            check_before_loading(model)
            processing_class = processing_class or load_tokenizer(model, trust_remote_code=trust_remote_code)
            ChatRenderer(processing_class)
        self.source.task_ids("train")

        # The model, and what its method reads over the run.
        local = engine or local_engine(self.args)
        loaded, self.processing_class = load_model(
            model,
            processing_class,
            trust_remote_code=trust_remote_code,
            # Adapters know their base model by its values, as they are stored.
            dtype=None if self.args.lora else getattr(local, "dtype", None),
            attn_implementation=self.args.attn_implementation,
        )
        self.engine: Engine = engine or choose_engine(self.args, loaded)
        self._trusts_code = trust_remote_code
        self._model = _place_of(model)
        self._warm_start = warm_start_of(model)
        if adapted_layers(loaded):
            loaded = merge_in_place(loaded)  # a run that begins from adapters trains what they make of their base model
        if self.args.lora:
            self._base = base_identity(loaded, self._model)
            attach(
                loaded,
                rank=self.args.lora_rank,
                alpha=self.args.alpha,
                targets=self.args.lora_targets,
                seed=self.args.seed,
            )
        self.args = fitted(self.args, loaded, self.engine.device)
        self.root = self.engine.prepare(loaded)
        self.model = self.root.language_model
        # With a coefficient of 0 at every iteration a run has no teacher, whatever its method.
        plans = [self.method.at(step, self.args) for step in range(max(self.args.max_steps, 1))]
        # A method that learns nothing is only evaluated.
        self._steps = self.args.max_steps if self.method.learns else 0

        # Who acts and who reads.
        self.bandit = SkillBandit.of(self.args, self.source.skill_bank, self.method)
        self.policies = make_policies(
            self.engine.sampling_model(self.root),
            self.processing_class,
            self.args,
            self.method,
            self.source,
            teacher_context,
            teaches=any(plan.coefficient for plan in plans),
            skill_choice=None if self.bandit is None else self.bandit.choose,
            sampler=sampler,
        )

        # The steps of an iteration, and the evaluations.
        self._initial = fingerprint(self.model)
        self._identity["initial_weights"] = self._initial
        if group is not None:
            require_agreement(group, {"the initial weights (their fingerprint)": self._initial})
        wants_reference = self._steps and any(plan.reads_reference for plan in plans)
        reference = initial_policy(self.root, self.engine) if wants_reference else None
        pad_id = self.policies.renderer.pad_id
        self.updater = Updater(self.root, self.args, self.engine, pad_id)
        teacher = self._teacher_policy(reference) if any(plan.reads_teacher for plan in plans) else None
        old = OldLogprobs.of(self.args, self.policies.sampler, self.engine.dtype)
        self.scorer = Scorer(self.root, reference, self.args, self.engine, pad_id, self.policies.readers, teacher, old)
        sets = dict(evaluation_sets or {})
        asynchronous = collects_asynchronously(
            self.args, self.policies.sampler, on_gpu=self.engine.device.type == "cuda"
        )
        self.monitor = Monitor(self.source, self.policies, self.args, sets, self.method.eval_views, ranks=self.engine)
        self.monitor.asynchronous = asynchronous
        choosing = self.bandit if self.method.student_view == "privileged" else None
        names = self.args.opponents if self.args.roles else ()
        self.collector = Collector(
            self.source,
            self.policies,
            self.args,
            TaskPlan(self.source.task_ids("train"), self.args),
            asynchronous=asynchronous,
            ranks=self.engine,
            choose=None if choosing is None else choosing.choose,
            frozen=load_frozen(names, self.source, self.args, self.engine, trust=trust_remote_code),
        )
        # The last evaluation is logged with the teacher's reading, so it holds what the strongest iteration asked for.
        strongest = max(plans, key=lambda plan: plan.coefficient)
        shown_turns = self.collector.privileged_turns(strongest)
        writes = self.engine.is_writer
        shown = TrainerState(max_steps=self._steps, is_world_process_zero=writes, is_local_process_zero=writes)
        self.callbacks = CallbackList(list(callbacks), self.args, shown)
        self._iteration = Iteration(
            self.args,
            self.method,
            self.policies,
            episodes or self.collector,
            self.scorer,
            self.updater,
            self.bandit,
            Reflector.of(
                self.policies.sampler, self.policies.readers, self.args, self.policies.reflection, self.engine
            ),
            on_rollout_end=lambda rollouts: self.callbacks.fire("on_rollout_end", rollouts=rollouts),
        )
        self.watch = Watch(
            self.args,
            self.method,
            self.source,
            self.policies,
            self.monitor,
            self.scorer,
            self.engine,
            self.callbacks,
            teaches=any(plan.reads_teacher for plan in plans),
            shown_turns=shown_turns,
            health=Health(self.args.health_patience),
        )
        self.state = RunState()

    def _teacher_policy(self, reference: PolicyWeights | None) -> PolicyWeights | None:
        """The parameters that read for the teacher; None for the live ones."""
        chosen = self.method.teacher_weights_for(self.args)
        if chosen == "current":
            return None
        if chosen == "initial":
            return reference or initial_policy(self.root, self.engine)
        if chosen == "ema":
            return averaged_policy(self.updater, self.args.teacher_ema_decay)
        stored = stored_policy(chosen, self.root, self.engine, self.processing_class, trust=self._trusts_code)
        with stored.scope():
            self._identity["teacher_weights"] = state_digest(stored.root.language_model.state_dict())
        return stored

    # What a user calls.

    def train(self, resume_from_checkpoint: bool | str | Path | None = None) -> dict[str, Any]:
        """Run until ``max_steps``, writing the run directory; returns what `summary.json` holds.

        Args:
            resume_from_checkpoint: True goes on from the newest checkpoint of ``output_dir`` that verifies (from the
                start when there is none yet), a path from that checkpoint. Later checkpoints and log lines of
                ``output_dir`` are then removed.

        Raises:
            RunDirectoryError: The directory is in use or holds another run.
            CheckpointError: There are checkpoints and none verifies and fits the logs, or one could not be written.
            NonFiniteGradientsError: Too many updates had to be skipped.
            HopelessRunError: The evaluation before the first iteration shows that nothing can be played.
            UnhealthyRunError: Something for which the run does not learn was found, and ``strict_health`` is on.
            RankLostError: Another process of the run has ended.
            KeyboardInterrupt: Ctrl-C; the iteration was finished and saved before.
        """
        with shared_failures():
            return self._train(resume_from_checkpoint)

    def _train(self, resume_from_checkpoint: bool | str | Path | None) -> dict[str, Any]:
        resume = resume_from_checkpoint not in (None, False)
        directory = open_directory(
            self.engine,
            self.args,
            self.monitor.use_folder,
            resume=resume,
            identity=self._identity,
            trust_remote_code=self._trusts_code,
            warm_start=self._warm_start,
        )
        try:
            store = CheckpointStore(directory.checkpoints, keep=self.args.save_total_limit)
            if resume:
                path = None if resume_from_checkpoint is True else Path(str(resume_from_checkpoint))
                self._restore(directory, store, path)
            log = RunLog(
                directory,
                self.args,
                lambda token: str(self.processing_class.decode([token])),
                provenance_of(
                    self.args, self.source, self.processing_class, model=self._model, initial_weights=self._initial
                ),
            )
            progress: Progress = NoProgress()
            if directory.written:
                progress = make_progress(self._steps, done=self.state.step, title=self.method.name)
            self.monitor.advance = progress.advance
            try:
                return self._run(directory, store, log, progress)
            except UnhealthyRunError:
                if not self.state.step:  # nothing is kept of it, so the folder is free for another try
                    directory.disown()
                raise
            finally:
                progress.close()
                log.close()
        finally:
            self.collector.close()
            self._iteration.collector.close()
            self.source.close()
            generation_server.close(self.policies.sampler)
            directory.close()

    @property
    def initial_weights(self) -> str:
        """Fingerprint of the initial parameters, as in `run.json`."""
        return self._initial

    def evaluate(self, split: str | None = None, *, view: str | None = None) -> Evaluation:
        """Play the evaluation set of a split.

        Args:
            split: None takes the split that is watched in training.
            view: The prompt to act under, of `method.VIEWS`; None takes the one that the method is about.
        """
        self._sync_sampler(self.state.step)
        return self.monitor.student(split or self.args.eval_split, view=view or self.method.eval_views[0])

    def save_model(self, output_dir: str | Path, *, merged: bool = False) -> None:
        """Write model and tokenizer in Hugging Face's format, with a card; with adapters, these alone, as peft does.

        With several processes all call this, and one writes.

        Args:
            output_dir: Made when missing.
            merged: Write a whole model in any case, with adapters merged in.
        """
        parameters = self.engine.whole_state(self.root, learning_only=self.args.lora and not merged)
        if self.engine.is_writer:
            folder = Path(output_dir)
            self._write_model(folder, parameters, merged=merged)
            base = str(self._base["model"]) if self.args.lora and not merged else None
            run = Path(self.args.output_dir)
            write_card(folder, self.source.name, self.args, self.state.step, run=run, base=base)

    def push_to_hub(self, name: str, *, private: bool = True, merged: bool = False) -> None:
        """Send model, tokenizer and card to the Hugging Face Hub; nothing but this call sends a model anywhere.

        Args:
            name: ``OWNER/NAME``.
            private: Of a new repository.
            merged: As of `save_model`.

        Raises:
            ValueError: The name cannot be one of the Hub.
            OSError: The Hub cannot be reached, or refuses.
        """
        require_hub_name(name)
        with TemporaryDirectory() as folder:
            self.save_model(folder, merged=merged)
            if self.engine.is_writer:
                push_folder(Path(folder), name, private=private)

    def _write_model(self, folder: Path, parameters: Mapping[str, Tensor], *, merged: bool = False) -> None:
        with quiet_transformers():
            if not self.args.lora:
                self.model.save_pretrained(folder, state_dict=dict(parameters))
            elif merged:
                save_merged(self.model, folder, state=parameters)
            else:
                save_adapter(self.model, folder, base=self._base, state=parameters)
            self.processing_class.save_pretrained(folder)

    # The run.

    def _run(self, directory: RunDirectory, store: CheckpointStore, log: RunLog, progress: Progress) -> dict[str, Any]:
        """Evaluate, iterate until the end or a stop, evaluate again; returns what `summary.json` holds."""
        args, state = self.args, self.state
        start = self.engine.clock() - state.seconds
        self._sync_sampler(state.step)
        self.callbacks.fire("on_train_begin")
        if not state.before and args.eval_before:
            self.watch.before(state, log, progress, lambda metrics: self._log(log, metrics))
        saved = state.step if state.step else None
        with Interrupts() as interrupts:
            while state.step < self._steps and not self._agree().should_training_stop:
                self._reset_requests()
                self.callbacks.fire("on_step_begin")
                # An iteration, and what is due after it: evaluation, log, checkpoint.
                metrics = self.iteration(log)
                state.step += 1
                self.callbacks.state.global_step = state.step
                self.callbacks.fire("on_step_end")
                findings = self.watch.judge(state, metrics, progress)
                control = self._agree()
                last = state.step == self._steps or control.should_training_stop
                if control.should_evaluate or last or (args.eval_steps and state.step % args.eval_steps == 0):
                    metrics |= self.watch.during(state, log, progress, last=last)
                    if "teacher/collapsed" in metrics:
                        findings.append(self.watch.health.findings["teacher_collapsed"])
                state.seconds = self.engine.clock() - start
                if control.should_log or last or state.step % args.logging_steps == 0:
                    self._log(log, metrics)
                progress.step(state.step, metrics)
                wanted = args.save_steps and state.step % args.save_steps == 0
                unhealthy = args.strict_health and findings
                interrupts.received = int(self.engine.max_over_ranks(interrupts.received or 0)) or None
                if wanted or last or unhealthy or control.should_save or interrupts.received is not None:
                    self._save(directory, store)
                    saved = state.step
                if interrupts.received is not None:
                    progress.say(f"interrupted after iteration {state.step}, which is saved: resume goes on from there")
                    interrupts.raise_received()
                if unhealthy:
                    self.watch.end_unhealthy(findings, state)
        if saved != state.step:
            self._save(directory, store)
        summary = self._finish(directory, log, progress, start)
        self.callbacks.fire("on_train_end")
        return summary

    def iteration(self, log: RunLog | None = None) -> dict[str, Any]:
        """One iteration (`iteration.Iteration`); returns its metrics.

        Args:
            log: Gets the episodes; None writes none.

        Raises:
            EpisodesFailedError: Every episode's environment broke.
        """
        return self._iteration.run(self.state, log)

    def _sync_sampler(self, version: int) -> None:
        """Make the sampler use the present parameters; its samples then carry `version`."""
        self.policies.sampler.sync_weights(self.engine.sampling_model(self.root), version)

    # Logs.

    def _log(self, log: RunLog, metrics: dict[str, Any]) -> None:
        log.metrics(self.state.step, metrics)
        self.callbacks.state.log_history.append({"step": self.state.step, **metrics})
        self.callbacks.fire("on_log", logs=metrics)

    def _finish(self, directory: RunDirectory, log: RunLog, progress: Progress, start: float) -> dict[str, Any]:
        """The last evaluations, and `summary.json`; `start` is the clock's reading when the run began."""
        watched, test = self.watch.after(self.state, log, progress)
        self.state.seconds = self.engine.clock() - start
        summary = run_summary(
            method=self.method.name,
            env_id=self.source.name,
            options=self.args,
            state=self.state,
            counters=self.updater.counters,
            watched=watched,
            test=test,
        )
        directory.write_summary(summary)
        return summary

    # State.

    def _save(self, directory: RunDirectory, store: CheckpointStore) -> None:
        save_run(store, directory, self.state, self.updater, self.args, self._initial, self._write_model)
        self.callbacks.fire("on_save")

    def _restore(self, directory: RunDirectory, store: CheckpointStore, path: Path | None) -> None:
        """Go on from a checkpoint: the newest of the directory, or the one at `path`."""
        checkpoint: Checkpoint | None = None
        if self.engine.is_writer:  # it verifies the files, and says to the others which checkpoint it found
            unfit = partial(misfit, directory=directory)
            checkpoint = store.newest(unfit) if path is None else open_checkpoint(path)
            if checkpoint is not None and not store.holds(checkpoint) and store.paths():
                raise RunDirectoryError(
                    f"{directory.path} has checkpoints of its own, and {checkpoint.path} is none of them: resume from "
                    "one of its own, or choose another output_dir"
                )
        checkpoint = self.engine.gather(checkpoint)[0]
        self.state = restore_run(checkpoint, directory, self.updater, self.args, self._initial)
        if checkpoint is not None and self.engine.is_writer:
            # Later checkpoints belong to iterations that are now run again.
            store.drop_after(checkpoint.step)
        self.watch.restore(self.state)
        if self.bandit is not None:
            self.bandit.load(self.state.retrieval)
        self.callbacks.state.global_step = self.state.step

    def _agree(self) -> TrainerControl:
        """The requests of callbacks, the same in every process: what one asks for, all do."""
        control = self.callbacks.control
        names = [each.name for each in dataclasses.fields(control)]
        for found in self.engine.gather([name for name in names if getattr(control, name)]):
            for name in found:
                setattr(control, name, True)
        return control

    def _reset_requests(self) -> None:
        control = self.callbacks.control
        control.should_evaluate = control.should_save = control.should_log = False


def _place_of(model: Any) -> str:
    """Where a model was taken from, for whoever is to find it again: an absolute folder, or a name."""
    named = str(model) if isinstance(model, (str, Path)) else str(getattr(model, "name_or_path", ""))
    path = Path(named).expanduser()
    return str(path.resolve()) if named and path.is_dir() else named
