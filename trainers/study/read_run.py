"""From a finished run directory to its `Result`: counts by task, curves, means, collapses.

Curves are counted from `episodes.jsonl` and metrics read from `metrics.jsonl`; nothing is played again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sdar_envs.bounded_files import bounded_lines, load_json, parse_json

from ..config import SDARConfig
from ..evaluation.evaluation_set import EvaluationSet
from ..rollout.environments import EnvironmentSource
from ..run.directory import read_identity, read_json_lines
from ..run.summary import sampled_tokens
from .collapse import collapses_of
from .fixed_opponents import read_games
from .plan_records import Job
from .result_records import Cost, Count, CurvePoint, MeasuredTest, Result, TrainingPoint, Warm
from .stale_tasks import FRESH, STALE, statements_of_tasks

# What of a metric line a result keeps, where the line has it.
KEPT_METRICS = (
    *("success", "success_privileged", "turns", "invalid_action_share", "groups/flat", "coefficient"),
    *("entropy", "sampling/entropy", "kl", "grad_norm", "policy/logprob_shift", "policy/clipped_high"),
    *("distill/signal", "distill/weight", "distill/weight_over_half", "distill/signal_negative"),
    *("distill/weight_rejected", "distill/share_read"),
    *("pass_at_2", "pass_at_4", "pass_at_8", "distinct_episodes", "distinct_actions", "completion_tokens"),
    *("teacher/mentioned", "teacher/privileged_dropped", "seconds/rollout", "seconds/teacher", "seconds/update"),
)


# What the trainer adds to a phase's name under the privileged prompt.
PRIVILEGED = "_privileged"


@dataclass(slots=True)
class _Played:
    """Episodes of one phase after one iteration, in the order of the evaluation set."""

    outcomes: list[str] = field(default_factory=list)
    types: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _RunFiles:
    """What a run directory holds, as far as a result is made of it.

    `sets` are the evaluation sets by split, `marks` say of each of their tasks whether its skill statements are true
    (`statements_of_tasks`); `episodes` are those of training up to each iteration, `played` those of evaluations by
    phase and iterations done.
    """

    config: SDARConfig
    summary: Mapping[str, Any]
    lines: Sequence[Mapping[str, Any]]
    sets: Mapping[str, EvaluationSet]
    marks: Mapping[str, str]
    episodes: Mapping[int, int]
    played: Mapping[tuple[str, int], _Played]


def harvest(run: Path, job: Job, *, warm: Warm | None, key: str) -> Result:
    """Read a finished run directory.

    Args:
        run: The directory.
        job: What was run.
        warm: Its warm start.
        key: The job's key.

    Raises:
        OSError: A file is missing.
        ValueError: A file does not fit the others, e.g. an evaluation set that was not played whole.
    """
    files = _read_files(run, job)
    config, summary, split = files.config, files.summary, files.config.eval_split
    view = "plain" if any(phase == split for phase, _ in files.played) else "privileged"
    suffix = "" if view == "plain" else PRIVILEGED
    clock = {int(line["step"]): float(line["seconds/cpu"]) for line in files.lines if "seconds/cpu" in line}
    training, curve = _training(files, clock), _curve(files, clock, split, split + suffix)
    before, after = _tests(files, "test" + suffix)
    _, both = (None, None) if suffix else _tests(files, "test" + PRIVILEGED)
    return Result(
        key=key,
        arm=job.arm.key,
        label=job.arm.label,
        method=job.arm.method,
        role=job.arm.role,
        coordinates=dict(job.arm.coordinates),
        seed=job.seed,
        env_id=job.env_id,
        config={name: value for name, value in config.to_dict().items() if name != "output_dir"},
        config_digest=config.digest(),
        initial_weights=str(read_identity(run).get("initial_weights", "")),
        warm=warm,
        curve=curve,
        training=training,
        means=_means(training),
        before=before,
        after=after,
        collapses=collapses_of(curve, training),
        cost=Cost(
            cpu_seconds=round(float(summary["cpu_seconds"]), 3),
            tokens=int(summary["tokens"]),
            updates=int(summary["updates"]),
            updates_skipped=int(summary["updates_skipped"]),
        ),
        versions=load_json(run / "versions.json"),
        view=view,
        after_privileged=both,
        watched_hash=files.sets[split].hash if curve else "",
        games=None if job.opponents is None else read_games(run, job.opponents),
    )


def _read_files(run: Path, job: Job) -> _RunFiles:
    config = SDARConfig.from_yaml(run / "config.yaml")
    summary = load_json(run / "summary.json")
    lines = read_json_lines(run / "metrics.jsonl")
    source = EnvironmentSource(job.env_id, config.environment_kwargs)
    try:
        sets = {path.stem: EvaluationSet.load(path) for path in sorted((run / "panels").glob("*.json"))}
        marks = {name: statements_of_tasks(source, fixed.task_ids) for name, fixed in sets.items()}
    finally:
        source.close()
    trained, played, seats = _count_episodes(run / "episodes.jsonl")
    for line in lines:  # groups that gave way to others (dynamic sampling) were played, too
        if line.get("groups/replaced"):
            trained[int(line["step"])] += int(line["groups/replaced"] / seats) * config.num_generations
    return _RunFiles(config, summary, lines, sets, marks, _cumulative(trained), played)


def _training(files: _RunFiles, clock: Mapping[int, float]) -> tuple[TrainingPoint, ...]:
    return tuple(
        TrainingPoint(step, files.episodes.get(step, 0), clock.get(step, 0.0), _kept_metrics(line))
        for line in files.lines
        if (step := int(line["step"])) > 0 and ("success" in line or "success_privileged" in line)
    )


def _curve(files: _RunFiles, clock: Mapping[int, float], split: str, wanted: str) -> tuple[CurvePoint, ...]:
    """The points of the evaluation set that is watched, under the prompt that the phase `wanted` names."""
    tokens = _sampled_tokens(files.lines)
    points = []
    for (phase, step), played in sorted(files.played.items()):
        if phase == wanted:
            lines = (line for line in files.lines if line["step"] == step and f"{phase}/success_rate" in line)
            counted = files.episodes.get(step, 0), clock.get(step, 0.0), tokens.get(step, 0), next(lines, {})
            points.append(_point(played, files.marks[split], step, *counted))
    return tuple(points)


def _count_episodes(path: Path) -> tuple[dict[int, int], dict[tuple[str, int], _Played], int]:
    """Training episodes per iteration (from 1), and those of evaluations by phase and iterations done.

    Of a game that several seats have learned from, there is an episode and a group per seat; it counts once. How many
    seats learn is the last number, 1 outside games.
    """
    roles: set[str] = set()
    trained: dict[int, int] = defaultdict(int)
    games: set[tuple[int, int]] = set()
    played: dict[tuple[str, int], _Played] = defaultdict(_Played)
    for record in episode_lines(path):
        if record["phase"] == "train":
            game = int(record["iteration"]), int(record.get("game", -1))
            roles.add(str(record.get("role", "")))
            if game[1] < 0 or game not in games:
                trained[game[0] + 1] += 1
                games.add(game)
            continue
        evaluated = played[str(record["phase"]), int(record["iteration"])]
        failed = record["stop_reason"] == "failed"
        evaluated.outcomes.append("-" if failed else str(int(record["success"])))
        evaluated.types.append(str(record["task_type"]))
    return trained, dict(played), max(len(roles), 1)


def episode_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The records of `episodes.jsonl`, one at a time: a long run's file is tens of megabytes."""
    with path.open(encoding="utf-8") as file:
        for line in bounded_lines(file):
            yield parse_json(line)


