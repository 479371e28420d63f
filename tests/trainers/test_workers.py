"""Environments in worker processes: what hangs or dies costs an episode at most, and leaves nothing behind."""

from __future__ import annotations

import errno
import logging
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from breaking_envs import ArrayEnv, GoneEnv, HungryEnv, LeavingEnv, ObjectEnv, SleepingEnv, SlowToMakeEnv, TellingEnv
from hypothesis import given
from hypothesis import strategies as st
from scripted_agents import EchoEnv, Peeker, ScriptedAgent
from toy_world import ToyWorld

from trainers.drills import faults
from trainers.drills.faults import FaultsReport, drill_faults
from trainers.rollout.collect import Rollout, TaskDraw, collect
from trainers.rollout.environments import EnvironmentSource, EnvironmentStartError
from trainers.rollout.faults import fault_of
from trainers.rollout.making import CannotSendError, reference_to
from trainers.rollout.opening import open_batch_env
from trainers.rollout.replies import FaultKind
from trainers.rollout.workers import process
from trainers.rollout.workers.packing import PackingError, dumps, loads
from trainers.rollout.workers.pool import WorkerLimits
from trainers.rollout.workers.process import WorkerStartError

QUICK = WorkerLimits(step_timeout=1.0, reset_timeout=30.0)


