"""Check anybody's text environment to the end: what held, what failed and how to mend it, and what nobody looked at.

TARGET is a Gymnasium id (`sdar/WebShop-v0`, or `module:Id-v0` where a module registers it), `module:factory`, a class
or function that makes one, the address of an OpenEnv server (`http://...`), or a folder with an `openenv.yaml`, whose
program is then run here and validated by OpenEnv, our checks among its own. Leaks are looked for as far as somebody
says what a secret is: --plant, --secret, --teacher-context and --variants name functions of yours, as module:function.
Nothing else is known about them, and the report says so.

With --scan, files of a run of any stack are looked through for secrets that were planted.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..conformance import ConformanceReport

USAGE = "TARGET [options] | --scan FOLDER --secrets FILE"
EPILOGUE = """examples:
  sdar check sdar/Household-v0 --env-kwargs size=small
  sdar check my_module:MyEnv --oracle my_module:solve --secret my_module:answers
  sdar check my_module:MyEnv --teacher-context my_module:context --variants my_module:exchanged
  sdar check my_module:MyEnv --format json --output report.json
  sdar check ./household --format openenv --output report.json
  sdar check --scan runs/other-stack --secrets planted.txt

Status: 0 when no check failed and no secret was found, 1 when one did, 2 for a mistake of the caller."""

FORMATS = ("text", "json", "openenv")
_AS_JSON = {"True": "true", "False": "false", "None": "null"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    from ..conformance import PROFILES
    from ..conformance.budget import CHECK_SECONDS

    parser.add_argument("target", nargs="?", metavar="TARGET", help="id, module:factory, http://..., or a folder")
    parser.add_argument(
        "--env-kwargs", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help="arguments of the environment"
    )
    parser.add_argument(
        "--profile", choices=PROFILES, default="auto", help="contract: all of it; text: Gymnasium's part"
    )
    parser.add_argument("--episodes", type=int, default=8, help="episodes that the checks play [8]")
    parser.add_argument("--hostile-actions", type=int, default=500, help="hostile texts that are sent [500]")
    parser.add_argument("--step-seconds", type=float, default=1.0, help="longest time of a step on hostile text [1]")
    parser.add_argument(
        "--check-seconds", type=float, default=CHECK_SECONDS, help=f"longest time of a check [{CHECK_SECONDS:g}]"
    )
    parser.add_argument("--sessions", type=int, default=32, help="environments that play at once [32]")
    parser.add_argument("--split-tasks", type=int, default=60, help="tasks of a split compared by content [60]")
    parser.add_argument("--seed", type=int, default=0, help="of the episodes [0]")
    parser.add_argument(
        "--plant", metavar="REF", help="(env, canary): puts the canary where the teacher's side is made"
    )
    parser.add_argument("--secret", metavar="REF", help="(env) -> texts that the agent's side must not have now")
    parser.add_argument(
        "--teacher-context", metavar="REF", help="(info) -> what the teacher is told; its sentences are secrets, too"
    )
    parser.add_argument("--variants", metavar="REF", help="(0 or 1) -> the environment with its secret exchanged")
    parser.add_argument("--oracle", metavar="REF", help="(env, observation, info) -> the right action")
    parser.add_argument(
        "--tolerate", nargs="+", action="extend", default=[], metavar="TEXT", help="warnings that Gymnasium may give"
    )
    parser.add_argument(
        "--only", nargs="+", action="extend", default=[], metavar="CHECK", help="run these checks alone"
    )
    parser.add_argument("--skip", nargs="+", action="extend", default=[], metavar="CHECK", help="leave these out")
    parser.add_argument("--format", choices=FORMATS, default="text", help="openenv: a report in OpenEnv's schema")
    parser.add_argument("--output", metavar="FILE", help="write the report there, and its summary to the terminal")
    parser.add_argument("--list", action="store_true", help="the checks, one line each, and what they cannot see")
    parser.add_argument("--scan", metavar="FOLDER", help="look through files for secrets, in plain text and disguised")
    parser.add_argument("--secrets", metavar="FILE", help="with --scan: the secrets, one in a line")


def run(options: argparse.Namespace) -> int:
    """Check, report, and say by the status whether anything is wrong."""
    if options.list:
        print(listing())
        return 0
    if (options.scan is None) == (options.target is None):
        raise ValueError("expected a TARGET to check, or --scan FOLDER to look through: give one of the two")
    if options.scan is not None:
        return _scan(options)
    from ..conformance import run_checks
    from ..references import load_object

    def own(reference: str | None, kind: str) -> Any:
        return None if reference is None else load_object(reference, kind)

    chosen = {
        "episodes": options.episodes,
        "hostile_actions": options.hostile_actions,
        "step_seconds": options.step_seconds,
        "check_seconds": options.check_seconds,
        "sessions": options.sessions,
        "split_tasks": options.split_tasks,
        "seed": options.seed,
        "plant": own(options.plant, "plant"),
        "secret": own(options.secret, "secret"),
        "teacher_context": own(options.teacher_context, "teacher context"),
        "variants": own(options.variants, "variants"),
        "oracle": own(options.oracle, "oracle"),
        "tolerated": tuple(options.tolerate),
        "profile": options.profile,
        "only": tuple(options.only),
        "skip": tuple(options.skip),
    }
    if Path(options.target, "openenv.yaml").is_file():
        return _package(options, chosen)
    make = target_of(options.target, read_pairs(options.env_kwargs))

    def hangs(found: ConformanceReport) -> None:
        _show(found, options)
        sys.stdout.flush()
        os._exit(1)  # nothing else ends a process whose main thread never comes back

    report = run_checks(make, on_hang=hangs, **chosen)
    _show(report, options)
    return 1 if report.failures else 0


def _show(report: ConformanceReport, options: argparse.Namespace) -> None:
    """Print the report, or write it and print its summary."""
    if options.format == "openenv":
        from ..conformance.openenv_report import validation_report

        shown = json.dumps(validation_report(report, options.target), indent=1)
    else:
        shown = json.dumps(report.as_json(), indent=1) if options.format == "json" else str(report)
    if options.output:
        Path(options.output).write_text(shown + "\n", encoding="utf-8")
        print(str(report).rpartition("\n")[2].strip())
    else:
        print(shown)


def _package(options: argparse.Namespace, chosen: dict[str, Any]) -> int:
    """Validate a package as OpenEnv does, with our graders."""
    from ..bridges.openenv_graders import Suite
    from ..bridges.openenv_validation import text_of, validate

    own = read_pairs(options.env_kwargs)
    unknown = sorted(own.keys() - {"text_key", "action_key"})
    if unknown:
        raise ValueError(f"--env-kwargs of a package: expected text_key or action_key, got {unknown}")
    report = validate(Path(options.target), Suite(**own, **chosen))
    shown = text_of(report) if options.format == "text" else report.model_dump_json(indent=1)
    if options.output:
        Path(options.output).write_text(shown + "\n", encoding="utf-8")
        print(text_of(report).rpartition("\n")[2].strip())
    else:
        print(shown)
    return 1 if report.verdict.value == "fail" else 0


def _scan(options: argparse.Namespace) -> int:
    from ..conformance.scan import scan

    if options.secrets is None:
        raise ValueError("--scan: expected --secrets FILE with one secret in a line")
    secrets = [line.strip() for line in Path(options.secrets).read_text(encoding="utf-8").splitlines() if line.strip()]
    found = scan(Path(options.scan), secrets)
    if options.format == "json":
        print(json.dumps(found.as_json(), indent=1))
    else:
        for place in found.found:
            print(place)
        for name, why in found.left.items():
            print(f"not looked into: {name} ({why})")
        print(
            f"{len(found.found)} found in {found.files} files, {found.bytes:,} bytes, {len(found.left)} not looked into"
        )
    return 1 if found.found else 0


def listing() -> str:
    """The checks by name."""
    from ..conformance.catalogue import BLIND, CHECKS

    lines = []
    for name, check in CHECKS.items():
        lines.append(f"  {name:<22} {str(check.__doc__).partition(chr(10))[0]}")
        if name in BLIND:
            lines.append(f"{'':25}cannot see: {BLIND[name]}")
    return "\n".join(lines)


def target_of(target: str, kwargs: dict[str, Any]) -> Callable[..., Any]:
    """What makes the environment that a word on the command line names.

    Raises:
        ValueError: The word names no module, nothing in it, or no id; the message names the nearest.
    """
    import gymnasium as gym

    from ..references import import_own
    from ..registered import ids_of, makers_of, unknown_environment

    if target.startswith(("http://", "https://")):
        return functools.partial(gym.make, "sdar/OpenEnv-v0", url=target, **kwargs)
    module_name, colon, name = target.partition(":")
    factory: Any = gym.make
    env_id = name if colon else target
    before = frozenset(gym.registry) if colon and module_name not in sys.modules else frozenset()
    if colon:
        module = import_own(module_name)
        if name not in gym.registry:
            factory = vars(module).get(name)
            if factory is None:
                raise unknown_environment(target, ids_of(module_name, before), makers_of(module))
    if factory is gym.make:
        try:
            gym.spec(env_id)
        except gym.error.Error as error:
            raise unknown_environment(target) from error
        return functools.partial(gym.make, env_id, **kwargs)
    return functools.partial(factory, **kwargs)


def read_pairs(words: Sequence[str]) -> dict[str, Any]:
    """``key=value`` words; a value is read as JSON or as Python's True, False or None, and is text where it is neither.

    Raises:
        ValueError: A word has no ``=`` or no key.
    """
    pairs: dict[str, Any] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise ValueError(f"--env-kwargs expects key=value, got {word!r}")
        try:
            pairs[key] = json.loads(_AS_JSON.get(value, value))
        except ValueError:
            pairs[key] = value
    return pairs
