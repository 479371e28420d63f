"""What a run directory holds, read leniently: a run that is still going on, or was broken off, has a report too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sdar_envs.bounded_files import load_json

from ..evaluation.crossplay import CROSSPLAY_FILE, CROSSPLAY_SCHEMA
from ..options.convert import read_yaml
from ..run.directory import RunDirectoryError, read_identity, read_json_lines
from ..study.result_records import Count, TrainingPoint
from ..study.table_files import csv_of


@dataclass(frozen=True, slots=True)
class RunRecords:
    """The files of a run, parsed.

    `config` has the plain values of `config.yaml`; `metrics` are the lines of `metrics.jsonl`; `summary` is None until
    the run has finished; `panels` are by split; `crossplay` is what ``sdar crossplay --json`` has written into the
    directory as `crossplay.json`, or None.
    """

    path: Path
    env_id: str
    config: Mapping[str, Any]
    metrics: tuple[Mapping[str, Any], ...]
    summary: Mapping[str, Any] | None
    versions: Mapping[str, Any]
    panels: Mapping[str, Mapping[str, Any]]
    crossplay: Mapping[str, Any] | None = None

    @property
    def episodes_per_iteration(self) -> int:
        """Training episodes of one iteration."""
        return int(self.config.get("tasks_per_step", 1)) * int(self.config.get("num_generations", 1))

    @property
    def watched(self) -> str:
        """The split that was watched in training."""
        return str(self.config.get("eval_split", "valid"))

    def training(self) -> tuple[TrainingPoint, ...]:
        """A point per logged iteration."""
        return tuple(
            TrainingPoint(
                int(line["step"]),
                int(line["step"]) * self.episodes_per_iteration,
                float(line.get("seconds/cpu") or 0.0),
                {name: float(value) for name, value in line.items() if isinstance(value, int | float)},
            )
            for line in self.metrics
            if "success" in line
        )

    def curve(self, prefix: str) -> list[tuple[int, float, Count]]:
        """Evaluations under `prefix` (a split, or ``teacher``): iteration, CPU-seconds, wins among episodes."""
        episodes = len(self.panels.get(self.watched, {}).get("task_ids", ())) or int(
            self.config.get("eval_episodes", 0)
        )
        found = []
        for line in self.metrics:
            rate = line.get(f"{prefix}/success_rate")
            if isinstance(rate, int | float):
                seconds = float(line.get("seconds/cpu") or 0.0)
                found.append((int(line["step"]), seconds, Count(round(rate * episodes), episodes)))
        return found


def is_run_directory(path: Path) -> bool:
    """Whether a run's files lie there."""
    return (path / "run.json").is_file() and (path / "config.yaml").is_file()


def read_run(path: Path) -> RunRecords:
    """Read a run directory.

    Raises:
        RunDirectoryError: It is none, or a file in it is damaged; the message names it.
    """
    if not is_run_directory(path):
        raise RunDirectoryError(f"{path}: expected a run directory with run.json and config.yaml in it")
    identity = read_identity(path)
    summary = load_object(path / "summary.json")
    panels = {file.stem: load_object(file) or {} for file in sorted((path / "panels").glob("*.json"))}
    return RunRecords(
        path=path,
        env_id=str(identity.get("env_id", "an environment that run.json does not name")),
        config=read_yaml(path / "config.yaml"),
        metrics=tuple(_lines(path / "metrics.jsonl")),
        summary=summary,
        versions=load_object(path / "versions.json") or {},
        panels=panels,
        crossplay=_crossplay(path / CROSSPLAY_FILE),
    )


def _crossplay(path: Path) -> dict[str, Any] | None:
    """A matrix of cross-play.

    Raises:
        RunDirectoryError: The file is something else.
    """
    content = load_object(path)
    if content is None:
        return None
    missing = [name for name in ("game", "roles", "players", "hash", "cells") if name not in content]
    if content.get("schema") != CROSSPLAY_SCHEMA or missing:
        raise RunDirectoryError(
            f"{path}: expected a matrix as sdar crossplay --json writes it ({CROSSPLAY_SCHEMA}), got "
            f"{content.get('schema')!r}" + (f" without {', '.join(missing)}" if missing else "")
        )
    return content


def metrics_csv(run: RunRecords) -> str:
    """The lines of `metrics.jsonl` as CSV, a column per metric; a cell is empty where a line has none."""
    names = list(dict.fromkeys(name for line in run.metrics for name in line))
    return csv_of(names, run.metrics)


def _lines(path: Path) -> Sequence[Mapping[str, Any]]:
    if not path.is_file():
        return []
    try:
        return [line for line in read_json_lines(path) if isinstance(line.get("step"), int)]
    except (ValueError, AttributeError) as error:
        raise RunDirectoryError(f"{path}: expected one JSON object per line, got {error}") from None


def load_object(path: Path) -> dict[str, Any] | None:
    """The object in a JSON file; None where there is no file.

    Raises:
        RunDirectoryError: It holds something else.
    """
    if not path.is_file():
        return None
    try:
        content = load_json(path)
    except ValueError as error:
        raise RunDirectoryError(f"{path}: expected JSON, got {error}") from None
    if not isinstance(content, dict):
        raise RunDirectoryError(f"{path}: expected a JSON object, got {type(content).__name__}")
    return content
