"""Who plays: from a word on the command line (human, expert, generic, a run directory, a model path) to an agent."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..options.convert import merge
from .setup import DEFAULT_ENV, build_config, choose_preset
from .terminal import make_console
from .threads import parameters_of, use_one_thread_if_tiny

if TYPE_CHECKING:
    from rich.console import Console

    from agents.base import Agent

    from ..config import SDARConfig
    from ..rollout.environments import EnvironmentSource

BASELINES = ("expert", "random")
PLAYERS = "expert, random, a scripted player of the environment, a run directory, or a model directory or name"


def scripted_names() -> frozenset[str]:
    """The scripted players of all environments, with and without the skill statements."""
    from sdar_envs import WORLDS
    from sdar_envs.scripted_players import player_names

    return frozenset(name for env_id in WORLDS for name in player_names(env_id))


def plays_without_model(who: str) -> bool:
    """Whether a word names somebody who plays without a model, and without a prompt."""
    return who == "human" or who in BASELINES or who in scripted_names()


@dataclass(frozen=True, slots=True)
class Player:
    """An agent with the name it has in tables.

    `step` is the training iteration of its weights, where it has one; `seals_info` says that it reads the whole info,
    as a user's own teacher context does; `config` is what a model's prompts are made by.
    """

    name: str
    agent: Agent
    step: int | None = None
    seals_info: bool = False
    config: SDARConfig | None = None


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What a run directory says about its run: environment, configuration, and the newest weights.

    `teacher_context` is the user's own, as ``module:function``, where the run had one.
    """

    path: Path
    env_id: str
    config: SDARConfig
    model_dir: Path
    step: int
    teacher_context: str | None = None


def require_model(who: str, accepted: str, *, bare: bool = True) -> None:
    """Refuse what is neither the folder of a model nor the name of one (`sdar_envs.model_files.locate`).

    Args:
        who: The word on the command line.
        accepted: What may stand in its place, for the message.
        bare: Whether a name without an owner (``gpt2``) is looked for; without, it is taken for a slip.

    Raises:
        ValueError: The message has both readings of the word, and lists what is `accepted`.
    """
    from sdar_envs.model_files import ModelFilesError, locate
    from sdar_envs.packaged_models import PACKAGED_MODELS

    if not bare and "/" not in who and who not in PACKAGED_MODELS and not Path(who).exists():
        raise ValueError(f"there is no {who!r} here: expected {accepted}")
    try:
        locate(who)
    except ModelFilesError as error:
        raise ValueError(f"{error}. Accepted here: {accepted}") from None


def require_player(who: str) -> None:
    """Refuse a word that stands for no agent, before anything is built for it.

    Raises:
        ValueError: It is none of `PLAYERS`.
    """
    if not plays_without_model(who) and not is_run_directory(who):
        require_model(who, PLAYERS, bare=False)


def require_can_play(who: str, source: EnvironmentSource) -> None:
    """Refuse a player that an environment gives nothing to play by, before anything is played or loaded.

    Raises:
        ValueError: The environment has no expert or no such scripted player, or the run has no checkpoint yet.
    """
    if who == "expert":
        require_expert(source)
    elif who in scripted_names():
        scripted_agent(who, source, 0)
    elif is_run_directory(who):
        read_run(who)


def require_expert(source: EnvironmentSource) -> None:
    """Refuse an environment without a plan that an expert could play.

    Raises:
        ValueError: The message says what its `info` lacks.
    """
    try:
        known = source.baselines
    except (OSError, IndexError):  # its data has no training tasks: that is no reason not to play others
        return
    if "expert" in known:
        return
    keys = ", ".join(source.privileged_keys)
    lacks = f"its info['privileged'] has {keys} alone" if keys else "its info has no 'privileged'"
    if "next_action" in source.privileged_keys:
        lacks = "that is empty at the first state of its first task"
    others = ", or take --agent random" if "random" in known else ""
    raise ValueError(
        f"{source.name} has no expert: an expert plays the environment's own plan, which is the action under "
        f"info['privileged']['next_action'], and {lacks}; leave out --agent expert{others}"
    )


