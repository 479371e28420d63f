"""Endpoints: one number per run, by name, and the contrasts of them that are paired by seed.

Curves are on `valid`, over training episodes; B is the study's budget in episodes. `test` is played before the first
iteration and after the last; nothing is chosen by it. Studies of games have the trained policy's games against fixed
opponents besides, in every seat; each seat against each opponent counts alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from sdar_envs.choices import require_choice

from .plan_records import Claimed, Term
from .result_records import Count, MeasuredTest, Meeting, Result
from .statistics import area, at, crossed_bootstrap, sign_flip_p, t_interval
from .table_records import Contrast

PRIMARY = "area"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What an endpoint means, and how it is read off a result.

    `timed` when a clock has part in it; `of_games` when it is of games, which only plans that name opponents have.
    `bounded_by` is set where the paired run of another arm says how far is counted, so that only contrasts have it.
    """

    meaning: str
    value: Callable[[Result, float], float | None] = lambda result, b: None
    timed: bool = False
    of_games: bool = False
    bounded_by: Callable[[Result, Result, float], float | None] | None = None


def _points(result: Result, part: Callable[[Result], list[tuple[float, Count]]]) -> list[tuple[float, float]]:
    return [(x, count.rate) for x, count in part(result) if count.rate is not None]


def _overall(result: Result) -> list[tuple[float, Count]]:
    return [(point.episodes, point.overall) for point in result.curve]


def _stale(result: Result) -> list[tuple[float, Count]]:
    return [(point.episodes, point.stale) for point in result.curve]


def _fresh(result: Result) -> list[tuple[float, Count]]:
    return [(point.episodes, point.fresh) for point in result.curve]


def _teacher(result: Result) -> list[tuple[float, Count]]:
    return [(point.episodes, point.teacher) for point in result.curve if point.teacher is not None]


def _untrained(result: Result) -> bool:
    """Whether the run has no training, so that its curve is level and not cut short."""
    return len(result.curve) > 0 and result.curve[-1].episodes == 0


def _area(
    part: Callable[[Result], list[tuple[float, Count]]], budgets: float
) -> Callable[[Result, float], float | None]:
    return lambda result, b: area(_points(result, part), budgets * b, level=_untrained(result))


def _height(
    part: Callable[[Result], list[tuple[float, Count]]], budgets: float
) -> Callable[[Result, float], float | None]:
    def height(result: Result, b: float) -> float | None:
        points = _points(result, part)
        if points and points[-1][0] < budgets * b and not _untrained(result):
            return None  # the run ended before
        return at(points, budgets * b)

    return height


def _test(part: Callable[[MeasuredTest], Count], when: str) -> Callable[[Result, float], float | None]:
    def rate(result: Result, b: float) -> float | None:
        measured = result.before if when == "before" else result.after
        return None if measured is None else part(measured).rate

    return rate


def _met(
    part: Callable[[Meeting], float | None], against: Callable[[str | None], bool]
) -> Callable[[Result, float], float | None]:
    """The mean over the meetings with the opponents that are meant; None where one of them was not played."""

    def mean(result: Result, b: float) -> float | None:
        values = [part(each) for each in result.games.meetings if against(each.opponent)] if result.games else []
        known = [value for value in values if value is not None]
        return sum(known) / len(known) if known and len(known) == len(values) else None

    return mean


def _area_cpu(result: Result, reference: Result, budget: float) -> float | None:
    clock = [(float(point.episodes), point.cpu_seconds) for point in reference.curve]
    if not clock or clock[-1][0] < budget:
        return None
    end = at(clock, budget)
    curve = [(point.cpu_seconds, point.overall.rate) for point in result.curve if point.overall.rate is not None]
    return None if end is None else area(curve, end, level=_untrained(result))


def _valid_tokens(result: Result, reference: Result, budget: float) -> float | None:
    ends = [each.curve[-1].tokens if each.curve else None for each in (result, reference)]
    if None in ends:
        return None  # from before tokens were kept
    points = [
        (float(point.tokens or 0), point.overall.rate) for point in result.curve if point.overall.rate is not None
    ]
    return at(points, min(float(end or 0) for end in ends))


def _success(meeting: Meeting) -> float | None:
    return meeting.overall.rate


def _mean_return(meeting: Meeting) -> float | None:
    return meeting.mean_return


def _others(opponent: str | None) -> bool:
    return opponent is not None


def _itself(opponent: str | None) -> bool:
    return opponent is None


