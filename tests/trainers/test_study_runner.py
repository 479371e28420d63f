"""The runner: order, failures, kills and other runners, with real processes that do next to nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from trainers.study import runner
from trainers.study.progress_display import Clock, GridBoard, LineBoard, counts_line
from trainers.study.runner import Failure, State, Task, failures_text, is_done, run_tasks
from trainers.study.worker import LOCKED, discard_damaged, locked

DONE = "import pathlib, sys; pathlib.Path(sys.argv[1]).write_text('{}')"


class Watcher:
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.finished_names: list[str] = []
        self.failures: list[Failure] = []
        self.most_at_once = 0

    def update(self, state: State) -> None:
        self.most_at_once = max(self.most_at_once, len(state.running))

    def finished(self, task: Task, state: State) -> None:
        self.finished_names.append(task.name)

    def failure(self, failure: Failure, state: State) -> None:
        self.failures.append(failure)


@pytest.fixture(autouse=True)
def _small_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    def spawn(task: Task) -> subprocess.Popen[bytes]:
        with task.log.open("ab") as log:
            return subprocess.Popen([sys.executable, "-c", *task.arguments], stdout=log, stderr=log)

    monkeypatch.setattr(runner, "_spawn", spawn)
    monkeypatch.setattr(runner, "POLL_SECONDS", 0.01)


def task(folder: Path, name: str, script: str = DONE, *needs: str) -> Task:
    done = folder / f"{name}.json"
    return Task(
        name=name,
        arm=name,
        seed=0,
        arguments=[script, str(done), str(folder / f"{name}.mark")],
        done=done,
        lock=folder / f".{name}.lock",
        log=folder / f"{name}.log",
        needs=needs,
    )


def test_what_needs_another_waits_for_it(tmp_path: Path) -> None:
    watcher = Watcher()
    tasks = [task(tmp_path, "last", DONE, "middle"), task(tmp_path, "middle", DONE, "first"), task(tmp_path, "first")]
    state = run_tasks(tasks, watcher, at_once=4)
    assert watcher.finished_names == ["first", "middle", "last"] and state.over and watcher.most_at_once == 1


def test_no_more_run_at_once_than_allowed(tmp_path: Path) -> None:
    watcher = Watcher()
    state = run_tasks([task(tmp_path, str(index)) for index in range(5)], watcher, at_once=2)
    assert len(state.done) == 5 and watcher.most_at_once == 2


def test_a_failure_is_reported_with_its_log_and_the_others_go_on(tmp_path: Path) -> None:
    watcher = Watcher()
    failing = task(tmp_path, "bad", "raise ValueError('too warm')")
    state = run_tasks([failing, task(tmp_path, "waiting", DONE, "bad"), task(tmp_path, "good")], watcher, at_once=1)
    assert state.done == {"good"} and state.blocked == {"waiting"} and state.over
    assert "ValueError: too warm" in failures_text(state.failed) and failing.attempts == 1
    assert [failure.task.name for failure in watcher.failures] == ["bad"]


def test_a_killed_task_is_started_once_more(tmp_path: Path) -> None:
    once = (
        "import os, pathlib, signal, sys\n"
        "mark = pathlib.Path(sys.argv[2])\n"
        "if mark.exists(): pathlib.Path(sys.argv[1]).write_text('{}')\n"
        "else: mark.touch(); os.kill(os.getpid(), signal.SIGKILL)"
    )
    again = task(tmp_path, "again", once)
    always = task(tmp_path, "always", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    state = run_tasks([again, always], Watcher(), at_once=2)
    assert state.done == {"again"} and again.attempts == 2
    assert state.failed["always"].status == -9 and always.attempts == 2


def test_what_another_runner_has_is_waited_for_and_not_done_twice(tmp_path: Path) -> None:
    taken = task(tmp_path, "taken", "raise SystemExit(1)")

    class Other(Watcher):
        def update(self, state: State) -> None:
            if "taken" in state.elsewhere:
                taken.done.write_text("{}")

    with locked(taken.lock):
        state = run_tasks([taken], Other(), at_once=2)
    assert state.done == {"taken"} and taken.attempts == 0


def test_a_task_that_lost_the_race_for_its_lock_is_no_failure(tmp_path: Path) -> None:
    racing = (
        "import pathlib, sys\n"
        "mark = pathlib.Path(sys.argv[2])\n"
        "if mark.exists(): pathlib.Path(sys.argv[1]).write_text('{}')\n"
        f"else: mark.touch(); sys.exit({LOCKED})"
    )
    state = run_tasks([task(tmp_path, "racing", racing)], Watcher(), at_once=1)
    assert state.done == {"racing"} and not state.failed


def test_a_damaged_result_is_made_again(tmp_path: Path) -> None:
    damaged = task(tmp_path, "damaged")
    damaged.done.write_text('{"half": ')
    assert not is_done(damaged)
    assert run_tasks([damaged], Watcher(), at_once=1).done == {"damaged"}


def test_a_damaged_warm_model_does_not_stand_in_the_way(tmp_path: Path) -> None:
    for name, facts in (("whole", "{}"), ("cut", '{"ste'), ("empty", ""), ("lost", None)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_bytes(b"")
        if facts is not None:
            (tmp_path / name / "warm_start.json").write_text(facts)
        discard_damaged(tmp_path / name)
    discard_damaged(tmp_path / "none")
    assert [path.name for path in tmp_path.iterdir()] == ["whole"]


def test_finished_tasks_are_not_started(tmp_path: Path) -> None:
    finished = task(tmp_path, "finished", "raise SystemExit(1)")
    finished.done.write_text("{}")
    assert run_tasks([finished], Watcher(), at_once=1).done == {"finished"} and finished.attempts == 0


# --- what a person sees ---


def state_of(tmp_path: Path) -> State:
    tasks = {name: task(tmp_path, name) for name in ("grpo", "sdar", "opsd")}
    for seed, each in enumerate(tasks.values()):
        each.steps, each.seed, each.progress = 60, seed, lambda: 30
    return State(tasks, done={"grpo"}, failed={"opsd": Failure(tasks["opsd"], 1, "")})


def test_lines_say_what_is_done_and_what_is_left(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state, board = state_of(tmp_path), LineBoard("study x")
    board.update(state)
    board.finished(state.tasks["grpo"], state)
    board.failure(state.failed["opsd"], state)
    said = capsys.readouterr().err
    assert "study x: grpo, seed 0: done in" in said and "1 of 3 done, 0 running, 1 failed" in said
    assert "study x: opsd, seed 2: FAILED" in said


def test_a_line_comes_every_minute_even_while_nothing_is_counted_yet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [100.0]
    monkeypatch.setattr("trainers.study.progress_display.time.monotonic", lambda: now[0])
    board = LineBoard("study x")
    state = State({"warm": task(tmp_path, "warm")}, elsewhere={"warm"})  # a warm start that another runner makes
    board.update(state)
    now[0] += 61
    board.update(state)
    assert capsys.readouterr().err == "study x: 0 of 1 done, 0 running, 1 elsewhere\n"


def test_the_remaining_time_is_that_of_the_iterations_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("trainers.study.progress_display.time.monotonic", lambda: now[0])
    state, clock = state_of(tmp_path), Clock()
    state.failed.clear()
    state.running = dict.fromkeys(("sdar", "opsd"))  # type: ignore[assignment]
    assert clock.remaining(state) is None  # 120 of 180 iterations are done, none of them since
    now[0] += 60
    state.tasks["sdar"].progress = lambda: 50
    assert clock.remaining(state) == pytest.approx(40 * 60 / 20)
    assert "about 2 min left" in counts_line(state, clock)


def test_the_grid_has_a_row_per_arm_and_a_column_per_seed(tmp_path: Path) -> None:
    from rich.console import Console

    board = GridBoard("study x")
    board.close()
    state = state_of(tmp_path)
    state.running = {"sdar": None}  # type: ignore[dict-item]
    console = Console(width=80)
    with console.capture() as captured:
        console.print(board._draw(state))
    rows = {line.split()[0]: line.split()[1:] for line in captured.get().splitlines() if line.strip()}
    assert rows["seed"] == ["0", "1", "2"]
    assert rows["grpo"] == ["\N{CHECK MARK}"] and rows["sdar"] == ["50", "%"] and rows["opsd"] == ["x"]
