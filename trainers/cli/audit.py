"""Defects of published protocols, simulated: how large each is, what is done here instead, and who has met it.

Without a GPU and without anybody's code: counts and layouts are the documented ones. Every figure is a function of the
seed. Without NAME a table of all; with one, that item whole.
"""

from __future__ import annotations

import argparse
import json
import textwrap
from typing import TYPE_CHECKING

from .terminal import make_console, show_table

if TYPE_CHECKING:
    from ..referee.audit.item import AuditItem, Figure

USAGE = "[NAME] [options]"
EPILOGUE = """examples:
  sdar audit
  sdar audit contaminated-split
  sdar audit one-seed --seed 7 --json -"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``sdar audit``."""
    parser.add_argument("name", nargs="?", metavar="NAME", help="one item of the table")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the simulations [0]")
    parser.add_argument("--json", metavar="FILE", help="write all of it to this file too, - for standard output")


def run(options: argparse.Namespace) -> int:
    """Simulate and print; status 0."""
    from sdar_envs.files import write_file

    from ..referee.audit.catalogue import ITEMS, measured, to_json

    found = measured(ITEMS if options.name is None else [options.name], options.seed)
    content = {"seed": options.seed, "items": [to_json(item, figures) for item, figures in found]}
    if options.json == "-":
        print(json.dumps(content, indent=1))
        return 0
    if options.name is None:
        rows = [
            [item.name, figures[0].name, shown(figures[0].published), shown(figures[0].fixed), figures[0].unit]
            for item, figures in found
        ]
        columns = ["item", "what is measured", "published", "fixed", "unit"]
        console = make_console()
        show_table(console, "what published protocols do to a figure, simulated", columns, rows, left=2)
        console.print("")
        console.print("sdar audit NAME has the explanation of an item, all its figures, and the threads.")
    else:
        show_item(*found[0])
    if options.json:
        write_file(options.json, json.dumps(content, indent=1) + "\n")
    return 0


def show_item(item: AuditItem, figures: tuple[Figure, ...]) -> None:
    """Print an item whole."""
    console = make_console()
    console.print(f"{item.name}: {item.title}")
    console.print(f"in: {item.where}")
    for text in (item.explanation, f"Instead: {item.fixed}"):
        console.print("")
        console.print(textwrap.fill(text, 100))
    console.print("")
    rows = [[figure.name, shown(figure.published), shown(figure.fixed), figure.unit] for figure in figures]
    show_table(console, "", ["what is measured", "published", "fixed", "unit"], rows)
    console.print("")
    for thread in item.threads:
        console.print(f"{thread.title}\n  {thread.url}")


def shown(value: float | None) -> str:
    """A figure as the table and the page have it."""
    if value is None:
        return "-"
    return f"{value:.2f}" if abs(value) < 4 and value != round(value) else f"{value:.1f}"
