"""What reaches a terminal: cleaned text, tables, intervals. Rich where someone looks on, plain lines where a file does.

World and model text is data. Before it is shown, everything that a terminal could act on, or that could reorder what a
person reads, becomes a visible mark. Nothing here parses markup.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..report.plain_text import clean as clean
from ..report.plain_text import kind_name as kind_name
from ..report.plain_text import one_line as one_line

if TYPE_CHECKING:
    from rich.console import Console


def make_console(*, stderr: bool = False, quiet: bool = False) -> Console:
    """A console that prints text as it is: no markup, no emoji codes, no highlighting of numbers.

    Where nobody looks on, lines are not wrapped at 80 columns, so that a log can be searched.

    Args:
        stderr: Standard error instead of standard output.
        quiet: Print nothing.
    """
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="replace")  # an ASCII terminal shows "?" instead of failing
    width = None if stream.isatty() else 10_000
    return Console(file=stream, markup=False, emoji=False, highlight=False, width=width, quiet=quiet)


def percent(value: float | None) -> str:
    """A proportion in per cent with one decimal, ``-`` when it is unknown."""
    return "-" if value is None else f"{100 * value:.1f}"


def interval(bounds: Sequence[float] | None) -> str:
    """A 95 % interval of a proportion in per cent; ``-`` when it is unknown, or of no width: that estimates nothing."""
    return "-" if not bounds or bounds[0] == bounds[1] else f"{100 * bounds[0]:.1f} to {100 * bounds[1]:.1f}"


def duration(seconds: float) -> str:
    """Seconds as a person says them: ``8.3 s``, ``2 min 05 s``, ``1 h 02 min``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def show_table(
    console: Console, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1
) -> None:
    """Print a table; the first `left` columns are flushed left, the others, which hold numbers, right.

    Args:
        console: Where to; a terminal gets rules and colour, anything else aligned plain text.
        title: One line above the table.
        columns: Headings.
        rows: Cells, as many per row as there are headings.
        left: Number of text columns.
    """
    cells = [[one_line(cell) for cell in row] for row in rows]
    if console.is_terminal:
        from rich import box
        from rich.table import Table
        from rich.text import Text

        table = Table(title=Text(title), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
        for index, column in enumerate(columns):
            table.add_column(Text(column), justify="left" if index < left else "right")
        for row in cells:
            table.add_row(*map(Text, row))
        console.print(table)
        return
    widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
    if title:
        console.print(title)
    for row in [list(columns), *cells]:
        pads = (str.ljust if index < left else str.rjust for index in range(len(row)))
        console.print("  ".join(pad(cell, width) for pad, cell, width in zip(pads, row, widths, strict=True)).rstrip())
