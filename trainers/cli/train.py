"""Train an agent on a text environment and show what it learned.

Without --model, a tiny model and its tokenizer are built from nothing and warmed up on imperfect demonstrations first.
The test set is played before and after training; nothing is chosen by it. Defaults in brackets are those without a
preset; a preset (chosen by environment and model) changes them, a file wins over it, and flags win over both.
"""

from __future__ import annotations

import argparse
import os
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from ..options.optimiser import LEARNING_RATE
from ..presets import load_preset
from .flags import add_trust_argument
from .terminal import make_console

if TYPE_CHECKING:
    from ..config import SDARConfig
    from ..engine.processes import ProcessGroup
    from ..trainer import SDARTrainer
    from .setup import Setup

EPILOGUE = """examples:
  sdar train --env sdar/Household-v0 --output-dir runs/house
  sdar train --env sdar/Household-v0 --method grpo --seed 1 --output-dir runs/grpo-1
  sdar train --env sdar/Household-v0 --model Qwen/Qwen2.5-3B-Instruct --output-dir runs/qwen
  sdar train --env sdar/Household-v0 --model smollm2 --warm-start demonstrations --output-dir runs/smollm2
  sdar train --env sdar/Household-v0 --method my_module:my_method --output-dir runs/own
  sdar train --config runs/house/config.yaml --output-dir runs/again"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``sdar train``."""
    from .setup import add_setup_arguments

    parser.add_argument("--resume", action="store_true", help="go on with the run in --output-dir")
    parser.add_argument(
        "--warm-start", nargs="+", action="extend", default=[], metavar="WORD",
        help="demonstrations: teach a model of --model the form of an answer first, where the environment has "
        "demonstrations; KEY=VALUE: options of that (PretrainedStartConfig in trainers.warm_start), or of the tiny "
        "model's warm start (WarmStartConfig), e.g. max_steps=800",
    )  # fmt: skip
    parser.add_argument(
        "--skip-memory-check", action="store_true", help="begin a run that is computed not to fit into memory"
    )
    parser.add_argument("--cache-dir", metavar="DIR", help="where warm models are kept [$XDG_CACHE_HOME/sdar-gym]")
    add_trust_argument(parser)
    add_setup_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """Train, and show the run's table; in several processes where a launcher has started them."""
    from .setup import resolve_setup

    setup = resolve_setup(options)
    if not several_processes():
        return train(options, setup, None)
    from ..engine.processes import join, leave
    from ..engine.rank_failures import shared_failures

    group = join(setup.config)
    with shared_failures():
        status = train(options, setup, group)
    leave()
    return status


def several_processes() -> bool:
    """Whether a launcher says that this is one of several processes; found out without torch."""
    return os.environ.get("WORLD_SIZE", "").strip() not in ("", "1")


def train(options: argparse.Namespace, setup: Setup, group: ProcessGroup | None) -> int:
    """Train, and show the run's table.

    Args:
        options: The command line.
        setup: What it asks for.
        group: The processes of the run; None where there is one. The first of them checks the directory, and prints.
    """
    from .envs import check_env_kwargs
    from .memory import say_memory
    from .players import quiet_about_files, say_trust
    from .summary_table import show_directory, show_next_steps, show_summary
    from .threads import parameters_of, use_one_thread_if_tiny
    from .unused_options import unread
    from .warm_models import (
        read_warm_start,
        require_demonstrations,
        tiny_positions,
        warm_pretrained_model,
        warm_tiny_model,
    )

    demonstrations, warm_pairs = read_warm_start(options.warm_start)
    first = group is None or group.rank == 0
    console = make_console(quiet=not first)
    path = Path(setup.config.output_dir)
    if first:
        check_before_the_start(setup, path, resume=options.resume, trust_remote_code=options.trust_remote_code)
    if group is not None:
        group.gather(None)  # the others wait until the directory has been looked at, before it is written
        console.print(f"{group.world_size} processes, {group.device.type}")
    console.print(
        f"{setup.env_id}, {seats_of(setup.config)}method {setup.config.method}, seed {setup.config.seed}, "
        f"preset {setup.preset or 'none'}"
    )
    say_trust(console, options.trust_remote_code)
    for line in unread(setup.config, setup.given):
        console.print(f"  note: {line}")
    check_env_kwargs(setup.env_id, setup.config.environment_kwargs)
    if setup.model is None:
        require_demonstrations(setup, tiny_positions(setup, warm_pairs))
        require_environment(setup)  # with a model, the trainer makes it before it reads the model
    elif demonstrations:
        require_demonstrations(setup, None)
        require_environment(setup)
    elif warm_pairs:
        raise ValueError(
            "--warm-start with --model teaches the form of an answer, and expects the word demonstrations before its "
            f"options: --warm-start demonstrations {' '.join(options.warm_start)}"
        )
    if group is None:
        say_memory(console, setup, refuses=not options.skip_memory_check)
    else:
        console.print("memory: not estimated for several processes")
    # The embedded model is warmed up on the CPU, whatever the device of the run.
    use_one_thread_if_tiny(console, parameters_of(setup.model), setup.config.device if setup.model else "cpu")
    model = setup.model
    warm_seconds = 0.0
    if model is None or demonstrations:
        quiet_about_files(model)
        with nullcontext() if group is None else group.first_here("warm model"):
            if model is None:
                warm = warm_tiny_model(console, setup, warm_pairs, options.cache_dir)
            else:
                trusted = options.trust_remote_code
                warm = warm_pretrained_model(console, setup, warm_pairs, options.cache_dir, trust_remote_code=trusted)
        model = str(warm.model_dir)
        warm_seconds = 0.0 if warm.cached else warm.seconds

    from ..trainer import SDARTrainer

    quiet_about_files(model)
    trainer = SDARTrainer(
        model=model,
        env_id=setup.env_id,
        args=setup.config,
        teacher_context=setup.teacher_context,
        trust_remote_code=options.trust_remote_code,
    )
    if setup.config.lora:
        console.print(f"  {adapter_line(trainer, preset=setup.preset)}")
    baselines = trainer.source.baselines
    try:
        summary = trainer.train(resume_from_checkpoint=options.resume)
    except KeyboardInterrupt:
        console.print(f"\ninterrupted; the same command with --resume goes on with {path}")
        return 130
    console.print("")
    show_summary(console, summary, warm_seconds=warm_seconds)
    console.print("")
    show_directory(console, path)
    console.print("")
    show_next_steps(console, path, baselines)
    return 0


