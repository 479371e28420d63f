"""The warm start of a pretrained model: it learns the form of an answer, in its own chat template.

A pretrained model that has never seen the format answers malformed nearly always, wins nothing, and reward teaches it
nothing. Here it clones successful demonstrations from many *other* worlds, part of them under the privileged prompt, so
that it also learns to read that. Cloning is stopped by what is measured on ``valid``: malformed completions are rare,
the student wins now and then, and the privileged prompt is ahead. Whatever requires gradients is trained: all weights,
or the adapters that were put on.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agents.base import Parse
from sdar_envs.cache import cache_folder

from .behaviour_cloning import Cloner, FineTuningConfig
from .demonstrations import (
    Advance,
    Report,
    WorldScript,
    demonstration_views,
    no_reason,
    nothing,
    play_demonstrations,
    reason_for,
)
from .stored import WarmStart, stored_or_made
from .until_measured import CloningSchedule, WarmStartFailed, clone_until
from .warm_start import demonstrable, dependencies, replaced_values

if TYPE_CHECKING:
    from agents.chat import ChatAgent

    from ..engine.checkpoint import Checkpoint
    from ..evaluation.evaluation_set import EvaluationSet
    from ..options import Options
    from ..rollout.environments import EnvironmentSource

__all__ = ["PretrainedStartConfig", "pretrained_start", "pretrained_start_config", "reasoning_of"]


@dataclass(frozen=True, slots=True)
class PretrainedStartConfig:
    """What is cloned, for how long, and what must be measured for the model to count as warm.

    Measured are `gate_episodes` episodes of the ``valid`` split at the evaluation temperature, under the plain and
    under the privileged prompt, before the first step and every `gate_every` steps from `min_steps` on. Near the goal
    the learning rate decays to a tenth over `decay_steps`, and what is measured behind that counts.

    Attributes:
        demonstrations: Number of demonstrations; all of them succeed.
        hinted_share: Share of them with the privileged context in the prompt.
        min_steps: Cloning steps before the first measurement.
        max_steps: Cloning steps at most.
        gate_every: Steps between measurements.
        decay_steps: Steps over which the learning rate decays.
        gate_episodes: Episodes per measurement and prompt.
        malformed_high: Largest share of malformed completions.
        student_low: Smallest success rate of the student: from .10 on more than half of all groups of 8 are mixed.
        teacher_lead: Smallest difference between privileged-prompt policy and student.
        reasoning: Whether demonstrations carry a short reason where the prompt asks for thinking.
        tuning: Optimiser settings.
    """

    demonstrations: int = 1600
    hinted_share: float = 0.55
    min_steps: int = 80
    max_steps: int = 400
    gate_every: int = 20
    decay_steps: int = 20
    gate_episodes: int = 32
    malformed_high: float = 0.05
    student_low: float = 0.15
    teacher_lead: float = 0.10
    reasoning: bool = True
    tuning: FineTuningConfig = field(default_factory=FineTuningConfig)


def pretrained_start_config(values: Mapping[str, Any], where: str) -> PretrainedStartConfig:
    """`PretrainedStartConfig` from plain values; a mapping under ``tuning`` reaches the part of that name.

    Raises:
        ValueError: An unknown key (the nearest is named), or a value of a wrong type.
    """
    config: PretrainedStartConfig = replaced_values(PretrainedStartConfig(), values, where)
    return config


def pretrained_start(
    args: Options,
    env_id: str,
    model: Any,
    tokenizer: Any,
    *,
    family: str = "qwen",
    config: PretrainedStartConfig | None = None,
    cache_dir: Path | None = None,
    key: str | None = None,
    report: Report | None = None,
    advance: Advance | None = None,
) -> tuple[WarmStart, dict[str, Any]]:
    """A warm form of a pretrained model for `env_id`, from the cache when the same one was made before.

    The key of the cache is everything the parameters depend on: a fingerprint of the model's, the environment and the
    version of its world, the options of its prompts, `config`, and the versions of torch, transformers and tokenizers.
    Every `gate_every` steps what has been learned so far is kept, so that an interrupted warm start goes on from there.

    Args:
        args: Seed, environment, prompt and machine options of the run that will follow.
        env_id: An environment with demonstrations (`sdar_envs.demonstrations.SCRIPTS`).
        model: A causal LM of transformers; it is trained in place, in float32. With ``lora`` among the options it gets
            adapters, which are merged into it at the end, so that the run begins with new ones.
        tokenizer: Its tokenizer, with a chat template.
        family: The kind of the model (`presets.model_family`), which the warm one keeps.
        config: What to clone and what to measure.
        cache_dir: The folder of warm models; None for ``$XDG_CACHE_HOME/sdar-gym``.
        key: The folder's name, of whoever had to know it before the model was loaded (`planned_key`); None for
            `start_key`.
        report: Called with lines of progress.
        advance: Called with how far it is, often enough for a bar.

    Returns:
        The warm model, and the facts that are kept beside it.

    Raises:
        WarmStartFailed: The goal was not reached within `max_steps`; the message holds what was measured.
        ValueError: The environment has no demonstrations, or none that succeeds.
    """
    config = config or PretrainedStartConfig()
    say = report or nothing
    args = demonstrable(args)
    root = (cache_dir or cache_folder()) / "warm-start"
    if args.lora:
        from ..engine.adapters import attach

        attach(model, rank=args.lora_rank, alpha=args.alpha, targets=args.lora_targets, seed=args.seed)
    key = key or start_key(args, env_id, model, config)
    unfinished = root / f"{key}-unfinished"

    def make() -> tuple[Any, Any, dict[str, Any]]:
        making = _Making(args, env_id, model, tokenizer, config, unfinished, say, advance or nothing)
        return making.make(family)

    try:
        made = stored_or_made(root / key, make, say)
    except WarmStartFailed:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    shutil.rmtree(unfinished, ignore_errors=True)
    return made


def start_key(args: Options, env_id: str, model: Any, config: PretrainedStartConfig) -> str:
    """Hash of everything a warm form of a pretrained model depends on, 24 hexadecimal digits."""
    from ..engine.single import fingerprint

    learns = sorted(name for name, parameter in model.named_parameters() if parameter.requires_grad)
    parts = {
        **dependencies(args, env_id),
        "model": fingerprint(model),
        "learns": hashlib.sha256("\n".join(learns).encode()).hexdigest(),
        "config": asdict(config),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:24]


def planned_key(args: Options, env_id: str, model_key: str, config: PretrainedStartConfig) -> str:
    """As `start_key`, for a model that is not loaded: `model_key` says which one it is, `args` what of it learns."""
    adapters = [args.lora_rank, args.alpha, args.lora_targets] if args.lora else None
    parts = {
        **dependencies(demonstrable(args), env_id),
        "model_key": model_key,
        "lora": adapters,
        "config": asdict(config),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:24]


def reasoning_of(style: Any, config: PretrainedStartConfig) -> str:
    """What demonstrations say before the action, in words: for the screen and for the record."""
    if not style.thinking:
        return f"none: the prompt style {style.name} asks for the action alone"
    if not config.reasoning:
        return f"none: empty thinking tags, although the prompt style {style.name} asks for thinking"
    return f"a short reason: the prompt style {style.name} asks for thinking"


@dataclass(frozen=True, slots=True)
class Measured:
    """What an evaluation on ``valid`` shows: malformed completions, and success under both prompts."""

    malformed: float
    student: float
    teacher: float

    def __str__(self) -> str:
        return (
            f"malformed {self.malformed:.2f}, student {self.student:.2f}, privileged-prompt policy {self.teacher:.2f}"
        )

    def reaches(self, config: PretrainedStartConfig, share: float = 1.0) -> bool:
        """Whether it is at the goal, or at `share` of the way to it."""
        return (
            self.malformed <= config.malformed_high / share
            and self.student >= config.student_low * share
            and self.teacher - self.student >= min(config.teacher_lead, config.teacher_lead * share)
        )


class _Making:
    """Makes one warm model; what it has made so far is kept in `unfinished`."""

    def __init__(
        self,
        args: Options,
        env_id: str,
        model: Any,
        tokenizer: Any,
        config: PretrainedStartConfig,
        unfinished: Path,
        say: Report,
        advance: Advance,
    ) -> None:
        import torch

        from ..engine.checkpoint import CheckpointStore
        from ..engine.single import SingleProcess
        from ..methods import METHODS
        from ..rollout.environments import EnvironmentSource
        from ..rollout.policies import make_policies

        self.args, self.env_id, self.config = args, env_id, config
        self.say, self.advance = say, advance
        self.tokenizer = tokenizer
        # Weights stay in float32, which small learning rates need; products may be in bfloat16 (`FineTuningConfig`).
        own = SingleProcess.of(args)
        engine = SingleProcess(own.device, torch.float32, own.gradient_checkpointing)
        self.model = engine.prepare(model).language_model
        self.source: EnvironmentSource = EnvironmentSource(env_id, args.environment_kwargs)
        # Evaluator and privileged-prompt policy do not depend on the method; grpo has the fewest parts.
        policies = make_policies(self.model, tokenizer, args, METHODS["grpo"], self.source, None)
        assert policies.privileged_policy is not None, "an environment with demonstrations has privileged information"
        self.plain: ChatAgent = policies.evaluator
        self.privileged: ChatAgent = policies.privileged_policy
        self.pad_id = policies.renderer.pad_id
        self.store = CheckpointStore(unfinished, keep=1)

    def make(self, family: str) -> tuple[Any, Any, dict[str, Any]]:
        """Play, word, clone and measure; returns model, tokenizer and facts."""
        config, say = self.config, self.say
        evaluation_set = self._evaluation_set()
        try:
            kept = self.store.newest()
            before = self._measure(evaluation_set) if kept is None else Measured(**kept.state()["before"])
            say(f"warm start: before, {before}")
            reasoning = reasoning_of(self.plain.style, config)
            say(f"warm start: reasoning in the demonstrations: {reasoning}")
            if before.reaches(config):
                say("warm start: nothing to teach, the model plays already")
                return self._made(family, reasoning, before, before, evaluation_set, None)
            cloner = self._cloner(kept)
            after = clone_until(
                cloner,
                CloningSchedule(config.min_steps, config.max_steps, config.gate_every, config.decay_steps),
                lambda: self._measure_at(cloner, evaluation_set),
                near=lambda measured: measured.reaches(config, 0.7),
                reached=lambda measured: measured.reaches(config),
                expected=f"at most {config.malformed_high:.2f} malformed, a student from {config.student_low:.2f} on, "
                f"and a privileged-prompt policy at least {config.teacher_lead:.2f} above it",
                word=str,
                remedy="Try more max_steps, a shorter horizon of the environment, or a prompt_style with fewer words; "
                "teacher_lead=-1 asks for no lead",
                say=say,
                advance=self.advance,
                keep=lambda: self._keep(cloner, before),
            )
        finally:
            self.source.close()
        return self._made(family, reasoning, before, after, evaluation_set, cloner)

    def _made(self, *what: Any) -> tuple[Any, Any, dict[str, Any]]:
        """Model, tokenizer and facts; adapters are merged into the weights that they were trained on."""
        from ..engine.adapters import adapted_layers, merge_in_place

        warm = merge_in_place(self.model) if adapted_layers(self.model) else self.model
        return warm, self.tokenizer, self._facts(*what)

    def _evaluation_set(self) -> EvaluationSet:
        from ..evaluation.evaluation_set import make_evaluation_set

        return make_evaluation_set(
            self.source,
            split="valid",
            episodes=self.config.gate_episodes,
            max_turns=self.args.max_turns,
            temperature=self.args.eval_temperature,
        )

    def _cloner(self, kept: Checkpoint | None) -> Cloner:
        """The cloner over all demonstrations, after the last step that was kept."""
        from ..engine.checkpoint import load_optimizer_state

        config = self.config
        self.say(f"warm start: playing {config.demonstrations:,} demonstrations")
        played = play_demonstrations(
            WorldScript(self.env_id, self.args.environment_kwargs),
            config.demonstrations,
            config.hinted_share,
            self.advance,
            seed=self.args.seed,
            successful=True,
        )
        thinks = self.plain.style.thinking and config.reasoning
        reason = reason_for if thinks else no_reason
        views = demonstration_views(played, self.plain, self.privileged, self.advance, reason=reason)
        self.row_tokens = sum(len(view.ids) for view in views) / len(views)
        key = ("warm-start", self.args.seed)
        if kept is not None:
            from safetensors.torch import load_file

            self.model.load_state_dict(load_file(kept.path / "weights.safetensors"), strict=False)
        cloner = Cloner(self.model, views, config.tuning, key=key, pad_id=self.pad_id)
        if kept is not None:
            state = kept.state()
            load_optimizer_state(
                cloner.optimizer, self._learning(), kept.path / "optimizer.safetensors", state["optimizer_numbers"]
            )
            cloner.skip_to(state["step"], state["tokens"])
            self.say(f"warm start: goes on after step {cloner.steps}, which was kept")
        return cloner

    def _learning(self) -> list[tuple[str, Any]]:
        return [(name, p) for name, p in self.model.named_parameters() if p.requires_grad]

    def _keep(self, cloner: Cloner, before: Measured) -> None:
        """Keep what has been learned so far, so that an interrupted warm start goes on from here."""
        from ..engine.checkpoint import optimizer_state

        named = self._learning()
        tensors, numbers = optimizer_state(cloner.optimizer, named)
        state = {"optimizer_numbers": numbers, "tokens": cloner.tokens, "before": asdict(before)}
        self.store.save(cloner.steps, lambda path: None, state, weights=dict(named), optimizer=tensors)

    def _measure_at(self, cloner: Cloner, evaluation_set: EvaluationSet) -> Measured:
        measured = self._measure(evaluation_set)
        self.say(f"warm start: step {cloner.steps}, {measured}")
        return measured

    def _measure(self, evaluation_set: EvaluationSet) -> Measured:
        from ..evaluation.evaluate import evaluate

        self.model.eval()
        told = partial(self.advance, "measuring the student")
        student = evaluate(self.plain, evaluation_set, source=self.source, advance=told)
        told = partial(self.advance, "measuring the privileged-prompt policy")
        teacher = evaluate(self.privileged, evaluation_set, source=self.source, advance=told)
        turns = [turn for rollout in student.rollouts for turn in rollout.episode.turns]
        malformed = sum(turn.action.parse is not Parse.OK for turn in turns) / max(len(turns), 1)
        return Measured(malformed, student.success_rate, teacher.success_rate)

    def _facts(
        self,
        family: str,
        reasoning: str,
        before: Measured,
        after: Measured,
        evaluation_set: EvaluationSet,
        cloner: Cloner | None,
    ) -> dict[str, Any]:
        """What is kept beside the model."""
        return {
            "kind": "demonstrations",
            "family": family,
            "env_id": self.env_id,
            "env_kwargs": self.args.environment_kwargs,
            "seed": self.args.seed,
            "reasoning": reasoning,
            "steps": 0 if cloner is None else cloner.steps,
            "tokens": 0 if cloner is None else cloner.tokens,
            "tokens_per_row": 0.0 if cloner is None else round(self.row_tokens, 1),
            "before": asdict(before),
            "after": asdict(after),
            "student_success": after.student,
            "teacher_success": after.teacher,
            "gate_episodes": self.config.gate_episodes,
            "panel_hash": evaluation_set.hash,
            "config": asdict(self.config),
        }