def draws(source: EnvironmentSource, count: int, split: str = "valid") -> list[TaskDraw]:
    tasks = source.task_ids(split)
    return [TaskDraw(tasks[i], ("test", i), i // 2, i % 2) for i in range(count)]


def play(source: EnvironmentSource, count: int, *, slots: int = 6, agent: Any = None, **kwargs: Any) -> list[Rollout]:
    try:
        batch_env = open_batch_env(source, "valid", slots, **kwargs)
        return collect(agent or ScriptedAgent(), batch_env, draws(source, count))
    finally:
        source.close()


def story(rollouts: list[Rollout]) -> list[Any]:
    return [(r.episode.task_id, r.episode.stop_reason, r.episode.turns, r.privileged, r.failure) for r in rollouts]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def children() -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            if int(path.read_text().rpartition(")")[2].split()[1]) == os.getpid():
                found.append(int(path.parent.name))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


# Equality.


def test_episodes_are_the_same_for_any_number_of_workers() -> None:
    before = children()
    expected = story(play(EnvironmentSource(ToyWorld, workers=0), 12))
    assert all(failure is None for *_, failure in expected)
    for workers in (1, 2, 5):
        assert story(play(EnvironmentSource(ToyWorld, workers=workers), 12)) == expected
    assert set(children()) <= set(before)  # none is left, not even as a zombie


def test_a_world_of_the_suite_gives_the_same_in_a_worker_on_both_sides_of_the_barrier() -> None:
    here, there = (
        play(EnvironmentSource("sdar/Household-v0", {"size": "small"}, workers=workers), 3, agent=Peeker())
        for workers in (0, 1)
    )
    assert story(here) == story(there)
    assert all(known is not None for rollout in there for known in rollout.privileged)


@pytest.mark.parametrize("turns", ["first", "never"])
def test_the_teachers_side_is_asked_for_only_when_it_is_wanted(turns: str) -> None:
    told = [
        [known is not None for known in rollout.privileged]
        for rollout in play(EnvironmentSource(ToyWorld, workers=1), 2, privileged_turns=turns)
    ]
    assert all(all(own) == (turns == "first") and any(own) == (turns == "first") for own in told)


# Faults.


def test_every_kind_of_fault_costs_one_episode_at_most_and_is_named() -> None:
    report = FaultsReport()
    kinds = ("kill", "exit", "os_exit", "segv", "hang", "stop", "lie", "odd", "interrupt", "close_files")
    report.add(drill_faults(ToyWorld, episodes=10, workers=3, kinds=kinds, seed=1, step_timeout=1.0, reset_timeout=8.0))
    returned = ("nan", "none_info", "object", "success", "no_tuple", "long", "surrogate", "no_text")
    kinds_of_replies = (*returned, "fork", "children", "print")
    report.add(drill_faults(ToyWorld, episodes=12, workers=1, kinds=kinds_of_replies, asynchronous=True))
    assert report.passed, report.examples
    assert report.episodes == 22 and set(report.faults) == {*kinds, *returned, "fork", "children", "print"}
    assert report.failed >= 2 and report.survived >= 10


def test_a_drill_finds_what_it_looks_for(monkeypatch: pytest.MonkeyPatch) -> None:
    judged = FaultsReport()
    (three,) = play(EnvironmentSource(EchoEnv, workers=0), 1)
    (two,) = play(EnvironmentSource(EchoEnv, {"turns": 2}, workers=0), 1)
    faults._judge(judged, three, three, "kill", 1)
    assert judged.passed and judged.survived == 1
    for broken, times in ((two, 1), (three, 3)):  # another episode, and one that should have failed
        faults._judge(judged, three, broken, "kill", times)
    assert judged.wrong == 2 and not judged.passed
    # An environment whose replays are refused loses every episode that meets a fault.
    monkeypatch.setattr(faults, "REPLAYS", 0)
    monkeypatch.setattr(faults, "_judge", partial(_as_if_two_replays, faults._judge))
    report = faults.drill_faults(ToyWorld, episodes=4, workers=1, kinds=("odd",), reset_timeout=20.0)
    assert report.lost >= 1 and not report.passed and "lost: odd" in report.examples[0]


def _as_if_two_replays(judge: Any, *words: Any) -> None:
    faults.REPLAYS = 2
    judge(*words)


def test_sys_exit_in_an_environment_fails_its_episodes_and_ends_nothing() -> None:
    for workers in (0, 1):
        rollouts = play(EnvironmentSource(LeavingEnv, workers=workers), 2)
        assert all(rollout.fault is FaultKind.EXITED for rollout in rollouts)
        assert all("SystemExit at breaking_envs.py" in str(rollout.failure) for rollout in rollouts)


def test_an_idle_workers_death_costs_nothing() -> None:
    source = EnvironmentSource(ToyWorld, workers=2)
    batch_env = open_batch_env(source, "valid", 4)
    first = batch_env.reset(range(4), [f"valid:{i}" for i in range(4)])
    for line in source.pool._lines:  # type: ignore[union-attr]
        pid = line.process.pid  # type: ignore[union-attr]
        os.kill(pid, signal.SIGKILL)
        while not line.process.ended:  # type: ignore[union-attr]  # all of its threads, and not its first one alone
            time.sleep(0.001)
    second = batch_env.step(range(4), ["open 1"] * 4)
    assert not any(reply.failure for reply in [*first, *second]) and batch_env.replayed == 0
    calm = EnvironmentSource(ToyWorld, workers=0)
    calm_env = open_batch_env(calm, "valid", 4)
    calm_env.reset(range(4), [f"valid:{i}" for i in range(4)])
    assert second == calm_env.step(range(4), ["open 1"] * 4)
    source.close()


def test_a_replay_that_differs_from_the_episode_fails_it() -> None:
    source = EnvironmentSource(TellingEnv, workers=1)  # what it says depends on its process
    try:
        batch_env = open_batch_env(source, "valid", 1)
        batch_env.reset([0], ["1000001"])
        pid = source.pool._lines[0].process.pid  # type: ignore[union-attr]
        os.kill(pid, signal.SIGKILL)
        while alive(pid):
            time.sleep(0.001)
        (reply,) = batch_env.step([0], ["red"])
    finally:
        source.close()
    assert reply.fault is FaultKind.DIVERGED
    assert "the replay differs from the episode at step 0: not deterministic" in str(reply.failure)


def test_answers_to_what_was_given_up_are_nobodys() -> None:
    source = EnvironmentSource(ToyWorld, workers=1)
    try:
        given_up = open_batch_env(source, "valid", 3)
        given_up.begin(0, "valid:1")  # in the worker when the next one begins
        given_up.begin(1, "valid:2")  # waits for its turn
        given_up.close()
        batch_env = open_batch_env(source, "valid", 3)
        (reply,) = batch_env.reset([0], ["valid:3"])
    finally:
        source.close()
    assert reply.info["task_id"] == "valid:3"


# What stays in the process, what cannot start.


def test_what_cannot_be_made_elsewhere_stays_in_the_process_and_that_is_said(caplog: Any) -> None:
    made = EnvironmentSource(lambda: TellingEnv(), workers=2)
    with caplog.at_level(logging.WARNING):
        (rollout,) = play(made, 1)
    assert f"pid={os.getpid()}" in rollout.episode.turns[0].view.observation
    assert "is played in this process and not in workers: no other process finds" in caplog.text
    (elsewhere,) = play(EnvironmentSource(TellingEnv), 1)  # workers are the default
    assert f"pid={os.getpid()}" not in elsewhere.episode.turns[0].view.observation


def test_info_that_cannot_be_sent_keeps_its_environment_in_the_process(caplog: Any) -> None:
    with caplog.at_level(logging.WARNING):
        (rollout,) = play(EnvironmentSource(ObjectEnv), 1)
    assert rollout.failure is None
    assert "info" in caplog.text and "builtins.object" in caplog.text


def test_arrays_and_tuples_in_info_arrive_as_they_are() -> None:
    source = EnvironmentSource(ArrayEnv, workers=1)
    (reply,) = open_batch_env(source, "valid", 1).reset([0], ["7"])
    source.close()
    assert np.array_equal(reply.info["grid"], np.arange(6).reshape(2, 3)) and reply.info["at"] == (1, 2)
    assert reply.info[3] == {"a", "b"} and reply.info["x"] == np.float32(0.5)  # type: ignore[index]


@pytest.mark.parametrize(
    ("env", "said"),
    [(SlowToMakeEnv, "hung: no answer within 3 s"), (GoneEnv, "exited: its process ended with status 7")],
)
def test_an_environment_that_cannot_be_made_is_one_clear_error(env: Any, said: str) -> None:
    source = EnvironmentSource(env, limits=WorkerLimits(reset_timeout=3.0))
    with pytest.raises(EnvironmentStartError, match=said):
        source.task_ids("train")


@pytest.mark.parametrize("mebibytes", [20, 40, 80, 160, 240])  # too small for Python's modules, or for the environment
def test_a_memory_limit_that_is_too_small_is_one_clear_error(mebibytes: int) -> None:
    source = EnvironmentSource(HungryEnv, workers=1, limits=WorkerLimits(memory=mebibytes * 2**20))
    said = rf"cannot be made within {mebibytes / 1024:.3g} GiB .* raise env_memory_gb"
    with pytest.raises(EnvironmentStartError, match=said):
        source.task_ids("train")


def raised_from(error: BaseException, cause: BaseException) -> BaseException:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "lacks"),
    [
        (MemoryError(), True),
        (OSError(errno.ENOMEM, "Cannot allocate memory", "agents"), True),
        (ImportError("libfaiss.so: failed to map segment from shared object"), True),
        (raised_from(RuntimeError("no index"), MemoryError()), True),
        (OSError(errno.ENOSPC, "No space left on device"), False),
        (ImportError("no module named memory"), False),
        (ValueError("cannot allocate memory"), False),
    ],
)
def test_a_lack_of_memory_is_named_however_it_is_raised(error: BaseException, lacks: bool) -> None:
    assert fault_of(error).out_of_memory is lacks


