"""``sdar study --output-dir DIR ...``, without a subcommand: still read, and carried out by the commands of today."""

from __future__ import annotations

import argparse
import shlex
import sys

from ..parser import Parser
from .planning import add_planning_arguments, planning_flags
from .subcommands import add_run_arguments, subcommand_parser


def parser_of_the_old_form() -> Parser:
    """The parser of the flags as they were."""
    parser = Parser(prog="sdar study", usage="sdar study --output-dir DIR [options]")
    parser.set_defaults(subcommand=None)
    parser.add_argument("--output-dir", required=True, metavar="DIR")
    add_planning_arguments(parser)
    parser.add_argument("--stale", dest="corrupted")
    add_run_arguments(parser)
    parser.add_argument("--export", metavar="FILE")
    for flag in ("--table", "--tune", "--dry-run"):
        parser.add_argument(flag, action="store_true")
    return parser


def point_out(options: argparse.Namespace) -> list[list[str]]:
    """Say on one line which commands do the same now, and return them: the words after ``sdar study`` of each.

    Raises:
        StudyError: Flags that never went together.
    """
    commands = new_commands(options)
    line = " && ".join(shlex.join(["sdar", "study", *words]) for words in commands)
    print(f"sdar study: flags without a subcommand are the old form of `{line}`", file=sys.stderr)
    return commands


def new_commands(options: argparse.Namespace) -> list[list[str]]:
    """The words after ``sdar study`` of the commands that do what the old form asks for.

    Raises:
        StudyError: Flags that never went together.
        ValueError: As `StudyError`.
    """
    refuse_what_does_not_go_together(options)
    if options.export:
        merged = [words_of("merge", options, leave_out=("table",))] if options.merge else []
        return [*merged, words_of("export", options)]
    if options.table:
        return [words_of("merge" if options.merge else "table", options)]
    if options.dry_run:
        return [words_of("show", options)]
    return [words_of("tune" if options.tune else "run", options)]


def refuse_what_does_not_go_together(options: argparse.Namespace) -> None:
    """Refuse what one command cannot do at once.

    Raises:
        StudyError: Of the study's own flags.
        ValueError: A flag that writes beside one that does not.
    """
    from ...study.plan_records import StudyError

    given = planning_flags(options)
    if options.reuse and (options.table or options.export or options.dry_run):
        raise StudyError("--reuse brings in runs before others are made: leave out --table, --export and --dry-run")
    if given and (options.table or options.export):
        raise StudyError(f"--table and --export take the study as it is: leave out {', '.join(given)}")
    if options.merge and options.dry_run:
        raise ValueError("--merge writes, and --dry-run does not: give one of them")


def words_of(subcommand: str, options: argparse.Namespace, *, leave_out: tuple[str, ...] = ()) -> list[str]:
    """A subcommand with those of the options that it reads, as words; an option at its default is left out."""
    places: list[str] = []
    flags: list[str] = []
    for action in subcommand_parser(subcommand)._actions:
        value = getattr(options, action.dest, action.default)
        if action.dest in leave_out or value == action.default or action.help == argparse.SUPPRESS:
            continue
        words = [str(word) for word in (value if isinstance(value, list) else [value])]
        if not action.option_strings:
            places += words
        elif action.nargs == 0:
            flags.append(action.option_strings[0])
        elif len(words) == 1 and words[0].startswith("-"):
            flags.append(f"{action.option_strings[0]}={words[0]}")
        else:
            flags += [action.option_strings[0], *words]
    return [subcommand, *places, *flags]
