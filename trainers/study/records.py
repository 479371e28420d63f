"""What lies in a study's directory, typed: the plan, one job per arm and seed, its result, the table.

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
all other figures come out the same whenever and wherever a study is interrupted.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .plain_json import DamagedFileError, decode, encode, read_json, write_json

FORMAT = 1


class StudyError(RuntimeError):
    """A study's directory or plan can not be used; the message says why and what to do."""


# --- the plan ---


@dataclass(frozen=True, slots=True)
class Derived:
    """An option whose value is taken from another arm's result of the same seed.

    `figure` is a key of ``Result.means``, e.g. ``"distill/weight"``: the mean gate of the paired run.
    """

    arm: str
    figure: str


@dataclass(frozen=True, slots=True)
class Arm:
    """One way of training, run once per seed.

    Attributes:
        key: Its name within the study, e.g. ``"sdar"`` or ``"sdar[privilege=wrong_skill]"``.
        label: How a reader sees it.
        method: Row of the methods table.
        defaults: Options that hold where neither tuning nor `overrides` say otherwise.
        overrides: Options of `SDARConfig` that differ from the study's common ones; they win over tuned values.
        warm_start: Options of `WarmStartConfig` that differ from the study's common ones.
        coordinates: Where it stands on each axis of the study, e.g. ``{"privilege": "wrong_skill"}``.
        role: ``arm``, ``control`` or ``trial``.
        derived: Options taken from paired results.
        tuned: Whose tuned values it takes, where there are any; None runs with documented defaults.
        seeds: Seeds it is run with; None for the study's.
    """

    key: str
    label: str
    method: str
    defaults: dict[str, Any] = field(default_factory=dict)
    overrides: dict[str, Any] = field(default_factory=dict)
    warm_start: dict[str, Any] = field(default_factory=dict)
    coordinates: dict[str, Any] = field(default_factory=dict)
    role: str = "arm"
    derived: dict[str, Derived] = field(default_factory=dict)
    tuned: str | None = None
    seeds: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class Term:
    """One part of a contrast: `weight` times `endpoint` of `arm`. `reference` is the arm whose CPU-seconds bound it."""

    arm: str
    endpoint: str
    weight: float = 1.0
    reference: str | None = None


@dataclass(frozen=True, slots=True)
class Claimed:
    """A statement about a number per seed: the sum of `terms` lies on the stated side of `bound`.

    `direction` is ``greater`` or ``less``. The claim is refuted where the interval excludes even `smallest` beyond the
    bound (see `verdicts`).
    """

    name: str
    terms: tuple[Term, ...]
    direction: str = "greater"
    bound: float = 0.0
    smallest: float = 0.02


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """A hypothesis, written before the runs. It is supported when all of `claims` are; `secondary` decides nothing."""

    id: str
    statement: str
    claims: tuple[Claimed, ...]
    secondary: tuple[Claimed, ...] = ()


