"""Runs what a study still lacks: warm starts, then jobs, each in a process of its own, so many at a time.

The runner keeps nothing that is not on disk. A task is done when its file is there; a second runner on the same
directory sees the locks of the first and takes other tasks. Not here: what a job does (`worker`).
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from .plain_json import DamagedFileError, read_json
from .plan_records import Job
from .worker import LOCKED, WARM_FOLDER, is_locked, trim_episodes, warm_lock

POLL_SECONDS = 0.2
ATTEMPTS = 2  # of a task whose process was killed; one that failed by itself would fail again
LOG_TAIL = 12  # lines of a failed task's log
ONE_THREAD = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")


@dataclass(slots=True)
class Task:
    """Something to run once: a warm start or a job.

    `arm` and `seed` are for people. `steps` is the work in iterations, `progress` says how many of them are done.
    """

    name: str
    arm: str
    seed: int
    arguments: list[str]
    done: Path
    lock: Path
    log: Path
    needs: tuple[str, ...] = ()
    steps: int = 1
    progress: Callable[[], int] = lambda: 0
    attempts: int = 0
    started: float = 0.0


@dataclass(slots=True)
class Failure:
    """A task that did not come to its end, with the last lines of its log."""

    task: Task
    status: int
    tail: str


@dataclass(slots=True)
class State:
    """Where a run of the runner stands; names of tasks by what became of them."""

    tasks: dict[str, Task]
    done: set[str] = field(default_factory=set)
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    elsewhere: set[str] = field(default_factory=set)
    failed: dict[str, Failure] = field(default_factory=dict)
    blocked: set[str] = field(default_factory=set)
    interrupted: bool = False

    @property
    def over(self) -> bool:
        """Whether nothing is left that could be run."""
        return len(self.done) + len(self.failed) + len(self.blocked) == len(self.tasks)

    def steps_done(self) -> int:
        """Iterations that are done, of finished and of running tasks."""
        finished = sum(self.tasks[name].steps for name in self.done)
        return finished + sum(min(t.progress(), t.steps) for n, t in self.tasks.items() if n in self.running)

    def steps_total(self) -> int:
        """Iterations of all tasks that have not failed."""
        return sum(task.steps for n, task in self.tasks.items() if n not in self.failed and n not in self.blocked)


class Board(Protocol):
    """Whoever watches."""

    def update(self, state: State) -> None:
        """Called a few times a second."""
        ...

    def finished(self, task: Task, state: State) -> None:
        """A task is done."""
        ...

    def failure(self, failure: Failure, state: State) -> None:
        """A task failed for good."""
        ...


def tasks_of(
    study: Path,
    folder: str,
    jobs: Sequence[Job],
    *,
    cache: Path | None = None,
    keep_checkpoints: bool = False,
    keep_episodes: bool = False,
) -> list[Task]:
    """The tasks of `jobs`: the warm starts that unfinished ones need, then the jobs, each once, in the order given.

    A study that was merged has results without the models that they began from, and goes on without making those anew.
    """
    keep = ["--keep-checkpoints"] * keep_checkpoints + ["--keep-episodes"] * keep_episodes
    where = [] if cache is None else ["--cache-dir", str(cache)]
    cached = cache or study
    by_key = {job.key: job for job in jobs}
    runs = []
    for key, job in by_key.items():
        place = study / folder / key
        needs = [f"warm-{job.warm_key}"] if job.warm_key is not None else []
        runs.append(
            Task(
                name=key,
                arm=job.arm.key,
                seed=job.seed,
                arguments=[str(study), folder, key, *where, *keep],
                done=place / "result.json",
                lock=place / ".lock",
                log=place / "log.txt",
                needs=(*needs, *job.depends.values()),
                steps=max(int(job.config.get("max_steps", 150)), 1),
                progress=_progress_of(place / "run" / "metrics.jsonl"),
            )
        )
    warm: dict[str, Job] = {}
    for run in runs:
        job = by_key[run.name]
        if job.warm_key is not None and not is_done(run):
            warm.setdefault(job.warm_key, job)
    starts = []
    for key, job in warm.items():
        starts.append(
            Task(
                name=f"warm-{key}",
                arm="warm start",
                seed=job.seed,
                arguments=[str(study), folder, job.key, "--warm-start", *where],
                done=cached / WARM_FOLDER / key / "warm_start.json",
                lock=warm_lock(cached, key),
                log=study / WARM_FOLDER / f"{key}.log",
                steps=60,  # about what a warm start of the tiny model costs, in iterations
            )
        )
    return starts + runs


def _progress_of(metrics: Path) -> Callable[[], int]:
    """Iterations done by a run, from the last metric line; 0 before the first."""

    def progress() -> int:
        try:
            with metrics.open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - 8192))
                lines = file.read().splitlines()
        except OSError:
            return 0
        for line in reversed(lines):
            head = line.partition(b",")[0]  # {"step":12
            if head.startswith(b'{"step":') and head[8:].isdigit():
                return int(head[8:])
        return 0

    return progress


def is_done(task: Task) -> bool:
    """Whether the task's file is there and can be read; a damaged one is removed, so that the task runs again."""
    if not task.done.is_file():
        return False
    try:
        read_json(task.done)
    except DamagedFileError:
        task.done.unlink()
        return False
    return True


