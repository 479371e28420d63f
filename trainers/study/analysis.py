"""The analysis of a study: a row per arm, every arm against the reference, the hypotheses with their verdicts.

It reads results only and can be repeated at any time; with runs missing it says which. Not here: single formulas
(`statistics`, `endpoints`, `verdicts`), how things are shown (`table_files`, and the report).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .curve_differences import curve_difference
from .endpoints import ENDPOINTS, PRIMARY, contrast, endpoint
from .jobs import effective_overrides, tuned_as
from .plain_json import encode
from .plan_records import Arm, Claimed, Plan, StudyError, Term
from .records import Study
from .result_records import Count, Result
from .statistics import t_interval
from .table_records import ArmRow, Contrast, Table
from .verdicts import verdicts

# Every arm against the reference in these; the first is the primary one.
COMPARED = (PRIMARY, "valid_B", "test", "test_stale", "test_fresh", "area_cpu")
# And in these where policies meet fixed opponents.
COMPARED_GAMES = ("fixed_success", "fixed_return", "self_success")

# What may differ between machines and days, and moves results or the clock.
MADE_WITH = ("commit", "python", "platform", "torch", "transformers", "numpy")

Results = Mapping[str, Mapping[int, Result]]


def analyse(study: Study) -> Table:
    """The table of a study as it stands.

    Raises:
        StudyError: Arms of one seed did not begin with the same weights.
    """
    plan = study.plan
    results = results_of(study)
    require_pairing(study)
    budget = float(plan.budget * plan.episodes_per_iteration)
    rows = tuple(_row(study, arm, results[arm.key], budget) for arm in plan.arms)
    pairs = compared_pairs(plan)
    compared = tuple(
        contrast(against(arm, reference, name), results, budget)
        for arm, reference in pairs
        for name in (*COMPARED, *(COMPARED_GAMES if plan.opponents is not None else ()))
    )
    curves = (curve_difference(arm, reference, results) for arm, reference in pairs)
    judged = verdicts(
        [
            (
                hypothesis,
                [contrast(claim, results, budget) for claim in hypothesis.claims],
                [contrast(claim, results, budget) for claim in hypothesis.secondary],
            )
            for hypothesis in plan.hypotheses
        ]
    )
    missing = tuple(f"{row.key}, seed {seed}" for row in rows for seed in row.missing)
    return Table(
        name=plan.name,
        env_id=plan.env_id,
        budget=plan.budget,
        episodes_per_iteration=plan.episodes_per_iteration,
        reference=plan.reference,
        complete=not missing,
        missing=missing,
        arms=rows,
        contrasts=compared,
        verdicts=judged,
        software=software_of(study.results),
        curves=tuple(each for each in curves if each.iterations),
    )


def results_of(study: Study) -> dict[str, dict[int, Result]]:
    """The finished results by arm, then seed; an arm without any has an empty entry."""
    results: dict[str, dict[int, Result]] = {arm.key: {} for arm in study.plan.arms}
    for result in study.results:
        results[result.arm][result.seed] = result
    return results


def compared_pairs(plan: Plan) -> tuple[tuple[str, str], ...]:
    """Every arm that has one with its reference, by their keys, in the order of the plan."""
    return tuple((arm.key, reference) for arm in plan.arms if arm.key != (reference := reference_of(plan, arm)))


def software_of(results: Sequence[Result]) -> dict[str, dict[str, int]]:
    """Results by what they were made with, each name with its values: several of one are worth a word."""
    found: dict[str, dict[str, int]] = {}
    for result in results:
        for name in MADE_WITH:
            counts = found.setdefault(name, {})
            value = str(result.versions.get(name) or "unknown")
            counts[value] = counts.get(value, 0) + 1
    return found


def reference_of(plan: Plan, arm: Arm) -> str:
    """The arm that `arm` is compared with: the study's reference, at the same place on the axes that it has.

    Where several stand there, as in a plan that varies one factor at a time, it is the one that shares most with it.
    """
    reference = plan.arm(plan.reference)
    name = reference.key.partition("[")[0]
    if arm.key.partition("[")[0] == name:
        return reference.key
    there = [
        candidate
        for candidate in plan.arms
        if candidate.key.partition("[")[0] == name
        and all(arm.coordinates.get(axis) == value for axis, value in candidate.coordinates.items())
    ]
    return max(there, key=lambda candidate: len(candidate.coordinates)).key if there else reference.key


def against(arm: str, reference: str, name: str) -> Claimed:
    """An endpoint of an arm less that of its reference, as a claim."""
    bound = None if ENDPOINTS[name].bounded_by is None else reference
    terms = (Term(arm, name, 1.0, bound), Term(reference, name, -1.0, bound))
    return Claimed(f"{arm} - {reference}: {name}", terms)


def _row(study: Study, arm: Arm, results: Mapping[int, Result], budget: float) -> ArmRow:
    seeds = tuple(sorted(results))
    values: dict[str, tuple[float | None, ...]] = {}
    for name, known in ENDPOINTS.items():
        if known.bounded_by is None and not (known.of_games and study.plan.opponents is None):
            values[name] = tuple(endpoint(name, results[seed], budget) for seed in seeds)
    tests = [results[seed].after for seed in seeds]
    test = {
        part: _sum([getattr(measured, part) for measured in tests if measured is not None])
        for part in ("overall", "fresh", "stale")
    }
    clock = {
        "cpu_seconds": [results[seed].cost.cpu_seconds for seed in seeds],
        "cpu_seconds_per_iteration": [
            results[seed].cost.cpu_seconds / max(len(results[seed].training), 1) for seed in seeds
        ],
    }
    return ArmRow(
        key=arm.key,
        label=arm.label,
        method=arm.method,
        role=arm.role,
        coordinates=dict(arm.coordinates),
        tuned=tuned_as(study.plan, arm, study.tuned),
        overrides=effective_overrides(study.plan, arm, study.tuned),
        seeds=seeds,
        missing=tuple(seed for seed in study.plan.seeds_of(arm) if seed not in results),
        endpoints={name: t_interval([v for v in listed if v is not None]) for name, listed in values.items()},
        values=values,
        tasks={"valid": sum(results[seed].curve[-1].overall.n for seed in seeds if results[seed].curve)}
        | {"test": test["overall"].n, "test_fresh": test["fresh"].n, "test_stale": test["stale"].n},
        test=test,
        collapsed={str(seed): results[seed].collapses for seed in seeds if results[seed].collapses},
        timed={name: t_interval(listed) for name, listed in clock.items()},
        view=next((results[seed].view for seed in seeds), "plain"),
    )


def _sum(counts: Sequence[Count]) -> Count:
    return Count(sum(count.wins for count in counts), sum(count.n for count in counts))


def require_pairing(study: Study) -> None:
    """Refuse arms of a seed with the same warm start and other first weights: their differences would not be paired.

    Raises:
        StudyError: The message names the seed and the arms.
    """
    first: dict[tuple[int, str], Result] = {}
    for result in study.results:
        place = (result.seed, "" if result.warm is None else result.warm.key)
        held = first.setdefault(place, result)
        if held.initial_weights != result.initial_weights:
            raise StudyError(
                f"seed {result.seed}: {held.arm} and {result.arm} began with different weights, though their warm "
                "start is the same: machines that share a seed must share the folder warm-start; run it on one of them"
            )


def untimed_table(table: Table) -> dict[str, Any]:
    """The table as JSON without what a clock measured: what must come out the same however a study was interrupted."""
    content: dict[str, Any] = encode(table)
    content.pop("software")
    for row in content["arms"]:
        row.pop("timed")
    content["contrasts"] = [each for each in content["contrasts"] if not each["timed"]]
    for verdict in content["verdicts"]:
        timed = any(each["timed"] for each in verdict["claims"])
        for name in ("verdict", "reason", "p", "p_holm") if timed else ():
            verdict.pop(name)
        for part in ("claims", "secondary"):
            verdict[part] = [each for each in verdict[part] if not each["timed"]]
    return content


def contrasts_of(table: Table, arm: str) -> dict[str, Contrast]:
    """The contrasts of an arm against the reference, by endpoint."""
    return {each.terms[0].endpoint: each for each in table.contrasts if each.terms[0].arm == arm}
