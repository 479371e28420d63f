"""What an environment returned, checked where it comes in: reward, flags, observation and `info`.

An environment is other people's code. What it returns is used in losses, written to logs and put into prompts, so that
a reward that is not finite, an observation of megabytes or a `success` that is the text "False" must not get any
further. The rules are the same for environments in this process and in workers.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, SupportsFloat

import numpy as np

from sdar_envs.text_only import expected_text

# When environments fill in the privileged part of `info`, which may take a planner's work: at every turn, once per
# episode, or never.
PRIVILEGED_TURNS = ("every", "first", "never")

# The key under which the last `info` of an episode says which actions were wrong; the trainer puts it there.
WRONG_ACTIONS = "wrong_actions"

MAX_OBSERVATION = 200_000  # characters; a text of 4.9 million took 40 s and 1.8 GB to tokenise
MAX_PUBLIC_TEXT = 1_000_000  # characters of instruction, admissible actions and other public fields together
MAX_PUBLIC_ITEMS = 20_000  # admissible actions, or skill keys


class FaultKind(StrEnum):
    """Kinds of faults of an environment."""

    RAISED = "raised"  # an exception
    EXITED = "exited"  # sys.exit, os._exit, or the end of its process without a signal
    KILLED = "killed"  # its process died of a signal: SIGKILL, SIGSEGV, the memory killer
    HUNG = "hung"  # no answer within the time limit
    INVALID = "invalid"  # it returned what no episode can be made of
    UNSENDABLE = "unsendable"  # it returned what cannot be sent from a worker process
    DIVERGED = "diverged"  # a replay gave another episode
    REPORTED = "reported"  # it says itself that the episode does not count (`info["environment_failure"]`)


@dataclass(frozen=True, slots=True)
class Reply:
    """What one slot's environment returned; `failure` says why it could not, and then no other field counts.

    Attributes:
        observation: Text.
        reward: A finite number; 0 at reset.
        terminated: Whether the world ended the episode.
        truncated: Whether a limit ended it.
        info: As the environment returned it.
        failure: Environment, task, step, kind of fault, type and place; None where nothing went wrong.
        fault: The kind of fault.
        detail: The environment's own words on it, which may be privileged.
    """

    observation: str = ""
    reward: float = 0.0
    terminated: bool = False
    truncated: bool = False
    info: Mapping[str, Any] = field(default_factory=dict)
    failure: str | None = None
    fault: FaultKind | None = None
    detail: str = ""


class InvalidReplyError(ValueError):
    """An environment returned something of which no episode can be made; the message has types and sizes only.

    `observed` is the type of an observation that is no text; empty for anything else.
    """

    def __init__(self, message: str, observed: str = "") -> None:
        super().__init__(message)
        self.observed = observed


def read_reset(returned: Any) -> Reply:
    """What `reset` returned, checked.

    Raises:
        InvalidReplyError: It is not a pair of an observation and `info`, or as `checked`.
    """
    if not (isinstance(returned, tuple) and len(returned) == 2):
        raise InvalidReplyError(f"reset: expected a tuple of observation and info, got {_shape(returned)}")
    observation, info = returned
    return checked(observation, 0.0, False, False, info)


def read_step(returned: Any) -> Reply:
    """What `step` returned, checked.

    Raises:
        InvalidReplyError: It is not a tuple of observation, reward, terminated, truncated and `info`, or as `checked`.
    """
    if not (isinstance(returned, tuple) and len(returned) == 5):
        raise InvalidReplyError(
            f"step: expected a tuple of observation, reward, terminated, truncated and info, got {_shape(returned)}"
        )
    return checked(*returned)


def checked(observation: Any, reward: Any, terminated: Any, truncated: Any, info: Any) -> Reply:
    """The reply that these values make.

    Raises:
        InvalidReplyError: A value has the wrong type, is not finite, or is too long.
    """
    if not isinstance(observation, str):
        kind = type(observation).__name__
        raise InvalidReplyError(f"observation: {expected_text(_shape(observation))}", observed=kind)
    if len(observation) > MAX_OBSERVATION:
        raise InvalidReplyError(
            f"observation: expected at most {MAX_OBSERVATION:,} characters, got {len(observation):,}"
        )
    _require_encodable("observation", observation)
    if not isinstance(info, Mapping):
        raise InvalidReplyError(f"info: expected a mapping, got {_shape(info)}")
    check_public(info)
    return Reply(
        str(observation),
        _finite("reward", reward),
        _flag("terminated", terminated),
        _flag("truncated", truncated),
        info,
    )


def check_public(info: Mapping[Any, Any]) -> None:
    """Check the keys of `info` that anyone may read and that rollouts use; a key that is missing or None is fine.

    Raises:
        InvalidReplyError: A key has the wrong type, a number that is not finite, or is too long.
    """
    success, score = info.get("success"), info.get("score")
    if success is not None:
        _flag("info['success']", success)
    if score is not None:
        _finite("info['score']", score)
    if info.get("is_action_valid") is not None:
        _flag("info['is_action_valid']", info["is_action_valid"])
    characters = 0
    for key in ("instruction", "task_id", "task_type"):
        value = info.get(key)
        if value is None:
            continue
        if not isinstance(value, (str, int, float, np.generic)):
            raise InvalidReplyError(f"info[{key!r}]: expected a str, got {_shape(value)}")
        characters += _length(f"info[{key!r}]", value)
    for key in ("admissible_actions", "skill_keys"):
        values = info.get(key)
        if values is None:
            continue
        parts = (values,) if isinstance(values, str) else values
        if not isinstance(parts, Collection) and not isinstance(parts, np.ndarray):
            raise InvalidReplyError(f"info[{key!r}]: expected a list of str, got {_shape(values)}")
        if len(parts) > MAX_PUBLIC_ITEMS:
            raise InvalidReplyError(f"info[{key!r}]: expected at most {MAX_PUBLIC_ITEMS:,} texts, got {len(parts):,}")
        characters += sum(_length(f"info[{key!r}]", part) for part in parts)
    if characters > MAX_PUBLIC_TEXT:
        raise InvalidReplyError(
            f"info: expected at most {MAX_PUBLIC_TEXT:,} characters of instruction and actions, got {characters:,}"
        )


def _length(where: str, value: Any) -> int:
    """Characters of a text, or of a number written as one."""
    if not isinstance(value, str):
        if not isinstance(value, (int, float, np.generic)):
            raise InvalidReplyError(f"{where}: expected text, got {_shape(value)}")
        return len(str(value))
    _require_encodable(where, value)
    return len(value)


def _require_encodable(where: str, text: str) -> None:
    """Refuse lone surrogates: no tokenizer reads them and no file takes them."""
    if text.isascii():
        return
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InvalidReplyError(f"{where}: expected text that UTF-8 can encode, got a lone surrogate") from error


def _finite(where: str, value: Any) -> float:
    if isinstance(value, (str, bytes, bytearray)) or not isinstance(value, (SupportsFloat, np.ndarray)):
        raise InvalidReplyError(f"{where}: expected a number, got {_shape(value)}")
    try:
        number = float(value)
    except Exception as error:  # an array of several numbers, say, or a type's own __float__ that raises
        raise InvalidReplyError(f"{where}: expected a number, got {_shape(value)}") from error
    if not math.isfinite(number):
        raise InvalidReplyError(f"{where}: expected a finite number, got {number}")
    return number


def _flag(where: str, value: Any) -> bool:
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, (int, float, np.number)) and value in (0, 1):
        return bool(value)
    if isinstance(value, np.ndarray) and value.shape == () and value.dtype == np.bool_:
        return bool(value)
    raise InvalidReplyError(f"{where}: expected a bool, got {_shape(value)}")


def _shape(value: Any) -> str:
    """The type of a value, and the length of a tuple or list; never its content."""
    name = type(value).__name__
    return f"{name} of {len(value)}" if type(value) in (tuple, list) else name


def reported_failure(reply: Reply, where: str) -> Reply:
    """A reply, or the failure that the environment reports itself: the episode ended through no action of the agent.

    Args:
        reply: What came back.
        where: Environment, task and step.
    """
    broken = reply.info.get("environment_failure")
    if not broken:
        return reply
    said = str(broken)[:1000] if isinstance(broken, str) else f"a {type(broken).__name__}"
    return Reply(failure=f"{where}: {said}", fault=FaultKind.REPORTED)
