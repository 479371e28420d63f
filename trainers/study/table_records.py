"""What the analysis of a study says, typed: estimates, arms, contrasts, verdicts, the table.

Everything that was measured with a clock lies under ``timed``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .plan_records import FORMAT, Term
from .result_records import Collapse, Count


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

    `view` is the prompt it was measured under (``plain``, but for methods that have no other than ``privileged``).
    `endpoints` by name, see `endpoints.ENDPOINTS`; `values` has them per seed, in the order of `seeds`. `tasks` has the
    number of tasks of an endpoint, summed over seeds. `timed` has what a clock measured, e.g. ``cpu_seconds``.
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
class CurveDifference:
    """Success on `valid` of an arm minus that of `reference`, paired by seed: an estimate per iteration."""

    arm: str
    reference: str
    iterations: tuple[int, ...]
    estimates: tuple[Estimate, ...]

    def at(self, iteration: int) -> Estimate | None:
        """The estimate at an iteration; None where none was measured."""
        return dict(zip(self.iterations, self.estimates, strict=True)).get(iteration)


@dataclass(frozen=True, slots=True)
class Table:
    """The analysis of a study: `table.json`. `software` counts results by what they were made with, commit included.

    `curves` has the arms that were trained beside their reference, each less the reference, by iteration.
    """

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
    curves: tuple[CurveDifference, ...] = ()
    format: int = FORMAT
