"""The drill of leaks: secrets in all that is privileged, and a search for them in everything that a run leaves behind.

A short run is made on an environment whose privileged texts all carry a secret, and which breaks on one task with an
exception that carries another. Then every file of the run, its report, the recorded evaluation and what its processes
wrote to the terminal are searched, for the secrets as they are and disguised. The first may be in `privileged.jsonl`
alone, of a run that logs it, and must be there; the second there, and on standard error once for each place that
raises.
"""

from __future__ import annotations

import base64
import itertools
import json
import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sdar_envs.randomness import counted_generator

from ..rollout.making import recipe_of
from .planted_env import make_planted
from .small_run import DrillSubject, SmallRun
from .tally import Tally

METHODS = ("sdar", "skill-prompt", "skill-grpo")  # read by a teacher, acted under, learned from
LOG = "privileged.jsonl"


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
    for number in itertools.count(seed):
        draw = counted_generator("drill", "leaks", number)
        secret, told = ("".join(chr(97 + int(i)) for i in draw.integers(26, size=16)) for _ in range(2))
        tally = Tally("leaks", name, rounds=1)
        with tempfile.TemporaryDirectory(prefix="sdar-drill-") as place:
            secrets = Path(place) / "secrets.json"
            secrets.write_text(json.dumps({"secret": secret, "told": told}), encoding="utf-8")
            planted = DrillSubject(make_planted, {"recipe": fields, "secrets": str(secrets)}, subject.workers)
            logs, method = bool(number % 2), METHODS[number // 2 % len(METHODS)]
            run = SmallRun(planted, Path(place), method=method, log_privileged=logs)
            ended = run.run("run")
            if ended.status != 0:
                tally.count(f"run of {method}", "lost", f"it ended with {ended.status}: {run.said('run')}")
            else:
                _search(Path(place) / "run", secret, told, logs, tally)
        yield tally


def _search(place: Path, secret: str, told: str, logs: bool, tally: Tally) -> None:
    run = place / "run"
    pages = place / "pages"
    pages.mkdir()
    output = _commands(run, pages / "report.html")
    (pages / "commands.txt").write_text(output, encoding="utf-8")
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
        elif path.name == "output.txt":
            times = content.count(told.encode())
            if "secret" in found or times > 1:
                tally.count("output", "silent", f"a secret is in what the run said ({times} times the exception's)")
            else:
                tally.count("output")
        else:
            tally.count(kind, *(() if not found else ("silent", f"{name} holds {', '.join(sorted(found))}")))


def _commands(run: Path, report: Path) -> str:
    """What commands say of the run, to both streams; the report is written."""
    said = ""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    for words in (["report", str(run), "--output", str(report), "--no-images"], ["eval", str(run), "--recorded"]):
        command = [sys.executable, "-m", "trainers", *words]
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, env=environment
        )
        said += done.stdout
    return said


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
