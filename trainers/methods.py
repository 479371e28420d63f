"""The table of methods: every training method is a row of data plus at most one pure function.

A method says which views are read, which token signal comes of them, which weight, and where the weight enters:

    teacher views -> combine -> signal -> weight -> injection (times coefficient times schedule)

and `apply` carries that out for any row (`objective` builds the whole loss around it); no trainer asks for a method's
name. The coefficient that a row names is the published one and applies unless ``SDARConfig.distill_coef`` is set. A
coefficient of 0 (or a schedule that has come to 0) means that no teacher is asked and that the loss is bit for bit that
of the row without injection.

Notation in the rows' ``gradient``: S live student, O sampling weights, T teacher, R reference log-prob of the sampled
token; A advantage, r = exp(S - O), N loss tokens of the optimiser step, lambda the coefficient.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sdar_envs.choices import require_choice

from . import losses, signals
from .batching import TokenBatch, collate

if TYPE_CHECKING:
    from .batch import Row
    from .config import SDARConfig

INJECTIONS = ("none", "aux", "adv_mul", "adv_add", "divergence")
FIDELITIES = ("code", "paper", "digest", "ours")
COMBINES: dict[str, Callable[[Tensor], Tensor]] = {
    "mean": signals.mean_of_teachers,
    "max": signals.max_of_teachers,
}

SignalFunction = Callable[[TokenBatch, Tensor, "SDARConfig"], Tensor]  # (batch, teacher_BT, config) -> [B, T]
WeightFunction = Callable[[Tensor, TokenBatch, "SDARConfig"], Tensor]  # (signal_BT, batch, config) -> [B, T]
Schedule = Callable[[int], float]  # iteration, from 0 -> factor


def constant(step: int) -> float:
    """The coefficient as it is, at every iteration."""
    return 1.0


def linear_decay(iterations: int) -> Schedule:
    """From 1 at iteration 0 to 0 at `iterations`, and 0 from there on."""

    def factor(step: int) -> float:
        return max(0.0, 1.0 - step / iterations)

    return factor


# --- signals and weights as rows name them; formulas are in `signals` ---


def live_gap(batch: TokenBatch, teacher_BT: Tensor, config: SDARConfig) -> Tensor:
    """T - S with the weights of this very update."""
    return signals.gap(teacher_BT, batch.live_student())


def sampled_gap(batch: TokenBatch, teacher_BT: Tensor, config: SDARConfig) -> Tensor:
    """T - O: both by the weights that sampled, so a pure effect of what the teacher reads."""
    return signals.gap(teacher_BT, batch.behaviour_BT)


def gate(signal_BT: Tensor, batch: TokenBatch, config: SDARConfig) -> Tensor:
    """sigmoid(beta x), beta being ``gate_beta``."""
    return signals.sigmoid_gate(signal_BT, config.gate_beta)


def identity(signal_BT: Tensor, batch: TokenBatch, config: SDARConfig) -> Tensor:
    """The signal itself."""
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
        student_view: Whose prompt the student acts and learns behind: ``plain`` or ``privileged``.
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
        eval_views: Student views under which the method is evaluated.
        timing: ``update``: signal and weight are computed at every update with the live S; ``iteration``: once per
            iteration over all its rows, with O in the place of S (`prepare`), for maps that look at more than a token.
        needs: Beyond log-probs, of ``privileged``, ``entropy``, ``vocabulary`` and ``step_rewards``.
    """

    name: str
    summary: str
    gradient: str
    source: str
    fidelity: str
    student_view: str = "plain"
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
    needs: frozenset[str] = field(default_factory=frozenset)

    def __post_init__(self) -> None:
        where = f"method {self.name!r}"
        require_choice("injection", self.injection, INJECTIONS, where)
        require_choice("fidelity", self.fidelity, FIDELITIES, where)
        require_choice("student_view", self.student_view, ("plain", "privileged"), where)
        require_choice("teacher_weights", self.teacher_weights, ("old",), where)
        require_choice("timing", self.timing, ("update", "iteration"), where)
        if self.injection == "none" and (self.teacher_views or self.signal is not None):
            raise ValueError(f"{where}: injection 'none' uses no teacher view and no signal; name an injection")
        if self.injection not in ("none", "divergence") and self.signal is None:
            raise ValueError(f"{where}: injection {self.injection!r} needs a signal")
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


register(
    Method(
        name="grpo",
        summary="Group-relative policy optimisation: advantages from siblings of one task, clipped ratio, no teacher.",
        gradient="-A r / N inside the clip, 0 where it binds",
        source="arXiv 2402.03300; dual clip arXiv 1912.09729",
        fidelity="code",
    )
)
register(
    Method(
        name="sdar",
        summary=(
            "Self-distilled agentic RL: the same weights, reading privileged text, say how much each sampled token is "
            "raised, by a sigmoid gate on the gap, on top of GRPO."
        ),
        gradient="that of grpo, and -lambda sigmoid(beta (T - S)) / N: raises every sampled token, by lambda/N at most",
        source="arXiv 2605.15155 and its published code",
        fidelity="code",
        teacher_views=("teacher",),
        signal=live_gap,
        weight=gate,
        injection="aux",
        coef=0.01,
        needs=frozenset({"privileged"}),
    )
)


