"""A program that outlives the trainer by a moment: it kills the process groups of workers that the trainer left behind.

It reads ``+GROUP`` and ``-GROUP`` lines from its standard input, whose other end only the trainer has. When that end
is closed, by whatever death, the groups that are left are killed, with every child that an environment has started and
however deep in foreign code a worker is. It imports nothing of this suite.
"""

import contextlib
import os
import signal
import sys


def main() -> None:
    """Follow the list until its writer is gone, then kill what is on it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    groups: set[int] = set()
    for line in sys.stdin:
        number = int(line[1:])
        (groups.add if line[0] == "+" else groups.discard)(number)
    for group in groups:
        with contextlib.suppress(OSError):
            os.killpg(group, signal.SIGKILL)


if __name__ == "__main__":
    main()