def test_exceptions_that_point_at_each_other_are_read_once() -> None:
    first, second = RuntimeError("a"), RuntimeError("b")
    first.__context__, second.__context__ = second, first
    assert not fault_of(first).out_of_memory


def test_a_worker_that_cannot_start_is_one_clear_error_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "_WORKER", "trainers.rollout.workers.no_such_module")
    with pytest.raises(WorkerStartError, match=r"3 worker processes in a row .* status 1.*env_workers=0"):
        EnvironmentSource(ToyWorld, workers=1).task_ids("train")


def test_what_has_no_name_cannot_be_sent() -> None:
    for thing in (lambda: None, type("Local", (), {}), EchoEnv().reset):
        with pytest.raises(CannotSendError):
            reference_to(thing)  # type: ignore[arg-type]
    assert reference_to(EchoEnv) == "scripted_agents:EchoEnv"


# What is left behind.

PARENT = """
import sys, subprocess
from trainers.rollout.environments import EnvironmentSource
from trainers.rollout.opening import open_batch_env
from breaking_envs import SleepingEnv
from trainers.rollout.workers.pool import WorkerLimits
source = EnvironmentSource(SleepingEnv, {"how": sys.argv[1]}, workers=2, limits=WorkerLimits(step_timeout=600.0))
env = open_batch_env(source, "valid", 2)
env.reset([0, 1], ["1", "2"])
print(*[line.process.pid for line in source.pool._lines], flush=True)
env.step([0, 1], ["a", "b"])
"""


