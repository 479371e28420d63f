"""A study in one compact file, to be kept beside the text about it and gone on with elsewhere.

Gzipped JSON lines: the plan, what the tuning chose, and every finished result of jobs and trials, whole, so that the
table that is made from the file is the original's. Run directories (logs, episodes, checkpoints) are not in it. Nor are
warm models, but for those of seeds that are half done: arms of a seed must begin with the same weights, and another
machine need not make the same ones. (Those of pretrained models are too large for it.) A finished study has none of
these, and the same study makes the same bytes.
"""

from __future__ import annotations

import base64
import binascii
import gzip
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sdar_envs.bounded_files import ArchiveBounds, gzip_lines, parse_json
from sdar_envs.files import replaced_file

from .plain_json import DamagedFileError, decode, encode, no_json
from .plan_records import Plan, StudyError
from .records import Study, checksum, load_study, read_results, require_checksum, save_record, save_result
from .result_records import Result, Tuned
from .worker import WARM_FOLDER

FORMAT = 1
# A finished study of seven arms is 7 MB when it is unpacked, eight times its file, with 340,000 values.
BOUNDS = ArchiveBounds(total=1 << 29, ratio=60)
MOST_VALUES = 5_000_000
# A warm model of five million parameters has 20 MB. Larger ones, pretrained, are made again or carried by hand.
MOST_WARM_BYTES = 64 << 20
_FOLDERS = ("jobs", "trials")


@dataclass(slots=True)
class Archive:
    """What an archive holds. `warm` has the files of warm models by key."""

    plan: Plan
    tuned: Tuned | None = None
    jobs: list[Result] = field(default_factory=list)
    trials: list[Result] = field(default_factory=list)
    warm: dict[str, dict[str, bytes]] = field(default_factory=dict)


def export_study(path: Path, file: Path, *, cache: Path | None = None) -> Archive:
    """Write what is finished of a study to `file`, in one step; returns what was written.

    Args:
        path: The study's directory.
        file: Where to.
        cache: Where warm models are kept; None for the study's own folder.

    Raises:
        StudyError: There is no study, or its files are damaged.
    """
    study = load_study(path)
    planned = {key for keys in study.plan.jobs.values() for key in keys.values()}
    results = [result for result in read_results(path / "jobs") if result.key in planned]
    warm = {key: _read_files((cache or path) / WARM_FOLDER / key) for key in half_done(study)}
    archive = Archive(study.plan, study.tuned, results, list(study.trials), {k: v for k, v in warm.items() if v})
    with (
        replaced_file(file) as partial,
        partial.open("wb") as raw,
        gzip.GzipFile("", "wb", 9, raw, mtime=0) as packed,
    ):
        for record in _records(archive):
            text = json.dumps(record, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
            packed.write(text.encode() + b"\n")
    return archive


def half_done(study: Study) -> list[str]:
    """Keys of the warm starts that finished results began with and that jobs still to be run need."""
    finished = {result.key for result in study.results}
    used = {result.warm.key for result in study.results if result.warm is not None}
    planned = {key for keys in study.plan.jobs.values() for key in keys.values()}
    needed = {job.warm_key for key, job in study.jobs.items() if key in planned - finished}
    return sorted(used & {key for key in needed if key is not None})


def _records(archive: Archive) -> Iterator[dict[str, Any]]:
    yield {"kind": "study", "format": FORMAT, "plan": encode(archive.plan)}
    if archive.tuned is not None:
        yield {"kind": "tuned", "tuned": encode(archive.tuned)}
    for folder, results in zip(_FOLDERS, (archive.jobs, archive.trials), strict=True):
        for result in results:
            content = encode(result)
            yield {"kind": folder, "result": content, "checksum": checksum(content)}
    for key, files in archive.warm.items():
        yield {
            "kind": "warm",
            "key": key,
            "files": {name: base64.b64encode(content).decode() for name, content in files.items()},
        }


def _read_files(folder: Path) -> dict[str, bytes]:
    if not (folder / "warm_start.json").is_file():
        return {}
    files = [path for path in sorted(folder.iterdir()) if path.is_file()]
    if sum(path.stat().st_size for path in files) > MOST_WARM_BYTES:
        return {}
    return {path.name: path.read_bytes() for path in files}


def read_archive(file: Path) -> Archive:
    """Read an archive.

    Raises:
        StudyError: It is none, or damaged; the message names the line.
    """
    archive: Archive | None = None
    line = 0
    left = MOST_VALUES
    try:
        for line, text in enumerate(gzip_lines(file, BOUNDS), 1):
            record = parse_json(text, values=left, parse_constant=no_json)
            left -= text.count(b",") + text.count(b"[") + text.count(b"{")
            archive = _take(archive, record, f"{file}, line {line}")
    except (OSError, EOFError, zlib.error, ValueError, KeyError, TypeError, AttributeError) as error:
        raise StudyError(
            f"{file}: expected a study as sdar study export writes it; line {line + 1} or the one before: {error}"
        ) from None
    if archive is None:
        raise StudyError(f"{file}: expected a study as sdar study export writes it, got an empty file")
    return archive


def _take(archive: Archive | None, record: dict[str, Any], where: str) -> Archive:
    kind = record["kind"]
    if archive is None:
        if kind != "study" or record["format"] != FORMAT:
            raise DamagedFileError(f"{where}: expected the plan of a study in format {FORMAT}, got {kind!r}")
        return Archive(decode(Plan, record["plan"], where))
    if kind == "tuned":
        archive.tuned = decode(Tuned, record["tuned"], where)
    elif kind in _FOLDERS:
        require_checksum(record["result"], record.get("checksum"), where)
        result = decode(Result, record["result"], where)
        _plain_name(result.key, where)
        (archive.jobs if kind == "jobs" else archive.trials).append(result)
    elif kind == "warm":
        files = {_plain_name(name, where): _bytes(text, where) for name, text in record["files"].items()}
        archive.warm[_plain_name(record["key"], where)] = files
    else:
        raise DamagedFileError(f"{where}: expected tuned, jobs, trials or warm, got {kind!r}")
    return archive


def _plain_name(name: str, where: str) -> str:
    """A file may come from anywhere: names in it do not lead out of the folder they are for."""
    if not name or name.startswith(".") or any(sign in name for sign in "/\\\0"):
        raise DamagedFileError(f"{where}: expected a plain name, got {name!r}")
    return name


def _bytes(text: str, where: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise DamagedFileError(f"{where}: {error}") from None


def unpack(archive: Archive, folder: Path) -> None:
    """Lay an archive out as the directory of a study without runs."""
    folder.mkdir(parents=True, exist_ok=True)
    save_record(folder / "study.json", archive.plan)
    if archive.tuned is not None:
        save_record(folder / "tuned.json", archive.tuned)
    for name, results in zip(_FOLDERS, (archive.jobs, archive.trials), strict=True):
        for result in results:
            (folder / name / result.key).mkdir(parents=True)
            save_result(folder / name / result.key / "result.json", result)
    for key, files in archive.warm.items():
        (folder / WARM_FOLDER / key).mkdir(parents=True)
        for name, content in files.items():
            (folder / WARM_FOLDER / key / name).write_bytes(content)