def context_of(who: str, teacher_context: str | None) -> str | None:
    """The teacher context that was named, else the one that a run had; ``module:function``."""
    return teacher_context or (read_run(who).teacher_context if is_run_directory(who) else None)


def require_privileged_prompt(source: EnvironmentSource, teacher_context: str | None) -> None:
    """Refuse to play under a privileged prompt where there is nothing to put into one.

    Raises:
        ValueError: The environment has nothing for a teacher to read, and nobody's function says what it reads.
    """
    if teacher_context is None and not source.has_privileged:
        raise ValueError(
            f"--privileged expects an environment with info['privileged'], and {source.name} has none: "
            "pass --teacher-context module:function, your own function from info to text"
        )


def say_trust(console: Console, trusted: bool) -> None:
    """Say on screen that a model's own code may run."""
    if trusted:
        console.print("note: --trust-remote-code: code that the model brings may run, with all that it may do")


def is_run_directory(who: str) -> bool:
    """Whether `who` is the path of a run directory, or of a checkpoint in one."""
    return (_run_folder(Path(who)) / "run.json").is_file()


def _run_folder(path: Path) -> Path:
    return path.parent.parent if path.parent.name == "checkpoints" else path


def read_run(path: str | Path) -> RunFacts:
    """Read a run directory; of its checkpoints, the one that `path` names, else the newest.

    Raises:
        ValueError: It has no checkpoint yet, or does not say what its environment is.
    """
    from ..engine.checkpoint import CheckpointStore, open_checkpoint
    from ..options.convert import read_yaml
    from ..run.directory import read_identity

    folder = _run_folder(Path(path))
    identity = read_identity(folder)
    if "env_id" not in identity:
        raise ValueError(f"{folder / 'run.json'} is expected to name the environment under env_id")
    chosen = CheckpointStore(folder / "checkpoints").newest() if folder == Path(path) else open_checkpoint(path)
    if chosen is None:
        raise ValueError(f"{folder} has no checkpoint yet: let the run reach one, or resume it (sdar train --resume)")
    config = build_config(read_yaml(folder / "config.yaml"))
    return RunFacts(folder, str(identity["env_id"]), config, chosen.path, chosen.step, identity.get("teacher_context"))


