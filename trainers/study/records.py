"""What lies in a study's directory, read and written: the plan, one job per arm and seed, its result, the table.

    study.json                 the plan (`Plan`)
    jobs/<key>/job.json        one arm of one seed (`Job`); the key is a hash of everything its result depends on
    jobs/<key>/run/            the run directory
    jobs/<key>/result.json     written last and in one step (`Result`): the job is done if and only if it parses
    jobs/<key>/log.txt         what the job's process said
    jobs/<key>/commits.txt     which code had a part in it
    trials/<key>/...           the jobs of the tuning, in the same form
    tuned.json                 what the tuning chose (`Tuned`)
    warm-start/                warm models by key, where the study keeps its own
    table.json                 the analysis (`Table`); results.csv and report.md show parts of it

Rates are in [0, 1]. Everything that was measured with a clock lies in fields named ``cpu_seconds`` or under ``timed``;
all other numbers come out the same whenever and wherever a study is interrupted.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .plain_json import DamagedFileError, decode, encode, read_json, write_json
from .plan_records import Job, Plan, StudyError
from .result_records import Result, Tuned
from .table_records import Table


@dataclass(frozen=True, slots=True)
class Study:
    """A study as it stands on disk. `results` holds what is finished, in the order of the plan's arms and seeds."""

    path: Path
    plan: Plan
    jobs: Mapping[str, Job]
    results: tuple[Result, ...]
    trials: tuple[Result, ...]
    tuned: Tuned | None
    table: Table | None

    def job_dir(self, key: str) -> Path:
        """The folder of a job, tuning included."""
        return self.path / ("jobs" if (self.path / "jobs" / key).is_dir() else "trials") / key

    def run_dir(self, result: Result) -> Path:
        """The run directory of a result."""
        return self.job_dir(result.key) / "run"

    def of(self, arm: str) -> tuple[Result, ...]:
        """The finished results of an arm, by seed."""
        return tuple(result for result in self.results if result.arm == arm)


def load_study(path: str | Path) -> Study:
    """Read a study's directory.

    Raises:
        StudyError: There is no study, or a file is damaged; the message names it.
    """
    root = Path(path)
    if not (root / "study.json").is_file():
        raise StudyError(f"{root}: expected the directory of a study with study.json in it: sdar study run makes one")
    try:
        plan = decode(Plan, read_json(root / "study.json"), str(root / "study.json"))
        jobs = {
            folder.name: decode(Job, read_json(folder / "job.json"), str(folder / "job.json"))
            for folder in sorted((root / "jobs").glob("[!.]*"))
            if (folder / "job.json").is_file()
        }
        results, trials = read_results(root / "jobs"), read_results(root / "trials")
        tuned = _optional(Tuned, root / "tuned.json")
        table = _optional(Table, root / "table.json")
    except DamagedFileError as error:
        raise StudyError(str(error)) from None
    by_key = {result.key: result for result in results}
    planned = [
        dataclasses.replace(
            by_key[key], arm=arm.key, label=arm.label, role=arm.role, coordinates=dict(arm.coordinates), seed=seed
        )
        for arm in plan.arms
        for seed in plan.seeds_of(arm)
        if (key := plan.jobs.get(arm.key, {}).get(str(seed))) in by_key
    ]
    return Study(root, plan, jobs, tuple(planned), tuple(trials), tuned, table)


def read_results(folder: Path) -> list[Result]:
    """The finished results below `folder`, sorted by arm and seed.

    Raises:
        DamagedFileError: One does not hold what it should.
    """
    paths = sorted(folder.glob("[!.]*/result.json"))
    results = [read_result(path) for path in paths]
    return sorted(results, key=lambda result: (result.arm, result.seed, result.key))


def read_result(path: Path) -> Result:
    """A finished result, checked against its own checksum; results of older versions have none.

    Raises:
        DamagedFileError: It does not hold what it should, or was changed after it was written.
    """
    content = read_json(path)
    stated = content.pop("checksum", None) if isinstance(content, dict) else None
    require_checksum(content, stated, str(path))
    return decode(Result, content, str(path))


def save_result(path: Path, result: Result) -> None:
    """Write a result with its checksum, in one step."""
    content = encode(result)
    write_json(path, {**content, "checksum": checksum(content)})


def checksum(content: Any) -> str:
    """SHA-256 of plain values as JSON with sorted keys and no white space."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def require_checksum(content: Any, stated: Any, where: str) -> None:
    """Compare plain values with the checksum that was stored with them; None is of a version that wrote none.

    Raises:
        DamagedFileError: They differ.
    """
    if stated is not None and stated != checksum(content):
        raise DamagedFileError(
            f"{where}: the result was changed after it was written: its checksum is stated as {str(stated)[:12]}... "
            f"and is {checksum(content)[:12]}...; run the job again, or take the result from where it was computed"
        )


def _optional(wanted: type[Any], path: Path) -> Any:
    return decode(wanted, read_json(path), str(path)) if path.is_file() else None


def save_record(path: Path, record: Any) -> None:
    """Write a record as JSON, in one step."""
    write_json(path, encode(record))
