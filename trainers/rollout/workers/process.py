"""One worker process seen from the trainer: started, spoken to, and ended with everything that it has started.

A worker is a plain child of this process (no server of forks, no import of the program that was started) and leads a
process group of its own, so that a kill reaches the children of an environment too.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..faults import Fault
from ..making import Recipe
from ..replies import FaultKind
from .channel import PollingChannel
from .packing import dumps, loads

_WORKER = f"{__package__}.worker"
_END_SECONDS = 1.0  # for environments to close, before what is left of a worker is killed


class WorkerStartError(RuntimeError):
    """No worker process can be started."""


class WorkerProcess:
    """A running worker.

    Args:
        recipe: How its environments are made.
        memory: Bytes of address space at most; 0 for no limit.

    Raises:
        WorkerStartError: The system starts no further process.
    """

    def __init__(self, recipe: Recipe, *, memory: int = 0) -> None:
        ours, theirs = socket.socketpair()
        main_thread = threading.current_thread() is threading.main_thread()
        words = [str(theirs.fileno()), str(os.getpid()), str(memory), str(int(main_thread))]
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", _WORKER, *words],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,  # the worker takes standard error for both
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
                env=_environment(),
            )
        except OSError as error:
            ours.close()
            raise WorkerStartError(f"a worker process cannot be started: {error}") from error
        finally:
            theirs.close()
        self.pid = self._process.pid
        _REAPER.watch(self.pid)
        self.channel = PollingChannel(ours)
        self.exit_fd = _pidfd(self.pid)  # readable when it has ended; -1 where the system has no such thing
        self.ready = False
        fields = {name: getattr(recipe, name) for name in Recipe.__dataclass_fields__}
        self.channel.send(dumps({"recipe": fields}))

    def send(self, request: Mapping[str, Any]) -> None:
        """Send a request."""
        self.channel.send(dumps(request))

    def answers(self) -> Iterator[tuple[dict[str, Any], bytes]]:
        """What has arrived: what happened, and the packed reply.

        Raises:
            OversizeError: The worker announces more than is taken.
        """
        for message in self.channel.messages():
            head, _, payload = message.partition(b"\n")
            yield loads(head), payload

    @property
    def ended(self) -> bool:
        """Whether the process has ended; it stays in the table, so that its number is not given to another one."""
        return self._exit() is not None

    def fault(self) -> Fault:
        """How an ended process ended."""
        until = time.monotonic() + 0.5  # a process that is killed loses its socket a moment before it has ended
        while (found := self._exit()) is None and time.monotonic() < until:
            time.sleep(0.001)
        if found is None:
            return Fault(FaultKind.EXITED, "it closed its connection")
        if found.si_code == os.CLD_EXITED:
            return Fault(FaultKind.EXITED, f"its process ended with status {found.si_status}")
        number = int(found.si_status)
        with contextlib.suppress(ValueError):
            return Fault(FaultKind.KILLED, f"its process died of {signal.Signals(number).name}")
        return Fault(FaultKind.KILLED, f"its process died of signal {number}")

    def _exit(self) -> Any:
        """How it ended, without taking it out of the process table; None while it runs."""
        try:
            return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:  # somebody else has waited for it
            return os.waitid_result((self.pid, 0, signal.SIGCHLD, 1, os.CLD_EXITED))

    def end(self) -> None:
        """Kill the process and its group, and close everything that belongs to it; a second call does nothing."""
        self.channel.close()
        # Before the process is waited for, its number cannot have been given to another one.
        with contextlib.suppress(OSError):
            os.killpg(self.pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(10.0)
        _REAPER.forget(self.pid)
        if self.exit_fd >= 0:
            os.close(self.exit_fd)
            self.exit_fd = -1


def end_all(processes: list[WorkerProcess]) -> None:
    """End several workers, whose environments close at the same time, and empty the list."""
    for process in processes:
        process.channel.close()
    until = time.monotonic() + _END_SECONDS
    while time.monotonic() < until and not all(process.ended for process in processes):
        time.sleep(0.005)
    while processes:
        processes.pop().end()


def _environment() -> dict[str, str]:
    """The environment of a worker: the trainer's, where modules are found at the same places and hashes are fixed."""
    places = [os.path.abspath(place or os.curdir) for place in sys.path]
    values = {**os.environ, "PYTHONPATH": os.pathsep.join(places)}
    values["PYTHONHASHSEED"] = "0"  # sets of text have the same order in a worker and in the one that replaces it
    values.setdefault("OMP_NUM_THREADS", "1")
    return values


def _pidfd(pid: int) -> int:
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        return -1


class _Reaper:
    """The program in `reaper`, started with the first worker, one for this process."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = 0
        self._groups: set[int] = set()
        self._lock = threading.Lock()

    def watch(self, group: int) -> None:
        """Kill this group when this process is gone."""
        with self._lock:
            if self._owner != os.getpid():  # the first worker, or the first one of a fork of this process
                self._process, self._owner, self._groups = None, os.getpid(), set()
            self._groups.add(group)
            if self._process is None or self._process.poll() is not None:
                self._start()
            self._write(f"+{group}\n")

    def forget(self, group: int) -> None:
        """The group has ended; with the last one the program ends, too."""
        with self._lock:
            if self._owner != os.getpid() or group not in self._groups:
                return
            self._groups.discard(group)
            self._write(f"-{group}\n")
            if not self._groups:
                self._end()

    def _start(self) -> None:
        script = Path(__file__).with_name("reaper.py")
        with contextlib.suppress(OSError):  # without it, workers still look for their parent themselves
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(script)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                start_new_session=True,
            )
            self._write("".join(f"+{group}\n" for group in sorted(self._groups)))

    def _write(self, line: str) -> None:
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(OSError, ValueError):
                self._process.stdin.write(line.encode())
                self._process.stdin.flush()

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None and process.stdin is not None:
            with contextlib.suppress(OSError):
                process.stdin.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(5.0)


_REAPER = _Reaper()
