"""The whole loop as one command: act, keep what succeeded, was rewarded highly and was short, imitate it, and repeat.

In a round --max-steps iterations are played, of which only successes are kept, and imitated by the method rft. With
--method the acting run learns as well (train, curate, sft, train). An interrupted loop goes on with --resume.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

    from .setup import Setup

USAGE = "--env ID --output-dir DIR [--rounds N] [options]"
EPILOGUE = """examples:
  sdar loop --env sdar/Household-v0 --rounds 4 --max-steps 10 --output-dir loops/house
  sdar loop --env sdar/Household-v0 --model MODEL --rounds 2 --per-task 1 --output-dir loops/own
  sdar loop --env sdar/Household-v0 --model MODEL --method grpo --rounds 2 --output-dir loops/grpo
  sdar loop --env sdar/Household-v0 --rounds 6 --max-steps 10 --output-dir loops/house --resume"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``sdar loop``."""
    from .curate import add_rules
    from .flags import add_trust_argument
    from .setup import add_setup_arguments

    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="rounds [3]")
    parser.add_argument("--epochs", type=float, default=1.0, metavar="N", help="passes over what a round keeps [1]")
    parser.add_argument(
        "--episodes-per-step", type=int, metavar="N", help="episodes of a step of imitation [as many as are played]"
    )
    parser.add_argument("--resume", action="store_true", help="go on with the loop in --output-dir")
    parser.add_argument(
        "--warm-start", nargs="+", action="extend", default=[], metavar="KEY=VALUE",
        help="without --model: options of the tiny model's warm start, which set how strong the loop begins",
    )  # fmt: skip
    parser.add_argument("--cache-dir", metavar="DIR", help="where warm models are kept [$XDG_CACHE_HOME/sdar-gym]")
    add_trust_argument(parser)
    add_rules(parser, correct=True, keep="0<mean<1", per_task=2, near_duplicates=20)
    add_setup_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """Run the loop, and show its rounds."""
    from ..offline.loop import LoopPlan, run_loop
    from .curate import rules_of
    from .players import quiet_about_files, say_trust
    from .setup import resolve_setup
    from .sft import start_from
    from .terminal import make_console

    if options.rounds < 1:
        raise ValueError(f"--rounds: expected at least 1, got {options.rounds}")
    rules, console = rules_of(options), make_console()
    named = None if options.model is None else start_from(options)[0]
    setup = resolve_setup(options)
    say_trust(console, options.trust_remote_code)
    model = start_of(console, setup, named, options)
    quiet_about_files(model)
    plan = LoopPlan(
        env_id=setup.env_id,
        model=model,
        config=setup.config,
        folder=Path(setup.config.output_dir),
        rules=rules,
        rounds=options.rounds,
        epochs=options.epochs,
        per_step=options.episodes_per_step,
        learns_while_acting="method" in setup.given,
        teacher_context=setup.teacher_context,
        trust_remote_code=options.trust_remote_code,
    )
    try:
        records = run_loop(plan, resume=options.resume, say=lambda text: console.print(text, highlight=False))
    except KeyboardInterrupt:
        console.print(f"\ninterrupted; the same command with --resume goes on with {plan.folder}")
        return 130
    show_rounds(console, records)
    console.print(f"{plan.folder}: a folder per round, and loop.json; the model is {records[-1]['model']}")
    return 0


def start_of(console: Console, setup: Setup, model: str | None, options: argparse.Namespace) -> str:
    """The model that the loop begins with: the one that was named, or the warm tiny one.

    Raises:
        ValueError: There is no such model, or no tiny one for this environment.
    """
    from .players import require_model
    from .warm_models import read_warm_start, require_demonstrations, tiny_positions, warm_tiny_model

    demonstrations, pairs = read_warm_start(options.warm_start)
    model = model or setup.model
    if model is not None:
        if demonstrations or pairs:
            raise ValueError("--warm-start is about the tiny model: leave it out, or leave out --model")
        require_model(model, "a model directory or name, or a run directory")
        return model
    require_demonstrations(setup, tiny_positions(setup, pairs))
    return str(warm_tiny_model(console, setup, pairs, options.cache_dir).model_dir)


def show_rounds(console: Console, records: Sequence[Mapping[str, Any]]) -> None:
    """The table of the rounds."""
    from .terminal import show_table

    def rate(value: float | None) -> str:
        return "" if value is None else f"{100 * value:.1f}"

    rows = [
        [
            str(record["round"]),
            f"{record['sampled_tokens']:,}",
            rate(record["train_success"]),
            f"{record['kept']:,}",
            rate(record["before"]),
            rate(record["after"]),
        ]
        for record in records
    ]
    columns = ["round", "tokens sampled", "success while acting", "kept", "before", "after"]
    console.print("")
    show_table(console, "success in %, before and after on the evaluation set", columns, rows)
