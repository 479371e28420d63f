"""The drill of leaks: secrets in all that is privileged, and a search for them in everything that a run leaves behind.

A short run is made on an environment whose privileged texts all carry a secret, and which breaks on one task with an
exception that carries another. Then every file of the run, its report, the recorded evaluation and what its processes
wrote to the terminal are searched, for the secrets as they are and disguised. The first may be in `privileged.jsonl`
alone, of a run that logs it, and must be there; the second there, and on standard error once for each place that
raises. Processes are forked from one that has made a run without secrets; of twelve rounds one has whole new
interpreters.
"""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import os
import runpy
import stat
import sys
import tempfile
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from sdar_envs.randomness import counted_generator

from ..rollout.making import recipe_of
from .planted_env import make_planted
from .small_run import OUTPUT, DrillSubject, SmallRun, forked, spawned, wait
from .tally import Tally

METHODS = ("sdar", "skill-prompt", "skill-grpo")  # skills are read by a teacher, acted under, learned from
LOG = "privileged.jsonl"
REPORT = "report.html"
_OF, _ANEW = 12, 7  # of so many rounds one has whole new interpreters


def drill_leaks(subject: DrillSubject, seed: int = 0) -> Iterator[Tally]:
    """A run per round, without end; every second one logs what is privileged.

    Raises:
        ValueError: The environment has no privileged side.
    """
    source = subject.source()
    try:
        if not source.has_privileged:
            raise ValueError(f"{source.name} has no info['privileged']: there is nothing that could leak")
        name = source.name
    finally:
        source.close()
    recipe = recipe_of(subject.env_id, dict(subject.env_kwargs))
    fields = {field: getattr(recipe, field) for field in type(recipe).__dataclass_fields__}
    with tempfile.TemporaryDirectory(prefix="sdar-drill-") as place:
        plain = SmallRun(subject, Path(place))
        plain.warm_up()  # without secrets: what is said once is said by the run that is searched
        for number in itertools.count(seed):
            tally = Tally("leaks", name, rounds=1)
            with tempfile.TemporaryDirectory(prefix="sdar-drill-") as round_place:
                _one_run(number, subject, fields, plain.model, Path(round_place), tally)
            yield tally


def _one_run(
    number: int, subject: DrillSubject, fields: Mapping[str, Any], model: Path, place: Path, tally: Tally
) -> None:
    draw = counted_generator("drill", "leaks", number)
    secret, told = ("".join(chr(97 + int(i)) for i in draw.integers(26, size=16)) for _ in range(2))
    secrets = place / "secrets.json"
    secrets.write_text(json.dumps({"secret": secret, "told": told}), encoding="utf-8")
    planted = DrillSubject(make_planted, {"recipe": fields, "secrets": str(secrets)}, subject.workers)
    logs, anew = bool(number % 2), number % _OF == _ANEW
    run = SmallRun(planted, place, model, log_privileged=logs)
    method = METHODS[number // 2 % len(METHODS)] if run.privilege == "skill" else run.options["method"]
    run.options["method"] = method
    ended = wait(run.start_anew("run")) if anew else run.run("run")
    if ended.status != 0:
        tally.count(f"run of {method}", "lost", f"it ended with {ended.status}: {run.said('run')}")
        return
    _use(place / "run", anew)
    _search(place / "run", secret, told, logs, tally, raised=Path(f"{secrets}.task").exists())


def _use(place: Path, anew: bool) -> None:
    """Let commands read the run; the report and what they say come into files beside it."""
    pages = place / "pages"
    pages.mkdir()
    run, output = place / "run", pages / "commands.txt"
    for words in (
        ["report", str(run), "--output", str(pages / REPORT), "--no-images"],
        ["eval", str(run), "--recorded"],
    ):
        wait(spawned(["-m", "trainers", *words], output) if anew else forked(partial(_command, words), output))


def _command(words: list[str]) -> None:
    sys.argv = ["sdar", *words]
    with contextlib.suppress(SystemExit):
        runpy.run_module("trainers", run_name="__main__")


def _search(place: Path, secret: str, told: str, logs: bool, tally: Tally, *, raised: bool) -> None:
    """Search all files of a run and of what commands made of it.

    Args:
        place: Where they are.
        secret: What every privileged text holds.
        told: What the exception says.
        logs: Whether the run logs what is privileged.
        tally: What it comes to.
        raised: Whether the exception was raised.
    """
    if not (place / "pages" / REPORT).exists():
        tally.count("report", "lost", f"it was not written: {(place / 'pages' / 'commands.txt').read_text()[-1000:]}")
    for path in sorted(path for path in place.rglob("*") if path.is_file()):
        content = path.read_bytes()
        if path.name == "episodes.jsonl":
            content += _tokens(path).encode()
        name = path.relative_to(place).as_posix()
        found = {word for word, text in (("secret", secret), ("told", told)) if _holds(content, text)}
        kind = f"file: {path.suffix or path.name}"
        if path.name == LOG and logs:
            mode = stat.S_IMODE(path.stat().st_mode)
            if "secret" not in found:
                tally.count(kind, "lost", f"{name} does not hold what is privileged: this drill would find nothing")
            elif mode != 0o600:
                tally.count(kind, "silent", f"{name} can be read by others ({mode:o})")
            else:
                tally.count(kind)
        elif path.name == OUTPUT:
            times = content.count(told.encode())
            if "secret" in found or times > 1:
                tally.count("output", "silent", f"a secret is in what the run said ({times} times the exception's)")
            elif raised and not times:
                tally.count("output", "lost", "the exception was raised and its text was not said")
            else:
                tally.count("output, with an exception" if raised else "output")
        else:
            tally.count(kind, *(() if not found else ("silent", f"{name} holds {', '.join(sorted(found))}")))


def _tokens(path: Path) -> str:
    """The texts of logged tokens, put together turn by turn: a secret may be cut into pieces there."""
    texts = []
    for line in path.read_text(encoding="utf-8").splitlines():
        for turn in json.loads(line).get("turns") or ():
            tokens: dict[str, Any] = turn.get("tokens") or {}
            texts.append("".join(tokens.get("text") or ()))
    return os.linesep.join(texts)


def _holds(content: bytes, secret: str) -> bool:
    """Whether a text is in some bytes, as it is or disguised: cased, reversed, in hexadecimal, in base64."""
    forms = {secret.encode(), secret.upper().encode(), secret[::-1].encode(), secret.encode().hex().encode()}
    for shift in range(3):
        coded = base64.b64encode(b"\x00" * shift + secret.encode())
        forms.add(coded[4 if shift else 0 : len(coded) // 4 * 4 - 4])
    return any(form in content for form in forms)
