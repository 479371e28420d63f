"""Is this machine ready: versions, data, one decode, one update, memory; one verdict, and a JSON for an issue.

Takes a quarter of a minute where the cores are free and minutes where other work has them; says so, with advice, where
that would slow a run too. Downloads nothing and changes nothing but the JSON. Ends in "ready", or in the remedy for the
first thing that is not. The JSON holds versions, sizes and figures, no paths and no names.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .terminal import duration, make_console, one_line

if TYPE_CHECKING:
    from .doctor_answers import Subject

EPILOGUE = """examples:
  sdar doctor
  sdar doctor --device cuda:1 --json doctor.json
  sdar doctor --vllm-url http://127.0.0.1:8000"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``sdar doctor``."""
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:0, ... [auto]")
    parser.add_argument("--vllm-url", metavar="URL", help="a generation server to ask")
    parser.add_argument("--model", metavar="PATH", help="the model that the server serves: its weights are sent to it")
    parser.add_argument("--output-dir", default="runs", metavar="DIR", help="where runs are to be written [runs]")
    parser.add_argument("--json", default="sdar-doctor.json", metavar="FILE", help="the report [sdar-doctor.json]")


def run(options: argparse.Namespace) -> int:
    """Examine; status 0 when ready, 1 when not."""
    from sdar_envs.files import write_file

    from .doctor_answers import Subject

    console = make_console()
    start = time.perf_counter()

    def say(record: Mapping[str, Any]) -> None:
        console.print(f"{record['state']:<7}  {record['name']}: {record['found']}  ({duration(record['seconds'])})")
        if record["advice"]:
            console.print(f"{'':<9}{record['advice']}")

    records = examine(Subject(options.device, options.vllm_url, Path(options.output_dir), options.model), say)
    failed = [record for record in records if record["state"] == "FAILED"]
    seconds = round(time.perf_counter() - start, 1)
    report = {
        "ready": not failed,
        "remedy": failed[0]["remedy"] if failed else None,
        "seconds": seconds,
        "checks": records,
    }
    write_file(options.json, json.dumps(report, indent=1, default=str) + "\n")
    skipped, advised = (sum(record["state"] == state for record in records) for state in ("skipped", "advice"))
    console.print("")
    passed = f"{len(records) - skipped - len(failed)} checks passed"
    console.print(f"{passed}{f' ({advised} with advice)' if advised else ''}, {skipped} skipped, {len(failed)} failed; "
                  f"{duration(seconds)}; the report is in {options.json}")  # fmt: skip
    console.print("ready" if not failed else f"not ready: {failed[0]['remedy']}")
    return 1 if failed else 0


def examine(subject: Subject, say: Any = None) -> list[dict[str, Any]]:
    """Make every check; none that fails, or breaks, keeps the others from being made.

    Args:
        subject: What is examined.
        say: Gets each record as soon as it is there.

    Returns:
        Per check ``name``, ``state`` (``ok``, ``advice``, ``skipped``, ``FAILED``), ``found``, ``advice``, ``remedy``,
        ``seconds``, ``values``.
    """
    from .doctor_answers import Failed, Skipped
    from .doctor_checks import CHECKS

    records = []
    for name, check in CHECKS.items():
        start = time.perf_counter()
        record: dict[str, Any] = {"name": name, "advice": "", "remedy": None, "values": {}}
        try:
            answer = check(subject)
            state = "advice" if answer.advice else "ok"
            record |= {"state": state, "found": answer.line, "advice": answer.advice, "values": dict(answer.values)}
        except Skipped as reason:
            record |= {"state": "skipped", "found": str(reason)}
        except Failed as failure:
            record |= {"state": "FAILED", "found": str(failure), "remedy": failure.remedy}
        except Exception as error:  # a check must not end the examination: it is there for machines that are broken
            found = f"{type(error).__name__}: {one_line(str(error))}"
            record |= {"state": "FAILED", "found": found, "remedy": f"report it with this JSON: {name} broke"}
        record["seconds"] = round(time.perf_counter() - start, 2)
        records.append(record)
        if say is not None:
            say(record)
    return records
