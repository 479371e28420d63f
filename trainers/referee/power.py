"""How large a comparison of two arms must be, and what one of a given size can see.

Both arms are played on tasks, by runs (seeds), in samples. Of the table of differences between the arms, seed by task,
three variances matter: ``V_s`` between seeds, ``V_t`` between tasks, ``V_r`` of what is left, sampling included. They
follow exactly from `outcomes`; the difference of the arms' success rates then has the variance

    V_s / seeds + V_t / tasks + V_r / (seeds tasks)          the same tasks for every seed
    V_s / seeds + (V_t + V_r) / (seeds tasks)                tasks of its own for every seed, as in this suite's studies

and is tested as a table of that kind is (`significance`; for crossed designs see J. Westfall, D. A. Kenny, C. M.
Judd, 2014). One run per arm shows no spread between runs, so its test is blind to ``V_s``, and the share of differences
that it finds where there is none is not 5 %. `power_simulation` draws such comparisons and tests them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy import optimize, special, stats

from .crossed_power import MeanSquares, crossed_power
from .outcomes import Shares, Spread, outcome_covariance, shares_of

ALPHA = 0.05
POWER = 0.8
MOST_TASKS = 100_000


@dataclass(frozen=True, slots=True)
class Design:
    """The size of a comparison of two arms.

    Attributes:
        tasks: Tasks of an arm's run.
        samples: Episodes of a run on each.
        seeds: Runs per arm.
        paired: Whether both arms have the same tasks.
        own_tasks: Whether every seed has tasks of its own, and not all the same.
    """

    tasks: int
    samples: int = 1
    seeds: int = 1
    paired: bool = True
    own_tasks: bool = False

    def __post_init__(self) -> None:
        for name, low in (("tasks", 2), ("samples", 1), ("seeds", 1)):
            if getattr(self, name) < low:
                raise ValueError(f"design of a comparison: expected {name} >= {low}, got {getattr(self, name)}")

    @property
    def episodes(self) -> int:
        """Episodes of evaluation per arm."""
        return self.tasks * self.samples * self.seeds

    @property
    def rule(self) -> str:
        """How its table is tested: ``tasks`` (one run per arm), ``seeds`` (own tasks), ``crossed``."""
        if self.seeds == 1:
            return "tasks"
        return "seeds" if self.own_tasks else "crossed"


@dataclass(frozen=True, slots=True)
class Variances:
    """Of the differences between two arms, seed by task: between seeds, between tasks, and what is left."""

    seeds: float
    tasks: float
    left: float


@dataclass(frozen=True, slots=True)
class Claim:
    """Two success rates and how outcomes spread around them.

    Attributes:
        p: Success rate of the reference.
        difference: By how much the other arm's is higher (or lower).
        spread: What rates differ by besides.

    Raises:
        ValueError: A rate outside (0, 1), or a spread that no outcomes of these rates have.
    """

    p: float
    difference: float
    spread: Spread

    def __post_init__(self) -> None:
        for name, rate in (("p", self.p), ("p + difference", self.p + self.difference)):
            if not 0 < rate < 1:
                raise ValueError(f"a claim expects {name} between 0 and 1, got {rate:g}")
        shares_of(self.p, self.spread)

    @property
    def rates(self) -> tuple[float, float]:
        """Of the reference and of the other arm."""
        return self.p, self.p + self.difference

    @property
    def shares(self) -> Shares:
        """Of the latent variance, the same for both arms."""
        return shares_of(self.p, self.spread)


def variances_of(claim: Claim, design: Design) -> Variances:
    """``V_s``, ``V_t`` and ``V_r`` of a comparison."""
    parts = claim.shares
    task, run = parts.task + parts.effect, parts.seed
    whole = task + run + parts.residual
    common = outcome_covariance(*claim.rates, parts.task) if design.paired else 0.0
    seeds = tasks = single = 0.0
    for rate in claim.rates:
        seeds += outcome_covariance(rate, rate, run)
        tasks += outcome_covariance(rate, rate, task)
        same = outcome_covariance(rate, rate, whole)
        single += (rate * (1 - rate) - same) / design.samples + same
    tasks -= 2 * common
    return Variances(seeds, tasks, single - 2 * common - seeds - tasks)


@dataclass(frozen=True, slots=True)
class PlannedTest:
    """How the mean difference of a design is tested.

    Attributes:
        deviation: Standard deviation of the mean difference over repetitions of the whole comparison.
        error: What its test takes for that, on average.
        freedom: Degrees of freedom of the error, on average.
        squares: Mean squares of the table of a crossed design; None for others.
    """

    deviation: float
    error: float
    freedom: float
    squares: MeanSquares | None = None

    @property
    def half_width(self) -> float:
        """Of the 95 % interval that the test goes with."""
        return self.error * float(stats.t.ppf(1 - ALPHA / 2, self.freedom))

    def power(self, difference: float) -> float:
        """Probability of finding a difference, two-sided at 5 %; with 0 it is that of a false positive."""
        if self.squares is not None:
            return crossed_power(self.squares, difference, alpha=ALPHA)
        ratio = self.error / self.deviation
        critical, away = float(stats.t.ppf(1 - ALPHA / 2, self.freedom)) * ratio, difference / self.deviation
        if ratio < 1:  # the unit is the task: their number is large, and the error about what it is on average
            return float(special.ndtr(away - critical) + special.ndtr(-away - critical))
        if abs(away) > critical + 12:  # scipy's noncentral t loses this tail, where the answer is 1
            return 1.0
        found = stats.nct.sf(critical, self.freedom, away) + stats.nct.cdf(-critical, self.freedom, away)
        return float(min(1.0, max(0.0, found)))


def planned_test(claim: Claim, design: Design) -> PlannedTest:
    """The test that a design's table gets, and how far its error is the true one."""
    found = variances_of(claim, design)
    seeds, tasks = design.seeds, design.tasks
    if design.rule == "tasks":
        seen = (found.tasks + found.left) / tasks
        return PlannedTest(math.sqrt(found.seeds + seen), math.sqrt(seen), tasks - 1)
    if design.rule == "seeds":
        seen = found.seeds / seeds + (found.tasks + found.left) / (seeds * tasks)
        return PlannedTest(math.sqrt(seen), math.sqrt(seen), seeds - 1)
    by_seed, by_task = tasks * found.seeds + found.left, seeds * found.tasks + found.left
    squares = MeanSquares(by_seed, by_task, found.left, seeds, tasks)
    return PlannedTest(squares.deviation, squares.deviation, squares.freedom, squares)


