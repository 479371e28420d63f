"""Ctrl-C and SIGTERM in a run: the first asks it to stop after the iteration, the second ends it at once.

An iteration that waits for an environment which does not answer is given up after a moment (`rollout.stopping`).
"""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

from ..rollout.stopping import STOP

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """Within its ``with`` block, `received` holds the first signal that came; a second one has its usual effect.

    Outside the main thread, where Python delivers no signals, it does nothing.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *exception: object) -> None:
        self._restore()
        STOP.clear()

    def raise_received(self) -> None:
        """End the run as the signal would have: KeyboardInterrupt, or exit code 143.

        Raises:
            KeyboardInterrupt: Ctrl-C was pressed.
            SystemExit: SIGTERM came.
        """
        if self.received == signal.SIGINT:
            raise KeyboardInterrupt
        if self.received is not None:
            raise SystemExit(128 + self.received)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.received = number
        STOP.ask(number)  # an environment that does not answer does not put the stop off for ever
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()
