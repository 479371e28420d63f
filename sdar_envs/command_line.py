"""The argument parser of every command: no abbreviations, one line per mistake, the nearest option named."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import ClassVar, NoReturn

from .choices import nearest


class Parser(argparse.ArgumentParser):
    """argparse that takes no abbreviations and names the nearest option when it meets an unknown one."""

    # What other programs call the options: for the suggestion alone.
    other_names: ClassVar[Mapping[str, str]] = {}

    def __init__(self, **settings: object) -> None:
        settings.setdefault("allow_abbrev", False)
        settings.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(**settings)  # type: ignore[arg-type]  # argparse's own keywords, passed through

    def parse_args(self, args=None, namespace=None):  # type: ignore[no-untyped-def]  # argparse overloads it
        """Parse all of `args`; an unknown option is an error that names the nearest."""
        parsed, unknown = self.parse_known_args(args, namespace)
        if unknown:
            options = [text for action in self._actions for text in action.option_strings]
            given = unknown[0].split("=")[0]
            meant = nearest(given, options, other_names=self.other_names) if given.startswith("-") else None
            hint = f"; the nearest is {meant}" if meant else ""
            self.error(f"unrecognized argument {given!r}{hint} (`{self.prog} --help` lists all)")
        return parsed

    def error(self, message: str) -> NoReturn:
        """Print one line and exit with status 2; the usage of some eighty options would hide it."""
        self.exit(2, f"{self.prog}: {message}\n")