def _cumulative(trained: Mapping[int, int]) -> dict[int, int]:
    total, sums = 0, {0: 0}
    for step in sorted(trained):
        total += trained[step]
        sums[step] = total
    return sums


def _sampled_tokens(lines: Sequence[Mapping[str, Any]]) -> dict[int, int]:
    """Tokens that the student has sampled in training up to each iteration."""
    total, sums = 0, {0: 0}
    for line in sorted(lines, key=lambda line: int(line["step"])):
        total += sampled_tokens(line)
        sums[int(line["step"])] = total
    return sums


def _point(
    played: _Played,
    marks: str,
    step: int,
    episodes: int,
    cpu_seconds: float,
    tokens: int,
    line: Mapping[str, Any],
) -> CurvePoint:
    overall = _count(played.outcomes)
    guided = line.get("teacher/success_rate")
    return CurvePoint(
        iteration=step,
        episodes=episodes,
        cpu_seconds=round(cpu_seconds, 3),
        overall=overall,
        fresh=_of_marks(played, marks, FRESH),
        stale=_of_marks(played, marks, STALE),
        by_task_type=_by_type(played),
        teacher=None if guided is None else Count(round(float(guided) * overall.n), overall.n),
        tokens=tokens,
    )


def _tests(files: _RunFiles, phase: str) -> tuple[MeasuredTest | None, MeasuredTest | None]:
    """The test set before training, None without `eval_before`, and after; both at iteration 0 of a run of none."""
    fixed, last = files.sets.get("test"), int(files.summary["steps"])
    if fixed is None or (phase, last) not in files.played:
        return None, None
    size = len(fixed.task_ids)

    def measured(step: int, part: slice) -> MeasuredTest:
        whole = files.played[phase, step]
        return _measured_test(_Played(whole.outcomes[part], whole.types[part]), files.marks["test"], fixed.hash)

    before = measured(0, slice(0, size)) if (phase, 0) in files.played else None
    return before, measured(last, slice(-size, None))


def _measured_test(played: _Played, marks: str, set_hash: str) -> MeasuredTest:
    return MeasuredTest(
        outcomes="".join(played.outcomes),
        claims=marks,
        overall=_count(played.outcomes),
        fresh=_of_marks(played, marks, FRESH),
        stale=_of_marks(played, marks, STALE),
        by_task_type=_by_type(played),
        panel_hash=set_hash,
    )


def _count(outcomes: Sequence[str]) -> Count:
    return Count(sum(o == "1" for o in outcomes), sum(o != "-" for o in outcomes))


def _of_marks(played: _Played, marks: str, kind: str) -> Count:
    return _count([o for o, c in zip(played.outcomes, marks, strict=True) if c == kind])


def _by_type(played: _Played) -> dict[str, Count]:
    pairs = list(zip(played.outcomes, played.types, strict=True))
    return {kind: _count([o for o, t in pairs if t == kind]) for kind in sorted(set(played.types))}


def _kept_metrics(line: Mapping[str, Any]) -> dict[str, float | None]:
    found = {name: line[name] for name in KEPT_METRICS if name in line}
    return {name: None if value is None else float(f"{float(value):.5g}") for name, value in found.items()}


def _means(training: Sequence[TrainingPoint]) -> dict[str, float]:
    """Means over the iterations that have a metric, in full precision of what was kept."""
    values: dict[str, list[float]] = defaultdict(list)
    for point in training:
        for name, value in point.figures.items():
            if value is not None and not name.startswith("seconds/"):
                values[name].append(value)
    return {name: sum(listed) / len(listed) for name, listed in values.items()}
