"""Choose among the training episodes of runs: what is kept, and how much was thrown away for which reason.

The runs must have logged all tokens (sdar train --log-tokens all). Episodes of evaluations are refused always.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..offline.filters import Rules

USAGE = "RUN [RUN ...] --out DIR [options]"
EPILOGUE = """examples:
  sdar curate runs/house --correct --out curated/house
  sdar curate runs/house --keep "0<mean<1" --correct --per-task 2 --near-duplicates 20 --out curated/best

--out gets episodes.jsonl, thrown.json and card.md; sdar export and sdar sft read it."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``sdar curate``."""
    parser.add_argument("runs", nargs="+", metavar="RUN", help="run directories")
    parser.add_argument("--out", metavar="DIR", required=True, help="the folder to write, which must not exist")
    add_rules(parser)


def add_rules(parser: argparse.ArgumentParser, **defaults: Any) -> None:
    """Declare what can be asked of an episode; `defaults` by the flags' names, where it is something by itself."""
    from ..offline.filters import MeanRange

    def mean_range(text: str) -> MeanRange:
        try:
            return MeanRange.read(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    def flag(name: str, metavar: str, kind: Any, words: str) -> None:
        default = defaults.get(name.strip("-").replace("-", "_"))
        value = kind(default) if isinstance(default, str) else default
        parser.add_argument(name, metavar=metavar, type=kind, default=value, help=f"{words} [{default or 'any'}]")

    flag("--keep", "RANGE", mean_range, 'success rate of the episode\'s group, e.g. "0<mean<1"')
    if "correct" in defaults:
        parser.set_defaults(correct=defaults["correct"])
    else:
        parser.add_argument("--correct", action="store_true", help="only episodes that succeeded")
    flag("--min-return", "R", float, "only episodes with at least this return")
    flag("--turns-at-most", "N", int, "only episodes of at most so many turns")
    flag("--per-task", "K", int, "at most the K best of each task: by return, then by fewest turns")
    flag("--near-duplicates", "N", int, "at most the N best whose actions are the same but for numbers")


def rules_of(options: argparse.Namespace) -> Rules:
    """What the flags of `add_rules` ask.

    Raises:
        ValueError: A number is below 1.
    """
    from ..offline.filters import Rules

    return Rules(
        keep=options.keep,
        correct=options.correct,
        min_return=options.min_return,
        max_turns=options.turns_at_most,
        per_task=options.per_task,
        near_duplicates=options.near_duplicates,
    )


def run(options: argparse.Namespace) -> int:
    """Curate, and show what was thrown away."""
    from ..offline.curate import curate
    from .terminal import make_console, show_table

    done = curate(options.runs, rules_of(options), options.out)
    console, choice = make_console(), done.choice
    counts = [[reason, f"{count:,}"] for reason, count in choice.thrown.items() if count]
    show_table(console, f"{choice.read:,} episodes read", ["thrown away because", "episodes"], counts)
    console.print(
        f"{options.out}: kept {len(choice.kept):,} episodes of {len(done.facts.tasks):,} tasks, "
        f"{done.facts.sampled:,} sampled tokens",
        highlight=False,
    )
    return 0