def run_tasks(tasks: Sequence[Task], board: Board, *, at_once: int) -> State:
    """Run the tasks that are not done, `at_once` at a time, until none is left or the user interrupts.

    SIGINT or SIGTERM is handed on to the processes as SIGTERM: they save their iteration and end; a second one kills
    them. A process that was killed by something else is started once more.
    """
    state = State({task.name: task for task in tasks})
    state.done |= {task.name for task in tasks if is_done(task)}
    try:
        with _signals_stop(state):
            while not (state.over or (state.interrupted and not state.running)):
                if not state.interrupted:
                    _start(state, at_once)
                _collect(state, board)
                board.update(state)
                time.sleep(POLL_SECONDS)
    finally:
        for process in state.running.values():
            process.kill()
            process.wait()
    board.update(state)
    return state


def _start(state: State, at_once: int) -> None:
    state.elsewhere.clear()
    for name, task in state.tasks.items():
        if name in state.done or name in state.running or name in state.failed or name in state.blocked:
            continue
        if any(need in state.failed or need in state.blocked for need in task.needs):
            state.blocked.add(name)
        elif is_done(task):  # by another runner, or copied from another machine
            state.done.add(name)
        elif is_locked(task.lock):
            state.elsewhere.add(name)
        elif len(state.running) < at_once and all(need in state.done for need in task.needs):
            state.running[name] = _spawn(task)
            task.attempts += 1
            task.started = time.monotonic()


def _spawn(task: Task) -> subprocess.Popen[bytes]:
    package = Path(__file__).resolve().parents[2]
    path = os.pathsep.join([str(package), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {
        **os.environ,
        **dict.fromkeys(ONE_THREAD, "1"),
        "PYTHONPATH": path,
        "TOKENIZERS_PARALLELISM": "false",
    }
    task.log.parent.mkdir(parents=True, exist_ok=True)
    with task.log.open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "trainers.study.worker", *task.arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=environment,
            # Ctrl-C in a terminal reaches the runner alone, which then ends the jobs in its own way.
            start_new_session=True,
        )


def _collect(state: State, board: Board) -> None:
    for name, process in list(state.running.items()):
        status = process.poll()
        if status is None:
            continue
        task = state.tasks[name]
        del state.running[name]
        if is_done(task):
            state.done.add(name)
            board.finished(task, state)
        elif status == LOCKED or state.interrupted:
            continue
        elif (status < 0 or status == 128 + signal.SIGTERM) and task.attempts < ATTEMPTS:
            continue  # killed: it goes on where it stopped
        else:
            failure = Failure(task, status, _tail(task.log))
            state.failed[name] = failure
            board.failure(failure, state)


def _tail(path: Path) -> str:
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return "\n".join(lines[-LOG_TAIL:])


@contextmanager
def _signals_stop(state: State) -> Iterator[None]:
    def stop(number: int, frame: object) -> None:
        word = signal.SIGKILL if state.interrupted else signal.SIGTERM
        state.interrupted = True
        for process in state.running.values():
            if process.poll() is None:
                process.send_signal(word)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def tidy(study: Path, folder: str, *, keep_checkpoints: bool, keep_episodes: bool) -> None:
    """Remove what finished jobs need no more, where a kill came between a result and its tidying."""
    for result in (study / folder).glob("[!.]*/result.json"):
        run = result.parent / "run"
        if is_locked(result.parent / ".lock"):
            continue
        if not keep_checkpoints and (run / "checkpoints").is_dir():
            if not keep_episodes and (run / "episodes.jsonl").is_file():
                trim_episodes(run / "episodes.jsonl", everything=folder == "trials")
            shutil.rmtree(run / "checkpoints", ignore_errors=True)


def failures_text(failed: Mapping[str, Failure]) -> str:
    """What went wrong, job by job."""
    parts = []
    for failure in failed.values():
        how = f"signal {-failure.status}" if failure.status < 0 else f"exit status {failure.status}"
        parts.append(
            f"{failure.task.arm}, seed {failure.task.seed} failed ({how}); {failure.task.log}:\n{failure.tail}"
        )
    return "\n\n".join(parts)
