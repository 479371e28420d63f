"""One row of the table of methods: its fields, its checks, and the register that rows are added to.

A method says which views are read, which token signal comes of them, which weight, and where the weight enters:

    teacher views -> combine -> signal -> weight -> injection (times coefficient times schedule)

Rows stand in `methods_core` and its neighbours; `methods` has the whole table and carries a row out.

Notation in the rows' ``gradient``: S live student, O sampling weights, T teacher, R reference log-prob of the sampled
token; H entropy of the student; A advantage, r = exp(S - O), N loss tokens of the optimiser step, lambda the
coefficient.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from torch import Tensor

from sdar_envs.choices import require_choice

from . import signals
from .batching import TokenBatch

if TYPE_CHECKING:
    from .advantages import EpisodeOutcome
    from .config import SDARConfig

VIEWS = ("plain", "privileged")
GROUPS = ("core", "ours", "equal information", "control", "successor")
INJECTIONS = ("none", "aux", "adv_mul", "adv_add", "divergence")
NEEDS = frozenset({"privileged", "entropy", "vocabulary", "step_rewards", "plan"})
FIDELITIES = ("code", "paper", "digest", "ours")
COMBINES: dict[str, Callable[[Tensor], Tensor]] = {
    "mean": signals.mean_of_teachers,
    "max": signals.max_of_teachers,
}

SignalFunction = Callable[[TokenBatch, Tensor, "SDARConfig"], Tensor]  # (batch, teacher_BT, config) -> [B, T]
WeightFunction = Callable[[Tensor, TokenBatch, "SDARConfig"], Tensor]  # (signal_BT, batch, config) -> [B, T]
# (batch of all rows of the iteration, teacher_BT, config) -> figures
StatisticsFunction = Callable[[TokenBatch, Tensor, "SDARConfig"], Mapping[str, float]]

# (episodes of the iteration, config) -> for each whether it is kept
KeepFunction = Callable[[Sequence["EpisodeOutcome"], "SDARConfig"], Sequence[bool]]


class Schedule(Protocol):
    """Factor of the coefficient at an iteration, counted from 0; its text is what a person reads."""

    def __call__(self, step: int) -> float:
        """The factor."""
        ...


@dataclass(frozen=True, slots=True)
class Constant:
    """The coefficient as it is, at every iteration."""

    def __call__(self, step: int) -> float:
        """Always 1."""
        return 1.0

    def __str__(self) -> str:
        return "constant"


@dataclass(frozen=True, slots=True)
class LinearDecay:
    """From 1 at iteration 0 to 0 at `iterations`, and 0 from there on."""

    iterations: int

    def __call__(self, step: int) -> float:
        """The factor."""
        return max(0.0, 1.0 - step / self.iterations)

    def __str__(self) -> str:
        return f"to 0 at {self.iterations}"


constant = Constant()


def linear_decay(iterations: int) -> Schedule:
    """From 1 at iteration 0 to 0 at `iterations`, and 0 from there on."""
    return LinearDecay(iterations)


# --- signals and weights as rows name them; formulas are in `signals` ---


def live_gap(batch: TokenBatch, teacher_BT: Tensor, config: SDARConfig) -> Tensor:
    """T - S: the gap by the weights of this very update."""
    return signals.gap(teacher_BT, batch.live_student())


def sampled_gap(batch: TokenBatch, teacher_BT: Tensor, config: SDARConfig) -> Tensor:
    """T - O: the gap by the weights that sampled, so a pure effect of what the teacher reads."""
    return signals.gap(teacher_BT, batch.behaviour_BT)


def gate(signal_BT: Tensor, batch: TokenBatch, config: SDARConfig) -> Tensor:
    """sigmoid(beta x): between 0 and 1, beta being ``gate_beta``."""
    return signals.sigmoid_gate(signal_BT, config.gate_beta)


def identity(signal_BT: Tensor, batch: TokenBatch, config: SDARConfig) -> Tensor:
    """x: the signal itself."""
    return signal_BT.detach()


@dataclass(frozen=True)
class Method:
    """One training method.

    Attributes:
        name: Its registered name.
        summary: One sentence.
        gradient: What the method adds to the gradient on S, per loss token.
        source: Where it is from.
        fidelity: What our form was checked against: ``code``, ``paper``, ``digest`` (second-hand), or ``ours``.
        group: Where it stands in the table, one of `GROUPS`.
        note: What a reader must know beside that: choices we made, differences from the source.
        options: Names of `SDARConfig` options that this row reads beyond the common ones.
        student_view: Whose prompt the student acts behind when it trains, one of `VIEWS`.
        learn_view: Whose prompt it learns behind; None for the one it acted behind. ``plain`` behind a ``privileged``
            `student_view` lays the sampled tokens behind the prompt without the privileged block (`lessons`).
        keep: Which episodes of an iteration the injection learns from; None for all. With a `pg_coef` of 0 the others
            leave the update altogether, KL and entropy terms included.
        teacher_views: Names of the teacher's readings, in the order `combine` gets them.
        combine: How several readings become one: a key of `COMBINES`. None takes the first; a signal may read all of
            them from ``batch.teachers``.
        teacher_weights: Which weights read as the teacher; ``old`` are those that sampled the iteration.
        signal: Token signal; None where nothing is injected.
        weight: Map from signal to weight.
        injection: Where the weight enters, one of `INJECTIONS`; see `apply`.
        coef: The published coefficient.
        schedule: Factor of the coefficient over iterations.
        pg_coef: Coefficient of the policy-gradient term.
        advantage: Name in `advantages.ADVANTAGES`; None takes the configuration's.
        eval_views: Prompts, of `VIEWS`, behind which the student is evaluated. The first is what the method is about:
            `summary.json` has it under ``before`` and ``after``.
        timing: ``update``: signal and weight are computed at every update with the live S; ``iteration``: once per
            iteration over all its rows, with O in the place of S (`prepare`), for maps that look at more than a token.
        statistics: Figures over all rows of the iteration, with O in the place of S and the sampler's entropy, taken
            before the first update; signal and weight find them in ``batch.statistics``.
        needs: Beyond log-probs, of ``privileged``, ``entropy``, ``vocabulary``, ``step_rewards``, and ``plan`` for the
            length of the remaining plan at every turn.
    """

    name: str
    summary: str
    gradient: str
    source: str
    fidelity: str
    group: str = "ours"
    note: str = ""
    options: tuple[str, ...] = ()
    student_view: str = "plain"
    learn_view: str | None = None
    keep: KeepFunction | None = None
    teacher_views: tuple[str, ...] = ()
    combine: str | None = None
    teacher_weights: str = "old"
    signal: SignalFunction | None = None
    weight: WeightFunction = identity
    injection: str = "none"
    coef: float = 0.0
    schedule: Schedule = constant
    pg_coef: float = 1.0
    advantage: str | None = None
    eval_views: tuple[str, ...] = ("plain",)
    timing: str = "update"
    statistics: StatisticsFunction | None = None
    needs: frozenset[str] = field(default_factory=frozenset)

    def __post_init__(self) -> None:
        where = f"method {self.name!r}"
        require_choice("group", self.group, GROUPS, where)
        require_choice("injection", self.injection, INJECTIONS, where)
        require_choice("fidelity", self.fidelity, FIDELITIES, where)
        require_choice("student_view", self.student_view, VIEWS, where)
        for view in self.eval_views:
            require_choice("eval_views", view, VIEWS, where)
        if not self.eval_views or len(set(self.eval_views)) < len(self.eval_views):
            raise ValueError(f"{where}: expected eval_views without repetition, at least one, got {self.eval_views}")
        if self.learn_view not in (None, self.student_view, "plain"):
            raise ValueError(
                f"{where}: learn_view={self.learn_view!r} behind student_view={self.student_view!r} is not to be had: "
                "a student that acted behind the plain prompt learns behind it"
            )
        if self.student_view == "privileged" and self.teacher_views:
            raise ValueError(f"{where}: a teacher reads what a student did behind the plain prompt, not the privileged")
        require_choice("teacher_weights", self.teacher_weights, ("old",), where)
        require_choice("timing", self.timing, ("update", "iteration"), where)
        if unknown := self.needs - NEEDS:
            raise ValueError(f"{where}: needs knows {', '.join(sorted(NEEDS))}, got {', '.join(sorted(unknown))}")
        if self.injection == "none" and (self.teacher_views or self.signal is not None):
            raise ValueError(f"{where}: injection 'none' uses no teacher view and no signal; name an injection")
        if self.injection not in ("none", "divergence") and self.signal is None:
            raise ValueError(f"{where}: injection {self.injection!r} needs a signal")
        if (self.injection == "divergence") != ("vocabulary" in self.needs):
            raise ValueError(f"{where}: injection 'divergence' needs the 'vocabulary', and nothing else does")
        if "vocabulary" in self.needs and len(self.teacher_views) != 1:
            raise ValueError(f"{where}: a divergence is to one teacher's distribution, got {len(self.teacher_views)}")
        if self.combine is not None:
            require_choice("combine", self.combine, COMBINES, where)


METHODS: dict[str, Method] = {}


def register(method: Method) -> Method:
    """Add a row to the table.

    Raises:
        ValueError: The name is taken.
    """
    if method.name in METHODS:
        raise ValueError(f"method {method.name!r} is registered already; choose another name")
    METHODS[method.name] = method
    return method


def get_method(name: str) -> Method:
    """Look a method up.

    Raises:
        ValueError: There is none of that name; the message lists the choices and the nearest.
    """
    return METHODS[require_choice("method", name, METHODS, "the table of methods")]


def coefficient(method: Method, config: SDARConfig, step: int) -> float:
    """The coefficient at iteration `step` (from 0): configured value and decay where set, else the row's own."""
    if method.injection == "none":
        return 0.0
    base = method.coef if config.distill_coef is None else config.distill_coef
    return base * schedule_of(method, config)(step)