def coefficient(method: Method, config: SDARConfig, step: int) -> float:
    """The coefficient at iteration `step` (from 0): the configured one, else the row's, times the schedule."""
    if method.injection == "none":
        return 0.0
    base = method.coef if config.distill_coef is None else config.distill_coef
    return base * method.schedule(step)


def needs_teacher(method: Method, coef: float) -> bool:
    """Whether a teacher pass is run at all: there is a view to read, and a coefficient that lets it matter."""
    return bool(method.teacher_views) and method.injection != "none" and coef != 0.0


def needs_reference(config: SDARConfig) -> bool:
    """Whether the reference policy is scored at all."""
    return config.beta != 0.0


def needs_entropy(method: Method, config: SDARConfig, coef: float) -> bool:
    """Whether the update must compute the student's entropy."""
    return config.entropy_coef != 0.0 or (coef != 0.0 and "entropy" in method.needs)


@dataclass(slots=True)
class Injected:
    """What `apply` adds: advantages for the policy gradient, and loss values per token that are added to it.

    `extra_BT` (None when nothing is added to the loss) already holds the coefficient and carries its gradient on S.
    `signal_BT`, `weight_BT` and `where_BT` (tokens where they apply) are detached and for the log.
    """

    advantages_BT: Tensor
    extra_BT: Tensor | None = None
    signal_BT: Tensor | None = None
    weight_BT: Tensor | None = None
    where_BT: Tensor | None = None


def teacher_logprobs(method: Method, batch: TokenBatch) -> Tensor:
    """T: the first reading of the method's teachers, or the combination of all; zeros when it asks none."""
    if not method.teacher_views:
        return torch.zeros_like(batch.behaviour_BT)
    missing = [view for view in method.teacher_views if view not in batch.teachers]
    if missing:
        raise ValueError(
            f"method {method.name!r} reads the views {', '.join(method.teacher_views)}, but the batch lacks "
            f"{', '.join(missing)}: score them, or set distill_coef to 0"
        )
    stacked = torch.stack([batch.teachers[view] for view in method.teacher_views])
    return stacked[0] if method.combine is None else COMBINES[method.combine](stacked)


def signal_and_weight(method: Method, batch: TokenBatch, config: SDARConfig) -> tuple[Tensor, Tensor]:
    """The method's detached signal and weight, zero outside the tokens they are defined on."""
    where = batch.mask_BT if batch.teacher_mask_BT is None else batch.teacher_mask_BT
    with torch.no_grad():
        if method.signal is None:
            ones = where.to(batch.behaviour_BT.dtype)
            return ones, ones
        signal = losses.select(where, method.signal(batch, teacher_logprobs(method, batch), config))
        if method.timing == "iteration" and batch.weights_BT is not None:
            return signal, losses.select(where, batch.weights_BT)
        return signal, losses.select(where, method.weight(signal, batch, config))


def prepare(method: Method, rows: Sequence[Row], config: SDARConfig, *, coef: float) -> None:
    """Write ``weights_T`` into the rows of an iteration, for methods whose timing is ``iteration``; else do nothing.

    Call it after teachers and advantages are in the rows and before the first update, on all rows of the iteration.
    """
    if method.timing != "iteration" or coef == 0.0 or not rows:
        return
    batch = collate(rows, teacher_views=method.teacher_views, mask_truncated=config.mask_truncated_completions)
    batch.student_BT = batch.behaviour_BT
    batch.weights_BT = None
    _, weight_BT = signal_and_weight(method, batch, config)
    for row, weights in zip(rows, weight_BT.tolist(), strict=True):
        row.weights_T = weights[: len(row)]


def apply(method: Method, batch: TokenBatch, config: SDARConfig, *, coef: float) -> Injected:
    """Turn the method's signal into what is added to GRPO: the one place where injections are carried out.

    ==========  =====================================================  ======================================
    injection   effect, w the weight and c the coefficient             gradient on S
    ==========  =====================================================  ======================================
    none        nothing                                                none
    aux         loss + c (-w S)                                        -c w
    adv_mul     A becomes A ((1 - c) + c w)                            through the clipped policy gradient
    adv_add     A becomes A + c w                                      through the clipped policy gradient
    divergence  loss + c w D, D a live divergence of whole             c w dD/dS, all tokens of the vocabulary
                next-token distributions (``batch.divergence_BT``)
    ==========  =====================================================  ======================================

    Tokens that a wanted teacher has not read keep their advantage and get no auxiliary term. With ``coef`` 0 the batch
    comes back untouched and neither signal nor weight is evaluated.
    """
    if method.injection == "none" or coef == 0.0:
        return Injected(batch.advantages_BT)
    signal, weight = signal_and_weight(method, batch, config)
    where = batch.mask_BT if batch.teacher_mask_BT is None else batch.teacher_mask_BT
    injected = Injected(batch.advantages_BT, None, signal, weight, where)
    if method.injection == "aux":
        injected.extra_BT = coef * losses.weighted_score(batch.live_student(), weight, where)
    elif method.injection == "adv_mul":
        factor = torch.where(where, (1.0 - coef) + coef * weight, 1.0)
        injected.advantages_BT = batch.advantages_BT * factor
    elif method.injection == "adv_add":
        injected.advantages_BT = batch.advantages_BT + coef * weight
    else:
        if batch.divergence_BT is None:
            raise ValueError(f"method {method.name!r} needs TokenBatch.divergence_BT, which is empty")
        injected.extra_BT = coef * weight * losses.select(where, batch.divergence_BT)
    return injected
