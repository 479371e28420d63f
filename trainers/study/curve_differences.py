"""How far an arm leads its reference at every iteration: success on `valid`, paired by seed.

`area` says in one number who learns faster; these say when. No claim of a plan rests on them, and they are corrected
for nothing: an iteration is one of many that one could have looked at.
"""

from __future__ import annotations

from collections.abc import Mapping

from .result_records import Result
from .statistics import t_interval
from .table_records import CurveDifference


def curve_difference(arm: str, reference: str, results: Mapping[str, Mapping[int, Result]]) -> CurveDifference:
    """Success of `arm` minus that of `reference`, at each iteration behind the first that a seed has of both.

    Args:
        arm: Key of the arm.
        reference: Key of the arm that it is compared with.
        results: By arm, then seed.
    """
    of_arm, of_reference = results.get(arm, {}), results.get(reference, {})
    found: dict[int, list[float]] = {}
    for seed in sorted({*of_arm} & {*of_reference}):
        own, other = _rates(of_arm[seed]), _rates(of_reference[seed])
        for iteration in sorted({*own} & {*other}):
            found.setdefault(iteration, []).append(own[iteration] - other[iteration])
    iterations = tuple(sorted(found))
    return CurveDifference(arm, reference, iterations, tuple(t_interval(found[each]) for each in iterations))


def _rates(result: Result) -> dict[int, float]:
    """Success by iteration; not that before training, where the arms of a seed are the same model."""
    counted = {point.iteration: point.overall.rate for point in result.curve if point.iteration > 0}
    return {iteration: rate for iteration, rate in counted.items() if rate is not None}
