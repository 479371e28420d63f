"""Train on curated episodes: supervised steps on the very tokens that were sampled, by the method rft.

World, temperature, context, prompt style and turn limit are those of the episodes unless flags say otherwise; where
--model is a run directory, other options are those of that run. The model is evaluated before and after like that of
any run, and --resume goes on with an interrupted one.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .setup import Setup

USAGE = "DIR --model MODEL --output-dir RUN [options]"
EPILOGUE = """examples:
  sdar sft curated/best --model runs/house --output-dir runs/imitated
  sdar sft curated/best --model MODEL --epochs 3 --learning-rate 1e-5 --output-dir runs/imitated
  sdar sft curated/best --model runs/house --output-dir runs/imitated --resume

DIR is what sdar curate wrote. --model is a model, or a run directory, of which the newest checkpoint is taken."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``sdar sft``."""
    from .flags import add_trust_argument
    from .setup import add_setup_arguments

    parser.add_argument("folder", metavar="DIR", help="curated episodes")
    parser.add_argument("--resume", action="store_true", help="go on with the run in --output-dir")
    parser.add_argument("--epochs", type=float, default=1.0, metavar="N", help="passes over the episodes [1]")
    parser.add_argument(
        "--episodes-per-step", type=int, metavar="N", help="episodes of an iteration [tasks_per_step * num_generations]"
    )
    add_trust_argument(parser)
    add_setup_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """Train, and show the run's table."""
    from sdar_envs.model_files import load_tokenizer

    from ..offline.supervised import read_records
    from .players import say_trust
    from .summary_table import show_directory, show_summary
    from .terminal import make_console
    from .train import check_before_the_start

    model, of_run = start_from(options)
    records = read_records(options.folder, load_tokenizer(model, trust_remote_code=options.trust_remote_code))
    setup, per_step = setup_of(options, model, records, of_run=of_run)
    path = Path(setup.config.output_dir)
    check_before_the_start(setup, path, resume=options.resume, trust_remote_code=options.trust_remote_code)
    console = make_console()
    console.print(
        f"{len(records):,} episodes of {setup.env_id}, {per_step} in each of {setup.config.max_steps} iterations, "
        f"seed {setup.config.seed}, preset {setup.preset or 'none'}",
        highlight=False,
    )
    say_trust(console, options.trust_remote_code)
    try:
        summary = supervise(setup, model, records, per_step, resume=options.resume, trust=options.trust_remote_code)
    except KeyboardInterrupt:
        console.print(f"\ninterrupted; the same command with --resume goes on with {path}")
        return 130
    console.print("")
    show_summary(console, summary)
    console.print("")
    show_directory(console, path)
    return 0


def supervise(
    setup: Setup, model: str, records: Sequence[Mapping[str, Any]], per_step: int, *, resume: bool, trust: bool = False
) -> dict[str, Any]:
    """Train a model on curated episodes; returns what `summary.json` holds."""
    from ..offline.supervised import StoredEpisodes
    from ..trainer import SDARTrainer
    from .players import quiet_about_files

    quiet_about_files(model)
    trainer = SDARTrainer(
        model=model,
        env_id=setup.env_id,
        args=setup.config,
        teacher_context=setup.teacher_context,
        episodes=StoredEpisodes(records, per_step, setup.config.seed),
        trust_remote_code=trust,
    )
    return trainer.train(resume_from_checkpoint=resume)


def start_from(options: argparse.Namespace) -> tuple[str, bool]:
    """The folder or name of the model to train, and whether the configuration is that of its run.

    Of a run directory it is the newest checkpoint, and unless a file is given the run's configuration is what flags
    change: prompts and lengths are then those that the model knows.

    Raises:
        ValueError: None was named.
    """
    from .players import is_run_directory, read_run

    if options.model is None:
        raise ValueError("expected the model to train, got none: --model MODEL, or --model RUN for a run's newest one")
    if not is_run_directory(options.model):
        return str(options.model), False
    found = read_run(options.model)
    if options.config is not None or options.preset is not None:
        return str(found.model_dir), False
    options.config, options.preset = str(found.path / "config.yaml"), "none"
    options.env = options.env or found.env_id
    return str(found.model_dir), True


def setup_of(
    options: argparse.Namespace, model: str, records: Sequence[Mapping[str, Any]], *, of_run: bool
) -> tuple[Setup, int]:
    """What the command line asks for, over what the episodes were played with; and the episodes of an iteration.

    Args:
        options: The command line.
        model: The model to train.
        records: The episodes.
        of_run: Whether the file of options is that of the model's run, and not one that was named.

    Raises:
        ValueError: Another method was asked for, or the episodes are of several worlds.
    """
    from ..offline.supervised import METHOD, StoredEpisodes, settings_of
    from ..options.convert import read_yaml
    from .flags import given_flags
    from .setup import resolve_setup

    asked = given_flags(options).get("method", METHOD)
    if asked != METHOD:
        raise ValueError(f"stored episodes are imitated by the method {METHOD}, got --method {asked}: leave it out")
    setattr(options, "config.method", METHOD)
    env_id, stored = settings_of(records)
    options.model = model
    options.env = options.env or env_id
    setup = resolve_setup(options)
    given = {*setup.given, *(read_yaml(options.config) if options.config and not of_run else ())}
    if setup.env_id != env_id:  # it is only evaluated elsewhere
        stored = {key: value for key, value in stored.items() if key in ("temperature", "context", "prompt_style")}
    if "env_kwargs" in given:
        stored["env_kwargs"] = {**stored.get("env_kwargs", {}), **setup.config.env_kwargs}
        given.discard("env_kwargs")
    config = dataclasses.replace(setup.config, **{key: value for key, value in stored.items() if key not in given})
    per_step = options.episodes_per_step or config.tasks_per_step * config.num_generations
    source = StoredEpisodes(records, per_step, config.seed)
    if "max_steps" not in given:
        config = dataclasses.replace(config, max_steps=source.steps(options.epochs))
    return dataclasses.replace(setup, config=config), source.per_step
