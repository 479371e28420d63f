"""The subcommands of ``sdar study``: for each its summary, the options that it reads, examples, and what it runs."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass

from ..parser import Parser
from . import actions
from .planning import add_planning_arguments, point_out_old_planning


@dataclass(frozen=True, slots=True)
class Subcommand:
    """One subcommand: `declare` adds its options behind the directory, `run` returns the exit status."""

    summary: str
    usage: str
    declare: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]
    examples: tuple[str, ...]


def subcommand_parser(name: str) -> Parser:
    """The parser of a subcommand; `subcommand` of what it parses is its name."""
    known = SUBCOMMANDS[name]
    summary = f"{known.summary[0].upper()}{known.summary[1:]}."
    epilogue = "\n".join(["examples:", *(f"  sdar study {name} {words}" for words in known.examples)])
    prog = f"sdar study {name}"
    parser = Parser(prog=prog, usage=f"{prog} {known.usage}", description=summary, epilog=epilogue)
    parser.set_defaults(subcommand=name)
    parser.add_argument("output_dir", metavar="DIR", help="the study's directory")
    known.declare(parser)
    return parser


def add_cache_argument(parser: argparse.ArgumentParser) -> None:
    """Declare where warm models are."""
    parser.add_argument("--cache-dir", metavar="DIR", help="where warm models are kept [the study's directory]")


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare how the runs of a plan are made."""
    add = parser.add_argument
    add("--jobs", type=int, metavar="N", help="runs at a time, one thread each [the number of cores]")
    add("--only-seeds", metavar="LIST", help="run these seeds only, to spread a study over machines: 5, 0,3,7 or 10-14")
    add(
        "--only", nargs="+", action="extend", default=[], metavar="AXIS=POINT",
        help="tune and run only the arms that stand there on the plan's axes, e.g. size=1m; AXIS= is those not on it",
    )  # fmt: skip
    add_cache_argument(parser)
    add(
        "--merge", nargs="+", action="extend", default=[], metavar="SOURCE",
        help="first bring in results of the same study, as sdar study merge does",
    )  # fmt: skip
    add(
        "--reuse", nargs="+", action="extend", default=[], metavar="SOURCE",
        help="first take over the runs of other studies that are jobs of this plan, as sdar study reuse does",
    )  # fmt: skip
    add("--amend", action="store_true", help="allow a change of what is written before the runs; it is noted")
    add("--keep-checkpoints", action="store_true", help="keep the checkpoints of finished runs")
    add("--keep-episodes", action="store_true", help="keep the text of all episodes, some 30 MB per run")


def _declare_run(parser: argparse.ArgumentParser) -> None:
    add_planning_arguments(parser)
    point_out_old_planning(parser)
    add_run_arguments(parser)


def _declare_show(parser: argparse.ArgumentParser) -> None:
    add_planning_arguments(parser)
    point_out_old_planning(parser)


def _declare_nothing(parser: argparse.ArgumentParser) -> None:
    del parser


def _declare_export(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("export", metavar="FILE", help="the file to write, .jsonl.gz")
    add_cache_argument(parser)


def _declare_merge(parser: argparse.ArgumentParser) -> None:
    where = "directories of studies, or files of sdar study export"
    parser.add_argument("merge", nargs="+", metavar="SOURCE", help=where)
    add_cache_argument(parser)
    parser.add_argument("--table", action="store_true", help="analyse what is there then")


def _declare_pool(parser: argparse.ArgumentParser) -> None:
    where = "directories of more studies, or files of sdar study export; DIR may be a file, too"
    parser.add_argument("sources", nargs="+", metavar="SOURCE", help=where)


def _declare_reuse(parser: argparse.ArgumentParser) -> None:
    where = "directories of studies, or files of sdar study export"
    parser.add_argument("reuse", nargs="+", metavar="SOURCE", help=where)
    add_cache_argument(parser)


SUBCOMMANDS: dict[str, Subcommand] = {
    "run": Subcommand(
        "plan, run what is missing, analyse",
        "DIR [options]",
        _declare_run,
        actions.run,
        (
            "studies/house --env sdar/Household-v0",
            "studies/two --methods grpo,sdar --seeds 3",
            "studies/kl --methods grpo,sdar --set beta=0.03,0.1",
            "studies/own --methods grpo,my_module:my_method",
            "studies/house",
            "studies/warm --plan household-warm --reuse house.jsonl.gz",
        ),
    ),
    "tune": Subcommand(
        "run the plan's tuning first, take what it chooses, then as run",
        "DIR [options]",
        _declare_run,
        actions.tune,
        ("studies/house --plan household", "studies/house --jobs 4"),
    ),
    "show": Subcommand(
        "show arms, jobs and hypotheses, and run nothing",
        "DIR [options]",
        _declare_show,
        actions.show,
        ("studies/house", "studies/house --plan household", "studies/two --methods grpo,sdar --seeds 3"),
    ),
    "table": Subcommand(
        "analyse what is there, and run nothing", "DIR", _declare_nothing, actions.table, ("studies/house",)
    ),
    "export": Subcommand(
        "write plan, results and tuned values to one file",
        "DIR FILE [options]",
        _declare_export,
        actions.export,
        ("studies/house house.jsonl.gz",),
    ),
    "merge": Subcommand(
        "bring in results of the same study, from directories and exported files",
        "DIR SOURCE [SOURCE ...] [options]",
        _declare_merge,
        actions.merge,
        ("studies/house studies/second", "studies/again house.jsonl.gz --table"),
    ),
    "pool": Subcommand(
        "show what each arm leads by over the seeds of several studies",
        "DIR SOURCE [SOURCE ...]",
        _declare_pool,
        actions.pool,
        ("studies/house studies/fresh-seeds", "house.jsonl.gz fresh-seeds.jsonl.gz"),
    ),
    "reuse": Subcommand(
        "take over the runs of other studies that are jobs of this study's plan",
        "DIR SOURCE [SOURCE ...] [options]",
        _declare_reuse,
        actions.reuse,
        ("studies/warm house.jsonl.gz",),
    ),
}
