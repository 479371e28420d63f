"""The drills by name, and how rounds of one are done within bounds of number and time."""

from __future__ import annotations

import importlib
import resource
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from .small_run import DrillSubject
from .tally import Tally, read_records, write_record

Drill = Callable[[DrillSubject, int], Iterator[Tally]]


@dataclass(frozen=True, slots=True)
class Entry:
    """A drill: where it is, what it does in one line, and its tries by default."""

    function: str
    summary: str
    tries: int

    def load(self) -> Drill:
        """The drill itself."""
        module, _, name = self.function.partition(":")
        drill: Drill = getattr(importlib.import_module(f".{module}", __package__), name)
        return drill


DRILLS: dict[str, Entry] = {
    "resume": Entry("resume:drill_resume", "kill -9 in the middle of runs, resumed and compared to the byte", 10),
    "faults": Entry("faults:rounds", "exceptions, hangs, exits, lies of an environment, episodes compared", 50),
    "hostile": Entry("hostile:drill_hostile", "hostile actions, completions and observations", 5_000),
    "corrupt": Entry("corrupt:drill_corrupt", "damaged checkpoints, evaluation sets and logs", 100),
    "servers": Entry("servers:drill_servers", "both servers, asked while they are attacked", 4_000),
    "leaks": Entry("leaks:drill_leaks", "planted secrets, searched for in all that a run leaves behind", 40),
}


def run_drill(
    name: str,
    subject: DrillSubject,
    *,
    tries: int | None = None,
    minutes: float = 10.0,
    seed: int = 0,
    records: Path | None = None,
    say: Callable[[Tally], None] = lambda tally: None,
) -> tuple[Tally, Tally]:
    """Do rounds of a drill until there were `tries`, or `minutes` have passed.

    Args:
        name: Of `DRILLS`.
        subject: What it is done to.
        tries: At least so many, of this call; None takes the drill's own number.
        minutes: After so many no round begins.
        seed: The first round of all; with `records` the call goes on after those on record.
        records: A folder that keeps what calls came to; written after every round.
        say: Called with the sum of this call after every round.

    Returns:
        The sum of this call, and that of all calls on record.
    """
    entry = DRILLS[name]
    wanted = entry.tries if tries is None else tries
    before = Tally(name) if records is None else read_records(records).get(name, Tally(name))
    first = seed + before.rounds
    mine = Tally(name)
    began, cpu = time.monotonic(), _cpu_seconds()
    rounds = entry.load()(subject, first)
    try:
        for part in rounds:
            mine.add(part)
            mine.seconds, mine.cpu_seconds = round(time.monotonic() - began, 1), round(_cpu_seconds() - cpu, 1)
            if records is not None:
                write_record(records, mine, first)
            say(mine)
            if mine.tries >= wanted or time.monotonic() - began >= 60 * minutes:
                break
    finally:
        rounds.close()  # type: ignore[attr-defined]  # drills are generators
    total = Tally(name)
    total.add(before)
    total.add(mine)
    return mine, total


def _cpu_seconds() -> float:
    """Of this process and of its children that have ended."""
    return sum(
        used.ru_utime + used.ru_stime
        for used in (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )
