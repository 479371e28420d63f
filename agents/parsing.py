"""From a completion to an action, with the reason when it is malformed. Only completions are read, never a prompt.

All searches are for fixed strings, so the time is linear in the completion whatever it holds. The letters of the action
are not changed: its wording is up to the environment.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sdar_envs.tool_sets import ToolProblem, ToolSet

from .base import Parse
from .tool_formats import ToolFormat

_OPEN, _CLOSE = "<action>", "</action>"
_THOUGHT = "</think>"


def parse_tagged(text: str, truncated: bool, *, thinking: bool) -> tuple[str, Parse]:
    """Read ``<think>...</think> ... <action>one action</action>``.

    Tags inside the thinking do not count: reading starts after the last ``</think>``. A completion that the token limit
    ended is TRUNCATED; its action is read when it was complete.

    Args:
        text: The completion.
        truncated: Whether the token limit ended it.
        thinking: Whether thinking was asked for.

    Returns:
        The action (``""`` when there is none to read) and how it was read.
    """
    _, thought, body = text.rpartition(_THOUGHT)
    action, parse = _between_tags(body)
    if truncated:
        return action, Parse.TRUNCATED
    if parse is Parse.OK and thinking and not thought:
        return action, Parse.NO_THINK_TAG
    return action, parse


def parse_bare(text: str, truncated: bool) -> tuple[str, Parse]:
    """Read a completion that is the action itself.

    A truncated one gives no action: "go to cabinet 1" may be what is left of "go to cabinet 12".
    """
    if truncated:
        return "", Parse.TRUNCATED
    action = text.strip()
    return action, Parse.OK if action else Parse.EMPTY


_PROBLEMS = {
    ToolProblem.NONE: Parse.OK,
    ToolProblem.UNKNOWN_TOOL: Parse.UNKNOWN_TOOL,
    ToolProblem.BAD_ARGUMENTS: Parse.BAD_ARGUMENTS,
}


def parse_call(text: str, truncated: bool, form: ToolFormat, tools: ToolSet) -> tuple[str, Parse]:
    """Read a completion that calls one tool, in the format of its chat template.

    Calls inside the thinking do not count: reading starts after the last ``</think>``. Text around a call in tags is
    left unread. A completion that the token limit ended is TRUNCATED; its call is read when it was complete.

    Args:
        text: The completion.
        truncated: Whether the token limit ended it.
        form: How calls are written.
        tools: What can be called.

    Returns:
        The action that the call stands for, and how it was read. A call with a problem has ``""``, unless the world
        takes calls as they are and says itself what is wrong with them.
    """
    body = text.rpartition(_THOUGHT)[2]
    try:
        call, parse = _call_in(body, form)
        action = ""
        if call is not None:
            action, problem = tools.action_of(*call)
            parse = _PROBLEMS[problem]
    except (ValueError, RecursionError):  # nested too deep to be written, or numbers too long
        action, parse = "", Parse.BAD_ARGUMENTS
    # JSON can spell half a character, which nothing behind this can write.
    action = action.encode("utf-8", "replace").decode("utf-8")
    return action, Parse.TRUNCATED if truncated else parse


def _call_in(body: str, form: ToolFormat) -> tuple[tuple[str, Mapping[str, Any]] | None, Parse]:
    """Name and arguments of the one call in a text, or None and why there is none."""
    opening, closing = form.tags
    if not body.strip():
        return None, Parse.EMPTY
    said = body
    if opening:
        if body.count(opening) > 1 or (closing and body.count(closing) > 1):
            return None, Parse.MANY_TOOL_CALLS
        _, opened, said = body.partition(opening)
        if closing:
            said, closed, _ = said.partition(closing)
            opened = opened and closed
        if not opened:
            return None, Parse.NO_TOOL_CALL
    elif not said.lstrip().startswith("{"):
        return None, Parse.NO_TOOL_CALL
    return _call_of(said.strip(), form)


def _not_json(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


_DECODER = json.JSONDecoder(parse_constant=_not_json)


def _call_of(said: str, form: ToolFormat) -> tuple[tuple[str, Mapping[str, Any]] | None, Parse]:
    """Name and arguments that a text of JSON states."""
    try:
        value, end = _DECODER.raw_decode(said)
    except (ValueError, RecursionError):
        return None, Parse.BROKEN_TOOL_CALL
    if said[end:].strip():
        several = said[end:].lstrip().startswith(("{", "["))
        return None, Parse.MANY_TOOL_CALLS if several else Parse.BROKEN_TOOL_CALL
    if form.listed and isinstance(value, list):
        if len(value) != 1:
            return None, Parse.MANY_TOOL_CALLS if value else Parse.NO_TOOL_CALL
        value = value[0]
    if not isinstance(value, dict) or not isinstance(value.get(form.name_key), str):
        return None, Parse.BROKEN_TOOL_CALL
    arguments = value.get(form.arguments_key, {})
    if not isinstance(arguments, dict):
        return None, Parse.BAD_ARGUMENTS
    return (value[form.name_key], arguments), Parse.OK


def _between_tags(body: str) -> tuple[str, Parse]:
    opened, closed = body.count(_OPEN), body.count(_CLOSE)
    if opened > 1 or closed > 1:
        return "", Parse.MANY_ACTION_TAGS
    start = body.find(_OPEN)
    end = body.find(_CLOSE, start + len(_OPEN)) if start >= 0 else -1
    if end < 0:
        return "", Parse.NO_ACTION_TAG if body.strip() else Parse.EMPTY
    action = body[start + len(_OPEN) : end].strip()
    return action, Parse.OK if action else Parse.EMPTY
