"""A tiny model of any environment's own text: a tokenizer and 0.2 million parameters, for --model.

Episodes are played, a tokenizer is made of what they say, and the model clones the demonstrator, so that your own
environment can be tried in minutes on two CPU cores, without a download. The demonstrator is any function from
observation and info to an action; one with a parameter rng gets a NumPy generator too, for what it does by chance. In
about half of the demonstrations the prompt has the privileged context and the demonstrator gets the whole info; in the
others it gets the public part alone, and should act like somebody who does not know. Without a demonstrator the
parameters stay random.
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..options.convert import merge, nested
from .evaluate import OVERRIDES
from .flags import (
    add_config_flags,
    add_environment_argument,
    add_teacher_context_argument,
    chosen_environment,
    given_flags,
    read_pairs,
)
from .terminal import make_console, percent

if TYPE_CHECKING:
    from rich.console import Console

    from ..config import SDARConfig
    from ..warm_start.own_environment import TinyModel

USAGE = "ENV --output-dir DIR [options]"
EPILOGUE = """examples:
  sdar tiny --env my_env:Parcels-v0 --demonstrator my_env:act --teacher-context my_env:context --output-dir tiny
  sdar train --env my_env:Parcels-v0 --teacher-context my_env:context --model tiny --output-dir runs/own
  sdar tiny --env sdar/Haggle-v0 --output-dir tiny-haggle"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``sdar tiny``."""
    from ..config import SDARConfig

    add_environment_argument(parser)
    parser.add_argument("--output-dir", required=True, metavar="DIR", help="the model's folder")
    parser.add_argument(
        "--demonstrator",
        metavar="MODULE:FUNCTION",
        help="your own function from observation and info to an action, in a module or a file of this folder [the "
        "world's own]",
    )
    add_teacher_context_argument(parser)
    parser.add_argument(
        "--warm-start", nargs="+", action="extend", default=[], metavar="KEY=VALUE",
        help="what is cloned (WarmStartConfig in trainers.warm_start), e.g. demonstrations=500 min_steps=200",
    )  # fmt: skip
    parser.add_argument("--cache-dir", metavar="DIR", help="where warm models are kept [$XDG_CACHE_HOME/sdar-gym]")
    names = [name for name in OVERRIDES if name not in ("device", "bf16", "env_workers")]
    add_config_flags(parser, SDARConfig, only=["seed", "env_kwargs", "max_turns", "success_threshold", *names])


def run(options: argparse.Namespace) -> int:
    """Make the model, and say what it can do and what to run next."""
    from ..warm_start.own_environment import OWN_START, make_tiny_model
    from ..warm_start.warm_start import WarmStartConfig, replaced_values
    from .envs import check_env_kwargs
    from .players import quiet_about_files
    from .threads import parameters_of, use_one_thread_if_tiny
    from .warm_models import progress

    env_id = chosen_environment(options)
    if env_id is None:
        raise ValueError(f"expected an environment: sdar tiny my_env:MyEnv-v0 --output-dir {options.output_dir}")
    given = given_flags(options)
    config = tiny_options(env_id, given)
    check_env_kwargs(env_id, config.environment_kwargs)
    scripted = options.demonstrator is None and has_script(env_id)
    start = WarmStartConfig() if scripted else OWN_START
    pairs = nested(read_pairs(options.warm_start, "--warm-start"))
    console = make_console()
    quiet_about_files(None)
    console.print(f"a tiny model of {env_id}, seed {config.seed}")
    use_one_thread_if_tiny(console, parameters_of(None), "cpu")
    with progress(console) as (report, advance):
        made = make_tiny_model(
            config,
            env_id,
            options.output_dir,
            demonstrator=options.demonstrator,
            teacher_context=options.teacher_context,
            config=replaced_values(start, pairs, "--warm-start"),
            cache_dir=Path(options.cache_dir) if options.cache_dir else None,
            report=report,
            advance=advance,
        )
    show_made(console, made)
    console.print(f"\nnext:\n  {next_command(options, env_id, given)}")
    return 0


def tiny_options(env_id: str, given: Mapping[str, Any]) -> SDARConfig:
    """What a run of the model will be configured with: the preset that it gets, and what was given.

    Raises:
        ValueError: A value is out of range.
    """
    from ..presets import ANY_TINY, load_preset, preset_config, preset_for
    from .setup import build_config

    preset = preset_for("tiny", env_id) or load_preset(ANY_TINY)
    return build_config(merge(preset_config(preset), given))


def has_script(env_id: str) -> bool:
    """Whether a world of this suite brings its own demonstrator."""
    from sdar_envs.demonstrations import SCRIPTS

    return env_id in SCRIPTS


def show_made(console: Console, made: TinyModel) -> None:
    """What was made, and what was measured of it."""
    console.print(
        f"{made.folder}: {made.parameters:,} parameters, {made.vocabulary:,} tokens, {made.steps} cloning steps"
    )
    if made.student_success is None:
        console.print("  random parameters: no demonstrator")
        return
    teacher = "" if made.teacher_success is None else f", privileged-prompt policy {percent(made.teacher_success)} %"
    console.print(
        f"  demonstrations {percent(made.demonstrator_success)} %; measured on valid: student "
        f"{percent(made.student_success)} %{teacher}"
    )


def next_command(options: argparse.Namespace, env_id: str, given: Mapping[str, Any]) -> str:
    """The command that trains the model with the prompts that it was made with."""
    words = ["sdar", "train", "--env", env_id, "--model", options.output_dir]
    if options.teacher_context:
        words += ["--teacher-context", options.teacher_context]
    for name, value in given.items():
        flag = "--" + name.replace("_", "-")
        if isinstance(value, bool):
            words.append(flag if value else flag.replace("--", "--no-", 1))
        elif isinstance(value, Mapping):
            words += [flag, *(f"{key}={part}" for key, part in value.items())]
        else:
            words += [flag, str(value)]
    return shlex.join([*words, "--output-dir", "runs/own"])
