"""The worker processes of an environment: started when first needed, killed and replaced when they hang or die.

A worker does one request at a time, so that what it did when it died is known. The others wait in its line. Not here:
episodes and replays (`slots`).
"""

from __future__ import annotations

import itertools
import logging
import selectors
import time
import weakref
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..faults import Fault
from ..making import Recipe
from ..replies import FaultKind
from ..stopping import STOP
from .channel import OversizeError
from .process import WorkerProcess, WorkerStartError, end_all

logger = logging.getLogger(__name__)

_START_TRIES = 3  # workers in a row that end before they are ready
_LOOK = 0.25  # seconds between looks at what no file descriptor tells, a request to stop for one


@dataclass(frozen=True, slots=True)
class WorkerLimits:
    """What a worker may take.

    Attributes:
        step_timeout: Seconds per step.
        reset_timeout: Seconds per reset, which the first time includes importing and making the environment.
        memory: Bytes of address space per worker; 0 for no limit.
        replays: Times that an episode is replayed in a new environment before it counts as failed.
    """

    step_timeout: float = 60.0
    reset_timeout: float = 300.0
    memory: int = 0
    replays: int = 2


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one request: the worker's answer, or the fault for which there is none.

    Attributes:
        owner: Who asked, as `WorkerPool.submit` was told.
        generation: Of the process that was asked (`WorkerPool.generation`).
        answer: What the worker said; a ``fault`` in it is the environment's.
        payload: The packed reply.
        fault: The process hung or died.
    """

    owner: Any
    generation: int
    answer: Mapping[str, Any] = field(default_factory=dict)
    payload: bytes = b""
    fault: Fault | None = None


# Makes a request, and says how many seconds it may take. Called when its turn comes, since what has to be asked depends
# on what the worker then holds.
MakeRequest = Callable[[], tuple[Mapping[str, Any], float]]


@dataclass(frozen=True, slots=True)
class _Entry:
    """A request in a line, and whose it is."""

    owner: Any
    ticket: int
    make: MakeRequest


@dataclass(slots=True)
class _Line:
    """A worker's place: its process, what it does now, and what waits for it."""

    number: int
    process: WorkerProcess | None = None
    generation: int = 0  # processes that were lost here: what they held is gone
    waiting: deque[_Entry] = field(default_factory=deque)
    current: _Entry | None = None  # what it does now
    limit: float = 0.0  # seconds that this may take
    deadline: float = float("inf")
    false_starts: int = 0