def environment_of(who: str | None, env_id: str | None, env_kwargs: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The environment that was asked for, else the one that the run directory `who` was trained on.

    Keyword arguments that are given win, key by key, over the run's, as long as the environment is the run's, and over
    those of the preset that a bare model takes its prompts from: prompts and observations go together.

    Raises:
        ValueError: The environment takes no keyword argument of such a name; the message names the nearest.
    """
    from .envs import check_env_kwargs

    if who is not None and is_run_directory(who):
        run = read_run(who)
        if env_id in (None, run.env_id):
            check_env_kwargs(run.env_id, env_kwargs)
            return run.env_id, {**run.config.environment_kwargs, **env_kwargs}
    check_env_kwargs(env_id or DEFAULT_ENV, env_kwargs)
    preset = None
    if who is not None and not plays_without_model(who) and not is_run_directory(who):
        preset = choose_preset(None, env_id or DEFAULT_ENV, who)
    own = preset.config.get("env_kwargs", {}) if preset else {}
    return env_id or DEFAULT_ENV, {**own, **env_kwargs}


def load_player(
    who: str,
    source: EnvironmentSource,
    *,
    seed: int = 0,
    temperature: float | None = None,
    overrides: Mapping[str, Any] | None = None,
    privileged: bool = False,
    teacher_context: str | None = None,
    trust_remote_code: bool = False,
) -> Player:
    """Make the agent that `who` stands for.

    Args:
        who: ``expert``, ``random``, a scripted player of the environment, a run directory, or a model path or name.
        source: The environment it will play; says which preset a bare model gets its prompts from.
        seed: Of a random agent's choices; model agents draw by the episode's key.
        temperature: Of sampling; None takes the configuration's evaluation temperature.
        overrides: Configuration that wins over the run's or the preset's.
        privileged: The model acts under the privileged prompt instead of the plain one.
        teacher_context: What that prompt shows, as ``module:function``; None takes the run's own, if it had one.
        trust_remote_code: Whether code that the model brings may run.

    Raises:
        ValueError: `who` is nothing of these, or an override is wrong.
    """
    if who == "expert":
        from agents.baselines import ExpertAgent

        require_expert(source)
        return Player("expert", ExpertAgent())
    if who == "random":
        from agents.baselines import RandomAgent

        return Player("random", RandomAgent(seed))
    if who in scripted_names():
        return Player(who, scripted_agent(who, source, seed))
    model_path, config, step = who, None, None
    if is_run_directory(who):
        run = read_run(who)
        model_path, step = str(run.model_dir), run.step
        teacher_context = teacher_context or run.teacher_context
        config = build_config(merge(run.config.to_dict(), overrides or {}))
    else:
        require_player(who)
        preset = choose_preset(None, source.name, who)
        config = build_config(merge(preset.config if preset else {}, overrides or {}))
    if temperature is not None:
        config = dataclasses.replace(config, eval_temperature=temperature)
    if not privileged:
        return Player(
            who, model_agent(model_path, config, source, trust_remote_code=trust_remote_code), step, config=config
        )
    agent = model_agent(
        model_path,
        config,
        source,
        privileged=True,
        teacher_context=teacher_context,
        trust_remote_code=trust_remote_code,
    )
    return Player(f"{who} (privileged prompt)", agent, step, seals_info=teacher_context is not None, config=config)


def scripted_agent(who: str, source: EnvironmentSource, seed: int) -> Agent:
    """A world's scripted player.

    Raises:
        ValueError: The environment has no player of this name, or none that can read its tasks.
    """
    from agents.baselines import ScriptedAgent
    from sdar_envs.scripted_players import scripted_play

    env = source.make()
    try:
        play, reads_skills = scripted_play(who, source.name, env)
    finally:
        env.close()
    return ScriptedAgent(play, reads_skills=reads_skills, seed=seed)


def model_agent(
    model_path: str,
    config: SDARConfig,
    source: EnvironmentSource,
    *,
    privileged: bool = False,
    teacher_context: str | None = None,
    trust_remote_code: bool = False,
) -> Agent:
    """A model on disk that acts under the plain prompt, or under the privileged one.

    Raises:
        ValueError: The environment has nothing for a teacher to read, or there is no such teacher context or model.
    """
    from ..engine.single import SingleProcess, load_model
    from ..methods import METHODS
    from ..rollout.policies import load_teacher_context, make_policies

    quiet_about_files(model_path)
    use_one_thread_if_tiny(make_console(stderr=True), parameters_of(model_path), config.device)
    model, tokenizer = load_model(model_path, trust_remote_code=trust_remote_code)
    context = None if teacher_context is None else load_teacher_context(teacher_context)
    # Acting asks nothing of the method; grpo is the method that needs no teacher.
    model = SingleProcess.of(config).prepare(model).language_model
    policies = make_policies(model, tokenizer, config, METHODS["grpo"], source, context)
    if not privileged:
        return policies.evaluator
    if policies.teacher is not None and policies.teacher.hindsight:
        raise ValueError(
            f"--privileged expects a context that is known while an episode is played, and privilege="
            f"{config.privilege!r} is made of episodes that have ended: choose another with --privilege"
        )
    if policies.privileged_policy is None:
        require_privileged_prompt(source, None)
    assert policies.privileged_policy is not None
    return policies.privileged_policy


def quiet_about_files(model: str | None) -> None:
    """Switch off transformers' bars over reading and writing files, unless a model is still to be downloaded."""
    if model is None or Path(model).is_dir():
        from transformers.utils import logging

        logging.disable_progress_bar()


def append_json_line(path: str | Path, record: Mapping[str, Any]) -> None:
    """Append one record to a JSON-lines file."""
    from ..run.directory import JsonLines

    log = JsonLines(Path(path))
    try:
        log.write(record)
    finally:
        log.close()
