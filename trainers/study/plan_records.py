"""What a study is to do, typed: arms, hypotheses, tuning, and one job per arm and seed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

FORMAT = 1


class StudyError(RuntimeError):
    """A study's directory or plan cannot be used; the message says why and what to do."""


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
        method: Method, by its name or as ``module:name``.
        defaults: Options that hold where neither tuning nor `overrides` say otherwise.
        overrides: Options of `SDARConfig` that differ from the study's common ones; they win over tuned values.
        warm_start: Options of the warm start that differ from the study's common ones.
        model: A model's name or folder, where it is another than the study's; None for the study's.
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
    model: str | None = None


@dataclass(frozen=True, slots=True)
class Term:
    """One part of a contrast: `weight` times `endpoint` of `arm`.

    `reference` is the arm whose CPU-seconds or sampled tokens bound it, for endpoints that are bounded by another run.
    """

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
class FixedOpponents:
    """Whom every trained policy meets at its end, in every seat of its game, beside itself.

    Attributes:
        players: Scripted players of the game. They never learn, so what is got from them compares across arms. One that
            knows one seat only is met in that seat.
        split: Whose tasks are played, the first `episodes` of them.
        episodes: Tasks of every pair.
        together: Games played at once.
    """

    players: tuple[str, ...]
    split: str = "test"
    episodes: int = 200
    together: int = 128


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything a study is: `study.json`.

    Attributes:
        name: Its name.
        env_id: What is trained on.
        preset: The preset that `common` starts from; None for none.
        model: A model's name or folder, which an arm may replace by another; None for the embedded tiny model with a
            warm start per seed.
        common: Options of `SDARConfig` that all arms share, the preset's included.
        warm_start: Options of the warm start that all arms share: of `WarmStartConfig`, or, with a model, of
            `PretrainedStartConfig`. A model whose arms have none is trained as it comes.
        seeded: Keyword arguments of the environment that take the seed (its world, which statements are corrupted).
        arms: The arms.
        seeds: The seeds.
        budget: B, in iterations; runs last ``common["max_steps"]``.
        episodes_per_iteration: Training episodes of one iteration.
        reference: The arm that all others are compared with in the table.
        hypotheses: What is asked.
        tuning: How tuned values are found.
        tuned: Tuned values by name, for a plan that comes with them; `tuned.json` wins over it.
        opponents: Whom trained policies meet, for studies of games; None for none.
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
    opponents: FixedOpponents | None = None
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
    and world, `warm_start` those that differ from `WarmStartConfig`'s (with a model, `PretrainedStartConfig`'s).
    `warm_key` is None where a model is trained as it comes. `depends` maps the arms of ``arm.derived`` to
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
    opponents: FixedOpponents | None = None
    format: int = FORMAT
