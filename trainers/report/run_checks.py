"""Whether the files of a finished run go together: what has a hash is checked, and figures against what they are of.

A summary is a few numbers that anyone can write. What they were computed from lies beside them, so that a figure that
was changed, mixed up or copied from another run does not go unnoticed. It is no proof: who changes all files alike is
not found.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..config import SDARConfig
from ..evaluation.evaluation_set import EvaluationSet
from ..evaluation.intervals import wilson
from ..evaluation.measured import measured_name
from ..run.directory import RunDirectoryError, read_identity
from .episodes import episodes_of_phase
from .run_records import load_object

_CLOSE = 1e-6
_LOGS = ("metrics.jsonl", "episodes.jsonl")


@dataclass(frozen=True, slots=True)
class RunFindings:
    """What was found about a run's files, in sentences.

    Attributes:
        wrong: What does not hold.
        missing: What could not be checked, because it is not there.
    """

    wrong: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()

    def sentences(self) -> tuple[str, ...]:
        """All findings for a reader, what is wrong first."""
        wrong = tuple(f"The files of this run do not go together: {said}." for said in self.wrong)
        return (*wrong, *(f"Not checked: {said}." for said in self.missing))


def check_run(path: Path) -> RunFindings:
    """Check the files of a run directory against each other; a file that is damaged is a finding."""
    wrong: list[str] = []
    missing = [f"{name} is missing: what was made of it cannot be checked" for name in _LOGS if not _there(path, name)]
    hashes = set()
    for file in sorted((path / "panels").glob("*.json")):
        try:
            hashes.add(EvaluationSet.load(file).hash)
        except (OSError, ValueError) as error:
            wrong.append(f"panels/{file.name}: {_without(error, file)}")
    if _there(path, "run.json") and _there(path, "config.yaml"):
        wrong += _configuration(path)
    try:
        summary = load_object(path / "summary.json")
    except RunDirectoryError as error:
        return RunFindings((*wrong, str(error)), tuple(missing))
    if summary is not None:
        for when, figures in _evaluations(summary):
            wrong += [f"summary.json, {when}: {said}" for said in _figures(figures)]
            stated = figures.get("panel_hash")
            if stated and hashes and stated not in hashes:
                wrong.append(
                    f"summary.json, {when}: it was measured on the evaluation set {str(stated)[:12]}, and panels/ has "
                    f"{', '.join(sorted(each[:12] for each in hashes))}"
                )
        if not hashes and any(figures.get("panel_hash") for _, figures in _evaluations(summary)):
            missing.append("panels/ has no evaluation set: what the rates were measured on cannot be checked")
        wrong += _against_episodes(path, summary)
    return RunFindings(tuple(wrong), tuple(missing))


def _there(path: Path, name: str) -> bool:
    return (path / name).is_file()


def _without(error: Exception, file: Path) -> str:
    """An error's text without the file's name in front."""
    return str(error).removeprefix(f"{file}: ")


def _configuration(path: Path) -> list[str]:
    try:
        stated = read_identity(path).get("digest")
        digest = SDARConfig.from_yaml(path / "config.yaml").digest()
    except (OSError, ValueError, TypeError, RunDirectoryError) as error:
        return [f"the configuration cannot be checked: {error}"]
    if stated != digest:
        return [
            f"config.yaml is not the configuration of this run: its digest is {digest[:12]}, and run.json has "
            f"{str(stated)[:12]}"
        ]
    return []


def _evaluations(summary: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The evaluations that a summary holds, with what they are called."""
    teacher = summary.get("teacher")
    parts = {"before": summary.get("before"), "after": summary.get("after")}
    if isinstance(teacher, Mapping):
        parts |= {"privileged prompt before": teacher.get("before"), "privileged prompt after": teacher.get("after")}
    for when, figures in parts.items():
        if not isinstance(figures, Mapping):
            continue
        yield when, figures
        kinds = figures.get("by_task_type")
        for kind, own in kinds.items() if isinstance(kinds, Mapping) else ():
            if isinstance(own, Mapping):
                yield f"{when}, {kind}", own


def _figures(figures: Mapping[str, Any]) -> Iterator[str]:
    """What does not hold of a rate, its counts and its interval."""
    rate, interval = figures.get("success_rate"), figures.get("ci95")
    wins, episodes = figures.get("wins"), figures.get("episodes")
    if rate is None:
        return
    if not _is_number(rate) or not 0 <= rate <= 1:
        yield f"the success rate {rate!r} is none"
        return
    if isinstance(interval, list) and len(interval) == 2 and all(map(_is_number, interval)):
        low, high = interval
        if not low - _CLOSE <= rate <= high + _CLOSE:
            ends = f"{100 * low:.1f} to {100 * high:.1f}"
            yield f"the success rate {100 * rate:.1f} % is outside its own interval, {ends}"
        if isinstance(wins, int) and isinstance(episodes, int) and 0 <= wins <= episodes and episodes:
            expected = wilson(wins, episodes)
            if any(abs(a - b) > _CLOSE for a, b in zip(interval, expected, strict=True)):
                yield (
                    f"the interval {100 * low:.1f} to {100 * high:.1f} is not that of {wins} of {episodes} episodes, "
                    f"{100 * expected[0]:.1f} to {100 * expected[1]:.1f}"
                )
    if isinstance(wins, int) and isinstance(episodes, int) and episodes and abs(rate - wins / episodes) > _CLOSE:
        yield f"the success rate {100 * rate:.1f} % is not {wins} of {episodes} episodes"


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _against_episodes(path: Path, summary: Mapping[str, Any]) -> Iterator[str]:
    """Wins of the summary against those of the logged episodes, where all of them were logged and kept."""
    if not _there(path, "episodes.jsonl"):
        return
    steps = summary.get("steps")
    for when, iteration in (("before", 0), ("after", steps)):
        figures = summary.get(when)
        if not isinstance(figures, Mapping) or not isinstance(iteration, int):
            continue
        phase = measured_name(str(figures.get("split")), str(figures.get("view", "plain")))
        try:
            outcomes = episodes_of_phase(path, phase, iteration)
        except (RunDirectoryError, ValueError, TypeError) as error:
            yield f"episodes.jsonl: {error}"
            return
        played = [won for won in outcomes.values() if won is not None]
        if len(played) == figures.get("episodes") and sum(played) != figures.get("wins"):
            yield (
                f"summary.json, {when}: {figures.get('wins')} of {len(played)} episodes are stated as won, and "
                f"episodes.jsonl has {sum(played)}"
            )
