"""A watch over calls of environments in this process: a call that takes too long is named, and ended where that works.

A thread looks at the clock. When a call has exceeded its limit it sends the main thread a signal whose handler raises
`EnvironmentHungError` inside the call, which ends a loop in Python and a wait in the system alike; the episode then
counts as broken. Code that never returns to the interpreter cannot be ended so: the thread says on standard error which
task and step it is, and from then on Ctrl-C and SIGTERM end the process at once. Only a worker process ends such code
and lets the run go on.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from .faults import EnvironmentHungError
from .stopping import GRACE, STOP

_ENDING = signal.SIGURG  # nothing uses it; its default is to be ignored
_STOPPING = (signal.SIGINT, signal.SIGTERM)
_LOOK = 0.5  # seconds between looks
_PATIENCE = 5.0  # seconds that a call may take to end after it was told to


@dataclass(slots=True)
class _Call:
    """A call of an environment that is going on."""

    where: str
    limit: float
    since: float
    told: float = 0.0  # when it was told to end; 0 for not yet
    said: bool = False  # whether standard error has its name


class Watchdog:
    """Watches the calls of one process, one at a time; `call` marks them."""

    def __init__(self) -> None:
        self._call: _Call | None = None
        self._thread: threading.Thread | None = None
        self._owner = 0
        self._main = 0
        self._raises = False  # whether the handler could be installed
        self._wake: tuple[int, int] | None = None  # a pipe that signals are written to, even inside foreign code

    @contextmanager
    def call(self, where: str, limit: float) -> Iterator[None]:
        """Mark a call of an environment.

        Args:
            where: Environment, task and step, for messages.
            limit: Seconds that it may take.

        Raises:
            EnvironmentHungError: It took longer, and could be ended.
        """
        if threading.current_thread() is not threading.main_thread():
            yield  # no signal reaches this thread
            return
        if self._owner != os.getpid():
            self._begin()
        self._call = _Call(where, limit, time.monotonic())
        try:
            yield
        finally:
            self._call = None

    def _begin(self) -> None:
        """Start the thread; in a fork of this process, once more."""
        self._owner, self._main = os.getpid(), threading.get_ident()
        if signal.getsignal(_ENDING) in (signal.SIG_DFL, signal.SIG_IGN, self._raise):
            signal.signal(_ENDING, self._raise)
            self._raises = True
        reading, writing = os.pipe()
        os.set_blocking(reading, False)
        os.set_blocking(writing, False)
        before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        if before != -1:  # somebody else follows signals: leave it to them
            signal.set_wakeup_fd(before)
            os.close(reading)
            os.close(writing)
        else:
            self._wake = (reading, writing)
        self._thread = threading.Thread(target=self._watch, name="environment watchdog", daemon=True)
        self._thread.start()

    def _raise(self, number: int, frame: FrameType | None) -> None:
        """In the main thread, inside the call that is late."""
        call = self._call
        if call is not None and call.told:
            self._call = None
            STOP.end_wait(call.where)
            raise EnvironmentHungError(f"no answer within {call.limit:g} s")

    def _watch(self) -> None:
        asked = 0.0  # when a signal to stop came
        number = 0
        while True:
            time.sleep(_LOOK)
            now = time.monotonic()
            got = self._signal_received()
            if got:
                asked, number = now, got
            call = self._call
            if call is None:
                asked = asked if STOP.received else 0.0
                continue
            limit = call.limit if not asked else min(call.limit, max(asked - call.since, 0.0) + GRACE)
            if now - call.since < limit:
                continue
            if not call.told:
                call.told = now
                if self._raises:
                    signal.pthread_kill(self._main, _ENDING)
                continue
            if now - call.told < _PATIENCE or self._call is not call:
                continue
            if not call.said:
                call.said = True
                self._say(call)
            if asked:
                self._say_text(
                    f"ended by signal {number} while {call.where} hangs; a resume goes on from the last checkpoint"
                )
                os._exit(128 + number)

    def _signal_received(self) -> int:
        """A signal to stop that the interpreter has noted since the last look, even if no handler could run."""
        if self._wake is None:
            return 0
        with contextlib.suppress(BlockingIOError):
            noted = os.read(self._wake[0], 64)
            return next((n for n in reversed(noted) if n in _STOPPING), 0)
        return 0

    def _say(self, call: _Call) -> None:
        """Name a call that cannot be ended, and give signals their plain effect again."""
        self._say_text(
            f"WARNING: {call.where} has not answered for {time.monotonic() - call.since:.0f} s and cannot be "
            "interrupted: it hangs in code outside Python. Ctrl-C and SIGTERM now end this process at once; "
            "environments in worker processes (env_workers) are killed and replaced instead"
        )
        for number in _STOPPING:  # only the main thread may do this by Python's own means, and it is stuck
            with contextlib.suppress(OSError, AttributeError):
                ctypes.CDLL(None).signal(int(number), None)

    def _say_text(self, text: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            print(text, file=sys.stderr, flush=True)


WATCHDOG = Watchdog()  # of this process, as its signals are