class WorkerPool:
    """Workers of one environment.

    Args:
        recipe: How environments are made.
        workers: How many.
        name: The environment's, for messages.
        limits: Time and memory.
    """

    def __init__(self, recipe: Recipe, workers: int, *, name: str, limits: WorkerLimits | None = None) -> None:
        if workers < 1:
            raise ValueError(f"{name}: expected at least 1 worker, got {workers}")
        self.name = name
        self.limits = limits or WorkerLimits()
        self.started = 0  # processes so far, replacements included
        self._recipe = recipe
        self._lines = [_Line(number) for number in range(workers)]
        self._tickets = itertools.count(1)
        self._selector = selectors.DefaultSelector()
        self._blind = False  # whether the end of some process is told by no file descriptor
        self._outcomes: list[Outcome] = []
        self._live: list[WorkerProcess] = []
        # A pool that nobody closes ends its processes when it is forgotten, or at the end of this process.
        self._finalizer = weakref.finalize(self, end_all, self._live)

    def __len__(self) -> int:
        return len(self._lines)

    def generation(self, worker: int) -> int:
        """Which process stands at a worker's place; another number means that what it held is gone."""
        return self._lines[worker].generation

    @property
    def busy(self) -> bool:
        """Whether an answer is still to come."""
        return any(line.current is not None or line.waiting for line in self._lines) or bool(self._outcomes)

    def submit(self, worker: int, owner: Any, make: MakeRequest, *, first: bool = False) -> None:
        """Put a request into a worker's line.

        Args:
            worker: Which worker.
            owner: Whose outcome it is; it comes back with that.
            make: Makes the request when its turn comes.
            first: Whether it goes before those that wait.
        """
        line = self._lines[worker]
        entry = _Entry(owner, next(self._tickets), make)
        (line.waiting.appendleft if first else line.waiting.append)(entry)
        self._begin_next(line)

    def abandon(self) -> None:
        """Forget all requests that wait for their turn: whoever asked wants them no more."""
        for line in self._lines:
            line.waiting.clear()

    def tell(self, request: Mapping[str, Any]) -> None:
        """Send a request that has no answer to all workers that run."""
        for line in self._lines:
            if line.process is not None:
                line.process.send(request)

    def poll(self, timeout: float | None = 0.0) -> list[Outcome]:
        """What has come out, waiting for the first for `timeout` seconds at most (None: as long as it takes).

        Raises:
            WorkerStartError: Workers end before they are ready, again and again.
            KeyboardInterrupt, SystemExit: A signal asked to stop, and no worker has answered since.
        """
        until = float("inf") if timeout is None else time.monotonic() + timeout
        while True:
            self._look(0.0)
            if self._outcomes or not self.busy or time.monotonic() >= until:
                found, self._outcomes = self._outcomes, []
                return found
            STOP.end_wait(f"environments of {self.name}")
            self._look(self._patience(until))

    def close(self) -> None:
        """End all workers and all that they have started; a pool can be used again afterwards."""
        for line in self._lines:
            self._forget(line)
            line.generation += 1
            line.waiting.clear()
        self._outcomes.clear()
        end_all(self._live)

    # Waiting.

    def _patience(self, until: float) -> float:
        """Seconds until something has to be looked at even when nothing arrives."""
        nearest = min([until, STOP.waits_until, *(line.deadline for line in self._lines)])
        return min(max(nearest - time.monotonic(), 0.0), _LOOK)

    def _look(self, wait: float) -> None:
        """Take what has arrived, then deal with the dead and the late."""
        told = {key.data.number for key, _ in self._selector.select(wait)}
        now = time.monotonic()
        for line in self._lines:
            late, process = now >= line.deadline, line.process
            if process is None or not (late or self._blind or line.number in told):
                continue
            self._take(line)
            if line.process is not process:  # what it sent could not be read, and it was replaced
                continue
            if process.channel.closed or process.ended:
                self._take(line)  # what it said last
                if line.process is process:
                    self._lost(line, process.fault())
            elif late and now >= line.deadline:
                words = f"no answer within {line.limit:g} s" if process.ready else "its worker did not start in time"
                self._lost(line, Fault(FaultKind.HUNG, words))
            else:
                process.channel.flush()
                self._watch(line)

    def _take(self, line: _Line) -> None:
        """Take a worker's answers, and give it the next request."""
        process = line.process
        assert process is not None
        try:
            for answer, payload in process.answers():
                if "ready" in answer:
                    process.ready, line.false_starts = True, 0
                    if line.current is not None:
                        line.deadline = time.monotonic() + line.limit
                elif line.current is not None and answer.get("ticket") == line.current.ticket:
                    self._outcomes.append(Outcome(line.current.owner, line.generation, answer, payload))
                    line.current, line.deadline = None, float("inf")
                    if answer.get("ends"):  # it has no memory left, and says so before it goes
                        self._retire(line)
                        break
        except (OversizeError, ValueError) as error:  # an environment has written to the socket
            self._lost(line, Fault(FaultKind.INVALID, f"what its worker sent cannot be read: {type(error).__name__}"))
            return
        self._begin_next(line)

    def _lost(self, line: _Line, fault: Fault) -> None:
        """A worker hung or died: kill what is left, and say so to whoever asked for what it did."""
        process = line.process
        assert process is not None
        ready, current, generation = process.ready, line.current, line.generation
        self._retire(line)
        logger.debug("%s: worker %d lost: %s", self.name, line.number, fault)
        if not ready:
            line.false_starts += 1
            if line.false_starts >= _START_TRIES:
                raise WorkerStartError(
                    f"{self.name}: {line.false_starts} worker processes in a row ended before they were ready "
                    f"({fault.what}): look at what they wrote to standard error, give them more memory "
                    "(env_memory_gb), or play in this process (env_workers=0)"
                )
            if current is not None:  # nothing of the environment has run, so nothing is to be held against it
                line.waiting.appendleft(current)
        elif current is not None:
            self._outcomes.append(Outcome(current.owner, generation, fault=fault))
        self._begin_next(line)

    def _retire(self, line: _Line) -> None:
        """End the process at a worker's place, and with it what it holds."""
        process = line.process
        assert process is not None
        self._forget(line)
        line.generation += 1
        process.end()
        self._live.remove(process)

    def _begin_next(self, line: _Line) -> None:
        """Give an idle worker the next request, starting a process where there is none."""
        if line.current is not None or not line.waiting:
            return
        if line.process is not None and line.process.ended:  # it died between two requests: nobody is to blame
            self._retire(line)
        if line.process is None:
            self._start(line)
        assert line.process is not None
        entry = line.current = line.waiting.popleft()
        # Before a worker is ready, it is its start that takes time.
        request, line.limit = entry.make()
        line.deadline = time.monotonic() + (line.limit if line.process.ready else self.limits.reset_timeout)
        line.process.send({**request, "ticket": entry.ticket})
        self._watch(line)

    def _start(self, line: _Line) -> None:
        process = WorkerProcess(self._recipe, memory=self.limits.memory)
        line.process = process
        self._live.append(process)
        self.started += 1
        self._selector.register(process.channel.fileno(), selectors.EVENT_READ, line)
        if process.exit_fd >= 0:
            self._selector.register(process.exit_fd, selectors.EVENT_READ, line)
        else:
            self._blind = True

    def _watch(self, line: _Line) -> None:
        """Wait for room to write where something is left to be written."""
        assert line.process is not None
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if line.process.channel.wants_to_write else 0)
        descriptor = line.process.channel.fileno()
        if self._selector.get_key(descriptor).events != wanted:
            self._selector.modify(descriptor, wanted, line)

    def _forget(self, line: _Line) -> None:
        """Take a worker's process out of its place; nobody waits for it any more."""
        process = line.process
        if process is not None:
            self._selector.unregister(process.channel.fileno())
            if process.exit_fd >= 0:
                self._selector.unregister(process.exit_fd)
        line.process, line.current, line.deadline = None, None, float("inf")
