"""What a person sees: the live metrics, in a bar on a terminal and in plain lines elsewhere."""

from __future__ import annotations

import io
import sys

import pytest

from trainers.run.progress import BarProgress, LineProgress, StageBar, make_progress, metrics_line

METRICS = {"success": 0.25, "valid/success_rate": 0.125, "distill/weight": 0.464, "kl": 0.0104, "unknown": 3.0}


def test_a_line_holds_the_few_metrics_that_are_there() -> None:
    assert metrics_line(METRICS) == "success 0.25  valid 0.125  weight 0.46  kl 0.010"
    assert metrics_line({}) == ""


def test_where_nobody_looks_on_there_are_plain_lines_and_not_too_many(capsys: pytest.CaptureFixture[str]) -> None:
    progress = make_progress(50, title="sdar")
    assert isinstance(progress, LineProgress)
    for step in range(1, 51):
        progress.step(step, METRICS)
    progress.close()
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("sdar 1/50  success 0.25") and lines[-1].startswith("sdar 50/50")
    assert len(lines) == 2  # no ten seconds have passed in between


def test_on_a_terminal_there_is_a_bar_with_the_live_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "160")
    progress = make_progress(4, title="sdar")
    assert isinstance(progress, BarProgress)
    progress.say("before: success [bold]5[/bold] %")
    progress.step(2, METRICS)
    progress.step(3, {"success": 0.5})
    progress.close()
    assert "success 0.50  valid 0.125" in terminal.getvalue()  # the last evaluation stays in sight
    assert "3/4" in terminal.getvalue() and "weight 0.46" in terminal.getvalue()
    assert "success [bold]5[/bold] %" in terminal.getvalue()  # text is data, never markup


def test_work_before_a_run_has_a_bar_with_time_left_on_a_terminal_only(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with StageBar("warm start") as bar:
        bar.advance("cloning", 5, 400)
    assert not bar.shown and capsys.readouterr() == ("", "")

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "160")
    with StageBar("warm start") as bar:
        bar.advance("playing demonstrations", 4000, 4000)
        bar.advance("cloning", 5, 400)
        bar.say("step 5 [bold]")
        bar.advance("cloning", 6, 500)
        bar._bar.refresh()
    shown = terminal.getvalue()
    assert "warm start: cloning" in shown and "6/500" in shown and "left" in shown and "step 5 [bold]" in shown


def test_long_work_within_an_iteration_has_a_line_of_its_own_from_ten_seconds_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter(range(0, 1000, 4))
    monkeypatch.setattr("trainers.run.progress.time.monotonic", lambda: next(clock))
    progress = LineProgress(50, "sdar")
    for done in range(1, 8):
        progress.advance("evaluation on valid", done, 7)
    progress.advance("evaluation on test", 1, 2)
    progress.advance("evaluation on test", 2, 2)
    # One line every third call of four seconds; none for what was over sooner.
    assert capsys.readouterr().err.splitlines() == [
        "sdar: evaluation on valid 4/7",
    ]


def test_on_a_terminal_long_work_has_a_second_bar_that_goes_when_it_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "160")
    progress = BarProgress(4, 1, "sdar")
    progress.advance("evaluation on valid", 3, 8)
    progress._bar.refresh()
    shown = terminal.getvalue()
    assert "evaluation on valid" in shown and "3/8" in shown
    terminal.truncate(0)
    progress.advance("evaluation on valid", 8, 8)
    progress._bar.refresh()
    progress.close()
    assert "evaluation on valid" not in terminal.getvalue().rpartition("sdar")[2]


def test_where_nobody_looks_on_long_work_before_a_run_has_a_line_every_ten_seconds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seconds = [0.0]
    monkeypatch.setattr("trainers.run.progress.time.monotonic", lambda: seconds[0])

    def play(**settings: bool) -> list[str]:
        with StageBar("warm start", **settings) as bar:
            for done in range(1, 4001):
                seconds[0] += 0.01  # forty seconds in all
                bar.advance("playing demonstrations", done, 4000)
        said = capsys.readouterr()
        assert said.out == ""
        return said.err.splitlines()

    # The first line ten seconds after the first demonstration, and none once all are played.
    lines = play()
    assert len(lines) == 3 and lines[0].startswith("warm start: playing demonstrations 1,00")
    assert all(line.endswith("/4,000") for line in lines)
    assert play(quiet=True) == []
