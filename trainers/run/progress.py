"""Progress of a run on screen: a bar with live numbers on a terminal, plain lines anywhere else."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Any, Protocol, Self

# Metric in the log, its short name, and its format.
_SHOWN = (
    ("success", "success", "{:.2f}"),
    ("success_privileged", "success (privileged prompt)", "{:.2f}"),
    ("valid/success_rate", "valid", "{:.3f}"),
    ("valid_privileged/success_rate", "valid (privileged prompt)", "{:.3f}"),
    ("teacher/success_rate", "privileged", "{:.3f}"),
    ("distill/weight", "weight", "{:.2f}"),
    ("entropy", "entropy", "{:.2f}"),
    ("kl", "kl", "{:.3f}"),
    ("malformed_share", "malformed", "{:.2f}"),
    ("truncated_share", "truncated", "{:.2f}"),
    ("groups/flat_share", "zero-variance", "{:.2f}"),
)


class Progress(Protocol):
    """Shows a run to a person."""

    def step(self, done: int, metrics: Mapping[str, Any]) -> None:
        """An iteration is done."""
        ...

    def advance(self, stage: str, done: int, total: int) -> None:
        """So much is done of something long within or beside an iteration."""
        ...

    def say(self, text: str) -> None:
        """Show a line that stays."""
        ...

    def close(self) -> None:
        """The run is over."""
        ...


def make_progress(total: int, *, done: int = 0, title: str = "training") -> Progress:
    """A bar when standard error is a terminal, else lines at least ten seconds apart."""
    return BarProgress(total, done, title) if sys.stderr.isatty() else LineProgress(total, title)


def metrics_line(metrics: Mapping[str, Any]) -> str:
    """The metrics of `_SHOWN` that are there, in one line."""
    shown = [(short, form.format(metrics[name])) for name, short, form in _SHOWN if metrics.get(name) is not None]
    return "  ".join(f"{short} {value}" for short, value in shown)


class NoProgress:
    """Shows nothing: for a process beside the one that writes."""

    def step(self, done: int, metrics: Mapping[str, Any]) -> None:
        """Show nothing."""

    def advance(self, stage: str, done: int, total: int) -> None:
        """Show nothing."""

    def say(self, text: str) -> None:
        """Show nothing."""

    def close(self) -> None:
        """Nothing to do."""


class LineProgress:
    """Plain lines on standard error: the first, the last, and one every `seconds` in between."""

    def __init__(self, total: int, title: str, *, seconds: float = 10.0) -> None:
        self.total = total
        self.title = title
        self.seconds = seconds
        self._last = float("-inf")
        self._stage = ("", 0.0)  # what is going on, and when a line was last printed of it
        self._metrics: dict[str, Any] = {}

    def step(self, done: int, metrics: Mapping[str, Any]) -> None:
        """Print a line when it is time."""
        self._metrics.update(metrics)  # an evaluation's metrics are shown until the next one
        now = time.monotonic()
        if done == self.total or now - self._last >= self.seconds:
            self._last = now
            self.say(f"{self.title} {done}/{self.total}  {metrics_line(self._metrics)}")

    def advance(self, stage: str, done: int, total: int) -> None:
        """Print a line of what takes long, from `seconds` after its beginning on."""
        now = time.monotonic()
        if stage != self._stage[0] or done == total:
            self._stage = ("" if done == total else stage, now)
        elif now - self._stage[1] >= self.seconds:
            self._stage = (stage, now)
            self.say(f"{self.title}: {stage} {done:,}/{total:,}")

    def say(self, text: str) -> None:
        """Print a line."""
        print(text, file=sys.stderr, flush=True)

    def close(self) -> None:
        """Nothing to do."""


class BarProgress:
    """A bar with the live numbers after it."""

    def __init__(self, total: int, done: int, title: str) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        self._bar = RichProgress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[metrics]}", markup=False),
            console=Console(stderr=True, markup=False, emoji=False, highlight=False),
        )
        self._task = self._bar.add_task(title, total=total, completed=done, metrics="")
        self._stage = self._bar.add_task("", total=None, metrics="", visible=False)
        self._stage_name = ""
        self._metrics: dict[str, Any] = {}
        self._bar.start()

    def step(self, done: int, metrics: Mapping[str, Any]) -> None:
        """Move the bar."""
        self._metrics.update(metrics)
        self._bar.update(self._task, completed=done, metrics=metrics_line(self._metrics))

    def advance(self, stage: str, done: int, total: int) -> None:
        """A second bar, until it is done."""
        if stage != self._stage_name:
            self._bar.reset(self._stage, total=total, description=f"  {stage}", visible=True)
        self._stage_name = "" if done == total else stage
        self._bar.update(self._stage, completed=done, total=total, visible=done < total)

    def say(self, text: str) -> None:
        """Print a line above the bar."""
        self._bar.console.print(text)

    def close(self) -> None:
        """Leave the terminal as it was."""
        self._bar.stop()


class StageBar:
    """A bar over work before or beside a run, stage by stage, with the time that is left of the stage.

    On a terminal only; elsewhere a stage that takes long has a plain line on standard error every ten seconds.

    Args:
        title: What the work is.
        quiet: Show nothing at all.
    """

    def __init__(self, title: str, *, quiet: bool = False) -> None:
        self.title = title
        self.shown = sys.stderr.isatty() and not quiet
        self._lines = None if self.shown or quiet else LineProgress(0, title)
        self._stage = ""
        if self.shown:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
            from rich.progress import Progress as RichProgress

            self._bar = RichProgress(
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=24),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TextColumn("left", markup=False),
                TimeRemainingColumn(),
                console=Console(stderr=True, markup=False, emoji=False, highlight=False),
                transient=True,
            )
            self._task = self._bar.add_task(title, total=None)

    def __enter__(self) -> Self:
        """Show the bar."""
        if self.shown:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Take it away: what is left on the screen are the caller's lines."""
        if self.shown:
            self._bar.stop()

    def advance(self, stage: str, done: int, total: int) -> None:
        """So much of a stage is done; a new name begins a new stage."""
        if self._lines is not None:
            self._lines.advance(stage, done, total)
        if not self.shown:
            return
        if stage != self._stage:
            self._stage = stage
            self._bar.reset(self._task, total=total, description=f"{self.title}: {stage}")
        self._bar.update(self._task, completed=done, total=total)

    def say(self, text: str) -> None:
        """Print a line above the bar."""
        if self.shown:
            self._bar.console.print(text)
