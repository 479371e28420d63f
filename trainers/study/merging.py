"""Bringing finished runs together, from directories and from exported files.

`merge_studies` joins parts of the same study that other machines have done. `reuse_results` takes from any study the
runs that are jobs of this one, too, so that a study around a published one does not repeat it. Either way a finished
job of this plan is taken, by its key; what would not count here is refused or said, never copied in silence.
"""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sdar_envs.files import replaced_folder

from .analysis import require_pairing
from .archive import read_archive, unpack
from .plain_json import encode, read_json
from .plan_records import Plan, StudyError
from .records import Study, load_study, read_results, save_record
from .study_dir import fixed_fields, held_plan, prepare
from .worker import WARM_FOLDER, is_locked


@dataclass(slots=True)
class Merged:
    """How many jobs and trials, and how many warm models came in; how many results are of no job of this plan."""

    results: int = 0
    warm_starts: int = 0
    left: int = 0


def merge_studies(path: Path, others: Iterable[Path], *, cache: Path | None = None) -> Merged:
    """Bring finished jobs, trials, warm models and tuned values of the same study into this directory.

    A directory that holds no study takes over the plan of the first, as it is, so that its table can be made again on
    any machine.

    Args:
        path: The study's directory.
        others: Directories, or files of `export_study`.
        cache: Where warm models are kept here; None for the study's own folder.

    Raises:
        StudyError: One holds another study, other tuned values, a result that contradicts the one that is here, or
            arms of a seed that began with other weights than those here.
    """
    merged = Merged()
    for other in others:
        with opened(other) as place:
            theirs = load_study(place)
            if held_plan(path) is None:
                path.mkdir(parents=True, exist_ok=True)
                _take_tuned(path, place)
                save_record(path / "study.json", theirs.plan)
            _merge(path, theirs, str(other), cache or path, merged)
    return merged


@contextmanager
def opened(other: Path) -> Iterator[Path]:
    """The directory of a study, or that which an exported file unpacks into for as long as it is used."""
    if not other.is_file():
        yield other
        return
    with tempfile.TemporaryDirectory(prefix="sdar-study-") as folder:
        unpack(read_archive(other), Path(folder) / "study")
        yield Path(folder) / "study"


def _take_tuned(path: Path, place: Path) -> None:
    if (place / "tuned.json").is_file():
        shutil.copyfile(place / "tuned.json", path / "tuned.json")


def _merge(path: Path, theirs: Study, name: str, cache: Path, merged: Merged) -> None:
    own = load_study(path)
    fixed = fixed_fields(own.plan, theirs.plan)
    if fixed:
        raise StudyError(f"{name} is another study than {path}; it differs in {', '.join(fixed)}")
    own = _with_their_tuning(own, theirs, name)
    _require_same_jobs(own, theirs, name)
    require_pairing(dataclasses.replace(own, results=(*own.results, *theirs.results)))
    _bring(path, theirs, name, merged, {"jobs": _planned(own.plan), "trials": None})
    _bring_warm(theirs, cache, merged)


def reuse_results(path: Path, others: Iterable[Path], *, cache: Path | None = None) -> Merged:
    """Take from other studies the finished runs that are jobs of this one, and the warm models these began with.

    Unlike `merge_studies` it asks for nothing else to be the same: a job's key holds all that its result depends on.
    Tuned values and trials stay where they are.

    Args:
        path: The study's directory, planned, with its jobs written.
        others: Directories, or files of `export_study`.
        cache: Where warm models are kept here; None for the study's own folder.

    Raises:
        StudyError: One holds no study, a result that contradicts the one that is here, or arms of a seed that began
            with other weights than those here.
    """
    merged = Merged()
    for other in others:
        with opened(other) as place:
            own, theirs = load_study(path), load_study(place)
            planned = _planned(own.plan)
            shared = [result for result in read_results(theirs.path / "jobs") if result.key in planned]
            require_pairing(dataclasses.replace(own, results=(*own.results, *shared)))
            _bring(path, theirs, str(other), merged, {"jobs": planned})
            _bring_warm(theirs, cache or path, merged, {job.warm_key for job in own.jobs.values()})
    return merged


def _planned(plan: Plan) -> set[str]:
    return {key for keys in plan.jobs.values() for key in keys.values()}


def _bring(path: Path, theirs: Study, name: str, merged: Merged, wanted: Mapping[str, Collection[str] | None]) -> None:
    """Copy finished jobs, folder by folder; only those of `wanted`, where it says which."""
    for folder, keys in wanted.items():
        for place in sorted((theirs.path / folder).glob("[!.]*/")):
            if not (place / "result.json").is_file():
                continue
            if keys is not None and place.name not in keys:
                merged.left += 1
            elif (path / folder / place.name / "result.json").is_file():
                _require_equal(path / folder / place.name / "result.json", place / "result.json", name)
            else:
                _copy(place, path / folder / place.name)
                merged.results += 1


