"""Compare methods over seeds: many runs from one plan, paired by seed, with intervals and verdicts.

A seed is a world, a warm start, tasks and draws of its own, which all arms share. Interrupted at any moment and started
again, a study goes on where it was and comes to the same table.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import NoReturn

from ..parser import Parser
from . import old_form
from .subcommands import SUBCOMMANDS, subcommand_parser

USAGE = "SUBCOMMAND DIR [options]"
EPILOGUE = """examples:
  sdar study run studies/house --env sdar/Household-v0
  sdar study run studies/two --methods grpo,sdar --seeds 3
  sdar study run studies/privilege --methods grpo,sdar --privilege skill,wrong_skill,none
  sdar study show studies/house --plan household
  sdar study tune studies/house --plan household
  sdar study export studies/house house.jsonl.gz
  sdar study merge studies/again house.jsonl.gz --table
  sdar study run studies/warm --plan household-warm --reuse house.jsonl.gz

`sdar study SUBCOMMAND --help` lists the options of a subcommand. The form without a subcommand
(`sdar study --output-dir DIR ...`) still works, and says what it is called now."""


class StudyParser(Parser):
    """Hands the words after ``sdar study`` on to the parser of a subcommand, or to that of the old form."""

    def parse_args(  # type: ignore[override]  # argparse overloads it
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> argparse.Namespace:
        """The options of a subcommand; `subcommand` is its name, and None in the old form.

        Raises:
            ValueError: There is no such subcommand; the message lists the choices and the nearest.
        """
        words = list(sys.argv[1:] if args is None else args)
        if not words or words[0] in ("-h", "--help", "help"):
            self._leave_with_help(0 if words else 2)
        if words[0] in SUBCOMMANDS:
            options: argparse.Namespace = subcommand_parser(words[0]).parse_args(words[1:])
            return options
        if words[0].startswith("-"):
            old: argparse.Namespace = old_form.parser_of_the_old_form().parse_args(words)
            return old
        from sdar_envs.choices import unknown_choice

        raise unknown_choice("subcommand", words[0], SUBCOMMANDS, self.prog)

    def format_help(self) -> str:
        """Usage, what a study is, the subcommands, examples."""
        width = max(map(len, SUBCOMMANDS)) + 2
        listed = [f"  {name:<{width}}{each.summary}" for name, each in SUBCOMMANDS.items()]
        parts = [f"usage: {self.usage}", str(self.description).strip(), "\n".join(["subcommands:", *listed])]
        return "\n\n".join([*parts, str(self.epilog)]) + "\n"

    def _leave_with_help(self, status: int) -> NoReturn:
        self.print_help()
        raise SystemExit(status)


PARSER = StudyParser


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Nothing stands in front of a subcommand; its own options are declared in `subcommands`."""


def run(options: argparse.Namespace) -> int:
    """Run a subcommand; the old form points to the commands that do the same now, and runs them."""
    if options.subcommand is not None:
        return SUBCOMMANDS[options.subcommand].run(options)
    for command in old_form.point_out(options):
        status = run(subcommand_parser(command[0]).parse_args(command[1:]))
        if status:
            return status
    return 0
