"""From the configuration dataclass to command-line flags, and from words back to values.

One field is one flag (``learning_rate`` is ``--learning-rate``), so there is no second list of options to keep in step.
A value means the same in a flag, in ``--set key=value`` and in a YAML file; `trainers.config` gives it its type and
says whether it makes sense.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import inspect
import re
import sys
import typing
from collections.abc import Iterable, Sequence
from typing import Any

import yaml

from sdar_envs.choices import nearest

from ..options.other_names import OTHER_NAMES

_DEST = "config."  # keeps configuration fields apart from a command's own options
_EXPONENT = re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+")


def read_scalar(text: str) -> Any:
    """The value of a word as YAML reads it, except that ``7e-4`` is a number here as everywhere else.

    Raises:
        ValueError: The word is no YAML value, e.g. an opened bracket.
    """
    if _EXPONENT.fullmatch(text):
        return float(text)
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        raise ValueError(f"expected a YAML value, got {text!r}: put text with special characters in quotes") from None


def read_pairs(words: Iterable[str], where: str) -> dict[str, Any]:
    """Read ``key=value`` words.

    Raises:
        ValueError: A word has no ``=`` or no key.
    """
    pairs: dict[str, Any] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key.strip():
            raise ValueError(f"{where} expects key=value, got {word!r}")
        pairs[key.strip()] = read_scalar(value)
    return pairs


@functools.cache
def point_out(command: str, old: str, new: str) -> None:
    """Say what a flag is called now, once per process."""
    print(f"{command}: {old} is called {new} now", file=sys.stderr)


class OldSpelling(argparse.Action):
    """Does what the flag of today's name does, and says what that is."""

    def __init__(self, option_strings: Sequence[str], dest: str, *, today: argparse.Action, **settings: Any) -> None:
        super().__init__(option_strings, dest, today.nargs, default=argparse.SUPPRESS, **settings)
        self.type = today.type
        self.today = today

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: str | None = None
    ) -> None:
        """Hand the values on."""
        point_out(parser.prog, str(option), self.today.option_strings[0])
        self.today(parser, namespace, values, option)


def old_spelling(parser: argparse.ArgumentParser, old: str, new: str) -> None:
    """Accept the older name of a flag that is declared already."""
    today = next(action for action in parser._actions if new in action.option_strings)
    parser.add_argument(old, dest=today.dest, action=OldSpelling, today=today, help=argparse.SUPPRESS)


def add_environment_argument(
    parser: argparse.ArgumentParser, words: str = "environment [the run directory's, else sdar/Household-v0]"
) -> None:
    """Declare the environment: as a word (``sdar play sdar/Household-v0``) or as ``--env``; `words` are its help."""
    parser.add_argument("environment", nargs="?", metavar="ENV", help=words)
    parser.add_argument("--env", metavar="ID", help="the same as a flag")


def add_teacher_context_argument(parser: argparse.ArgumentParser) -> None:
    """Declare a user's own function from info to what the teacher is shown."""
    words = "your own function from info to the text that the teacher is shown, in a module or a file of this folder"
    parser.add_argument("--teacher-context", metavar="MODULE:FUNCTION", help=words)


def add_trust_argument(parser: argparse.ArgumentParser) -> None:
    """Declare the one way to let a model's own code run."""
    words = "run code that the model's folder brings, with all that it may do; without this flag none is run"
    parser.add_argument("--trust-remote-code", action="store_true", help=words)


def chosen_environment(options: argparse.Namespace) -> str | None:
    """The environment that `add_environment_argument` read; None when none was named.

    Raises:
        ValueError: Two different ones were named.
    """
    word: str | None = options.environment
    flag: str | None = options.env
    if word is not None and flag is not None and word != flag:
        raise ValueError(f"expected one environment, got {word} and --env {flag}: leave one of them out")
    return word if word is not None else flag


def check_keys(keys: Iterable[str], known: Iterable[str], where: str, listing: str = "sdar train --help") -> None:
    """Refuse a key that is not among `known`; `listing` is the command that lists them.

    Raises:
        ValueError: The message names the key, the place, and the nearest key that exists.
    """
    names = list(known)
    for key in keys:
        if key not in names:
            meant = nearest(key, names, other_names=OTHER_NAMES)
            # A list of some eighty keys would hide the answer; --help has it.
            hint = f'the nearest is "{meant}"' if meant else f"`{listing}` lists all"
            raise ValueError(f"unknown key {key!r} in {where}: {hint}")


def docstring_entries(documented: Any) -> dict[str, str]:
    """The ``name: meaning`` entries of a Google-style docstring, continuation lines joined."""
    entries: dict[str, str] = {}
    name = ""
    for line in inspect.cleandoc(documented.__doc__ or "").splitlines():
        entry = re.match(r" {4}(\w+)(?: \([^)]*\))?: (.*)", line)
        if entry:
            name = entry[1]
            entries[name] = entry[2]
        elif name and line.startswith(" " * 8):
            entries[name] += " " + line.strip()
        else:
            name = ""
    return entries


def add_config_flags(parser: argparse.ArgumentParser, config_class: type, *, only: Iterable[str] | None = None) -> None:
    """Add one flag per field (or for the fields in `only`), in the field's group, with its meaning and default.

    A flag that is not given leaves no trace in the namespace; `given_flags` collects the others as text.
    """
    hints = typing.get_type_hints(config_class)
    wanted = None if only is None else set(only)
    groups: dict[str, Any] = {}
    for field in dataclasses.fields(config_class):
        if wanted is not None and field.name not in wanted:
            continue
        title = field.metadata.get("group", "configuration")
        if title not in groups:
            groups[title] = parser.add_argument_group(title)
        hint, flag = hints[field.name], "--" + field.name.replace("_", "-")
        settings: dict[str, Any] = {"dest": _DEST + field.name, "default": argparse.SUPPRESS, "help": _help(field)}
        if _is_switch(hint):
            groups[title].add_argument(flag, action=argparse.BooleanOptionalAction, **settings)
        elif typing.get_origin(hint) is dict:
            groups[title].add_argument(flag, nargs="+", metavar="KEY=VALUE", action="extend", **settings)
        else:
            groups[title].add_argument(flag, metavar=_metavar(hint), **settings)


def given_flags(options: argparse.Namespace) -> dict[str, Any]:
    """The configuration that was given by flags; values are still text, pairs are read.

    Raises:
        ValueError: A pair is not ``key=value``.
    """
    values: dict[str, Any] = {}
    for dest, raw in vars(options).items():
        if dest.startswith(_DEST):
            name = dest.removeprefix(_DEST)
            values[name] = read_pairs(raw, f"--{name.replace('_', '-')}") if isinstance(raw, list) else raw
    return values


def _is_switch(hint: Any) -> bool:
    return hint is bool or bool in typing.get_args(hint)


def _metavar(hint: Any) -> str:
    kinds = {int: "N", float: "X"}
    return next((kinds[kind] for kind in (hint, *typing.get_args(hint)) if kind in kinds), "TEXT")


def _help(field: dataclasses.Field[Any]) -> str:
    if field.default is not dataclasses.MISSING:
        default = "none" if field.default in (None, ()) else str(field.default)
    else:
        default = "none" if field.default_factory is dataclasses.MISSING else str(field.default_factory() or "none")
    choices = field.metadata.get("choices", ())
    listed = f" ({', '.join(choices)})" if choices else ""
    return f"{field.metadata.get('help', '')}{listed} [{default}]".strip().replace("%", "%%")
