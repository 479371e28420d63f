"""A check of a slow environment ends in its time, and says what it had no time to look at; the clock is a toy, too."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import pytest
from strangers import PASSWORDS, Listed, OneForAll, Vault, answers, solve

from sdar_envs.commands.check import add_arguments, run
from sdar_envs.conformance import ConformanceReport, Status, run_checks
from sdar_envs.conformance.budget import Budget, OutOfTime, Timed
from sdar_envs.conformance.catalogue import CHECKS

SECONDS = 30.0
COUNTS: dict[str, Any] = {"episodes": 6, "hostile_actions": 60, "step_seconds": 5.0, "sessions": 16}


class Clock:
    """Time that passes when somebody says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def slow(clock: Clock, *, make: float = 2.0, reset: float = 1.0, step: float = 0.1, kind: type[Vault] = Vault) -> Any:
    """A vault behind a virtual machine that takes its time to start, to reset and to step."""

    class SlowVault(kind):  # type: ignore[misc, valid-type]
        def __init__(self, render_mode: str | None = None, exchange: int = 0) -> None:
            clock.now += make
            super().__init__(render_mode, exchange)

        def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
            clock.now += reset
            return super().reset(seed=seed, options=options)

        def step(self, action: str) -> Any:
            clock.now += step
            return super().step(action)

    return SlowVault


def checked(clock: Clock, kind: Any, **options: Any) -> ConformanceReport:
    chosen = {"check_seconds": SECONDS, **COUNTS, **options}
    return run_checks(kind, secret=answers, variants=lambda v: kind(exchange=v), oracle=solve, clock=clock, **chosen)


def test_every_check_of_a_slow_environment_ends_in_its_time_or_one_call_later():
    clock = Clock()
    report = checked(clock, slow(clock))
    assert len(report.results) == len(CHECKS)
    # A call that began in time may end after it; Gymnasium's own checker is let in by its number of resets.
    assert all(result.seconds <= SECONDS + 2.0 for result in report.results), str(report)
    assert report.failures == [], str(report)


def test_groups_of_a_slow_environment_are_fewer_and_one_task_under_all_ids_is_still_found():
    clock = Clock()
    found = [checked(clock, slow(clock, make=0.2, kind=kind)) for kind in (Listed, OneForAll)]
    held, failed = (next(r for r in report.results if r.name == "group_shares_task") for report in found)
    assert held.status is Status.HELD and held.looked_at.startswith("2 of 3 tasks: a check has 30 s")
    assert held.measured == {"tasks": 2, "members": 3, "told apart": 2}
    assert failed.status is Status.FAILED and "expected another task under another id" in failed.what


def test_what_a_check_had_no_time_for_is_said_with_the_reason():
    clock = Clock()
    report = checked(clock, slow(clock), hostile_actions=300)
    said = {result.name: result.looked_at for result in report.results if result.looked_at}
    assert said["sessions"] == "4 of 16 sessions: a check has 30 s (--check-seconds)"
    assert re.search(r"\b\d+ of 300 hostile texts: ", said["hostile_actions"])
    assert {"determinism", "text"}.isdisjoint(said)
    assert "looked at 4 of 16 sessions" in str(report) and str(report).endswith(f"; {len(said)} cut short")
    assert [each["looked_at"] for each in report.as_json()["results"] if each["name"] == "sessions"] == [
        said["sessions"]
    ]


def test_with_time_enough_nothing_is_cut_short():
    clock = Clock()
    report = checked(clock, slow(clock), check_seconds=1000.0)
    assert report.cut_short == [] and report.failures == [], str(report)
    assert "cut short" not in str(report)


def test_a_fault_is_found_in_the_part_that_there_was_time_for():
    class Unseeded(Vault):
        draws = 0

        def draw(self) -> int:
            Unseeded.draws += 1
            return Unseeded.draws % len(PASSWORDS)

        def opening(self) -> str:
            return f"Vault number {Unseeded.draws}."

    clock = Clock()
    report = checked(clock, slow(clock, kind=Unseeded))
    assert [result.name for result in report.failures] == ["determinism"], str(report)


