"""A request to stop that came while environments are waited for.

A run finishes its iteration before it stops. An environment that does not answer would put that off for as long as its
time limit, and one that hangs in this process for ever; so after a grace period the wait itself ends, and with it the
iteration, which a resume plays again from the last checkpoint.
"""

from __future__ import annotations

import signal
import time
from dataclasses import dataclass

GRACE = 10.0  # seconds that an environment may still take after a request to stop


class StoppedWaitingError(SystemExit):
    """SIGTERM came and an environment did not answer within the grace period; the process ends as by that signal."""


@dataclass(slots=True)
class StopRequest:
    """The signal that asks this process to stop, if one came, and when waiting for environments ends."""

    received: int | None = None
    waits_until: float = float("inf")  # by `time.monotonic`

    def ask(self, number: int) -> None:
        """Note a signal."""
        self.received, self.waits_until = number, time.monotonic() + GRACE

    def clear(self) -> None:
        """Forget it: the run that it was meant for has ended."""
        self.received, self.waits_until = None, float("inf")

    def end_wait(self, waited_for: str) -> None:
        """End a wait that has gone on for longer than the grace period after a request to stop.

        Args:
            waited_for: What has not answered, for the message.

        Raises:
            KeyboardInterrupt: Ctrl-C had been pressed.
            StoppedWaitingError: SIGTERM had come.
        """
        if self.received is None or time.monotonic() < self.waits_until:
            return
        if self.received == signal.SIGINT:
            raise KeyboardInterrupt(f"stopped while waiting for {waited_for}")
        raise StoppedWaitingError(128 + self.received)


STOP = StopRequest()  # signals belong to the process, and so does this
