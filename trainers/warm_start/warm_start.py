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
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agents.base import Episode, Turn, View
from agents.sampling.scripted import ScriptedSampler
from sdar_envs.cache import cache_folder
from sdar_envs.choices import unknown_choice
from sdar_envs.demonstrations import Demonstration, demonstrate, script_of
from sdar_envs.files import replaced_folder
from sdar_envs.privileged import split_info

from .behaviour_cloning import Cloner, CloningConfig
from .tiny_model import TinyModelConfig, build_model, build_tokenizer, save_model

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

    from agents.chat import ChatAgent

    from ..options import Options
    from ..rollout.environments import EnvironmentSource


class WarmStartFailed(RuntimeError):
    """Student and privileged-prompt policy did not reach their bands within the step limit."""


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
    config: WarmStartConfig = _replaced(WarmStartConfig(), values, where)
    return config


def _replaced(config: Any, values: Mapping[str, Any], where: str) -> Any:
    known = [option.name for option in fields(config)]
    changed = {}
    for key, value in values.items():
        if key not in known:
            raise unknown_choice("key", key, known, where)
        before = getattr(config, key)
        if is_dataclass(before) and isinstance(value, Mapping):
            changed[key] = _replaced(before, value, f"{where} {key}")
        elif isinstance(before, float) and isinstance(value, int | float) and not isinstance(value, bool):
            changed[key] = float(value)
        elif type(value) is type(before):
            changed[key] = value
        else:
            raise ValueError(f"{where}: {key} expects {type(before).__name__}, got {value!r}")
    return replace(config, **changed)


@dataclass(frozen=True, slots=True)
class WarmStart:
    """A warm model on disk, with its success rates on ``valid`` under the plain and under the privileged prompt."""

    model_dir: Path
    student_success: float
    teacher_success: float
    steps: int
    seconds: float
    cached: bool


Report = Callable[[str], None]
Advance = Callable[[str, int, int], None]  # a stage's name, how much of it is done, and of how much


def _nothing(*_: object) -> None:
    """No lines, no bar."""


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
    say = report or _nothing
    root = (cache_dir or cache_folder()) / "warm-start"
    directory = root / cache_key(args, env_id, config)
    if (directory / "warm_start.json").is_file():
        facts = json.loads((directory / "warm_start.json").read_text(encoding="utf-8"))
        say(f"warm start: from the cache ({directory.name})")
        return _result(directory, facts, cached=True)
    root.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    model, tokenizer, facts = _warm(args, env_id, config, say, advance or _nothing)
    facts["seconds"] = round(time.perf_counter() - started, 1)
    with replaced_folder(directory, keep_existing=True) as partial:
        save_model(model, tokenizer, partial, **facts)
    return _result(directory, facts, cached=False)


def cache_key(args: Options, env_id: str, config: WarmStartConfig) -> str:
    """Hash of everything a warm model depends on, 24 hexadecimal digits."""
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
    later = {name: value for name in _LATER_PROMPT_OPTIONS if (value := getattr(args, name)) is not None}
    parts = {
        "format": 1,
        "seed": args.seed,
        "env_id": env_id,
        "env_kwargs": args.environment_kwargs,
        "world_version": version,
        "prompt": {name: getattr(args, name) for name in _PROMPT_OPTIONS} | later,
        "config": asdict(config),
        "versions": [torch.__version__, transformers.__version__, tokenizers.__version__],
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:24]


