"""Published data: where it comes from, what of it is here, and fetching what is not.

`sdar data get NAME` prints the sources, counts and checks what `--to`, the data set's own environment variable and
$SDAR_OFFICIAL_DATA name, and fetches what is missing into --to. Every file is there whole or not at all; its size and
SHA-256 are checked where they have been published.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from .terminal import make_console, show_table

if TYPE_CHECKING:
    from sdar_envs.official_sources import Found

USAGE = "get {alfworld,webshop,searchr1} [options]"
EPILOGUE = """examples:
  sdar data get alfworld --to data/alfworld
  sdar data get webshop --check
  sdar data get searchr1 --to data/searchr1 --only questions corpus"""

NAMES = ("alfworld", "webshop", "searchr1")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``sdar data``."""
    parser.add_argument("action", choices=("get",), help="print, check and fetch")
    parser.add_argument("name", choices=NAMES, help="the data set")
    parser.add_argument(
        "--to", metavar="DIR", help="folder to look in, and to fetch into; without it nothing is fetched"
    )
    parser.add_argument(
        "--only", nargs="+", action="extend", default=[], metavar="GROUP", help="groups of files [the default ones]"
    )
    parser.add_argument("--check", action="store_true", help="fetch nothing; read files whole and compare SHA-256")


def run(options: argparse.Namespace) -> int:
    """Print, check, fetch; status 0 when something complete is here, 1 when not."""
    from sdar_envs.choices import require_choice
    from sdar_envs.official_sources import data_sets, fetch, look, places

    data = data_sets()[options.name]
    for group in options.only:
        require_choice("group", group, data.groups, "--only")
    console = make_console()
    console.print(f"{data.name}: {data.about}")
    rows = [
        (
            file.name,
            file.group + ("" if file.group in data.default else " (with --only)"),
            "not published" if file.bytes is None else f"{file.bytes:,} bytes",
            "not published" if file.sha256 is None else file.sha256[:16] + "...",
            file.url,
        )
        for file in data.files
    ]
    show_table(console, "", ("file", "group", "size", "SHA-256", "from"), rows, left=5)
    console.print("")

    def report(folder: Path) -> list[Found]:
        found = look(data, folder, hashes=options.check)
        console.print(f"{folder}: {'' if found else 'nothing of it'}".rstrip())
        for each in found:
            console.print(f"  {_line(each)}")
        return found

    to = None if options.to is None else Path(options.to).expanduser()
    found = [each for folder in [*([to] if to else []), *places(data)] for each in report(folder)]
    if to is not None and not options.check:
        fetched = fetch(data, to, options.only, say=console.print)
        if fetched:
            found = report(to)
    elif not found:
        variables = " and ".join(f"${name}" for name in (data.variable, "SDAR_OFFICIAL_DATA") if name)
        console.print(f"nothing is here: --to DIR fetches it, and is looked in, as are the folders of {variables}")
        return 1
    complete = bool(found) and all(each.complete for each in found)
    where = to or next(iter(places(data)), Path("DIR"))
    console.print(f"{'complete' if complete else 'a part of it'}; use it with: {data.use.format(folder=where)}")
    return 0 if complete else 1


def _line(each: Found) -> str:
    count = "not counted" if each.count is None else f"{each.count:,}"
    of = "" if each.expected is None else f" of {each.expected:,}"
    checked = {True: ", as published", False: ", NOT AS PUBLISHED", None: ""}[each.verified]
    return f"{each.what}: {count}{of}{checked}"
