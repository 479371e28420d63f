"""What can go wrong with an environment, in one vocabulary for environments in this process and in workers.

A fault says its kind, the type of an exception and the place where it was raised. The *text* of an exception is kept
apart: an environment may put privileged text into it, so it goes to standard error once and to no log that a student's
side could read.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import traceback
from dataclasses import dataclass
from pathlib import Path

from .replies import FaultKind, InvalidReplyError

_TEXT_LIMIT = 2000  # characters of an exception's text that are kept
_SAID_LIMIT = 200  # different faults whose text is shown in one process


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault.

    Attributes:
        kind: What happened.
        what: A sentence without any text of the environment: type and place of an exception, a signal, a limit.
        text: The environment's own words, which may be privileged; empty where there are none.
    """

    kind: FaultKind
    what: str
    text: str = ""

    def __str__(self) -> str:
        return f"{self.kind}: {self.what}"


class EnvironmentHungError(BaseException):
    """Raised inside a call of an environment that has taken too long; no ``except Exception`` swallows it."""


def fault_of(error: BaseException) -> Fault:
    """The fault that an exception stands for; never raises, whatever the exception's own methods do."""
    if isinstance(error, EnvironmentHungError):
        return Fault(FaultKind.HUNG, str(error))
    if isinstance(error, InvalidReplyError):
        return Fault(FaultKind.INVALID, str(error))
    kind = FaultKind.EXITED if isinstance(error, SystemExit) else FaultKind.RAISED
    name = type(error).__name__
    try:
        text = str(error)[:_TEXT_LIMIT].encode("utf-8", "backslashreplace").decode()
    except BaseException:  # an exception whose text raises
        text = "(its text cannot be read)"
    return Fault(kind, f"{name} at {_place(error)}", text)


def _place(error: BaseException) -> str:
    """File and line of the innermost frame; the file's name alone, since a path may say more than is asked."""
    try:
        frames = traceback.extract_tb(error.__traceback__)
        return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "an unknown place"
    except Exception:
        return "an unknown place"


class FaultTexts:
    """Shows the text of each different fault once, on standard error."""

    def __init__(self) -> None:
        self._said: set[tuple[str, str]] = set()
        self._lock = threading.Lock()

    def say(self, name: str, fault: Fault) -> None:
        """Show a fault's text, unless one of the same type and place was shown before.

        Args:
            name: The environment's.
            fault: The fault; one without text shows nothing.
        """
        key = (name, fault.what)
        with self._lock:
            if not fault.text or key in self._said or len(self._said) >= _SAID_LIMIT:
                return
            self._said.add(key)
        with contextlib.suppress(OSError, ValueError):  # standard error is closed
            shown = "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in fault.text)
            print(f"{name}: {fault.what}: {shown} (said once; logs have type and place only)", file=sys.stderr)


FAULT_TEXTS = FaultTexts()  # of this process, as its standard error is
