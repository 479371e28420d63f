"""A study's directory being worked on: plan written before the first run, jobs written, what may be changed later.

Hypotheses, budget and common options are fixed once there are results; arms and seeds may be added. Another change has
to be asked for, and is noted in the plan with its time. So has one that makes finished results count no more: other
tuned values, another version of torch.
"""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..config import SDARConfig
from .jobs import SILENT, jobs_of, with_jobs
from .plain_json import DamagedFileError, decode, encode, read_json
from .plan_records import Job, Plan, StudyError
from .records import save_record
from .result_records import Tuned
from .software import software

# Not compared between a plan and the one on disk: they are made, not chosen.
_MADE = frozenset({"jobs", "versions", "planned_at", "amended"})
# Packages whose version is part of a warm start's key, as far as a result names them.
_WEIGHTS = ("torch", "transformers")
# May change beside results, as long as nothing that is there is changed by it.
_OPEN = frozenset({"arms", "seeds", "tuning", "tuned", "name"})


def prepare(
    path: Path, plan: Plan, *, amend: bool = False, job_files: bool = True
) -> tuple[Plan, dict[tuple[str, int], Job]]:
    """Make a study's directory, or take the one that is there; write the plan and every `job.json`.

    Args:
        path: The directory.
        plan: What is asked for.
        amend: Allow a change of what is fixed beside results; it is noted.
        job_files: Write the jobs, too; not before a tuning that will change them.

    Returns:
        The plan as it is on disk now, and the job of every arm and seed.

    Raises:
        StudyError: The directory holds results of a plan that differs in what must not change; or an arm is refused.
    """
    held = held_plan(path)
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    if held is None:
        plan = dataclasses.replace(plan, versions=software(), planned_at=now)
    else:
        plan = dataclasses.replace(plan, versions=held.versions, planned_at=held.planned_at, amended=held.amended)
        fixed = fixed_fields(held, plan)
        if fixed and not amend and _has_results(path):
            raise StudyError(
                f"{path} has results of a plan with other {', '.join(fixed)}: they stand before the runs. Choose "
                "another directory, or pass --amend, which notes the change in the report"
            )
    jobs = jobs_of(plan, read_tuned(path), read_models=True)
    plan = with_jobs(plan, jobs)
    if held is not None and _has_results(path):
        dropped = dropped_results(path, held, jobs)
        if dropped and not amend:
            raise StudyError(
                f"{path}: {'; '.join(dropped)}. They would count no more: go on with what they were made with, choose "
                "another directory, or pass --amend, which notes it in the report; sdar study table shows what is there"
            )
        changed = changed_fields(held, plan)
        notes = ([f"changed {', '.join(changed)}"] if changed else []) + dropped
        plan = dataclasses.replace(plan, amended=(*held.amended, *(f"{now} {note}" for note in notes)))
    path.mkdir(parents=True, exist_ok=True)
    # The plan first: a directory with jobs and no plan would be taken for something else.
    if held is None or encode(held) != encode(plan):
        save_record(path / "study.json", plan)
    if job_files:
        write_jobs(path / "jobs", jobs.values())
    return plan, jobs


def _has_results(path: Path) -> bool:
    return any((path / "jobs").glob("[!.]*/result.json"))


def dropped_results(path: Path, held: Plan, jobs: Mapping[tuple[str, int], Job]) -> list[str]:
    """Which finished results of the plan on disk are no jobs of the new one, counted by what differs."""
    why: dict[str, list[str]] = {}
    for arm, keys in held.jobs.items():
        for seed, key in keys.items():
            job, file = jobs.get((arm, int(seed))), path / "jobs" / key / "result.json"
            if file.is_file() and (job is None or job.key != key):
                reason = "are not in the plan" if job is None else f"have other {_difference(read_json(file), job)}"
                why.setdefault(reason, []).append(f"{arm}, seed {seed}")
    return [f"{len(names)} finished results {reason} ({_some(names)})" for reason, names in why.items()]


def _difference(result: Mapping[str, Any], job: Job) -> str:
    """In what a finished result and the job that stands in its place differ."""
    before = {**encode(SDARConfig().to_dict()), **result.get("config", {})}  # it may be older than an option
    after = encode(SDARConfig.from_dict(job.config).to_dict())
    left_out = SILENT | set(job.arm.derived)
    parts = [name for name, value in after.items() if name not in left_out and before[name] != value]
    if not parts and (result.get("warm") or {}).get("key") != job.warm_key:
        now, then = software(), result.get("versions", {})
        packages = [
            f"{name} ({then[name]}, now {now.get(name)})" for name in _WEIGHTS if then.get(name, 0) != now.get(name)
        ]
        parts = packages or ["warm start, by its options, its world or versions of tokenizers"]
    return ", ".join(parts) or "world, model, or run that they take a value from"


def _some(names: list[str], most: int = 3) -> str:
    return "; ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def held_plan(path: Path) -> Plan | None:
    """The plan of a directory, None where there is none.

    Raises:
        StudyError: `study.json` is damaged, or the folder is something else.
    """
    file = path / "study.json"
    if not file.is_file():
        if path.is_dir() and any(not inner.name.startswith(".") for inner in path.iterdir()):
            raise StudyError(f"{path} is not empty and holds no study: choose another directory")
        return None
    try:
        return decode(Plan, read_json(file), str(file))
    except DamagedFileError as error:
        raise StudyError(str(error)) from None


def changed_fields(held: Plan, plan: Plan) -> list[str]:
    """The fields in which two plans differ, apart from those that are made."""
    before, after = encode(held), encode(plan)
    return [name for name in before if name not in _MADE and before[name] != after[name]]


def fixed_fields(held: Plan, plan: Plan) -> list[str]:
    """Of these, the ones that results forbid; a further hypothesis, which new arms bring, is none of them."""
    kept = all(hypothesis in plan.hypotheses for hypothesis in held.hypotheses)
    changed = changed_fields(held, plan)
    return [name for name in changed if name not in _OPEN and not (name == "hypotheses" and kept)]


def write_jobs(folder: Path, jobs: Iterable[Job]) -> None:
    """Write `job.json` of each job that has none yet; a finished job keeps its own."""
    for job in jobs:
        place = folder / job.key
        place.mkdir(parents=True, exist_ok=True)
        if not (place / "job.json").is_file():
            save_record(place / "job.json", job)


def read_tuned(path: Path) -> Tuned | None:
    """What the tuning of a study chose; None before.

    Raises:
        StudyError: The file is damaged.
    """
    file = path / "tuned.json"
    if not file.is_file():
        return None
    try:
        return decode(Tuned, read_json(file), str(file))
    except DamagedFileError as error:
        raise StudyError(str(error)) from None
