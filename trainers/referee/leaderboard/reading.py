"""Protocols, entries and outcomes from their files, and every contradiction between them named.

A folder of the leaderboard has ``PROTOCOL/protocol.json``, ``PROTOCOL/METHOD.json`` for every entry, and beside it the
entry's outcomes: gzipped JSON lines ``{"seed": 0, "task": "test:000000", "success": true}``, one per task and seed.
What no reader of files can find is an outcome that never happened; for that there are seeds, commits and readers.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import re
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sdar_envs.bounded_files import ArchiveBounds, gzip_lines, parse_json

from ...evaluation.evaluation_set import EvaluationSet, EvaluationSetError, content_hash
from ...study.plain_json import DamagedFileError, decode, read_json
from ...study.statistics import t_interval
from .records import FORMAT, Board, Entry, LeaderboardError, Protocol, Row, StatedRate

PROTOCOL = "protocol.json"
BOUNDS = ArchiveBounds(total=1 << 28, ratio=200)
NAME = re.compile(r"[a-z0-9][a-z0-9.+_-]{0,60}")
DIGITS = 4  # of stated rates
_SHOWN = 3  # tasks that a message names


def read_boards(folder: Path) -> list[Board]:
    """All boards of a folder, by name.

    Raises:
        LeaderboardError: A file is damaged, or two contradict each other; all of them are named.
    """
    found = sorted(folder.glob(f"*/{PROTOCOL}"))
    if not found:
        raise LeaderboardError(f"{folder}: expected PROTOCOL/{PROTOCOL} in it, found none")
    boards, wrong = [], []
    for path in found:
        try:
            boards.append(read_board(path.parent))
        except LeaderboardError as error:
            wrong.append(str(error))
    if wrong:
        raise LeaderboardError("\n".join(wrong))
    return boards


def read_board(folder: Path) -> Board:
    """One protocol with all its entries.

    Raises:
        LeaderboardError: As `read_boards`.
    """
    protocol, sets = read_protocol(folder / PROTOCOL)
    rows, wrong = [], []
    for path in sorted(folder.glob("*.json")):
        if path.name == PROTOCOL:
            continue
        try:
            rows.append(read_entry(path, protocol, sets))
        except LeaderboardError as error:
            wrong.append(str(error))
    if wrong:
        raise LeaderboardError("\n".join(wrong))
    if rows and protocol.reference not in {row.entry.method for row in rows}:
        raise LeaderboardError(f"{folder}: expected an entry of the reference method {protocol.reference!r}")
    return Board(protocol, sets, tuple(rows))


def read_protocol(path: Path) -> tuple[Protocol, dict[int, EvaluationSet]]:
    """A protocol and its evaluation sets by seed, whose hashes have been computed again.

    Raises:
        LeaderboardError: It is damaged, or a set does not have the hash that it states.
    """
    protocol = _decoded(Protocol, path)
    if protocol.name != path.parent.name or not NAME.fullmatch(protocol.name):
        raise LeaderboardError(f"{path}: expected the name of its folder, {path.parent.name!r}, got {protocol.name!r}")
    if set(protocol.sets) != set(protocol.starts):
        raise LeaderboardError(f"{path}: expected the same seeds in sets and starts")
    sets = {}
    for seed, content in protocol.sets.items():
        fields = dict(content)
        stated = fields.pop("hash", None)
        if not seed.isdecimal() or stated != content_hash(fields):
            raise LeaderboardError(
                f"{path}: the evaluation set of seed {seed} states the hash {str(stated)[:12]} and has "
                f"{content_hash(fields)[:12]}: it was changed after it was written"
            )
        try:
            sets[int(seed)] = EvaluationSet(**fields)
        except (TypeError, EvaluationSetError) as error:
            raise LeaderboardError(f"{path}: evaluation set of seed {seed}: {error}") from None
    return protocol, sets


def read_entry(path: Path, protocol: Protocol, sets: Mapping[int, EvaluationSet]) -> Row:
    """An entry, with its row made from its outcomes.

    Args:
        path: Its JSON file; the outcomes lie beside it.
        protocol: That it is for.
        sets: The protocol's evaluation sets by seed.

    Raises:
        LeaderboardError: A hash is not the protocol's, a task is missing, played twice or unknown, the outcomes were
            changed after the entry was written, or they do not give what it states.
    """
    entry = _decoded(Entry, path)
    if entry.method != path.stem or not NAME.fullmatch(entry.method):
        raise LeaderboardError(
            f"{path}: expected the method's name to be the file's, in small letters, digits and .+_-, "
            f"got {entry.method!r}"
        )
    if entry.protocol != protocol.name:
        raise LeaderboardError(f"{path}: expected the protocol {protocol.name!r}, got {entry.protocol!r}")
    _require_runs(path, entry, protocol, sets)
    rates, wins, episodes = _rates(path, entry, sets)
    found = stated_rate(rates)
    if found != entry.success:
        raise LeaderboardError(
            f"{path}: its outcomes give {_percent(found)}, and it states {_percent(entry.success)}: state what the "
            "outcomes give"
        )
    return Row(entry, rates, wins, episodes)


def stated_rate(rates: Mapping[int, float]) -> StatedRate:
    """Mean over seeds and Student's 95 % interval, rounded as an entry states them."""
    found = t_interval([rates[seed] for seed in sorted(rates)])
    assert found.mean is not None
    low, high = (None if bound is None else round(bound, DIGITS) for bound in (found.low, found.high))
    return StatedRate(round(found.mean, DIGITS), low, high)


