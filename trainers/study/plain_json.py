"""Dataclasses to JSON and back, strictly: an unknown key, a missing one or a value of another type is named.

Understands dataclasses, tuples of one type, dictionaries by text, unions with None, and plain values.
"""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, Union

from sdar_envs.bounded_files import load_json
from sdar_envs.files import write_file

T = TypeVar("T")


class DamagedFileError(ValueError):
    """A file of a study that does not hold what it should."""


def encode(value: Any) -> Any:
    """Plain JSON values of a dataclass, tuples as lists."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: encode(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): encode(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [encode(inner) for inner in value]
    return value


def decode(wanted: type[T], value: Any, where: str) -> T:
    """The dataclass `wanted` from plain values; fields with defaults may be missing.

    Raises:
        DamagedFileError: The value is not one; the message says where and what was expected.
    """
    return typing.cast(T, _decode(wanted, value, where))


def _decode(wanted: Any, value: Any, where: str) -> Any:
    origin, arguments = typing.get_origin(wanted), typing.get_args(wanted)
    if wanted is Any:
        return value
    if origin in (Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        others = [argument for argument in arguments if argument is not type(None)]
        if len(others) == 1:
            return _decode(others[0], value, where)
        return value
    if dataclasses.is_dataclass(wanted):
        return _decode_dataclass(wanted, value, where)
    if origin is tuple and isinstance(value, (list, tuple)):
        return tuple(_decode(arguments[0], inner, f"{where}[{index}]") for index, inner in enumerate(value))
    if origin is dict and isinstance(value, Mapping):
        return {key: _decode(arguments[1], inner, f"{where}.{key}") for key, inner in value.items()}
    if wanted is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    if isinstance(wanted, type) and type(value) is wanted:
        return value
    expected = wanted.__name__ if isinstance(wanted, type) else str(wanted)
    raise DamagedFileError(f"{where}: expected {expected}, got {value!r}"[:400])


def _decode_dataclass(wanted: Any, value: Any, where: str) -> Any:
    if not isinstance(value, Mapping):
        raise DamagedFileError(f"{where}: expected an object with the fields of {wanted.__name__}, got {value!r}"[:400])
    hints = typing.get_type_hints(wanted)
    fields = {field.name: field for field in dataclasses.fields(wanted) if field.init}
    unknown = sorted(set(value) - set(fields))
    required = (dataclasses.MISSING, dataclasses.MISSING)
    missing = [n for n, f in fields.items() if n not in value and (f.default, f.default_factory) == required]
    if unknown or missing:
        raise DamagedFileError(
            f"{where}: expected the fields of {wanted.__name__}; unknown: {', '.join(unknown) or 'none'}, missing: "
            f"{', '.join(missing) or 'none'}"
        )
    return wanted(**{name: _decode(hints[name], inner, f"{where}.{name}") for name, inner in value.items()})


def no_json(constant: str) -> None:
    """Refuse a number that is not finite, for `json.loads`.

    Raises:
        ValueError: Always.
    """
    raise ValueError(f"{constant} is no JSON")


def read_json(path: Path) -> Any:
    """The content of a JSON file.

    Raises:
        DamagedFileError: It is not JSON, or has NaN in it.
        OSError: It cannot be read.
    """
    try:
        return load_json(path, parse_constant=no_json)
    except ValueError as error:
        raise DamagedFileError(f"{path}: expected JSON, got {error}") from None


def write_json(path: Path, content: Any) -> None:
    """Write a file in one step: whoever reads it finds the old content or the new, never a part."""
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a text file in one step, synchronised to the disk."""
    write_file(path, text, sync=True)
