"""The boards as Markdown tables, between the marks of a page whose prose is written by hand."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ...study.table_records import Estimate
from .ranks import MIN_SEEDS, Place, above, paired_difference, places
from .records import Board, LeaderboardError, Row

_MARKED = re.compile(r"<!-- board (?P<name>\S+) -->\n.*?<!-- end board -->", re.DOTALL)


def page_with(text: str, boards: Sequence[Board]) -> str:
    """The page with its boards made anew.

    Raises:
        LeaderboardError: The page has a mark without a board, or a board without a mark.
    """
    by_name = {board.protocol.name: board for board in boards}
    marked = [match["name"] for match in _MARKED.finditer(text)]
    if sorted(marked) != sorted(by_name):
        raise LeaderboardError(
            f"the page: expected one mark `<!-- board NAME -->` ... `<!-- end board -->` for each of "
            f"{', '.join(sorted(by_name))}, got {', '.join(marked) or 'none'}"
        )
    return _MARKED.sub(
        lambda match: f"<!-- board {match['name']} -->\n{table(by_name[match['name']])}<!-- end board -->", text
    )


def table(board: Board) -> str:
    """One board: what it measures, and a row per entry in the order of the ranks that are left to each."""
    protocol, gpu = board.protocol, on_gpu(board)
    rates = {row.entry.method: row.rates for row in board.rows}
    ordered = {row.entry.method: row.rates for row in board.rows if can_be_ordered(row)}
    found = places(list(ordered), above(ordered))
    rows = sorted(board.rows, key=lambda row: _order(row, found.get(row.entry.method)))
    seeds = sorted(map(int, protocol.sets))
    tasks = {len(one.task_ids) for one in board.sets.values()}
    state = "open: entries are welcome" if protocol.open else "closed: its world has changed since"
    lines = [
        f"{protocol.description} Model: {protocol.model}. {min(tasks)} tasks of `test` per seed, seeds {seeds[0]} to "
        f"{seeds[-1]}, at most {protocol.training_episodes:,} training episodes; code {protocol.code}; {state}.",
        "",
        f"| rank | method | success, % (95 %) | seeds | paired difference to `{protocol.reference}` (95 %) | tokens, "
        f"millions | CPU-seconds |{' GPU-seconds |' if gpu else ''} evaluation sets | commit | outcomes |",
        f"|---|---|---|---:|---|---:|---:|{'---:|' if gpu else ''}---|---|---|",
    ]
    reference = rates[protocol.reference]
    lines += [
        _line(board, row, found.get(row.entry.method), paired_difference(row.rates, reference), gpu) for row in rows
    ]
    return "\n".join(lines) + "\n"


def on_gpu(board: Board) -> bool:
    """Whether any run of a board has used an accelerator, so that there is a column for it."""
    return any(run.gpu_seconds for row in board.rows for run in row.entry.runs.values())


def can_be_ordered(row: Row) -> bool:
    """Whether a row has enough seeds, and was made without what only a teacher may read."""
    return len(row.rates) >= MIN_SEEDS and not row.entry.reads_privileged


def _order(row: Row, place: Place | None) -> tuple[bool, int, int, str]:
    # Rows whose ranks are alike are in the order of their names: the mean orders nothing.
    return place is None, place.best if place else 0, place.worst if place else 0, row.entry.method


def _rank(row: Row, place: Place | None) -> str:
    if row.entry.reads_privileged:
        return "reads privileged context"
    if place is None:
        return "too few seeds"
    return f"{place.best}" if place.best == place.worst else f"{place.best} to {place.worst}"


def _line(board: Board, row: Row, place: Place | None, difference: Estimate, gpu: bool) -> str:
    entry, count = row.entry, len(row.rates)
    runs = list(entry.runs.values())
    success = entry.success
    interval = (
        ""
        if success.low is None or success.high is None
        else f"\N{NO-BREAK SPACE}({_points(success.low)} to {_points(success.high)})"
    )
    itself = entry.method == board.protocol.reference
    hashes = _digest([run.evaluation_set for run in runs])
    cells = [
        _rank(row, place),
        entry.label,
        f"{_points(success.mean)}{interval}",
        str(count),
        "" if itself else _signed(difference),
        f"{sum(run.tokens for run in runs) / count / 1e6:.2f}",
        f"{sum(run.cpu_seconds for run in runs) / count:.0f}",
        *([f"{sum(run.gpu_seconds for run in runs) / count:.0f}"] if gpu else []),
        hashes,
        f"`{entry.commit[:12]}`",
        f"[{row.episodes:,}]({board.protocol.name}/{entry.outcomes})",
    ]
    # A number and its interval stay on one line, on a phone too.
    return "| " + " | ".join(cell.replace(" to ", "\N{NO-BREAK SPACE}to\N{NO-BREAK SPACE}") for cell in cells) + " |"


def _digest(hashes: Sequence[str]) -> str:
    """The beginning of the first set's hash, and how many more there are."""
    first = f"`{hashes[0][:8]}`"
    return first if len(hashes) == 1 else f"{first}\N{NO-BREAK SPACE}+{len(hashes) - 1}"


def _points(rate: float) -> str:
    return f"{100 * rate:.1f}"


def _signed(found: Estimate) -> str:
    if found.mean is None:
        return "no seed in common"
    if found.low is None or found.high is None:
        return f"{100 * found.mean:+.1f}"
    return f"{100 * found.mean:+.1f}\N{NO-BREAK SPACE}({100 * found.low:+.1f} to {100 * found.high:+.1f})"
