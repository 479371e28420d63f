"""Calls of tools as a person types and reads them: ``book h1`` for the JSON of a call, and results without quotes.

A short form is the name of a tool and the values of its arguments, of one of the calls that are admissible now; any
other line goes to the world as it was typed.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any


def short_forms(actions: Sequence[str]) -> dict[str, str]:
    """Short form -> action, of those actions that are calls in JSON; of two alike the first."""
    found: dict[str, str] = {}
    for action in actions:
        said = _json(action)
        if isinstance(said, dict) and isinstance(said.get("name"), str) and isinstance(said.get("arguments"), dict):
            words = [said["name"], *map(str, said["arguments"].values())]
            found.setdefault(" ".join(words), action)
    return found


def typed_action(line: str, actions: Sequence[str]) -> str:
    """The action that a typed line stands for."""
    return short_forms(actions).get(" ".join(line.split()), line)


def readable_result(text: str) -> str:
    """A result in JSON with a line for each row of a list; any other text as it is."""
    said = _json(text)
    if not isinstance(said, dict) or not said:
        return text
    lines = []
    for name, value in said.items():
        if isinstance(value, list) and all(isinstance(row, dict) for row in value):
            lines += [f"{name}:", *(f"  {_row(row)}" for row in value)] if value else [f"{name}: none"]
        else:
            lines.append(f"{name}: {_row(value) if isinstance(value, dict) else _value(value)}")
    return "\n".join(lines)


def _row(row: dict[str, Any]) -> str:
    return ", ".join(f"{name} {_value(value)}" for name, value in row.items())


def _value(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return " or ".join(value)
    return json.dumps(value)


def _json(text: str) -> Any:
    """What a text says as JSON; None where it says nothing so."""
    if not text.lstrip().startswith("{"):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
