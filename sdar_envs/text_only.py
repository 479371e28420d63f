"""Observations that are not text, in one sentence: what was expected, what came, where, and what to do about it.

Everything here speaks text: prompts are worded from observations, memories are keyed by them, servers send them.
Whoever plays an environment of somebody else's checks what it returned.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any


class NotTextError(TypeError):
    """An environment's observations are not text. It is not broken, but no language model can act in it."""


def not_text(kind: str, where: str, name: str = "") -> NotTextError:
    """The error for an observation of another type.

    Args:
        kind: Its type.
        where: Environment, task and step.
        name: The environment, as a command takes it; "" where no command could be named.
    """
    checked = f". `sdar check {name}` looks at all that it returns" if name else ""
    return NotTextError(f"{where}: {expected_text(kind)}{checked}")


def expected_text(kind: str) -> str:
    """What was expected in the place of an observation of another type, and the remedy."""
    return (
        f"expected an observation that is text (a str, as in gymnasium.spaces.Text), got {kind}: wrap the environment "
        "so that it speaks text, for example with gymnasium.wrappers.TransformObservation (docs/extending.md)"
    )


def require_text(observation: object, where: str, name: str = "") -> str:
    """An observation that is text.

    Args:
        observation: What `reset` or `step` returned.
        where: Environment, task and step, for the message.
        name: As for `not_text`.

    Raises:
        NotTextError: It is something else.
    """
    if not isinstance(observation, str):
        raise not_text(type(observation).__name__, where, name)
    return observation


def require_text_world(make: Callable[..., Any], name: str) -> None:
    """Begin an episode of an environment that is to be served, unless it is a world of this suite.

    Args:
        make: Makes it.
        name: The environment, as a command takes it.

    Raises:
        NotTextError: Its first observation is no text.
    """
    from . import WORLDS

    if name.rpartition(":")[2] in WORLDS:
        return
    with contextlib.closing(make()) as env:
        require_text(env.reset(seed=0)[0], f"{name}, reset", name)
