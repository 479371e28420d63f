"""Faults, kills, hostile text, damaged files, attacks and planted secrets on purpose: what is survived is tried out.

Tries end well where everything is as it should be, or the trouble is refused by name; what was lost and what went wrong
without a word is counted and shown, and the status is then 1. An environment of your own is drilled with --env. With
--records, calls add up in a folder, and `sdar drill table` shows their sums.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from .flags import read_pairs

USAGE = "NAME [options]"
TABLE = "table"
DEFAULT_ENV = "sdar/Household-v0"

EPILOGUE = """examples:
  sdar drill resume
  sdar drill faults --env mine:Slow-v0 --minutes 5 --json faults.json
  sdar drill hostile --env mine:Slow-v0 --tries 100000 --records drills
  sdar drill table --records drills"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``sdar drill``."""
    from ..drills.catalogue import DRILLS

    drills = "; ".join(f"{name}: {entry.summary}" for name, entry in DRILLS.items())
    parser.add_argument("name", metavar="NAME", help=f"{drills}; {TABLE}: the sums of a folder of records")
    parser.add_argument("--env", metavar="ID", default=DEFAULT_ENV, help=f"environment [{DEFAULT_ENV}, small]")
    parser.add_argument(
        "--env-kwargs", nargs="+", action="extend", metavar="KEY=VALUE", default=[], help="options of the environment"
    )
    parser.add_argument("--workers", type=int, metavar="N", help="worker processes of its environments")
    parser.add_argument("--tries", type=int, metavar="N", help="tries at least [10 to 5,000, by drill]")
    parser.add_argument("--minutes", type=float, default=10.0, metavar="N", help="begin nothing after so many [10]")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the first round [0]")
    parser.add_argument("--records", metavar="DIR", help="keep what calls come to here, and go on after them")
    parser.add_argument("--json", metavar="FILE", help="write the sums to this file too, - for standard output")


def run(options: argparse.Namespace) -> int:
    """Drill; status 0 where nothing was lost or silent."""
    from sdar_envs.choices import require_choice
    from sdar_envs.files import write_file

    from ..drills.catalogue import DRILLS, run_drill
    from ..drills.small_run import DrillSubject
    from ..drills.tally import markdown_table, read_records

    require_choice("drill", options.name, (*DRILLS, TABLE), "sdar drill")
    records = None if options.records is None else Path(options.records)
    if options.name == TABLE:
        if records is None:
            raise ValueError("sdar drill table expects --records DIR, the folder that calls were recorded in")
        sums = read_records(records)
        print(markdown_table(sums[name] for name in DRILLS if name in sums))
        return int(not all(each.passed for each in sums.values()))
    for flag, value in (("--tries", options.tries), ("--minutes", options.minutes)):
        if value is not None and not value > 0:
            raise ValueError(f"{flag} expects a number above 0, got {value}")
    kwargs = read_pairs(options.env_kwargs, "--env-kwargs")
    if options.env == DEFAULT_ENV:
        kwargs = {"size": "small", **kwargs}
    mine, total = run_drill(
        options.name,
        DrillSubject(options.env, kwargs, options.workers),
        tries=options.tries,
        minutes=options.minutes,
        seed=options.seed,
        records=records,
        say=lambda tally: print(f"{tally.tries:,} tries, {tally.lost} lost, {tally.silent} silent", file=sys.stderr),
    )
    if options.json == "-":
        print(json.dumps(total.to_json(), indent=1))
    else:
        print(mine)
        if total.rounds > mine.rounds:
            print(f"of all calls on record: {total}")
        if options.json:
            write_file(options.json, json.dumps(total.to_json(), indent=1) + "\n")
    return 0 if total.passed else 1
