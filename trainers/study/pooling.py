"""The seeds of several studies taken together: what an arm leads by on all of them.

A plan that is run again on fresh seeds is a study of its own, with its own verdict. Together their seeds give a
narrower interval, as long as an arm was the same thing in both: the same world, budget and options, its seeds apart.
What is not the same is refused by name. No verdict follows: which studies are taken together was chosen when their
results were known.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..options.convert import merge
from .analysis import COMPARED, COMPARED_GAMES, against, compared_pairs, require_pairing, results_of, software_of
from .curve_differences import curve_difference
from .endpoints import ENDPOINTS, contrast
from .jobs import SILENT, default_options
from .plan_records import Plan, StudyError
from .records import Study
from .result_records import Result
from .table_records import Contrast, CurveDifference


@dataclass(frozen=True, slots=True)
class PooledArm:
    """An arm less its reference over the seeds that both have, in any of the studies: by endpoint, and by iteration."""

    arm: str
    reference: str
    contrasts: dict[str, Contrast]
    curve: CurveDifference


@dataclass(frozen=True, slots=True)
class Pooled:
    """Several studies taken together. `labels` is by arm; `software` counts results by what they were made with."""

    budget: int
    arms: tuple[PooledArm, ...]
    labels: dict[str, str]
    software: dict[str, dict[str, int]]


def pool(studies: Mapping[str, Study]) -> Pooled:
    """Every arm less its reference, over the seeds of all studies.

    Endpoints that a clock had part in are left out: the studies may have been run on different machines.

    Args:
        studies: By what a message calls them. Each keeps its own reference of an arm; that of the first counts.

    Raises:
        StudyError: Budgets or worlds differ, an arm has other options in one study than in another, or a seed of it
            came to two results.
    """
    first = next(iter(studies.values())).plan
    results: dict[str, dict[int, Result]] = {}
    settings: dict[str, dict[str, Any]] = {}
    references: dict[str, str] = {}
    labels: dict[str, str] = {}
    for name, study in studies.items():
        require_pairing(study)
        _require_one_frame(first, study.plan, name)
        references |= {arm: other for arm, other in compared_pairs(study.plan) if arm not in references}
        labels = {arm.key: arm.label for arm in study.plan.arms} | labels
        for arm, by_seed in results_of(study).items():
            for seed, result in by_seed.items():
                own = _settings(study.plan, result)
                _require_same(settings.setdefault(arm, own), own, f"{name}, {labels[arm]}")
                held = results.setdefault(arm, {}).setdefault(seed, result)
                if held.key != result.key:
                    raise StudyError(f"{name}: {labels[arm]}, seed {seed}, is another run in a study before it")
    names = [*COMPARED, *(COMPARED_GAMES if first.opponents is not None else ())]
    untimed = [name for name in names if not ENDPOINTS[name].timed]
    budget = float(first.budget * first.episodes_per_iteration)
    arms = tuple(
        PooledArm(
            arm,
            reference,
            {name: contrast(against(arm, reference, name), results, budget) for name in untimed},
            curve_difference(arm, reference, results),
        )
        for arm, reference in references.items()
        if {*results.get(arm, {})} & {*results.get(reference, {})}
    )
    every = [result for by_seed in results.values() for result in by_seed.values()]
    return Pooled(first.budget, arms, labels, software_of(every))


def _require_one_frame(first: Plan, plan: Plan, name: str) -> None:
    named = ("env_id", "budget", "episodes_per_iteration", "reference", "opponents")
    _require_same({each: getattr(first, each) for each in named}, {each: getattr(plan, each) for each in named}, name)


def _settings(plan: Plan, result: Result) -> dict[str, Any]:
    """What makes an arm the arm it is: its options, without seeds and without what each seed takes from another run.

    A run from before an option was added does not name it, and had what is its default.
    """
    arm, options = plan.arm(result.arm), {**default_options(), **result.config}
    own = {name: value for name, value in options.items() if name not in {*SILENT, *arm.derived, "seed"}}
    kwargs = {name: value for name, value in options["env_kwargs"].items() if name not in plan.seeded}
    model = plan.model if arm.model is None else arm.model
    return {**own, "env_kwargs": kwargs, "model": model, "warm_start": merge(plan.warm_start, arm.warm_start)}


def _require_same(before: Mapping[str, Any], own: Mapping[str, Any], where: str) -> None:
    different = sorted(name for name in {*before, *own} if before.get(name) != own.get(name))
    if different:
        words = ", ".join(f"{name} {own.get(name)!r}, not {before.get(name)!r}" for name in different)
        raise StudyError(
            f"{where}: expected the same as in the studies before it, got {words}; seeds of different things are not "
            "taken together"
        )