def schedule_of(method: Method, config: SDARConfig) -> Schedule:
    """The schedule that applies: ``distill_decay`` where it is set (0 is constant), else the row's."""
    if config.distill_decay is None:
        return method.schedule
    return linear_decay(config.distill_decay) if config.distill_decay else constant


def needs_teacher(method: Method, coef: float) -> bool:
    """Whether a teacher pass is run at all: there is a view to read, and a coefficient that lets it matter."""
    return bool(method.teacher_views) and method.injection != "none" and coef != 0.0


def learns(method: Method) -> bool:
    """Whether there is anything that could change a weight; a row without it is only evaluated."""
    return method.pg_coef != 0.0 or method.injection != "none"


def relays(method: Method) -> bool:
    """Whether rows are laid behind another prompt than the one that the student acted behind."""
    return method.learn_view not in (None, method.student_view)


def needs_plan(method: Method, coef: float) -> bool:
    """Whether the length of the remaining plan is asked for at every turn."""
    return "plan" in method.needs and coef != 0.0


def needs_reference(config: SDARConfig) -> bool:
    """Whether the reference policy is scored at all."""
    return config.beta != 0.0


def needs_vocabulary(method: Method, coef: float) -> bool:
    """Whether the teacher's whole next-token distributions are kept until the update."""
    return "vocabulary" in method.needs and needs_teacher(method, coef)


def needs_entropy(method: Method, config: SDARConfig, coef: float) -> bool:
    """Whether the update must compute the student's entropy."""
    return config.entropy_coef != 0.0 or (coef != 0.0 and "entropy" in method.needs)