def test_where_not_one_episode_can_be_recorded_nothing_is_said_to_hold():
    clock = Clock()
    report = checked(clock, slow(clock, reset=40.0))
    assert report.by_status(Status.HELD) == [] and report.failures == []
    assert clock.now < 100  # one check spends its time, and not each of them
    assert all("--check-seconds" in result.what for result in report.results)


@pytest.mark.parametrize(("later", "status"), [(0.5, Status.HELD), (3.0, Status.SKIPPED)])
def test_gymnasiums_checker_is_let_in_by_resets_that_are_warm(later: float, status: Status):
    clock = Clock()

    class Cold(slow(clock, make=0.0, reset=0.0, step=0.0)):  # type: ignore[misc]
        loaded = False

        def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
            clock.now += later if Cold.loaded else 6.0
            Cold.loaded = True
            return super().reset(seed=seed, options=options)

    report = checked(clock, Cold, only=("plays", "gymnasium"))
    assert [result.status for result in report.results] == [Status.HELD, status], str(report)
    assert ("resets about 12 times" in report.results[1].what) == (status is Status.SKIPPED)


def test_a_floor_that_was_played_too_little_is_not_looked_at_and_not_too_high():
    for seconds, status in ((40.0, Status.SKIPPED), (400.0, Status.HELD)):
        clock = Clock()
        chosen = {"only": ("plays", "floor_gap"), "check_seconds": seconds, "floor_margin": 0.6}
        floor = checked(clock, slow(clock, reset=2.0), **chosen).results[1]
        assert (floor.name, floor.status) == ("floor_gap", status), str(floor)
        assert (floor.what == "") == (status is Status.HELD)


def spent(budget: Budget, clock: Clock, seconds: list[float], noun: str = "things") -> Iterator[float]:
    for each in budget.each(seconds, noun):
        clock.now += each
        yield each


def test_items_are_taken_as_long_as_another_of_the_longest_would_be_through_in_time():
    clock = Clock()
    budget = Budget(10.0, clock)
    assert list(spent(budget, clock, [3.0] * 5)) == [3.0] * 3  # a fourth would end at 12
    assert budget.looked_at == "3 of 5 things"
    assert budget.said() == "3 of 5 things: a check has 10 s (--check-seconds)"
    budget.start()
    assert list(spent(budget, clock, [3.0, 3.0, 3.0])) == [3.0] * 3
    assert budget.looked_at == ""


def test_two_kinds_of_items_are_both_named():
    clock = Clock()
    budget = Budget(10.0, clock)
    assert list(spent(budget, clock, [4.0] * 3, "games")) == [4.0] * 2
    assert list(spent(budget, clock, [0.5] * 9, "texts")) == [0.5] * 4
    assert budget.looked_at == "2 of 3 games, 4 of 9 texts"


def test_no_call_is_made_once_the_time_is_over():
    clock = Clock()
    budget = Budget(1.0, clock)
    env = Timed(slow(clock, make=0.0, reset=0.6, step=0.6)(), budget)
    env.reset(seed=0)
    env.step("wait")  # began at 0.6 s
    with pytest.raises(OutOfTime):
        env.step("wait")
    assert clock.now == pytest.approx(1.2)


def test_a_reset_that_never_comes_back_is_reported():
    reports: list[ConformanceReport] = []
    reported = threading.Event()

    class Stuck(Vault):
        def reset(self, **options: Any) -> Any:
            reported.wait(30)
            return super().reset(**options)

    def hangs(report: ConformanceReport) -> None:
        reports.append(report)
        reported.set()

    run_checks(Stuck, only=("plays",), hang_seconds=0.1, on_hang=hangs, **COUNTS)
    assert reports[0].failures[0].what == "expected a reset to come back, got nothing in 0.5 s"


def test_the_command_takes_the_time_and_refuses_none(capsys: pytest.CaptureFixture[str]):
    import argparse

    parser = argparse.ArgumentParser()
    add_arguments(parser)
    options = parser.parse_args(["strangers:Vault", "--only", "plays", "--check-seconds", "20"])
    assert options.check_seconds == 20.0 and run(options) == 0
    assert "held     plays" in capsys.readouterr().out
    with pytest.raises(ValueError, match="check_seconds"):
        run_checks(Vault, check_seconds=0.0)
    assert isinstance(Timed(Vault(), Budget(1.0)), gym.Env)