def adapter_line(trainer: SDARTrainer, *, preset: str | None) -> str:
    """What learns in a run with adapters, and at which rate: theirs is not that of whole weights."""
    learning = sum(parameter.numel() for _, parameter in trainer.updater.masters.named)
    whole = sum(parameter.numel() for parameter in trainer.model.parameters()) - learning
    published = {} if preset is None else load_preset(preset).config
    rate, usual = trainer.args.learning_rate, float(published.get("learning_rate", LEARNING_RATE))
    return (
        f"LoRA: {learning:,} parameters of adapters learn ({100 * learning / whole:.2g} % of the model's {whole:,}, "
        f"which are frozen), rank {trainer.args.lora_rank}, learning rate {rate:g} ({rate / usual:g} times that of "
        "whole weights)"
    )


def seats_of(config: SDARConfig) -> str:
    """Which seats of a game learn, for the first line; nothing for any other run."""
    return f"roles {' '.join(config.roles)}, " if config.roles else ""


def check_before_the_start(setup: Setup, path: Path, *, resume: bool, trust_remote_code: bool = False) -> None:
    """Say what is wrong before minutes of warm start, not after.

    Raises:
        ValueError: The directory holds a run and `resume` is off; there is no such device, model or teacher context; or
            lengths do not fit the model.
        RunDirectoryError: The directory holds another run, or there can be none.
        ImportError: A sink's package is missing.
        GenerationServerError: The server that is to sample does not answer, or cannot be kept in step.
    """
    from agents.chat import require_lengths
    from sdar_envs.model_files import check_files, positions_of

    from ..engine.single import choose_device
    from ..rollout.generation_server import require_server
    from ..run.directory import require_folder, require_same_run
    from ..run.sinks import require_sinks
    from .players import require_model

    require_folder(path)
    if (path / "run.json").is_file():
        if not resume:
            raise ValueError(f"{path} holds a run already: go on with it (--resume), or choose another --output-dir")
        context = {} if setup.teacher_context is None else {"teacher_context": setup.teacher_context}
        require_same_run(path, setup.config, {"env_id": setup.env_id, **context})
    require_sinks(setup.config)
    require_packages(setup.config)
    require_teacher(setup.config)
    if not several_processes():
        choose_device(setup.config.device)
    require_server(setup.config)
    if setup.teacher_context is not None:
        from ..rollout.policies import load_teacher_context

        load_teacher_context(setup.teacher_context)
    if setup.model is not None:
        require_model(setup.model, "a model directory or name")
        check_files(setup.model, trust_remote_code=trust_remote_code)
        config = setup.config
        require_lengths(positions_of(setup.model), config.max_prompt_length, config.max_completion_length)


def require_packages(config: SDARConfig) -> None:
    """Refuse options whose packages are not installed.

    Raises:
        ImportError: The message names the package and the extra.
    """
    from ..engine.adapters import require_peft
    from ..engine.optimizers import require_torchao

    if config.lora:
        require_peft()
    if config.optim == "adamw_8bit":
        require_torchao()


def require_teacher(config: SDARConfig) -> None:
    """Refuse a teacher of which there are no files.

    Raises:
        ValueError: There is no such model.
    """
    from ..engine.policies import require_files
    from ..methods import get_method
    from ..methods.method import TEACHER_WEIGHTS

    method = get_method(config.method)
    chosen = method.teacher_weights_for(config)
    if method.teacher_views and chosen not in TEACHER_WEIGHTS:
        require_files(chosen)


def require_environment(setup: Setup) -> None:
    """Make the environment once, which reads its data and imports its packages.

    Raises:
        ValueError: It does not take its arguments, or its data is not as expected.
        OSError: Its data is not there.
        ImportError: A package is missing.
    """
    from ..rollout.environments import EnvironmentSource

    source = EnvironmentSource(setup.env_id, setup.config.environment_kwargs)
    try:
        source.task_ids("train")
    finally:
        source.close()
