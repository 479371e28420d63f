"""One method: its fields, its checks, and what an iteration of it reads.

A method names the readings of its teacher, the token signal that is computed from them, the token weight, and where the
weight enters:

    teacher views -> combine -> signal -> weight -> injection (times coefficient times schedule)

`Method.at` resolves that for one iteration into an `IterationPlan`, which every step gets. The methods stand in `core`,
`information` and `successors`, the table in `table`; `apply` carries a method out.

Notation in ``gradient``: S live student, O the policy that sampled, T teacher, R reference log-prob of the sampled
token; H entropy of the student; A advantage, r = exp(S - O), N loss tokens of the optimiser step, lambda the
coefficient.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from sdar_envs.choices import require_choice

from ..batch.outcome import EpisodeOutcome
from ..batch.token_batch import TokenBatch
from ..maths import signals
from ..options import MethodOptions, Options
from .schedules import Schedule, constant, linear_decay

# What methods that compare whole next-token distributions read of the options.
DIVERGENCE_OPTIONS = (
    "divergence",
    "divergence_alpha",
    "divergence_target_share",
    "divergence_top_k",
    "divergence_memory_gb",
)

VIEWS = ("plain", "privileged")
GROUPS = ("core", "ours", "equal information", "control", "successor")
INJECTIONS = ("none", "aux", "adv_mul", "adv_add", "adv_add_signed", "divergence")
NEEDS = frozenset({"privileged", "entropy", "vocabulary", "step_rewards", "plan"})
FIDELITIES = ("code", "paper", "digest", "ours")
TEACHER_WEIGHTS = ("current", "initial", "ema")
COMBINES: dict[str, Callable[[Tensor], Tensor]] = {
    "mean": signals.mean_of_teachers,
    "max": signals.max_of_teachers,
}

SignalFunction = Callable[[TokenBatch, Tensor, MethodOptions], Tensor]  # (batch, teacher_BT, options) -> [B, T]
WeightFunction = Callable[[Tensor, TokenBatch, MethodOptions], Tensor]  # (signal_BT, batch, options) -> [B, T]
# (batch of all rows of the iteration, teacher_BT, options) -> numbers by name
StatisticsFunction = Callable[[TokenBatch, Tensor, MethodOptions], Mapping[str, float]]
# (episodes of the iteration, options) -> for each whether it is kept
KeepFunction = Callable[[Sequence[EpisodeOutcome], MethodOptions], Sequence[bool]]


# --- signals and weights as methods name them; formulas are in `maths.signals` ---


def live_gap(batch: TokenBatch, teacher_BT: Tensor, options: MethodOptions) -> Tensor:
    """T - S: the gap to the student as it is at this update."""
    return signals.gap(teacher_BT, batch.live_student())


def sampled_gap(batch: TokenBatch, teacher_BT: Tensor, options: MethodOptions) -> Tensor:
    """T - O: the gap to the policy that sampled, so an effect of the privileged context alone."""
    return signals.gap(teacher_BT, batch.behaviour_BT)


def gate(signal_BT: Tensor, batch: TokenBatch, options: MethodOptions) -> Tensor:
    """sigmoid(beta x): between 0 and 1, beta being ``gate_beta``."""
    return signals.sigmoid_gate(signal_BT, options.gate_beta)


def identity(signal_BT: Tensor, batch: TokenBatch, options: MethodOptions) -> Tensor:
    """x: the signal itself."""
    return signal_BT.detach()


def named_weights(name: str) -> str:
    """Teacher weights by the name that they have today."""
    return "current" if name == "old" else name


@dataclass(frozen=True)
class Method:
    """One training method.

    Attributes:
        name: Its registered name.
        summary: One sentence.
        gradient: What the method adds to the gradient on S, per loss token.
        source: The publication or derivation that it is from.
        fidelity: What our form was checked against: ``code``, ``paper``, ``digest`` (second-hand), or ``ours``.
        group: Where it stands in the table, one of `GROUPS`.
        note: Choices we made, and differences from the source.
        options: Names of `SDARConfig` options that this method reads beyond the common ones.
        student_view: The prompt that the student acts under when it trains, one of `VIEWS`.
        learn_view: The prompt given which it learns; None for the one that it acted under. ``plain`` with a
            `student_view` of ``privileged`` learns from the sampled tokens given the plain prompt
            (`rollout.selection`).
        keep: Which episodes of an iteration the injection learns from; None for all. With a `pg_coef` of 0 the others
            leave the update altogether, KL and entropy terms included.
        teacher_views: Names of the teacher's readings, in the order `combine` gets them.
        combine: How several readings become one: a key of `COMBINES`. None takes the first; a signal may read all of
            them from ``batch.teachers``.
        teacher_weights: The parameters of the teacher, of `TEACHER_WEIGHTS`, where the run names none. ``current`` are
            those of the policy that sampled the iteration; ``old`` is another name for them.
        signal: Token signal; None where nothing is injected.
        weight: Map from signal to token weight.
        injection: Where the weight enters, one of `INJECTIONS`; see `apply.apply`.
        coef: The published coefficient.
        schedule: Factor of the coefficient over iterations.
        pg_coef: Coefficient of the policy-gradient term.
        advantage: Name in `advantages.ADVANTAGES`; None takes the configuration's.
        eval_views: The prompts, of `VIEWS`, that the student is evaluated under. The first is the one that the method
            is about: `summary.json` has it under ``before`` and ``after``.
        timing: ``update``: signal and weight are computed at every update with the live S. ``iteration``: once per
            iteration over all its rows, with O in the place of S (`apply.weigh`), for maps that look at more than one
            token.
        statistics: Numbers over all rows of the iteration, with O in the place of S and the sampler's entropy, computed
            before the first update; signal and weight find them in ``batch.statistics``.
        needs: What it reads beyond log-probs: ``privileged``, ``entropy``, ``vocabulary``, ``step_rewards``, and
            ``plan`` for the length of the remaining plan at every turn.
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
    teacher_weights: str = "current"
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
                f"{where}: learn_view={self.learn_view!r} does not go with student_view={self.student_view!r}: "
                "a student that acted under the plain prompt learns given that prompt"
            )
        if self.student_view == "privileged" and self.teacher_views:
            raise ValueError(
                f"{where}: a teacher reads what a student did under the plain prompt, not under the privileged one"
            )
        require_choice("teacher_weights", self.teacher_weights, (*TEACHER_WEIGHTS, "old"), where)
        object.__setattr__(self, "teacher_weights", named_weights(self.teacher_weights))
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

    # What follows from the fields.

    @property
    def learns(self) -> bool:
        """Whether the method can change a parameter; one that cannot is only evaluated."""
        return self.pg_coef != 0.0 or self.injection != "none"

    @property
    def relabels(self) -> bool:
        """Whether it learns given another prompt than the one that the student acted under."""
        return self.learn_view not in (None, self.student_view)

    def teacher_weights_for(self, options: MethodOptions) -> str:
        """The parameters of the teacher in a run: of `TEACHER_WEIGHTS`, or the place of a model."""
        return named_weights(options.teacher_weights or self.teacher_weights)

    def schedule_for(self, options: MethodOptions) -> Schedule:
        """The schedule that applies: ``distill_decay`` where it is set (0 is constant), else the method's own."""
        if options.distill_decay is None:
            return self.schedule
        return linear_decay(options.distill_decay) if options.distill_decay else constant

    def coefficient(self, step: int, options: MethodOptions) -> float:
        """The coefficient at iteration `step` (from 0): configured value and decay where set, else the method's own."""
        if self.injection == "none":
            return 0.0
        base = self.coef if options.distill_coef is None else options.distill_coef
        return base * self.schedule_for(options)(step)

    def at(self, step: int, options: Options) -> IterationPlan:
        """The plan of iteration `step` (from 0)."""
        return IterationPlan.resolve(self, options, step=step, coefficient=self.coefficient(step, options))

    def check_options(self, options: Options) -> None:
        """Refuse options that act through advantages alone, for a method that learns without them.

        Raises:
            ValueError: The message names the option and what is expected.
        """
        if self.pg_coef != 0.0 or self.injection == "none":
            return
        where = f"method {options.method!r} has no policy gradient"
        if options.kl_placement == "advantage" and options.beta != 0.0:
            raise ValueError(
                f"SDARConfig.kl_placement: {where}, so beta={options.beta:g} in the advantage would hold nothing: "
                "expected kl_placement=loss, or beta=0"
            )
        if options.dynamic_sampling:
            raise ValueError(
                f"SDARConfig.dynamic_sampling: {where}, so it learns from zero-variance groups too, most of all from "
                f"those that succeeded: expected 0, got {options.dynamic_sampling}"
            )