@dataclass(frozen=True, slots=True)
class Tuning:
    """Fair tuning: per arm the same number of configurations, tried on seeds that are not reported later."""

    seeds: tuple[int, ...] = ()
    iterations: int = 30
    configurations: dict[str, tuple[dict[str, Any], ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything a study is: `study.json`.

    Attributes:
        name: Its name.
        env_id: What is trained on.
        preset: The preset that `common` starts from; None for none.
        model: A model's name or folder; None for the embedded tiny model with a warm start per seed.
        common: Options of `SDARConfig` that all arms share, the preset's included.
        warm_start: Options of `WarmStartConfig` that all arms share.
        seeded: Keyword arguments of the environment that take the seed (its world, its stale claims).
        arms: The arms.
        seeds: The seeds.
        budget: B, in iterations; runs last ``common["max_steps"]``.
        episodes_per_iteration: Training episodes of one iteration.
        reference: The arm that all others are compared with in the table.
        hypotheses: What is asked.
        tuning: How tuned values are found.
        tuned: Tuned values by name, for a plan that comes with them; `tuned.json` wins over it.
        jobs: The job of every arm and seed: ``jobs[arm.key][str(seed)]`` is its key. Arms that compute the same
            share it.
        versions: Python, packages and commit at planning.
        planned_at: When the plan was first written, ISO 8601 in UTC.
        amended: What was changed after the first result, with the time.
    """

    name: str
    env_id: str
    preset: str | None
    model: str | None
    common: dict[str, Any]
    warm_start: dict[str, Any]
    seeded: tuple[str, ...]
    arms: tuple[Arm, ...]
    seeds: tuple[int, ...]
    budget: int
    episodes_per_iteration: int
    reference: str
    hypotheses: tuple[Hypothesis, ...] = ()
    tuning: Tuning | None = None
    tuned: dict[str, dict[str, Any]] = field(default_factory=dict)
    jobs: dict[str, dict[str, str]] = field(default_factory=dict)
    versions: dict[str, Any] = field(default_factory=dict)
    planned_at: str = ""
    amended: tuple[str, ...] = ()
    format: int = FORMAT

    def arm(self, key: str) -> Arm:
        """The arm of that key.

        Raises:
            StudyError: There is none.
        """
        for arm in self.arms:
            if arm.key == key:
                return arm
        raise StudyError(f"study {self.name!r} has no arm {key!r}; it has {', '.join(arm.key for arm in self.arms)}")

    def seeds_of(self, arm: Arm) -> tuple[int, ...]:
        """The seeds that an arm is run with."""
        return self.seeds if arm.seeds is None else arm.seeds


@dataclass(frozen=True, slots=True)
class Job:
    """One arm of one seed, as it is run.

    `config` holds the options that differ from `SDARConfig`'s defaults, `warm_config` those of the warm start's prompts
    and world, `warm_start` those that differ from `WarmStartConfig`'s. `depends` maps the arms of ``arm.derived`` to
    the jobs whose results are needed first.
    """

    key: str
    arm: Arm
    seed: int
    env_id: str
    world_version: str
    config: dict[str, Any]
    model: str | None
    warm_config: dict[str, Any]
    warm_start: dict[str, Any]
    warm_key: str | None
    depends: dict[str, str] = field(default_factory=dict)
    format: int = FORMAT


# --- results ---


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
    """The student on the panel that is watched (`valid`), behind an iteration.

    `episodes` and `cpu_seconds` are those of training up to here, evaluation not counted. `fresh` and `stale` are the
    tasks whose claims in the environment's skill bank are all true, and those with a wrong one; tasks without claims
    are in neither. `teacher` is the same model reading the privileged block, where it was measured.
    """

    iteration: int
    episodes: int
    cpu_seconds: float
    overall: Count
    fresh: Count
    stale: Count
    by_task_type: dict[str, Count]
    teacher: Count | None = None


@dataclass(frozen=True, slots=True)
class TrainingPoint:
    """Figures of one iteration's metric line; the names are the line's own (`success`, `entropy`, `kl`, ...)."""

    iteration: int
    episodes: int
    cpu_seconds: float
    figures: dict[str, float | None]


@dataclass(frozen=True, slots=True)
class PanelResult:
    """The student on the test panel at one moment.

    `outcomes` has one character per task of the panel: ``1`` won, ``0`` lost, ``-`` the environment broke. `claims`
    runs parallel: ``f`` all claims true, ``s`` one is stale, ``-`` no claims.
    """

    outcomes: str
    claims: str
    overall: Count
    fresh: Count
    stale: Count
    by_task_type: dict[str, Count]
    panel_hash: str


@dataclass(frozen=True, slots=True)
class Collapse:
    """A collapse, flagged by rule: which, at which iteration first, the value and the threshold it fell under."""

    rule: str
    iteration: int
    value: float
    threshold: float


@dataclass(frozen=True, slots=True)
class Warm:
    """The warm start: success on `valid` without and with the privileged block, and the steps it took."""

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
        means: Means over iterations of the figures of `training`, e.g. ``distill/weight``.
        before: The test panel before training; None where the plan has none.
        after: The test panel at the end.
        collapses: By rule; empty for a healthy run.
        cost: Of the training.
        versions: What it ran on; ``commit`` is the code's, several where a job went on with another.
        view: The prompt that `curve`, `before` and `after` were measured behind: ``plain``; ``privileged`` only for a
            method that is measured behind no other.
        after_privileged: The test panel at the end behind the privileged prompt, for methods measured behind both.
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
    before: PanelResult | None
    after: PanelResult | None
    collapses: tuple[Collapse, ...]
    cost: Cost
    versions: dict[str, Any]
    view: str = "plain"
    after_privileged: PanelResult | None = None
    format: int = FORMAT


# --- what the tuning chose ---


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


# --- the table ---


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over `n` seeds with its 95 % t interval; no interval with fewer than two seeds."""

    mean: float | None
    sd: float | None
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True, slots=True)
class ArmRow:
    """One arm of the table.

    `view` is the prompt it was measured behind (``plain``, but for methods that have no other than ``privileged``).
    `endpoints` by name, see `endpoints.ENDPOINTS`; `values` has them per seed, in the order of `seeds`. `tasks` has the
    number of tasks behind an endpoint, summed over seeds. `timed` has what a clock measured, e.g. ``cpu_seconds``.
    """

    key: str
    label: str
    method: str
    role: str
    coordinates: dict[str, Any]
    tuned: str | None
    overrides: dict[str, Any]
    seeds: tuple[int, ...]
    missing: tuple[int, ...]
    endpoints: dict[str, Estimate]
    values: dict[str, tuple[float | None, ...]]
    tasks: dict[str, int]
    test: dict[str, Count]
    collapsed: dict[str, tuple[Collapse, ...]]
    timed: dict[str, Estimate]
    view: str = "plain"


@dataclass(frozen=True, slots=True)
class Contrast:
    """A number per seed, paired: its estimate, p-value (from 8 seeds on) and, for test outcomes, a crossed bootstrap.

    `p` is two-sided, by flipping signs. `timed` says whether a clock had part in it.
    """

    name: str
    terms: tuple[Term, ...]
    bound: float
    direction: str
    smallest: float
    seeds: tuple[int, ...]
    differences: tuple[float, ...]
    estimate: Estimate
    p: float | None
    bootstrap: tuple[float, ...] | None
    timed: bool
    verdict: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A hypothesis and what became of it: ``supported``, ``refuted`` or ``undecided``, and why in `reason`.

    `p` is the largest of its claims, `p_holm` corrected over the study's hypotheses; None with fewer than 8 seeds,
    where `provisional` is True.
    """

    id: str
    statement: str
    verdict: str
    reason: str
    provisional: bool
    p: float | None
    p_holm: float | None
    claims: tuple[Contrast, ...]
    secondary: tuple[Contrast, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """The analysis of a study: `table.json`. `software` counts results by what they were made with, commit included."""

    name: str
    env_id: str
    budget: int
    episodes_per_iteration: int
    reference: str
    complete: bool
    missing: tuple[str, ...]
    arms: tuple[ArmRow, ...]
    contrasts: tuple[Contrast, ...]
    verdicts: tuple[Verdict, ...]
    software: dict[str, dict[str, int]] = field(default_factory=dict)
    format: int = FORMAT


# --- the directory ---


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
        """The run directory behind a result."""
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
        raise StudyError(f"{root}: expected the directory of a study with study.json in it: sdar study makes one")
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
    results = [decode(Result, read_json(path), str(path)) for path in paths]
    return sorted(results, key=lambda result: (result.arm, result.seed, result.key))


def _optional(wanted: type[Any], path: Path) -> Any:
    return decode(wanted, read_json(path), str(path)) if path.is_file() else None


def save_record(path: Path, record: Any) -> None:
    """Write a record as JSON, in one step."""
    write_json(path, encode(record))
