"""The warm start: from random parameters to a student with some success and a teacher that uses its privileged context.

Distillation from a privileged context needs a model that already uses such a context. A pretrained model does; a tiny
one must learn it first. Here it clones imperfect demonstrations from many *other* worlds, about half of them with a
privileged context in the prompt. It learns the language, how to search, and to follow the context, but none of the
regularities of the world it will be trained in. Cloning goes on until the success rates of student and
privileged-prompt policy are *measured* to be in their bands on the ``valid`` split: how many steps that takes varies a
lot between seeds, and the loss does not show it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agents.hindsight import HINDSIGHTS
from sdar_envs.cache import cache_folder
from sdar_envs.choices import unknown_choice

from .behaviour_cloning import Cloner, CloningConfig
from .demonstrations import Advance, Report, WorldScript, nothing, play_demonstrations
from .stored import WarmStart, stored_or_made
from .tiny_build import build_tiny, require_room, wording_policies
from .tiny_model import TinyModelConfig
from .until_measured import CloningSchedule, WarmStartFailed, clone_until

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

    from ..options import Options

__all__ = ["WarmStart", "WarmStartConfig", "WarmStartFailed", "cache_key", "warm_start", "warm_start_config"]


@dataclass(frozen=True, slots=True)
class WarmStartConfig:
    """What is cloned, for how long, and the success rates at which the model counts as warm.

    Success rates are measured on `gate_episodes` episodes of the ``valid`` split at the evaluation temperature, every
    `gate_every` steps from `min_steps` on. Once they are near the bands, the learning rate decays to a tenth over
    `decay_steps`, and they are measured again; outside the bands, cloning goes on at the full rate.

    Attributes:
        demonstrations: Number of demonstrations.
        hinted_share: Share of them with the privileged context in the prompt.
        min_steps: Cloning steps before the first measurement.
        max_steps: Cloning steps at most.
        gate_every: Steps between measurements.
        decay_steps: Steps over which the learning rate decays.
        gate_episodes: Episodes per measurement.
        student_low: Smallest success rate of the student.
        student_high: Largest success rate of the student; above it there is little left to learn from a teacher.
        teacher_lead: Smallest difference between privileged-prompt policy and student.
        model: Size of the model.
        cloning: Optimiser settings.
    """

    demonstrations: int = 4000
    hinted_share: float = 0.55
    min_steps: int = 300
    max_steps: int = 2400
    gate_every: int = 100
    decay_steps: int = 100
    gate_episodes: int = 192
    student_low: float = 0.05
    student_high: float = 0.35
    teacher_lead: float = 0.30
    model: TinyModelConfig = field(default_factory=TinyModelConfig)
    cloning: CloningConfig = field(default_factory=CloningConfig)


def warm_start_config(values: Mapping[str, Any], where: str) -> WarmStartConfig:
    """`WarmStartConfig` from plain values; mappings under ``model`` and ``cloning`` reach the parts of those names.

    Raises:
        ValueError: An unknown key (the nearest is named), or a value of a wrong type.
    """
    config: WarmStartConfig = replaced_values(WarmStartConfig(), values, where)
    return config


def replaced_values(config: Any, values: Mapping[str, Any], where: str) -> Any:
    """A dataclass with some values replaced, those of nested dataclasses too; errors as `warm_start_config`."""
    known = [option.name for option in fields(config)]
    changed = {}
    for key, value in values.items():
        if key not in known:
            raise unknown_choice("key", key, known, where)
        before = getattr(config, key)
        if is_dataclass(before) and isinstance(value, Mapping):
            changed[key] = replaced_values(before, value, f"{where} {key}")
        elif isinstance(before, float) and isinstance(value, int | float) and not isinstance(value, bool):
            changed[key] = float(value)
        elif type(value) is type(before):
            changed[key] = value
        else:
            raise ValueError(f"{where}: {key} expects {type(before).__name__}, got {value!r}")
    return replace(config, **changed)


def warm_start(
    args: Options,
    env_id: str,
    *,
    config: WarmStartConfig | None = None,
    cache_dir: Path | None = None,
    report: Report | None = None,
    advance: Advance | None = None,
) -> WarmStart:
    """A warm model for `env_id`, from the cache when the same one was made before.

    The key of the cache is everything the parameters depend on: seed, environment, prompt options, `config`, the
    world's version and the versions of torch, transformers and tokenizers. The number of threads is not in it: another
    order of sums changes the parameters, but the result must reach the same bands.

    Args:
        args: Seed, environment and prompt options of the run that will follow; the warm start reads prompts as it will.
        env_id: An environment with demonstrations (`sdar_envs.demonstrations.SCRIPTS`).
        config: What to clone and what to measure.
        cache_dir: The folder of warm models; None for ``$XDG_CACHE_HOME/sdar-gym``.
        report: Called with lines of progress.
        advance: Called with how far it is, often enough for a bar.

    Raises:
        WarmStartFailed: The bands were not reached within `max_steps`; the message holds what was measured.
        ValueError: The environment has no demonstrations.
    """
    config = config or WarmStartConfig()
    say = report or nothing
    args = demonstrable(args)
    directory = (cache_dir or cache_folder()) / "warm-start" / cache_key(args, env_id, config)
    made, _ = stored_or_made(directory, lambda: _warm(args, env_id, config, say, advance or nothing), say)
    return made


def demonstrable(args: Options) -> Options:
    """The options with a privilege that a demonstration can show: a plan, where the run's is made of ended episodes.

    In the compact style a sibling's actions are worded as a plan is, so that a tiny model has learned to read them.
    """
    if args.privilege.split("+")[0].strip() not in HINDSIGHTS:
        return args
    return replace(args, privilege="plan")


def cache_key(args: Options, env_id: str, config: WarmStartConfig) -> str:
    """Hash of everything a warm model depends on, 24 hexadecimal digits."""
    values = asdict(config)
    if not config.model.apart_below:  # it came later, and models that were kept before are to be found
        del values["model"]["apart_below"]
    parts = {**dependencies(args, env_id), "config": values}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:24]


def dependencies(args: Options, env_id: str) -> dict[str, Any]:
    """What every warm model depends on: seed, world, prompts, versions of packages; plain values."""
    import tokenizers
    import torch
    import transformers

    from ..rollout.environments import EnvironmentSource

    source = EnvironmentSource(env_id, args.environment_kwargs)
    try:
        version = source.world_version
    finally:
        source.close()
    # An option that came later is left out at its default, so that models that were kept before are still found.
    later = {name: value for name in LATER_PROMPT_OPTIONS if (value := getattr(args, name)) is not None}
    return {
        "format": 1,
        "seed": args.seed,
        "env_id": env_id,
        "env_kwargs": args.environment_kwargs,
        "world_version": version,
        "prompt": {name: getattr(args, name) for name in PROMPT_OPTIONS} | later,
        "versions": [torch.__version__, transformers.__version__, tokenizers.__version__],
    }


PROMPT_OPTIONS = (
    "prompt_style",
    "context",
    "history_length",
    "append_history",
    "when_full",
    "enable_thinking",
    "list_actions",
    "privilege",
    "position",
    "teacher_budget",
    "max_prompt_length",
    "max_completion_length",
    "eval_temperature",
)
LATER_PROMPT_OPTIONS = ("ask_for_thinking",)


def _warm(
    args: Options, env_id: str, config: WarmStartConfig, say: Report, advance: Advance
) -> tuple[PreTrainedModel, PreTrainedTokenizerFast, dict[str, Any]]:
    """Make a warm model; returns it with its tokenizer and the facts that are saved beside it."""
    from ..evaluation.evaluation_set import make_evaluation_set
    from ..rollout.environments import EnvironmentSource

    source = EnvironmentSource(env_id, args.environment_kwargs)
    script = WorldScript(env_id, args.environment_kwargs)
    worded = wording_policies(args, source, list(script.texts()))
    assert worded.privileged_policy is not None, "an environment with demonstrations has privileged information"
    require_room(source, worded, args.max_prompt_length)
    say(f"warm start: playing {config.demonstrations:,} demonstrations")
    played = play_demonstrations(script, config.demonstrations, config.hinted_share, advance, seed=args.seed)
    built = build_tiny(args, source, script, played, worded, config.model)
    cloner, row_tokens = built.cloner(config.cloning, seed=args.seed, advance=advance)

    # Clone until both agents are in their bands on an evaluation set.
    evaluation_set = make_evaluation_set(
        source, split="valid", episodes=config.gate_episodes, temperature=args.eval_temperature
    )

    def measure() -> tuple[float, float]:
        student, teacher = built.success_rates(evaluation_set, advance)
        assert teacher is not None
        say(f"warm start: step {cloner.steps}, {_rates(student, teacher)}")
        return student, teacher

    try:
        student, teacher = _until_warm(cloner, config, measure, say, advance)
    finally:
        source.close()
    facts = {
        **built.facts(),
        "steps": cloner.steps,
        "student_success": student,
        "teacher_success": teacher,
        "gate_episodes": config.gate_episodes,
        "panel_hash": evaluation_set.hash,
        "tokens_per_demonstration": row_tokens,
        "seed": args.seed,
        "env_id": env_id,
    }
    return built.model, built.tokenizer, facts


def _until_warm(
    cloner: Cloner,
    config: WarmStartConfig,
    measure: Callable[[], tuple[float, float]],
    say: Report,
    advance: Advance = nothing,
) -> tuple[float, float]:
    """Clone until student and privileged-prompt policy are in their bands (`clone_until`).

    Args:
        cloner: Makes the steps.
        config: Bands and numbers of steps.
        measure: Success rates of student and privileged-prompt policy.
        say: Reports progress.
        advance: Called after every step.

    Returns:
        The two success rates, within the bands.

    Raises:
        WarmStartFailed: `max_steps` were not enough; the message holds the last measurement.
    """

    def near(rates: tuple[float, float]) -> bool:
        student, teacher = rates
        return student >= config.student_low * 0.5 and teacher - student >= config.teacher_lead * 0.75

    def reached(rates: tuple[float, float]) -> bool:
        student, teacher = rates
        return config.student_low <= student <= config.student_high and teacher - student >= config.teacher_lead

    schedule = CloningSchedule(config.min_steps, config.max_steps, config.gate_every, config.decay_steps)
    return clone_until(
        cloner,
        schedule,
        measure,
        near=near,
        reached=reached,
        expected=f"a student between {config.student_low:.2f} and {config.student_high:.2f} and a privileged-prompt "
        f"policy at least {config.teacher_lead:.2f} above it",
        word=lambda rates: _rates(*rates),
        remedy="Try another seed, more max_steps, or a shorter horizon of the environment",
        say=say,
        advance=advance,
    )


def _rates(student: float, teacher: float) -> str:
    """The two success rates as messages show them."""
    return f"student {student:.2f}, privileged-prompt policy {teacher:.2f}"