# Names as plans and tables use them.
ENDPOINTS: dict[str, Endpoint] = {
    "area": Endpoint("mean success on valid over the first B episodes (area under the curve)", _area(_overall, 1)),
    "area_2B": Endpoint("the same over 2B episodes", _area(_overall, 2)),
    "area_stale": Endpoint("the same over B, tasks with a wrong statement", _area(_stale, 1)),
    "area_fresh": Endpoint("the same over B, tasks whose statements are true", _area(_fresh, 1)),
    "start": Endpoint("success on valid before training", _height(_overall, 0)),
    "valid_B": Endpoint("success on valid at B", _height(_overall, 1)),
    "valid_2B": Endpoint("success on valid at 2B", _height(_overall, 2)),
    "teacher_2B": Endpoint("success on valid at 2B of the same model reading the hint", _height(_teacher, 2)),
    "test_start": Endpoint("success on test before training", _test(lambda measured: measured.overall, "before")),
    "test": Endpoint("success on test at the end", _test(lambda measured: measured.overall, "after")),
    "test_stale": Endpoint(
        "success on test at the end, tasks with a wrong statement", _test(lambda p: p.stale, "after")
    ),
    "test_fresh": Endpoint(
        "success on test at the end, tasks whose statements are true", _test(lambda p: p.fresh, "after")
    ),
    "fixed_success": Endpoint(
        "success against the fixed opponents at the end, mean over opponents and seats",
        _met(_success, _others),
        of_games=True,
    ),
    "fixed_return": Endpoint(
        "return against the fixed opponents at the end, mean over opponents and seats",
        _met(_mean_return, _others),
        of_games=True,
    ),
    "self_success": Endpoint(
        "success against itself at the end, mean over seats", _met(_success, _itself), of_games=True
    ),
    "self_deals": Endpoint(
        "games against itself at the end that give anything to anybody",
        _met(lambda meeting: meeting.deals, _itself),
        of_games=True,
    ),
    "area_cpu": Endpoint(
        "mean success on valid over the CPU-seconds that the reference needed for B episodes",
        timed=True,
        bounded_by=_area_cpu,
    ),
    "valid_tokens": Endpoint(
        "success on valid after as many sampled tokens as the one of the pair has that sampled fewer",
        bounded_by=_valid_tokens,
    ),
}

# Endpoints of single tasks, which a bootstrap can draw anew: which outcomes, of which tasks.
_TASKS = {
    "test": ("after", ""),
    "test_stale": ("after", "s"),
    "test_fresh": ("after", "f"),
    "test_start": ("before", ""),
}


def endpoint(name: str, result: Result, budget: float, *, reference: Result | None = None) -> float | None:
    """The value of an endpoint for one run; None where the run does not have it.

    Args:
        name: Of `ENDPOINTS`.
        result: The run.
        budget: B, in episodes.
        reference: The paired run that bounds the endpoint, where it is bounded by another.

    Raises:
        ValueError: Unknown endpoint.
    """
    require_choice("endpoint", name, ENDPOINTS, "a study")
    known = ENDPOINTS[name]
    if known.bounded_by is None:
        return known.value(result, budget)
    return None if reference is None else known.bounded_by(result, reference, budget)


def contrast(claim: Claimed, results: Mapping[str, Mapping[int, Result]], budget: float) -> Contrast:
    """The sum of a claim's terms per seed, over the seeds that all its arms have finished.

    Args:
        claim: What is compared.
        results: By arm, then seed.
        budget: B, in episodes.
    """
    arms = {term.arm for term in claim.terms} | {term.reference for term in claim.terms if term.reference}
    shared = sorted(set.intersection(*(set(results.get(arm, {})) for arm in arms)))
    differences: list[float] = []
    seeds: list[int] = []
    for seed in shared:
        values = [_term(term, results, seed, budget) for term in claim.terms]
        known = [value for value in values if value is not None]
        if len(known) == len(values):
            differences.append(sum(known))
            seeds.append(seed)
    return Contrast(
        name=claim.name,
        terms=claim.terms,
        bound=claim.bound,
        direction=claim.direction,
        smallest=claim.smallest,
        seeds=tuple(seeds),
        differences=tuple(differences),
        estimate=t_interval(differences),
        p=sign_flip_p(differences, bound=claim.bound),
        bootstrap=_bootstrap(claim, results, seeds),
        timed=any(ENDPOINTS[term.endpoint].timed for term in claim.terms),
    )


def _term(term: Term, results: Mapping[str, Mapping[int, Result]], seed: int, budget: float) -> float | None:
    reference = None if term.reference is None else results[term.reference][seed]
    value = endpoint(term.endpoint, results[term.arm][seed], budget, reference=reference)
    return None if value is None else term.weight * value


def _bootstrap(
    claim: Claimed, results: Mapping[str, Mapping[int, Result]], seeds: Sequence[int]
) -> tuple[float, ...] | None:
    """Seeds and test tasks drawn anew; None where an endpoint is not of single test tasks."""
    if not seeds or any(term.endpoint not in _TASKS for term in claim.terms):
        return None
    rows = []
    for seed in seeds:
        columns = [task_outcomes(results[term.arm][seed], term.endpoint) for term in claim.terms]
        weights = [term.weight for term in claim.terms]
        if len({len(column) for column in columns}) != 1:
            return None
        rows.append([sum(w * y for w, y in zip(weights, task, strict=True)) for task in zip(*columns, strict=True)])
    if len({len(row) for row in rows}) != 1:
        return None
    return crossed_bootstrap(rows, key=("study", claim.name))


def task_outcomes(result: Result, name: str) -> list[float]:
    """Outcomes of the single test tasks of an endpoint: 1 or 0; NaN for a task that does not count in it."""
    when, kind = _TASKS[name]
    measured = result.before if when == "before" else result.after
    if measured is None:
        return []
    return [
        float(outcome) if outcome != "-" and kind in ("", mark) else float("nan")
        for outcome, mark in zip(measured.outcomes, measured.claims, strict=True)
    ]
