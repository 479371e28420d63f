"""Figures of what went on in training, from metric lines: weights, signals, entropy, rollouts, where the time went.

One description serves a single run (one trace of one seed) and a study (a trace per arm, of all its seeds).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from ..study.result_records import TrainingPoint
from .figure import Axis, Figure, Line, LinePanel, Stack, StackPanel, make_figure
from .series import mean_line, path_of

GATE_OF_NO_OPINION = 0.5
EPISODES = Axis("training episodes", low=0.0, integer=True)


@dataclass(frozen=True, slots=True)
class Trace:
    """The training of one arm: its points per seed."""

    label: str
    colour: int
    seeds: tuple[tuple[TrainingPoint, ...], ...]


@dataclass(frozen=True, slots=True)
class Quantity:
    """A figure of the metric lines as a panel shows it: shown value = logged value times `factor`."""

    name: str
    title: str
    label: str
    factor: float = 1.0
    low: float | None = None
    high: float | None = None
    baseline: float | None = None


# The names are those of the metric lines.
WEIGHTS = (
    Quantity("distill/weight", "Weight of a token", "mean weight"),
    Quantity("distill/weight_over_half", "Tokens with a weight over 1/2", "% of tokens", 100.0, 0.0, 100.0),
    Quantity("distill/signal", "Signal", "mean signal", baseline=0.0),
    Quantity("distill/signal_negative", "Tokens with a negative signal", "% of tokens", 100.0, 0.0, 100.0),
    Quantity("distill/weight_rejected", "Weight of a token with a negative signal", "mean weight"),
)
POLICY = (
    Quantity("sampling/entropy", "Entropy of the student", "nats per token", low=0.0),
    Quantity("kl", "KL to the initial policy", "nats per token", low=0.0),
    Quantity("success", "Success of training episodes", "% of episodes", 100.0, 0.0),
    Quantity("invalid_action_share", "Actions that were not understood", "% of actions", 100.0, 0.0),
)
DIVERSITY = (
    Quantity("pass_at_4", "Groups won in four attempts (pass@4)", "% of groups", 100.0, 0.0, 100.0),
    Quantity("distinct_episodes", "Different episodes of a group", "% of its episodes", 100.0, 0.0, 100.0),
    Quantity("distinct_actions", "Different actions of a group", "% of its actions", 100.0, 0.0, 100.0),
    Quantity("completion_tokens", "Length of a completion", "tokens", low=0.0),
    Quantity("teacher/mentioned", "Turns that mention what only the teacher read", "% of turns", 100.0, 0.0, 100.0),
)
TEACHER = (
    Quantity("distill/share_read", "Tokens that the teacher has read", "% of tokens", 100.0, 0.0, 100.0),
    Quantity("teacher/block_tokens", "Length of the privileged context", "tokens", low=0.0),
)
PHASES = {
    "seconds/rollout": "rollouts",
    "seconds/reference": "reference",
    "seconds/teacher": "teacher",
    "seconds/update": "update",
    "seconds/evaluation": "evaluation",
}


def quantity_panels(traces: Sequence[Trace], quantities: Sequence[Quantity]) -> list[LinePanel]:
    """A panel per quantity, over training episodes; arms that do not log it are not in it."""
    panels = []
    for quantity in quantities:
        lines = [line for trace in traces if (line := _line(trace, quantity)) is not None]
        if len(lines) > 1:  # single seeds of several arms would hide each other
            lines = [dataclasses.replace(line, thin=()) for line in lines]
        axis = Axis(quantity.label, quantity.low, quantity.high)
        baseline = GATE_OF_NO_OPINION if quantity.name == "distill/weight" and _are_gates(lines) else quantity.baseline
        panels.append(LinePanel(quantity.title, EPISODES, axis, tuple(lines), baseline=baseline))
    return panels


def _are_gates(lines: Sequence[Line]) -> bool:
    return all(0.0 <= value <= 1.0 for line in lines for _, value in line.points)


def _line(trace: Trace, quantity: Quantity) -> Line | None:
    def value(point: TrainingPoint) -> float | None:
        found = point.figures.get(quantity.name)
        return None if found is None else quantity.factor * found

    paths = [path_of(points, lambda point: float(point.episodes), value) for points in trace.seeds]
    low = float("-inf") if quantity.low is None else quantity.low
    high = float("inf") if quantity.high is None else quantity.high
    return mean_line(trace.label, trace.colour, paths, low=low, high=high)


def weights_figure(traces: Sequence[Trace]) -> Figure | None:
    """Weight and signal over training; None where no arm has a teacher."""
    caption = (
        "Means over the loss tokens of an iteration. The weight multiplies the push on a token's log-probability; "
        "SDAR's gate lies between 0 and 1, weights of other methods have other ranges. The signal is what it is made "
        "of: for most methods, how much likelier the teacher finds the token than the student, in nats."
    )
    return make_figure("weights", "What the weight does to tokens", caption, *quantity_panels(traces, WEIGHTS))


def policy_figure(traces: Sequence[Trace]) -> Figure | None:
    """Entropy, KL and the training episodes themselves."""
    caption = "Means over an iteration. Training episodes are sampled at the training temperature, on training tasks."
    return make_figure("policy", "The policy while it learns", caption, *quantity_panels(traces, POLICY))


def diversity_figure(traces: Sequence[Trace]) -> Figure | None:
    """Breadth and length of training episodes, and what a student says that it never read."""
    caption = (
        "Means over an iteration's training episodes. A group is the episodes of one task. A mention is a run of three "
        "words of the privileged context that stood in nothing that the student had read; an untaught student makes "
        "some by chance, so the change counts. Self-distillation can pay for success with any of these."
    )
    return make_figure("diversity", "What success may cost", caption, *quantity_panels(traces, DIVERSITY))


def phases_panel(traces: Sequence[Trace], title: str = "Time of an iteration") -> StackPanel:
    """Mean wall-clock seconds per iteration by what they went into."""
    stacks = []
    for trace in traces:
        points = [point for points in trace.seeds for point in points]
        totals = [sum(point.figures.get(name) or 0.0 for point in points) for name in PHASES]
        if points:
            stacks.append(Stack(trace.label, trace.colour, tuple(total / len(points) for total in totals)))
    axis = Axis("seconds of wall clock per iteration", low=0.0)
    return StackPanel(title, axis, tuple(PHASES.values()), tuple(stacks))
