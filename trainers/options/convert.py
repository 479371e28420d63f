"""Plain values to typed options: strict conversion of values from YAML files and flags. Knows no particular option."""

from __future__ import annotations

import math
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Union

from sdar_envs.bounded_files import read_text

_LONGEST_YAML = 1 << 22  # bytes


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Read a YAML file that must hold a mapping (or nothing).

    Raises:
        ValueError: It does not; the message names the file.
    """
    import yaml

    try:
        loaded = yaml.safe_load(read_text(path, limit=_LONGEST_YAML))
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # a value such as 2026-13-45 is a ValueError
        raise ValueError(f"{path}: expected a YAML mapping of options, got text that is not YAML: {error}") from error
    if loaded is None:
        return {}
    if not isinstance(loaded, dict):
        raise ValueError(f"{path}: expected a YAML mapping of options, got {type(loaded).__name__}")
    return {str(key): value for key, value in loaded.items()}


def merge(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Later layers win; mappings (``env_kwargs``) are merged key by key instead of being replaced."""
    merged: dict[str, Any] = {}
    for layer in layers:
        for key, value in layer.items():
            before = merged.get(key)
            both = isinstance(before, Mapping) and isinstance(value, Mapping)
            merged[key] = {**before, **value} if both else value  # type: ignore[dict-item]  # checked by `both`
    return merged


def nested(pairs: Mapping[str, Any]) -> dict[str, Any]:
    """``{"env_kwargs.size": "small"}`` as ``{"env_kwargs": {"size": "small"}}``: what `--set` and plans take."""
    layers: list[dict[str, Any]] = []
    for key, value in pairs.items():
        outer, dot, inner = key.partition(".")
        layers.append({outer: {inner: value}} if dot else {key: value})
    return merge(*layers)


def convert(value: Any, wanted: Any, name: str) -> Any:
    """Convert a plain value to a field's type, strictly: ``"1e-6"`` is a float, ``1.5`` is no int, ``1`` is no bool.

    YAML 1.1 reads ``1e-6`` (no dot) as text, and flags and environment variables are text always; so text is accepted
    for numbers and for ``true``/``false``/``none``.

    Raises:
        TypeError: The value cannot mean the type; the message names the option.
    """
    origin, arguments = typing.get_origin(wanted), typing.get_args(wanted)
    if origin in (Union, types.UnionType):
        return _convert_union(value, arguments, wanted, name)
    if origin is Literal:
        if value in arguments:
            return value
    elif origin is tuple:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip() and part.strip() != "none")
        if isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value):
            return tuple(value)
    elif origin is dict:
        if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
            return dict(value)
    elif wanted is bool:
        text = value.lower() if isinstance(value, str) else value
        if isinstance(value, bool) or text in ("true", "false"):
            return value if isinstance(value, bool) else text == "true"
    elif wanted in (int, float) and not isinstance(value, bool):
        number = _number(value, wanted)
        if number is not None:
            return number
    elif wanted is str and isinstance(value, (str, Path)):
        return str(value)
    raise TypeError(f"{name}: expected {_type_name(wanted)}, got {value!r} ({type(value).__name__})")


def _convert_union(value: Any, arguments: tuple[Any, ...], wanted: Any, name: str) -> Any:
    if type(None) in arguments and (value is None or (isinstance(value, str) and value.lower() in ("none", "null"))):
        return None
    for argument in arguments:
        if argument is type(None):
            continue
        try:
            return convert(value, argument, name)
        except TypeError:
            continue
    raise TypeError(f"{name}: expected {_type_name(wanted)}, got {value!r} ({type(value).__name__})")


def _number(value: Any, wanted: type) -> float | int | None:
    try:
        number = float(value) if isinstance(value, (int, float, str)) else None
    except ValueError:
        return None
    if number is None or not math.isfinite(number):
        return None
    if wanted is float:
        return number
    return int(number) if number == int(number) else None


def _type_name(wanted: Any) -> str:
    return wanted.__name__ if isinstance(wanted, type) else str(wanted).replace("typing.", "")