@dataclass(frozen=True, slots=True)
class IterationPlan:
    """A method at one iteration, resolved once: its coefficient, and what must be read for it.

    With a coefficient of 0 no teacher is read, and the loss is bit for bit that of the method without injection.

    Attributes:
        method: The method.
        options: The options that its functions read.
        step: The iteration, from 0.
        seed: Of the run; with `step` the key of counted draws.
        coefficient: Of the injection, schedule included.
        reads_teacher: Whether a teacher pass is run: the method has a reading, and the coefficient is not 0.
        reads_vocabulary: Whether the teacher's whole next-token distributions are kept until the update.
        reads_entropy: Whether the update computes the student's entropy.
        reads_reference: Whether the reference policy is scored.
        reads_plan_length: Whether the length of the remaining plan is asked for at every turn.
    """

    method: Method
    options: MethodOptions
    step: int
    seed: int
    coefficient: float
    reads_teacher: bool
    reads_vocabulary: bool
    reads_entropy: bool
    reads_reference: bool
    reads_plan_length: bool

    @classmethod
    def resolve(cls, method: Method, options: Options, *, step: int = 0, coefficient: float) -> IterationPlan:
        """The plan at a given coefficient; `Method.at` takes the coefficient of the iteration."""
        counts = coefficient != 0.0
        teacher = bool(method.teacher_views) and method.injection != "none" and counts
        return cls(
            method=method,
            options=options,
            step=step,
            seed=options.seed,
            coefficient=coefficient,
            reads_teacher=teacher,
            reads_vocabulary=teacher and "vocabulary" in method.needs,
            reads_entropy=options.entropy_coef != 0.0 or (counts and "entropy" in method.needs),
            reads_reference=options.beta != 0.0,
            reads_plan_length=counts and "plan" in method.needs,
        )
