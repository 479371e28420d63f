"""The drill of killed runs: kill -9 at drawn moments and at drawn file operations, resume, and compare to the byte.

A run of three iterations with a checkpoint after each is made once in peace. Each try kills another such run and gives
the same command again; then every tensor file of the last checkpoint must be the same bytes and every line of the logs
the same but for clocks. Every second try is killed from outside at a drawn time; the others end themselves directly
before a drawn one of all operations on files that the run in peace made (writes, flushes, renames, removals), so that
the middle of a checkpoint comes up as often as it takes operations.

The run that is killed and the one that goes on are processes of their own, forked from this one, which has made a whole
run before: neither reads anything of the other but files. Of `_OF` tries two are whole new interpreters instead.
"""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sdar_envs.randomness import counted_generator

from ..rollout.making import CannotSendError, recipe_of
from .file_operations import count_operations, die_before
from .small_run import PATIENCE, DrillSubject, Ended, SmallRun, wait
from .tally import Tally

_OF = 40
_ANEW = (9, 28)  # of as many tries, by number: one at a moment, one before an operation


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
        run.warm_up()
        ended = run.run("peace", lambda: count_operations(counted))
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
    anew = number % _OF in _ANEW and _can_be_sent(run.subject)
    kind = "at a moment" if number % 2 else "before a file operation"
    if number % 2:
        child = run.start_anew("killed") if anew else run.start("killed")
        if anew:
            _wait_for(run.place / "killed" / "run")  # what is before, imports, is of no interest
        time.sleep(float(draw.uniform(0.02, seconds)))
        os.kill(child, signal.SIGKILL)
    else:
        at = int(draw.integers(operations))
        child = run.start_anew("killed", at) if anew else run.start("killed", lambda: die_before(at))
    killed = wait(child)
    kind += ", in new interpreters" if anew else ""
    if killed.status != -signal.SIGKILL:
        if killed.status == 0:
            return  # it had ended: no try
        tally.count(kind, "lost", f"the run ended with {killed.status}: {run.said('killed')}")
        return
    _judge(run, wait(run.start_anew("killed")) if anew else run.run("killed"), kind, peace, tally)


def _can_be_sent(subject: DrillSubject) -> bool:
    """Whether another interpreter can make the environment."""
    try:
        recipe_of(subject.env_id, dict(subject.env_kwargs))
    except CannotSendError:
        return False
    return True


def _wait_for(folder: Path) -> None:
    began = time.monotonic()
    while not folder.exists() and time.monotonic() - began < PATIENCE:
        time.sleep(0.02)


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
