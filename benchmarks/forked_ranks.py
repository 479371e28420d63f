"""Several processes of one run, forked from this one: torch is imported once, where a launcher imports it in each.

Each process gets the variables that torchrun would set, and then does what any process of a run does. For drills and
tests of many short runs on CPUs; no process that has used a GPU may fork.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import socket
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Ending:
    """How a process ended: its result, or the text of its exception; neither if it was killed.

    `status` is the exit status, negative for a signal; None while it runs.
    """

    result: Any = None
    error: str | None = None
    status: int | None = None


@dataclass(slots=True)
class ForkedRanks:
    """The processes of a run; `start` makes them.

    Attributes:
        processes: By rank.
        pipes: What each has to say at its end.
    """

    processes: list[Any]
    pipes: list[Any]
    endings: list[Ending] = field(default_factory=list)

    @classmethod
    def start(
        cls, work: Callable[[], Any], size: int, *, variables: Sequence[Mapping[str, str]] = (), port: int | None = None
    ) -> ForkedRanks:
        """Fork `size` processes that call `work`.

        Args:
            work: What each does; its result is pickled.
            size: Number of processes.
            variables: Environment variables per rank, on top of those that torchrun sets.
            port: Where they meet; None takes a free one.
        """
        context: Any = multiprocessing.get_context("fork")
        where = free_port() if port is None else port
        made = cls([], [])
        for rank in range(size):
            own = {
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                "WORLD_SIZE": str(size),
                "LOCAL_WORLD_SIZE": str(size),
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": str(where),
                **(variables[rank] if variables else {}),
            }
            here, there = context.Pipe(duplex=False)
            process = context.Process(target=_child, args=(work, own, there), daemon=True)
            process.start()
            there.close()
            made.processes.append(process)
            made.pipes.append(here)
        return made

    def wait(self, timeout: float = 120.0) -> list[Ending]:
        """Wait for all processes; those that still run after `timeout` seconds are killed, and have no status.

        Returns:
            How each ended, by rank.
        """
        deadline = time.monotonic() + timeout
        for process, pipe in zip(self.processes, self.pipes, strict=True):
            ending = Ending()
            try:
                if pipe.poll(max(0.0, deadline - time.monotonic())):
                    ending.result, ending.error = pickle.loads(pipe.recv_bytes())
            except EOFError:  # killed before it could say anything
                pass
            process.join(max(0.0, deadline - time.monotonic()))
            ending.status = process.exitcode
            self.endings.append(ending)
        self.kill()
        return self.endings

    def kill(self) -> None:
        """End all processes at once."""
        for process in self.processes:
            if process.is_alive():
                process.kill()
                process.join()


def run_ranks(work: Callable[[], Any], size: int, *, timeout: float = 120.0, **more: Any) -> list[Any]:
    """The results of `work` in `size` processes, by rank.

    Raises:
        RuntimeError: One of them ended with an exception, was killed, or did not end in time.
    """
    endings = ForkedRanks.start(work, size, **more).wait(timeout)
    wrong = [f"rank {rank}: {e.error or f'status {e.status}'}" for rank, e in enumerate(endings) if e.status != 0]
    if wrong:
        raise RuntimeError("\n".join(wrong))
    return [ending.result for ending in endings]


def free_port() -> int:
    """A port of this machine that nobody listens at."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _child(work: Callable[[], Any], variables: Mapping[str, str], pipe: Any) -> None:
    import torch

    from trainers.engine.processes import leave

    os.environ.update(variables)
    torch.set_num_threads(1)
    said: tuple[Any, str | None]
    status = 0
    try:
        said = (work(), None)
        leave()
    except BaseException as error:
        said, status = (None, f"{type(error).__name__}: {error}\n{traceback.format_exc()}"), 1
    pipe.send_bytes(pickle.dumps(said))
    pipe.close()
    os._exit(status)
