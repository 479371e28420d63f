"""What all benchmarks share: medians of CPU seconds, runs in alternating order, one table, one JSON object.

CPU seconds of this process (all its threads) are compared, not wall time: a busy machine lengthens the latter at once
and the former little. Rivals run in turns, forwards and backwards, so that a drift of the machine meets both.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Timing:
    """CPU seconds of repeated runs of one piece of work."""

    name: str
    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle run."""
        return statistics.median(self.seconds)

    @property
    def spread(self) -> float:
        """Slowest minus fastest run, over the median."""
        return (max(self.seconds) - min(self.seconds)) / self.median if self.median else 0.0

    def rate(self, count: float) -> float:
        """Things per CPU second, at the median."""
        return count / self.median if self.median else float("inf")


def measure(
    works: Mapping[str, Callable[[], object]],
    *,
    repeats: int = 5,
    warmups: int = 1,
    clock: Clock = time.process_time,
) -> dict[str, Timing]:
    """Time every piece of work `repeats` times, in alternating order, after `warmups` runs that do not count.

    Args:
        works: Name to work; what it returns is thrown away.
        repeats: Counted runs of each.
        warmups: Uncounted runs of each, before all others.
        clock: CPU seconds.
    """
    if repeats < 1:
        raise ValueError(f"measure: expected at least 1 repeat, got {repeats}")
    for work in works.values():
        for _ in range(warmups):
            work()
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for repeat in range(repeats):
        order = list(works) if repeat % 2 == 0 else list(works)[::-1]
        for name in order:
            start = clock()
            works[name]()
            seconds[name].append(clock() - start)
    return {name: Timing(name, tuple(values)) for name, values in seconds.items()}


def table(headers: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Text columns, numbers to the right, as Markdown."""
    cells = [[_text(cell) for cell in row] for row in rows]
    widths = [max(len(header), *(len(row[i]) for row in cells), 3) for i, header in enumerate(headers)]
    right = [all(isinstance(row[i], (int, float)) for row in rows) and bool(rows) for i in range(len(headers))]

    def line(texts: Sequence[str]) -> str:
        padded = [t.rjust(w) if r else t.ljust(w) for t, w, r in zip(texts, widths, right, strict=True)]
        return "| " + " | ".join(padded) + " |"

    rule = "| " + " | ".join("-" * (w - 1) + (":" if r else "-") for w, r in zip(widths, right, strict=True)) + " |"
    return "\n".join([line(list(headers)), rule, *(line(row) for row in cells)])


def _text(cell: object) -> str:
    if isinstance(cell, float):
        return f"{cell:,.0f}" if abs(cell) >= 1000 else f"{cell:.3g}"
    return f"{cell:,}" if isinstance(cell, int) and not isinstance(cell, bool) else str(cell)


def machine() -> dict[str, Any]:
    """What a figure depends on: processor count, threads, load, and versions of what is loaded."""
    facts: dict[str, Any] = {
        "python": platform.python_version(),
        "system": platform.system(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "load_average": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    }
    for name in ("numpy", "torch", "transformers", "gymnasium", "textworld"):
        if name in sys.modules:
            facts[name] = str(getattr(sys.modules[name], "__version__", "unknown"))
    if "torch" in sys.modules:
        facts["threads"] = sys.modules["torch"].get_num_threads()
    return facts


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as lines:
            for line in lines:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def parser(name: str, description: str, *, repeats: int = 5) -> argparse.ArgumentParser:
    """An argument parser with the options that every benchmark has."""
    options = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}", description=description)
    options.add_argument("--repeats", type=int, default=repeats, help="counted runs of each piece of work")
    options.add_argument("--threads", type=int, default=1, help="threads of torch and its libraries")
    options.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
    return options


def emit(name: str, figures: Mapping[str, Any], tables: Sequence[str], *, as_json: bool) -> None:
    """Print the result: tables with the machine below them, or one JSON object ``{benchmark, machine, figures}``."""
    if as_json:
        print(json.dumps({"benchmark": name, "machine": machine(), "figures": figures}, allow_nan=False))
        return
    print("\n\n".join(tables))
    print("\n" + ", ".join(f"{key} {value}" for key, value in machine().items()))
