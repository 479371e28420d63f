"""Fair tuning: every arm that is tuned gets as many configurations, on the same seeds, judged by the same number.

Trials run to B on seeds that are not reported later, read `valid` only, and all of them stay in `trials/` and in
`tuned.json`. The best mean area under the success curve is taken, the first of equals; a configuration with a run that
broke is not taken.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from ..options.convert import merge
from .endpoints import PRIMARY, endpoint
from .jobs import jobs_of
from .plan_records import Arm, Job, Plan, StudyError, Tuning
from .records import read_results, save_record
from .result_records import Result, Trial, Tuned, TunedArm


def trial_jobs(plan: Plan) -> dict[tuple[str, int], dict[int, Job]]:
    """The jobs of the tuning, by (arm, index of the configuration), then seed.

    Raises:
        StudyError: The plan has no tuning, or tunes on a seed that it reports.
    """
    tuning = require_tuning(plan)
    arms = {
        (name, index): _trial_arm(plan, name, index, configuration)
        for name, configurations in tuning.configurations.items()
        for index, configuration in enumerate(configurations)
    }
    common = merge(plan.common, {"max_steps": tuning.iterations, "test_episodes": 0})
    trials = dataclasses.replace(
        plan, common=common, arms=tuple(arms.values()), seeds=tuning.seeds, hypotheses=(), tuned={}
    )
    jobs = jobs_of(trials, read_models=True)
    return {place: {seed: jobs[arm.key, seed] for seed in tuning.seeds} for place, arm in arms.items()}


def require_tuning(plan: Plan) -> Tuning:
    """The tuning of a plan.

    Raises:
        StudyError: It has none, or tunes on a seed that it reports.
    """
    if plan.tuning is None or not plan.tuning.configurations:
        raise StudyError(f"study {plan.name!r} has no tuning: write one into the plan")
    reported = {seed for arm in plan.arms for seed in plan.seeds_of(arm)}
    shared = sorted(reported & set(plan.tuning.seeds))
    if shared or not plan.tuning.seeds:
        raise StudyError(
            f"study {plan.name!r}: tuning expects seeds of its own, which are not reported; shared: {shared or 'none'}"
        )
    return plan.tuning


def _trial_arm(plan: Plan, name: str, index: int, configuration: Mapping[str, object]) -> Arm:
    takers = [arm for arm in plan.arms if arm.tuned == name]
    model = next((arm for arm in takers if name in (arm.key, arm.method)), takers[0] if takers else None)
    if model is None:
        raise StudyError(f"study {plan.name!r} tunes {name!r}, but no arm takes its values")
    key = f"{name}#{index}"
    overrides = merge(model.overrides, configuration)
    return dataclasses.replace(
        model, key=key, label=key, overrides=overrides, coordinates={}, role="trial", derived={}, tuned=None, seeds=None
    )


def untuned(plan: Plan, tuned: Tuned | None, arms: Sequence[Arm]) -> list[str]:
    """What the plan would tune, some of `arms` take values from, and nothing has been chosen for."""
    known = {*plan.tuned, *(() if tuned is None else tuned.arms)}
    wanted = {} if plan.tuning is None else plan.tuning.configurations
    return [name for name in wanted if name not in known and any(arm.tuned == name for arm in arms)]


def choose(plan: Plan, folder: Path, names: Collection[str | None] | None = None) -> Tuned:
    """What the finished trials say.

    Args:
        plan: The plan.
        folder: Where the trials are.
        names: Choose for these only, of ``plan.tuning.configurations``; None for all.

    Raises:
        StudyError: Trials are missing, or an arm has no configuration whose runs all came to their end.
    """
    tuning = require_tuning(plan)
    results = {result.key: result for result in read_results(folder)}
    budget = float(tuning.iterations * plan.episodes_per_iteration)
    trials: dict[str, list[Trial]] = {}
    for (name, index), jobs in trial_jobs(plan).items():
        if names is not None and name not in names:
            continue
        trials.setdefault(name, []).append(_trial(tuning.configurations[name][index], jobs, results, budget))
    return Tuned(
        iterations=tuning.iterations,
        seeds=tuning.seeds,
        arms={name: TunedArm(best(name, listed).overrides, tuple(listed)) for name, listed in trials.items()},
    )


def _trial(
    configuration: Mapping[str, object], jobs: Mapping[int, Job], results: Mapping[str, Result], budget: float
) -> Trial:
    areas = {
        str(seed): endpoint(PRIMARY, results[job.key], budget) if job.key in results else None
        for seed, job in jobs.items()
    }
    known = [value for value in areas.values() if value is not None]
    mean = sum(known) / len(known) if len(known) == len(areas) else None
    return Trial(dict(configuration), mean, areas, tuple(job.key for job in jobs.values()))


def best(name: str, trials: Sequence[Trial]) -> Trial:
    """The trial with the highest mean area, the first of equals.

    Raises:
        StudyError: None of them came to its end.
    """
    whole = [trial for trial in trials if trial.area is not None]
    if not whole:
        raise StudyError(f"tuning of {name}: not one configuration came to its end; see the logs under trials/")
    return max(whole, key=lambda trial: (trial.area or 0.0, -trials.index(trial)))


def save_tuned(path: Path, tuned: Tuned) -> None:
    """Write `tuned.json`, which the study's jobs take their values from."""
    save_record(path / "tuned.json", tuned)