_PROMPT_OPTIONS = (
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
_LATER_PROMPT_OPTIONS = ("ask_for_thinking",)


def _result(directory: Path, facts: Mapping[str, Any], *, cached: bool) -> WarmStart:
    return WarmStart(
        model_dir=directory,
        student_success=facts["student_success"],
        teacher_success=facts["teacher_success"],
        steps=facts["steps"],
        seconds=facts["seconds"],
        cached=cached,
    )


def _warm(
    args: Options, env_id: str, config: WarmStartConfig, say: Report, advance: Advance
) -> tuple[PreTrainedModel, PreTrainedTokenizerFast, dict[str, Any]]:
    """Make a warm model; returns it with its tokenizer and the facts that are saved beside it."""
    from ..evaluation.evaluate import evaluate
    from ..evaluation.evaluation_set import make_evaluation_set
    from ..methods import METHODS
    from ..rollout.environments import EnvironmentSource
    from ..rollout.policies import make_policies

    source = EnvironmentSource(env_id, args.environment_kwargs)
    # Evaluator and privileged-prompt policy do not depend on the method; grpo has the fewest parts.
    method = METHODS["grpo"]
    # The tokenizer: agents with a provisional one word the demonstrations, which gives the corpus of the final one.
    texts = list(script_of(env_id).texts())
    provisional = build_tokenizer(texts, 512)
    worded = make_policies(build_model(provisional, config.model, seed=0), provisional, args, method, source, None)
    assert worded.privileged_policy is not None, "an environment with demonstrations has privileged information"
    _require_room(source, worded.evaluator, args)
    say(f"warm start: playing {config.demonstrations:,} demonstrations")
    demonstrations = play_demonstrations(args, env_id, config, advance)
    corpus = rendered_texts(demonstrations, worded.privileged_policy)
    tokenizer = build_tokenizer([*corpus, *texts], max(config.model.vocab_size, script_of(env_id).vocabulary))

    # The model, its agents, and the demonstrations as token rows.
    model = build_model(tokenizer, config.model, seed=args.seed)
    policies = make_policies(model, tokenizer, args, method, source, None)
    plain, privileged = policies.evaluator, policies.privileged_policy
    assert privileged is not None
    views = demonstration_views(demonstrations, plain, privileged, advance)
    cloner = Cloner(model, views, config.cloning, key=("warm-start", args.seed), pad_id=policies.renderer.pad_id)

    # Clone until both agents are in their bands on an evaluation set.
    evaluation_set = make_evaluation_set(
        source, split="valid", episodes=config.gate_episodes, temperature=args.eval_temperature
    )

    def measure() -> tuple[float, float]:
        model.eval()
        rates = [evaluate(agent, evaluation_set, source=source).success_rate for agent in (plain, privileged)]
        say(f"warm start: step {cloner.steps}, {_rates(*rates)}")
        return rates[0], rates[1]

    try:
        student, teacher = _until_warm(cloner, config, measure, say, advance)
    finally:
        source.close()
    facts = {
        "steps": cloner.steps,
        "student_success": student,
        "teacher_success": teacher,
        "gate_episodes": config.gate_episodes,
        "panel_hash": evaluation_set.hash,
        "demonstrations": len(demonstrations),
        "demonstration_success": {
            "hinted": _success_rate(demonstrations, privileged=True),
            "unhinted": _success_rate(demonstrations, privileged=False),
        },
        "tokens_per_demonstration": round(sum(len(view.ids) for view in views) / len(views), 1),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "vocabulary": len(tokenizer),
        "seed": args.seed,
        "env_id": env_id,
    }
    return model, tokenizer, facts


def _require_room(source: EnvironmentSource, agent: ChatAgent, args: Options) -> None:
    """Refuse a length that not even a first prompt fits into, before minutes are spent on demonstrations.

    A tokenizer splits at blanks, so a text has at least as many tokens as words.

    Raises:
        ValueError: The first prompt of the first training task has more words than a prompt may have tokens.
    """
    from ..rollout.making import reset_to

    env = source.make("train")
    try:
        observation, info = reset_to(env, source.task_ids("train")[0], source.enumerates_tasks)
    finally:
        env.close()
    view, _ = split_info(observation, info)
    words = sum(len(message["content"].split()) for message in agent.style.opening(view))
    if words > args.max_prompt_length:
        raise ValueError(
            f"no prompt fits: the first of a task has more than {words} tokens, and max_prompt_length is "
            f"{args.max_prompt_length}: raise it"
        )


def _until_warm(
    cloner: Cloner,
    config: WarmStartConfig,
    measure: Callable[[], tuple[float, float]],
    say: Report,
    advance: Advance = _nothing,
) -> tuple[float, float]:
    """Clone until the rates are near their bands, decay the learning rate, measure again; repeat until in the bands.

    Args:
        cloner: Makes the steps.
        config: Bands and numbers of steps.
        measure: Success rates of student and privileged-prompt policy.
        say: Reports progress.
        advance: Called after every step; its total is the step at which cloning ends if the next measurement is good.

    Returns:
        The two success rates, within the bands.

    Raises:
        WarmStartFailed: `max_steps` were not enough; the message holds the last measurement.
    """
    measured = "nothing yet"
    while cloner.steps < config.max_steps:
        # At the full rate up to the next measurement.
        target = config.min_steps if cloner.steps < config.min_steps else cloner.steps + config.gate_every
        while cloner.steps < target:
            loss = cloner.step()
            advance("cloning", cloner.steps, target + config.decay_steps)
            if cloner.steps % config.gate_every == 0 and cloner.steps < target:
                say(f"warm start: step {cloner.steps}, cloning loss {loss:.2f}")
        student, teacher = measure()
        measured = f"{_rates(student, teacher)} at step {cloner.steps}"
        if student < config.student_low * 0.5 or teacher - student < config.teacher_lead * 0.75:
            continue
        # Near the bands: a decaying learning rate settles the success rates, and those after the decay count.
        for step in range(config.decay_steps):
            cloner.step(1.0 - 0.9 * (step + 1) / config.decay_steps)
            advance("cloning", cloner.steps, target + config.decay_steps)
        student, teacher = measure()
        measured = f"{_rates(student, teacher)} at step {cloner.steps}"
        if config.student_low <= student <= config.student_high and teacher - student >= config.teacher_lead:
            return student, teacher
    raise WarmStartFailed(
        f"warm start: after {cloner.steps} steps expected a student between {config.student_low:.2f} and "
        f"{config.student_high:.2f} and a privileged-prompt policy at least {config.teacher_lead:.2f} above it; last "
        f"measured: {measured}. Try another seed, more max_steps, or a shorter horizon of the environment"
    )


def _rates(student: float, teacher: float) -> str:
    """The two success rates as messages show them."""
    return f"student {student:.2f}, privileged-prompt policy {teacher:.2f}"


def play_demonstrations(
    args: Options, env_id: str, config: WarmStartConfig, advance: Advance = _nothing
) -> list[Demonstration]:
    """The demonstrations of a warm start; draws are counted by the seed.

    In every hundred, those with a privileged context come first (`WarmStartConfig.hinted_share`).
    """
    script = script_of(env_id)
    privileged = round(100 * config.hinted_share)
    played = []
    for index in range(config.demonstrations):
        hinted = index % 100 < privileged
        played.append(demonstrate(script, args.environment_kwargs, key=(args.seed, index), hinted=hinted))
        advance("playing demonstrations", index + 1, config.demonstrations)
    return played


def rendered_texts(demonstrations: Sequence[Demonstration], policy: ChatAgent) -> list[str]:
    """The texts that the model will read and write, without the template's markers: the corpus of the tokenizer.

    Args:
        demonstrations: The demonstrations whose prompts and actions are rendered.
        policy: An agent with a teacher; its style and its teacher's wording are used, its tokenizer is not.
    """
    style, teacher = policy.style, policy.teacher
    texts: list[str] = []
    for demonstration in demonstrations:
        contents = [message["content"] for message in style.opening(demonstration.views[0])]
        for view in demonstration.views[1:]:
            contents += [message["content"] for message in style.turn(view)]
        if demonstration.hinted and teacher is not None:
            contents.append(teacher.block(demonstration.privileged[0], demonstration.views[0]))
        acted = zip(demonstration.actions, demonstration.views, strict=True)
        texts += [*contents, *(style.completion_for(action, view) for action, view in acted)]
    return texts


def demonstration_views(
    demonstrations: Sequence[Demonstration], plain: ChatAgent, privileged: ChatAgent, advance: Advance = _nothing
) -> list[View]:
    """Demonstrations as token rows, exactly as the agents would have read and written them.

    The agents build the prompts while a script replaces their sampler, so that cloned rows have the same form as those
    of rollouts.

    Args:
        demonstrations: What was done.
        plain: An agent under the plain prompt.
        privileged: An agent under the privileged prompt, for demonstrations with a privileged context.
        advance: Called after every demonstration.
    """
    from ..rollout.collect import Rollout, TaskDraw
    from ..rollout.rows import build_rows

    views: list[View] = []
    for number, demonstration in enumerate(demonstrations, 1):
        agent = privileged if demonstration.hinted else plain
        episode = Episode(env_id="", task_id="", task_type="", draw=())
        with _scripted(agent, demonstration):
            for view, known in zip(demonstration.views, demonstration.privileged, strict=True):
                [action] = agent.act([view], [known] if agent.reads_privileged else None)
                if action.context_full:
                    break
                episode.turns.append(Turn(view, action, 0.0, True))
        agent.release([0])
        if not episode.turns:
            raise ValueError(
                f"no prompt fits: the first of a demonstration is longer than max_prompt_length "
                f"({agent.max_prompt_length} tokens): raise it, or lower teacher_budget"
            )
        views += [row.student for row in build_rows([Rollout(episode, TaskDraw("", ()))])]
        advance("turning them into tokens", number, len(demonstrations))
    return views


@contextmanager
def _scripted(agent: ChatAgent, demonstration: Demonstration) -> Iterator[None]:
    """Let an agent "sample" the actions of a demonstration within a ``with`` block."""
    own = agent.sampler
    acted = zip(demonstration.actions, demonstration.views, strict=True)
    completions = [agent.style.completion_for(action, view) for action, view in acted]
    agent.sampler = ScriptedSampler(agent.renderer.encode_completion(completion) for completion in completions)
    try:
        yield
    finally:
        agent.sampler = own


def _success_rate(demonstrations: Sequence[Demonstration], *, privileged: bool) -> float:
    """Success rate of the demonstrations with, or of those without, a privileged context."""
    chosen = [demonstration.success for demonstration in demonstrations if demonstration.hinted is privileged]
    return round(sum(chosen) / len(chosen), 4) if chosen else 0.0
