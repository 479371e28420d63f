"""What can go wrong with an environment, in one vocabulary for environments in this process and in workers.

A fault says its kind, the type of an exception and the place where it was raised. The *text* of an exception is kept
apart: an environment may put privileged text into it, so it goes to standard error once and to no log that a student's
side could read.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import sys
import threading
import traceback
from dataclasses import dataclass
from pathlib import Path

from .replies import FaultKind, InvalidReplyError

logger = logging.getLogger(__name__)

_TEXT_LIMIT = 2000  # characters of an exception's text that are kept
_SAID_LIMIT = 200  # different faults whose text is shown in one process
_WARNED_LIMIT = 3  # failed episodes of one fault that are shown
_OUT_OF_MEMORY = "out of memory"


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

    @property
    def out_of_memory(self) -> bool:
        """Whether a limit on memory was met."""
        return self.what.startswith(_OUT_OF_MEMORY)

    def __str__(self) -> str:
        return f"{self.kind}: {self.what}"


class EpisodesFailedError(RuntimeError):
    """Every episode's environment broke, so that nothing can be learned or measured; the message has the first."""


class EnvironmentHungError(BaseException):
    """Raised inside a call of an environment that has taken too long; no ``except Exception`` swallows it."""


def fault_of(error: BaseException) -> Fault:
    """The fault that an exception stands for; never raises, whatever the exception's own methods do."""
    if isinstance(error, EnvironmentHungError):
        return Fault(FaultKind.HUNG, str(error))
    if isinstance(error, InvalidReplyError):
        return Fault(FaultKind.INVALID, str(error))
    kind = FaultKind.EXITED if isinstance(error, SystemExit) else FaultKind.RAISED
    what = f"{type(error).__name__} at {_place(error)}"
    try:
        text = str(error)[:_TEXT_LIMIT].encode("utf-8", "backslashreplace").decode()
    except BaseException:  # an exception whose text raises
        text = "(its text cannot be read)"
    return Fault(kind, f"{_OUT_OF_MEMORY} ({what})" if lacks_memory(error) else what, text)


def lacks_memory(error: BaseException) -> bool:
    """Whether an exception, or one that it was raised from, says that no memory was left.

    Python has a type for it; a folder that cannot be listed is an `OSError` then, and a library whose code cannot be
    mapped is an `ImportError` that says so in words only.
    """
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in chain:
        chain.append(link)
        link = link.__cause__ or link.__context__
    return any(map(_says_no_memory, chain))


def _says_no_memory(error: BaseException) -> bool:
    if isinstance(error, ImportError):
        try:
            said = str(error).lower()
        except BaseException:
            return False
        return "cannot allocate memory" in said or "failed to map segment" in said
    return isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM)


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


class FailedEpisodes:
    """Warns of episodes that failed: of each different fault the first few; all of them are counted in the metrics."""

    def __init__(self) -> None:
        self._warned: dict[tuple[str, str], int] = {}
        self._lock = threading.Lock()

    def warn(self, name: str, failure: str, fault: Fault, replays: int) -> None:
        """Warn of an episode, unless `_WARNED_LIMIT` others failed of the same.

        Args:
            name: The environment's.
            failure: Environment, task, step and fault.
            fault: What went wrong.
            replays: How often it was played again.
        """
        key = (name, fault.what)
        with self._lock:
            before = self._warned.get(key, 0)
            if len(self._warned) < _SAID_LIMIT:
                self._warned[key] = before + 1
        if before < _WARNED_LIMIT:
            more = "" if before + 1 < _WARNED_LIMIT else " (further ones that fail so are counted, and not shown)"
            logger.warning("episode counts as failed after %d replays: %s%s", replays, failure, more)


FAILED_EPISODES = FailedEpisodes()
