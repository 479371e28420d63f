"""A study's directory being worked on: plan written before the first run, jobs laid out, what may be changed later.

Hypotheses, budget and common options are fixed once there are results; arms and seeds may be added. Another change has
to be asked for, and is noted in the plan with its time.
"""

from __future__ import annotations

import dataclasses
import datetime
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..run_directory import versions
from .jobs import jobs_of, model_fingerprint, with_jobs
from .plain_json import DamagedFileError, decode, encode, read_json
from .records import Job, Plan, StudyError, Tuned, load_study, save_record

# Not compared between a plan and the one on disk: they are made, not chosen.
_MADE = frozenset({"jobs", "versions", "planned_at", "amended"})
# May change beside results: they add to a study, and change nothing that is there.
_OPEN = frozenset({"arms", "seeds", "tuning", "tuned", "name"})


def prepare(
    path: Path, plan: Plan, *, amend: bool = False, lay_out: bool = True
) -> tuple[Plan, dict[tuple[str, int], Job]]:
    """Make a study's directory, or take the one that is there; write the plan and every `job.json`.

    Args:
        path: The directory.
        plan: What is asked for.
        amend: Allow a change of what is fixed beside results; it is noted.
        lay_out: Write the jobs; not before a tuning that will change them.

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
        changed = changed_fields(held, plan)
        finished = any((path / "jobs").glob("*/result.json"))
        fixed = fixed_fields(held, plan)
        if finished and fixed and not amend:
            raise StudyError(
                f"{path} has results of a plan with other {', '.join(fixed)}: they stand before the runs. Choose "
                "another --output-dir, or pass --amend, which notes the change in the report"
            )
        note = (f"{now} changed {', '.join(changed)}",) if finished and changed else ()
        plan = dataclasses.replace(
            plan, versions=held.versions, planned_at=held.planned_at, amended=(*held.amended, *note)
        )
    jobs = jobs_of(plan, read_tuned(path), model_key=None if plan.model is None else model_fingerprint(plan.model))
    plan = with_jobs(plan, jobs)
    path.mkdir(parents=True, exist_ok=True)
    if lay_out:
        write_jobs(path / "jobs", jobs.values())
    if held is None or encode(held) != encode(plan):
        save_record(path / "study.json", plan)
    return plan, jobs


def held_plan(path: Path) -> Plan | None:
    """The plan of a directory, None where there is none.

    Raises:
        StudyError: `study.json` is damaged, or the folder is something else.
    """
    file = path / "study.json"
    if not file.is_file():
        if path.is_dir() and any(path.iterdir()):
            raise StudyError(f"{path} is not empty and holds no study: choose another --output-dir")
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


def software() -> dict[str, Any]:
    """Versions of Python and packages, and the commit of the checkout where there is one."""
    found = versions()
    root = Path(__file__).resolve().parents[2]
    try:
        asked = subprocess.run(
            ["git", "-C", str(root), "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10, check=True
        )
        found["commit"] = asked.stdout.strip()
    except (OSError, subprocess.SubprocessError):
        found["commit"] = None
    return found


def merge_studies(path: Path, others: Iterable[Path]) -> int:
    """Bring the finished jobs, trials and warm models of other directories of the same study into this one.

    Returns:
        How many were copied.

    Raises:
        StudyError: A directory holds another study, or a result that contradicts the one that is here.
    """
    import shutil

    own = load_study(path)
    copied = 0
    for other in others:
        theirs = load_study(other)
        fixed = fixed_fields(own.plan, theirs.plan)
        if fixed:
            raise StudyError(f"{other} is another study than {path}; it differs in {', '.join(fixed)}")
        for folder in ("jobs", "trials", "warm-start"):
            for place in sorted((other / folder).glob("[!.]*/")):
                target = path / folder / place.name
                finished = "warm_start.json" if folder == "warm-start" else "result.json"
                if not (place / finished).is_file():
                    continue
                if (target / finished).is_file():
                    if folder != "warm-start":
                        _require_equal(target / finished, place / finished)
                    continue
                partial = target.with_name(f".merging-{place.name}")
                shutil.rmtree(partial, ignore_errors=True)
                shutil.copytree(place, partial, ignore=shutil.ignore_patterns(".lock"))
                shutil.rmtree(target, ignore_errors=True)
                partial.rename(target)
                copied += 1
    return copied


def _require_equal(mine: Path, theirs: Path) -> None:
    different = [name for name, value in untimed(read_json(mine)).items() if untimed(read_json(theirs))[name] != value]
    if different:
        raise StudyError(
            f"{theirs} contradicts {mine} in {', '.join(different)}: the same job came to two results, so the machines "
            "differ in what they compute; keep one of them"
        )


def untimed(result: Mapping[str, Any]) -> dict[str, Any]:
    """A result as JSON without what a clock measured or a machine is called."""

    def strip(value: Any) -> Any:
        if isinstance(value, Mapping):
            named = {key: strip(inner) for key, inner in value.items() if key not in ("cpu_seconds", "versions")}
            return {key: inner for key, inner in named.items() if not key.startswith("seconds/")}
        return [strip(inner) for inner in value] if isinstance(value, list) else value

    stripped: dict[str, Any] = strip(result)
    return stripped