def _bring_warm(theirs: Study, cache: Path, merged: Merged, wanted: Collection[str | None] | None = None) -> None:
    """Copy warm models that are not here yet; only those of `wanted`, where that is given."""
    for place in sorted((theirs.path / WARM_FOLDER).glob("[!.]*/")):
        here = cache / WARM_FOLDER / place.name
        if wanted is not None and place.name not in wanted:
            continue
        if (place / "warm_start.json").is_file() and not (here / "warm_start.json").is_file():
            _copy(place, here)
            merged.warm_starts += 1


def _with_their_tuning(own: Study, theirs: Study, name: str) -> Study:
    """Tuned values belong to the study: the jobs' keys hang on them."""
    if theirs.tuned is None:
        return own
    if own.tuned is None:
        if own.results:
            raise StudyError(f"{name} has tuned values, and {own.path} has results without: they do not go together")
        _take_tuned(own.path, theirs.path)
        prepare(own.path, own.plan)
        return load_study(own.path)
    different = [
        arm
        for arm in sorted({*own.tuned.arms} & {*theirs.tuned.arms})
        if encode(own.tuned.arms[arm].overrides) != encode(theirs.tuned.arms[arm].overrides)
    ]
    if different:
        raise StudyError(
            f"{name} and {own.path} were tuned to other values of {', '.join(different)}: keep one of them"
        )
    new = {arm: chosen for arm, chosen in theirs.tuned.arms.items() if arm not in own.tuned.arms}
    if new:  # a study can be tuned part by part
        before = own.tuned
        save_record(own.path / "tuned.json", dataclasses.replace(before, arms={**before.arms, **new}))
        try:
            prepare(own.path, own.plan)
        except StudyError:  # results stand that were made with other values
            save_record(own.path / "tuned.json", before)
            raise
        return load_study(own.path)
    return own


def _require_same_jobs(own: Study, theirs: Study, name: str) -> None:
    """Refuse other runs by the same names, apart from those that the other one has not tuned yet."""
    later = set() if own.tuned is None or theirs.tuned is None else {*own.tuned.arms} - {*theirs.tuned.arms}
    untuned = {arm.key for arm in theirs.plan.arms if arm.tuned in later}
    different = [
        f"{arm}, seed {seed}"
        for arm, keys in theirs.plan.jobs.items()
        for seed, key in keys.items()
        if arm not in untuned and own.plan.jobs.get(arm, {}).get(seed, key) != key
    ]
    if different:
        shown = "; ".join(different[:3]) + (f" and {len(different) - 3} more" if len(different) > 3 else "")
        raise StudyError(
            f"{name} and {own.path} mean other runs by {shown}: their options, tuned values, world or versions of "
            "torch, transformers and tokenizers differ. Merge it into an empty directory, which takes over its plan "
            "and tuned values"
        )


def _copy(place: Path, target: Path) -> None:
    """Whole or not at all."""
    if is_locked(target / ".lock"):
        raise StudyError(f"{target} is being run: merge when its process has ended")
    with replaced_folder(target, keep_existing=False) as partial:
        shutil.copytree(place, partial, ignore=shutil.ignore_patterns(".lock"), dirs_exist_ok=True)


def _require_equal(mine: Path, theirs: Path, name: str) -> None:
    here, there = untimed(read_json(mine)), untimed(read_json(theirs))
    different = [key for key in here if here[key] != there.get(key)]
    if different:
        raise StudyError(
            f"{name} contradicts {mine} in {', '.join(different)}: the same job came to two results, so the machines "
            "differ in what they compute; keep one of them"
        )


# What a job that two arms share is called, and nothing that was computed.
_NAMES = ("arm", "label", "role", "coordinates")


def untimed(result: Mapping[str, Any]) -> dict[str, Any]:
    """A result as JSON without what a clock measured, what a machine is called, and what its arm is called."""

    def strip(value: Any) -> Any:
        if isinstance(value, Mapping):
            named = {key: strip(inner) for key, inner in value.items() if key not in ("cpu_seconds", "versions")}
            return {key: inner for key, inner in named.items() if not key.startswith("seconds/")}
        return [strip(inner) for inner in value] if isinstance(value, list) else value

    return {key: strip(inner) for key, inner in result.items() if key not in (*_NAMES, "versions", "checksum")}
