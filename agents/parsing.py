"""From a completion to an action, with the reason when it is malformed. Only completions are read, never a prompt.

All searches are for fixed strings, so the time is linear in the completion whatever it holds. The letters of the action
are not changed: its wording is up to the environment.
"""

from __future__ import annotations

from .base import Parse

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
