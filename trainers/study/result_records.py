"""What came of a study's jobs, typed: counts, curves, tests, results, and what the tuning chose.

Rates are in [0, 1]. Everything that was measured with a clock lies in fields named ``cpu_seconds``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .plan_records import FORMAT


@dataclass(frozen=True, slots=True)
class Count:
    """Wins among `n` episodes."""

    wins: int
    n: int

    @property
    def rate(self) -> float | None:
        """Wins over episodes; None when nothing was played."""
        return self.wins / self.n if self.n else None


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """The student on the evaluation set that is watched (`valid`), after an iteration.

    `episodes` and `cpu_seconds` are those of training up to here, evaluation not counted. `fresh` and `stale` are the
    tasks whose statements in the environment's skill bank are all true, and those with a wrong one; tasks without
    statements are in neither. `teacher` is the same model under the privileged prompt, where it was measured. `tokens`
    are those that the student has sampled in training up to here, episodes that were thrown away included; None in
    results from before they were kept.
    """

    iteration: int
    episodes: int
    cpu_seconds: float
    overall: Count
    fresh: Count
    stale: Count
    by_task_type: dict[str, Count]
    teacher: Count | None = None
    tokens: int | None = None


@dataclass(frozen=True, slots=True)
class TrainingPoint:
    """Metrics of one iteration's line; the names are the line's own (`success`, `entropy`, `kl`, ...)."""

    iteration: int
    episodes: int
    cpu_seconds: float
    figures: dict[str, float | None]


@dataclass(frozen=True, slots=True)
class MeasuredTest:
    """The student on the test set at one moment.

    `outcomes` has one character per task of the set: ``1`` won, ``0`` lost, ``-`` the environment broke. `claims`
    runs parallel: ``f`` all statements true, ``s`` one is wrong, ``-`` none.
    """

    outcomes: str
    claims: str
    overall: Count
    fresh: Count
    stale: Count
    by_task_type: dict[str, Count]
    panel_hash: str


@dataclass(frozen=True, slots=True)
class Meeting:
    """What a trained policy got in one seat against one fixed opponent, or against itself.

    `opponent` is None for itself. `wins` has one character per task, as `MeasuredTest.outcomes`; `mean_return` is over
    the games that did not fail, None where all did. `deals` is the share of games that gave anything to anybody, and
    `joint` the mean of both returns.
    """

    role: str
    opponent: str | None
    overall: Count
    mean_return: float | None
    deals: float
    joint: float
    wins: str


@dataclass(frozen=True, slots=True)
class MeasuredGames:
    """A trained policy in every seat against every fixed opponent, and against itself, all on the same tasks.

    `set_hash` is over game, options, tasks, draws and the opponents' names; the policy is not in it.
    """

    split: str
    meetings: tuple[Meeting, ...]
    set_hash: str


@dataclass(frozen=True, slots=True)
class Collapse:
    """A collapse, flagged by rule: which, at which iteration first, the value and the threshold it fell under."""

    rule: str
    iteration: int
    value: float
    threshold: float


@dataclass(frozen=True, slots=True)
class Warm:
    """The warm start: success on `valid` under the plain and under the privileged prompt, and the steps it took."""

    key: str
    student_success: float
    teacher_success: float
    steps: int


@dataclass(frozen=True, slots=True)
class Cost:
    """What a run cost, training only."""

    cpu_seconds: float
    tokens: int
    updates: int
    updates_skipped: int


@dataclass(frozen=True, slots=True)
class Result:
    """What a finished job holds: `result.json`.

    Attributes:
        key: The job's key.
        arm: The arm's key, with `label`, `method`, `role` and `coordinates` as in the plan.
        seed: The seed.
        config: All options it ran with, derived ones included; ``output_dir`` left out.
        config_digest: Of the options that change what a run computes.
        initial_weights: Fingerprint of the model it began with: equal within a seed, or the arms are not paired.
        warm: Its warm start; None with a model of the user's.
        curve: On `valid`, in order; the first point is before training.
        training: One point per iteration.
        means: Means over iterations of the metrics of `training`, e.g. ``distill/weight``.
        before: The test set before training; None where the plan has none.
        after: The test set at the end.
        collapses: By rule; empty for a healthy run.
        cost: Of the training.
        versions: What it ran on; ``commit`` is the code's, several where a job went on with another.
        view: The prompt that `curve`, `before` and `after` were measured under: ``plain``; ``privileged`` only for a
            method that is measured under no other.
        after_privileged: The test set at the end under the privileged prompt, for methods measured under both.
        watched_hash: Of the evaluation set that `curve` was measured on; empty in results from before it was kept.
        games: What came of the fixed opponents; None where the plan names none.
    """

    key: str
    arm: str
    label: str
    method: str
    role: str
    coordinates: dict[str, Any]
    seed: int
    env_id: str
    config: dict[str, Any]
    config_digest: str
    initial_weights: str
    warm: Warm | None
    curve: tuple[CurvePoint, ...]
    training: tuple[TrainingPoint, ...]
    means: dict[str, float]
    before: MeasuredTest | None
    after: MeasuredTest | None
    collapses: tuple[Collapse, ...]
    cost: Cost
    versions: dict[str, Any]
    view: str = "plain"
    after_privileged: MeasuredTest | None = None
    watched_hash: str = ""
    games: MeasuredGames | None = None
    format: int = FORMAT


@dataclass(frozen=True, slots=True)
class Trial:
    """One configuration of one arm: its mean area under the success curve on `valid`, and the areas by seed."""

    overrides: dict[str, Any]
    area: float | None
    areas: dict[str, float | None]
    jobs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TunedArm:
    """The trials of an arm, and the one that was chosen: the best mean area, the first of equals."""

    overrides: dict[str, Any]
    trials: tuple[Trial, ...]


@dataclass(frozen=True, slots=True)
class Tuned:
    """What the tuning chose, by arm: `tuned.json`."""

    iterations: int
    seeds: tuple[int, ...]
    arms: dict[str, TunedArm]
    format: int = FORMAT
