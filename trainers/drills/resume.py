"""The drill of killed runs: kill -9 at drawn moments and at drawn file operations, resume, and compare to the byte.

A run of three iterations with a checkpoint after each is made once in peace. Each try kills another such run and gives
the same command again; then every tensor file of the last checkpoint must be the same bytes and every line of the logs
the same but for clocks. Every second try is killed from outside at a drawn time; the others end themselves directly
before a drawn one of all operations on files that the run in peace made (writes, flushes, renames, removals), so that
the middle of a checkpoint comes up as often as it takes operations.
"""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from sdar_envs.randomness import counted_generator

from ..run.directory import JsonLines
from .small_run import DrillSubject, Ended, SmallRun, wait
from .tally import Tally

_OPERATIONS: tuple[tuple[Any, str], ...] = (
    *((os, name) for name in ("fsync", "rename", "replace", "mkdir", "unlink", "rmdir")),
    *((Path, name) for name in ("write_text", "write_bytes", "unlink")),
    *((JsonLines, name) for name in ("write", "flush", "cut")),
)


def drill_resume(subject: DrillSubject, seed: int = 0) -> Iterator[Tally]:
    """One kill per round, without end.

    Args:
        subject: The environment; its episodes have to be reproducible.
        seed: The first round.

    Raises:
        RuntimeError: The run in peace did not reach its end; the message has what it said.
    """
    with tempfile.TemporaryDirectory(prefix="sdar-drill-") as place:
        run = SmallRun(subject, Path(place))
        counted = Path(place) / "operations"
        ended = run.run("peace", lambda: _count_operations(counted))
        if ended.status != 0:
            raise RuntimeError(f"the run in peace ended with {ended.status}: {run.said('peace')}")
        peace, operations = run.outcome("peace"), counted.stat().st_size
        for number in itertools.count(seed):
            tally = Tally("resume", subject.name, rounds=1)
            _one_kill(run, number, peace, operations, ended.seconds, tally)
            shutil.rmtree(Path(place) / "killed", ignore_errors=True)
            yield tally


def _one_kill(run: SmallRun, number: int, peace: Any, operations: int, seconds: float, tally: Tally) -> None:
    draw = counted_generator("drill", "resume", number)
    if number % 2:
        kind = "at a moment"
        child = run.start("killed")
        time.sleep(float(draw.uniform(0.02, seconds)))
        os.kill(child, signal.SIGKILL)
        killed = wait(child)
    else:
        kind = "before a file operation"
        at = int(draw.integers(operations))
        killed = run.run("killed", lambda: _die_before(at))
    if killed.status != -signal.SIGKILL:
        if killed.status == 0:
            return  # it had ended: no try
        tally.count(kind, "lost", f"the run ended with {killed.status}: {run.said('killed')}")
        return
    _judge(run, run.run("killed"), kind, peace, tally)


def _judge(run: SmallRun, resumed: Ended, kind: str, peace: Any, tally: Tally) -> None:
    if resumed.status != 0:
        tally.count(kind, "lost", f"the resumed run ended with {resumed.status}: {run.said('killed')}")
        return
    got = run.outcome("killed")
    different = sorted(name for name in {*peace, *got} if peace.get(name) != got.get(name))
    left = [path.name for path in (run.place / "killed" / "run").rglob(".tmp-*")]
    if different:
        tally.count(kind, "silent", f"other content than in peace: {', '.join(different)}")
    elif left:
        tally.count(kind, "lost", f"left behind: {', '.join(left)}")
    else:
        tally.count(kind)


def _count_operations(file: Path) -> None:
    """Let `file` grow by a byte with every operation on files in this process."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    _before_each(lambda: os.write(descriptor, b"."))


def _die_before(at: int) -> None:
    """Kill this process directly before the operation of number `at`, counted from 0."""
    numbers = itertools.count()

    def look() -> None:
        if next(numbers) == at:
            os.kill(os.getpid(), signal.SIGKILL)

    _before_each(look)


def _before_each(look: Callable[[], object]) -> None:
    owner = os.getpid()

    def wrapped(real: Callable[..., Any]) -> Callable[..., Any]:
        def operation(*args: Any, **kwargs: Any) -> Any:
            if os.getpid() == owner:
                look()
            return real(*args, **kwargs)

        return operation

    for place, name in _OPERATIONS:
        setattr(place, name, wrapped(getattr(place, name)))