@pytest.mark.parametrize("how", ["loop", "foreign"])
def test_workers_end_with_the_trainer_even_when_it_is_killed_in_the_middle_of_a_step(how: str) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    parent = subprocess.Popen([sys.executable, "-c", PARENT, how], stdout=subprocess.PIPE, text=True, env=environment)
    assert parent.stdout is not None
    pids = [int(word) for word in parent.stdout.readline().split()]
    assert len(pids) == 2 and all(alive(pid) for pid in pids)
    time.sleep(0.2)
    parent.kill()
    parent.wait()
    until = time.monotonic() + 20.0
    while any(alive(pid) for pid in pids) and time.monotonic() < until:
        time.sleep(0.02)
    assert not any(alive(pid) for pid in pids)


STOPPED = """
import sys
import trainers.rollout.stopping as stopping
stopping.GRACE = 0.3
from trainers.rollout.collect import TaskDraw, collect
from trainers.rollout.environments import EnvironmentSource
from trainers.rollout.opening import open_batch_env
from trainers.rollout.workers.pool import WorkerLimits
from trainers.run.interrupts import Interrupts
from scripted_agents import ScriptedAgent
from breaking_envs import SleepingEnv
import trainers.rollout.watchdog as watchdog
watchdog.GRACE, watchdog._PATIENCE, watchdog._LOOK = 0.3, 0.3, 0.1

class Agent(ScriptedAgent):
    def act(self, views, privileged=None):
        print("acting", flush=True)
        return super().act(views)

source = EnvironmentSource(
    SleepingEnv, {"how": sys.argv[1]}, workers=int(sys.argv[2]), limits=WorkerLimits(step_timeout=600.0)
)
env = open_batch_env(source, "valid", 2)
with Interrupts():
    collect(Agent(lambda view: "x"), env, [TaskDraw("1", (1,)), TaskDraw("2", (2,))])
print("not reached")
"""


@pytest.mark.parametrize(("how", "workers"), [("sleep", 1), ("sleep", 0), ("loop", 0), ("foreign", 0)])
def test_sigterm_ends_a_run_that_waits_for_an_environment(how: str, workers: int) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    run = subprocess.Popen(
        [sys.executable, "-c", STOPPED, how, str(workers)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    assert run.stdout is not None and run.stdout.readline() == "acting\n"
    time.sleep(0.3)
    run.send_signal(signal.SIGTERM)
    output, errors = run.communicate(timeout=60)
    assert run.returncode == 143 and output == "", errors
    if how == "foreign":
        assert "hangs in code outside Python" in errors and "task 1, step 1" in errors


# An environment in this process that hangs.


@pytest.mark.parametrize("how", ["sleep", "loop"])
def test_a_hang_in_this_process_fails_the_episode_and_names_task_and_step(how: str) -> None:
    limits = WorkerLimits(step_timeout=0.2)
    rollouts = play(EnvironmentSource(SleepingEnv, {"how": how}, workers=0, limits=limits), 1)
    assert rollouts[0].fault is FaultKind.HUNG
    assert "task 1000000, step 1: hung: no answer within 0.2 s" in str(rollouts[0].failure)


# Messages.

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(max_size=4) | st.integers(), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(VALUES)
def test_plain_values_arrive_as_they_were_sent(value: Any) -> None:
    assert loads(dumps(value)) == value
    assert dumps(loads(dumps(value))) == dumps(value)


def test_what_is_not_plain_is_refused_and_named() -> None:
    with pytest.raises(PackingError, match=r"\['a'\].* is a builtins.object"):
        dumps({"a": [object()]})
    nested: Any = []
    for _ in range(100):
        nested = [nested]
    with pytest.raises(PackingError, match="levels deep"):
        dumps(nested)
    with pytest.raises(PackingError, match="array of object"):
        dumps(np.array([object()]))