def power_of(claim: Claim, design: Design) -> float:
    """Probability that a comparison of this size finds the claimed difference, two-sided at 5 %."""
    return planned_test(claim, design).power(claim.difference)


def false_positives_of(claim: Claim, design: Design) -> float:
    """Probability that it finds a difference where there is none, both arms having the rate ``claim.p``.

    Tasks still favour one arm or the other, as ``spread.effect`` says.
    """
    return planned_test(Claim(claim.p, 0.0, claim.spread), design).power(0.0)


def smallest_seen(claim: Claim, design: Design, *, power: float = POWER) -> float | None:
    """The smallest gain over ``claim.p`` that a comparison of this size finds with this power; None where none is."""
    most = 1 - claim.p - 1e-3

    def lacking(difference: float) -> float:
        return power_of(Claim(claim.p, difference, claim.spread), design) - power

    if lacking(most) < 0:
        return None
    return float(optimize.brentq(lacking, 1e-6, most, xtol=1e-6)) if lacking(1e-6) < 0 else 1e-6


def tasks_needed(claim: Claim, design: Design, *, power: float = POWER) -> int | None:
    """The fewest tasks with which a design has this power; None where no number of tasks is enough.

    None also for one run per arm: its test does not know how often it is wrong.

    Args:
        claim: What is to be found.
        design: Everything but the number of tasks.
        power: Wanted.
    """
    if design.rule == "tasks":
        return None

    def enough(tasks: int) -> bool:
        sized = Design(tasks, design.samples, design.seeds, design.paired, design.own_tasks)
        return power_of(claim, sized) >= power

    low, high = 1, 2
    while not enough(high):
        low, high = high, high * 2
        if high > MOST_TASKS:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
