"""From a configuration dataclass to command-line flags, and from words and YAML back to its values.

One field is one flag (``learning_rate`` is ``--learning-rate``), so there is no second list of options to keep in step.
Values have the same meaning in a flag, in ``--set key=value`` and in a YAML file. Whether a value makes sense is the
dataclass's own business; here it only gets its type.
"""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import inspect
import re
import types
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import yaml

_TRUE = {"true", "yes", "on", "1"}
_FALSE = {"false", "no", "off", "0"}
_DEST = "config."  # keeps configuration fields apart from a command's own options
_TYPE_NAMES = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    Path: "a path",
    Any: "a value",
}
_METAVARS = {"a whole number": "N", "a number": "X", "text": "TEXT", "a path": "PATH"}
_EXPONENT = re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+")


def read_scalar(text: str) -> Any:
    """The value of a word as YAML reads it, except that ``7e-4`` is a number here as everywhere else.

    Raises:
        ValueError: The word opens a bracket or quotation that it does not close.
    """
    if _EXPONENT.fullmatch(text):
        return float(text)
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"expected a YAML value, got {text!r}: put text with special characters in quotes") from error


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


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file that holds one mapping.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is not YAML, or not a mapping.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no configuration file {path}")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is expected to be a YAML file: {error}") from error
    if content is None:
        return {}
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise ValueError(f"{path} is expected to hold `key: value` lines, got a {type(content).__name__}")
    return content


def coerce(value: Any, hint: Any, name: str, where: str) -> Any:
    """Give `value` the type that the annotation `hint` asks for.

    Raises:
        ValueError: It can not have that type; the message names the key, the place and what was expected.
    """
    try:
        return _convert(value, hint)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{where}: {name} expects {describe(hint)}, got {value!r}") from None


def _convert(value: Any, hint: Any) -> Any:
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is Any:
        return value
    if origin in (Union, types.UnionType):
        return _convert_union(value, arguments)
    if origin is Literal:
        if value not in arguments:
            raise ValueError
        return value
    if origin in (tuple, list) or hint in (tuple, list):
        items = value if isinstance(value, list | tuple) else str(value).split(",")
        converted = [_convert(item, arguments[0] if arguments else Any) for item in items]
        return converted if (origin or hint) is list else tuple(converted)
    if isinstance(origin or hint, type) and issubclass(origin or hint, Mapping):
        if not isinstance(value, Mapping):
            raise TypeError
        return dict(value)
    if hint is bool:
        return _convert_bool(value)
    if hint is float:
        if isinstance(value, bool):
            raise TypeError
        return float(value)
    if hint is int:
        if isinstance(value, bool) or not float(value).is_integer():
            raise TypeError
        return int(value) if isinstance(value, str | int) and str(value).lstrip("+-").isdigit() else int(float(value))
    if hint is str:
        if value is None or isinstance(value, dict | list):
            raise TypeError
        return str(value)
    if isinstance(hint, type) and not isinstance(value, hint):
        return hint(value)  # Path, StrEnum
    return value


def _convert_union(value: Any, hints: tuple[Any, ...]) -> Any:
    if value is None or (isinstance(value, str) and value.lower() in ("none", "null")):
        if type(None) in hints:
            return None
        raise ValueError
    for hint in hints:
        if hint is not type(None):
            try:
                return _convert(value, hint)
            except (TypeError, ValueError):
                continue
    raise ValueError


def _convert_bool(value: Any) -> bool:
    word = str(value).lower()
    if word not in _TRUE | _FALSE:
        raise ValueError
    return word in _TRUE


def describe(hint: Any) -> str:
    """An annotation in words, for help texts and errors: ``a whole number or none``."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        named = [describe(argument) for argument in arguments if argument is not type(None)]
        return " or ".join([*named, *(["none"] if type(None) in arguments else [])])
    if origin is Literal:
        return "one of " + ", ".join(map(str, arguments))
    if origin in (tuple, list):
        return f"a list, each {describe(arguments[0])}" if arguments else "a list"
    if isinstance(origin or hint, type) and issubclass(origin or hint, Mapping):
        return "key=value pairs"
    return _TYPE_NAMES.get(hint, getattr(hint, "__name__", str(hint)))


def field_types(config_class: type) -> dict[str, Any]:
    """The annotations of a dataclass's fields, resolved."""
    hints = typing.get_type_hints(config_class)
    return {field.name: hints[field.name] for field in dataclasses.fields(config_class) if field.init}


def check_keys(keys: Iterable[str], known: Iterable[str], where: str) -> None:
    """Refuse a key that is not among `known`.

    Raises:
        ValueError: The message names the key and the nearest that exists.
    """
    names = list(known)
    for key in keys:
        if key not in names:
            nearest = difflib.get_close_matches(key.replace("-", "_"), names, n=1, cutoff=0.5)
            # A list of some eighty keys would hide the answer; --help has it.
            hint = f'the nearest is "{nearest[0]}"' if nearest else "`sdar train --help` lists all"
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


def field_help(config_class: type) -> dict[str, str]:
    """What each field means: its ``help`` metadata, else its entry in the class's docstring."""
    entries = docstring_entries(config_class)
    for field in dataclasses.fields(config_class):
        if "help" in field.metadata:
            entries[field.name] = field.metadata["help"]
    return entries


def add_config_flags(parser: argparse.ArgumentParser, config_class: type, *, skip: Iterable[str] = ()) -> None:
    """Add one flag per field, in groups by the field's ``group`` metadata, with its meaning and default.

    A flag that is not given leaves no trace in the namespace; `given_flags` collects the others.
    """
    meanings, hints = field_help(config_class), field_types(config_class)
    groups: dict[str, Any] = {}
    for field in dataclasses.fields(config_class):
        if not field.init or field.name in skip:
            continue
        title = field.metadata.get("group", "configuration")
        group = groups.setdefault(title, None) or parser.add_argument_group(title)
        groups[title] = group
        hint, flag = hints[field.name], "--" + field.name.replace("_", "-")
        settings: dict[str, Any] = {"dest": _DEST + field.name, "default": argparse.SUPPRESS}
        settings["help"] = f"{meanings.get(field.name, '')} [{_default_text(field)}]".strip().replace("%", "%%")
        if hint in (bool, bool | None):
            group.add_argument(flag, action=argparse.BooleanOptionalAction, **settings)
        elif describe(hint) == "key=value pairs":
            group.add_argument(flag, nargs="+", metavar="KEY=VALUE", **settings)
        else:
            group.add_argument(flag, metavar=_METAVARS.get(describe(hint).removesuffix(" or none"), "X"), **settings)


def given_flags(options: argparse.Namespace, config_class: type) -> dict[str, Any]:
    """The configuration that was given by flags, typed.

    Raises:
        ValueError: A value can not have its field's type.
    """
    values: dict[str, Any] = {}
    for name, hint in field_types(config_class).items():
        if hasattr(options, _DEST + name):
            raw, flag = getattr(options, _DEST + name), "--" + name.replace("_", "-")
            pairs = isinstance(raw, list) and describe(hint) == "key=value pairs"
            values[name] = coerce(read_pairs(raw, flag) if pairs else raw, hint, name, f"flag {flag}")
    return values


def _default_text(field: dataclasses.Field[Any]) -> str:
    if field.default is not dataclasses.MISSING:
        return f"default {'none' if field.default is None else field.default}"
    if field.default_factory is not dataclasses.MISSING:
        return f"default {field.default_factory() or 'empty'}"
    return "required"