def _require_runs(path: Path, entry: Entry, protocol: Protocol, sets: Mapping[int, EvaluationSet]) -> None:
    if not entry.runs:
        raise LeaderboardError(f"{path}: expected runs of at least one seed")
    for seed, run in entry.runs.items():
        if seed not in protocol.sets:
            raise LeaderboardError(
                f"{path}: seed {seed} is none of the protocol, which has {', '.join(sorted(protocol.sets, key=int))}"
            )
        expected = sets[int(seed)].hash
        if run.evaluation_set != expected:
            raise LeaderboardError(
                f"{path}: seed {seed} was measured on the evaluation set {run.evaluation_set[:12]}, and the protocol's "
                f"is {expected[:12]}: results on another set do not compare"
            )
        if run.start != protocol.starts[seed]:
            raise LeaderboardError(
                f"{path}: seed {seed} began with the weights {run.start[:12]}, and the protocol's begins with "
                f"{protocol.starts[seed][:12]}: differences are paired by a common start"
            )
        if min(run.tokens, run.cpu_seconds, run.gpu_seconds) < 0:
            raise LeaderboardError(f"{path}: seed {seed}: expected costs of at least 0, got {run}")


def _rates(path: Path, entry: Entry, sets: Mapping[int, EvaluationSet]) -> tuple[dict[int, float], int, int]:
    """Success rates by seed, with wins and episodes in all."""
    file = path.parent / entry.outcomes
    if file.parent != path.parent or not file.is_file():
        raise LeaderboardError(f"{path}: expected its outcomes in a file beside it, found no {entry.outcomes!r}")
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    if digest != entry.outcomes_sha256:
        raise LeaderboardError(
            f"{file}: its SHA-256 is {digest[:12]}, and the entry states {entry.outcomes_sha256[:12]}: the outcomes "
            "were changed after the entry was written"
        )
    played: dict[int, dict[str, bool]] = {int(seed): {} for seed in entry.runs}
    for number, (seed, task, success) in enumerate(read_outcomes(file), 1):
        if seed not in played:
            raise LeaderboardError(f"{file}:{number}: seed {seed} is no run of the entry")
        if task in played[seed]:
            raise LeaderboardError(
                f"{file}:{number}: {task} of seed {seed} is there twice; one episode per task counts"
            )
        played[seed][task] = success
    for seed, outcomes in played.items():
        tasks = sets[seed].task_ids
        missing = [task for task in tasks if task not in outcomes]
        unknown = sorted(set(outcomes) - set(tasks))
        if missing or unknown:
            raise LeaderboardError(
                f"{file}: seed {seed}: expected the {len(tasks)} tasks of the set; missing: {_some(missing)}; unknown: "
                f"{_some(unknown)}"
            )
    rates = {seed: sum(outcomes.values()) / len(outcomes) for seed, outcomes in sorted(played.items())}
    wins = sum(sum(outcomes.values()) for outcomes in played.values())
    return rates, wins, sum(map(len, played.values()))


def read_outcomes(file: Path) -> Iterator[tuple[int, str, bool]]:
    """Seed, task and success of every line.

    Raises:
        LeaderboardError: It is no gzipped file of such lines.
    """
    number = 0
    try:
        for line in gzip_lines(file, BOUNDS):
            number += 1
            value = parse_json(line)
            seed, task, success = value["seed"], value["task"], value["success"]
            if set(value) != {"seed", "task", "success"} or type(seed) is not int or type(success) is not bool:
                raise ValueError(f"got {value!r}")
            yield seed, str(task), success
    except (ValueError, KeyError, TypeError, OSError, EOFError, zlib.error) as error:
        raise LeaderboardError(
            f'{file}:{number}: expected {{"seed": 0, "task": "test:000000", "success": true}}: {error}'[:400]
        ) from None


def outcome_bytes(outcomes: Mapping[int, Mapping[str, bool]]) -> bytes:
    """The file of outcomes by seed and task; the same outcomes make the same bytes."""
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", mtime=0) as file:
        for seed, tasks in sorted(outcomes.items()):
            for task, success in tasks.items():
                line = f'{{"seed": {seed}, "task": "{task}", "success": {"true" if success else "false"}}}\n'
                file.write(line.encode())
    return packed.getvalue()


def _decoded(wanted: Any, path: Path) -> Any:
    try:
        value = decode(wanted, read_json(path), str(path))
    except (DamagedFileError, OSError) as error:
        raise LeaderboardError(str(error)) from None
    if value.format != FORMAT:
        raise LeaderboardError(f"{path}: expected format {FORMAT}, got {value.format}")
    return value


def _some(tasks: list[str]) -> str:
    more = f" and {len(tasks) - _SHOWN} more" if len(tasks) > _SHOWN else ""
    return ", ".join(tasks[:_SHOWN]) + more if tasks else "none"


def _percent(rate: StatedRate) -> str:
    bounds = "no interval" if rate.low is None or rate.high is None else f"{rate.low:.2%} to {rate.high:.2%}"
    return f"{rate.mean:.2%} ({bounds})"
