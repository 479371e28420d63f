"""What a person sees while a study runs: a grid of arms and seeds on a terminal, plain lines anywhere else."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

from .runner import Failure, State, Task

if TYPE_CHECKING:
    from rich.table import Table

LINE_SECONDS = 60.0


class Clock:
    """Remaining time, from the iterations done since it was made."""

    def __init__(self) -> None:
        self._start = time.monotonic()
        self._first: int | None = None

    def remaining(self, state: State) -> float | None:
        """Seconds, None before the first iteration."""
        done = state.steps_done()
        if self._first is None:
            self._first = done
        gained = done - self._first
        if gained <= 0:
            return None
        return (state.steps_total() - done) * (time.monotonic() - self._start) / gained


def counts_line(state: State, clock: Clock) -> str:
    """``12 of 60 done, 2 running, 1 failed, about 34 min left``."""
    parts = [f"{len(state.done)} of {len(state.tasks)} done", f"{len(state.running)} running"]
    named = (("elsewhere", state.elsewhere), ("failed", state.failed), ("waiting for a failed one", state.blocked))
    parts += [f"{len(names)} {word}" for word, names in named if names]
    left = clock.remaining(state)
    if left is not None and state.running:
        parts.append(f"about {_words(left)} left")
    return ", ".join(parts)


def _words(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{max(minutes, 1)} min"


class LineBoard:
    """Plain lines on standard error: one per finished or failed task, and one a minute."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.clock = Clock()
        self._last = time.monotonic()

    def update(self, state: State) -> None:
        """A line when a minute has passed."""
        self.clock.remaining(state)  # keeps the clock's first count
        if time.monotonic() - self._last >= LINE_SECONDS:
            self._say(counts_line(state, self.clock))

    def finished(self, task: Task, state: State) -> None:
        """One line."""
        seconds = time.monotonic() - task.started
        self._say(f"{task.arm}, seed {task.seed}: done in {seconds:.0f} s; {counts_line(state, self.clock)}")

    def failure(self, failure: Failure, state: State) -> None:
        """One line; what was said stands at the end."""
        self._say(f"{failure.task.arm}, seed {failure.task.seed}: FAILED; {counts_line(state, self.clock)}")

    def close(self) -> None:
        """Nothing to give back."""

    def _say(self, text: str) -> None:
        self._last = time.monotonic()
        print(f"{self.title}: {text}", file=sys.stderr, flush=True)


class GridBoard:
    """Arms by seeds on a terminal: ``.`` waiting, a percentage while running, a tick when done, ``x`` failed."""

    def __init__(self, title: str) -> None:
        from rich.console import Console
        from rich.live import Live

        self.title = title
        self.clock = Clock()
        self._console = Console(stderr=True, markup=False, emoji=False, highlight=False)
        self._live = Live(console=self._console, refresh_per_second=4, transient=False)
        self._live.start()

    def update(self, state: State) -> None:
        """Draw."""
        self._live.update(self._draw(state))

    def finished(self, task: Task, state: State) -> None:
        """The grid shows it."""

    def failure(self, failure: Failure, state: State) -> None:
        """The grid shows it; what was said stands at the end."""

    def close(self) -> None:
        """Leave the terminal as it was."""
        self._live.stop()

    def _draw(self, state: State) -> Table:
        from rich import box
        from rich.table import Table
        from rich.text import Text

        seeds = sorted({task.seed for task in state.tasks.values()})
        arms = list(dict.fromkeys(task.arm for task in state.tasks.values()))
        caption = Text(counts_line(state, self.clock))
        table = Table(title=Text(self.title), caption=caption, title_justify="left", caption_justify="left")
        table.box, table.pad_edge = box.SIMPLE_HEAD, False
        table.add_column("seed")
        for seed in seeds:
            table.add_column(str(seed), justify="right", min_width=4)
        cells: dict[tuple[str, int], Any] = {}
        for task in state.tasks.values():
            cells[task.arm, task.seed] = Text(_mark(task, state))
        for arm in arms:
            table.add_row(Text(arm), *(cells.get((arm, seed), Text("")) for seed in seeds))
        return table


def _mark(task: Task, state: State) -> str:
    if task.name in state.done:
        return "\N{CHECK MARK}"
    if task.name in state.running:
        return f"{100 * min(task.progress(), task.steps) // task.steps} %"
    if task.name in state.failed:
        return "x"
    return "-" if task.name in state.blocked else "~" if task.name in state.elsewhere else "."


def make_board(title: str) -> LineBoard | GridBoard:
    """A grid when standard error is a terminal, else lines."""
    return GridBoard(title) if sys.stderr.isatty() else LineBoard(title)
