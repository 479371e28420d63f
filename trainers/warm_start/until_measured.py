"""Cloning that is stopped by what is measured: how many steps a model needs varies, and its loss does not show it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from .demonstrations import Advance, Report, nothing

Measured = TypeVar("Measured")


class WarmStartFailed(RuntimeError):
    """What was to be measured was not, within the step limit; the message says what was expected and what came."""


class Steps(Protocol):
    """What makes cloning steps, such as a `behaviour_cloning.Cloner`."""

    steps: int

    def step(self, rate: float = 1.0) -> float:
        """One step at a share of the learning rate; returns the loss."""
        ...


@dataclass(frozen=True, slots=True)
class CloningSchedule:
    """Numbers of steps: before the first measurement, at most, between measurements, and of the decay."""

    min_steps: int
    max_steps: int
    gate_every: int
    decay_steps: int


def clone_until(
    cloner: Steps,
    schedule: CloningSchedule,
    measure: Callable[[], Measured],
    *,
    near: Callable[[Measured], bool],
    reached: Callable[[Measured], bool],
    expected: str,
    word: Callable[[Measured], str],
    remedy: str,
    say: Report,
    advance: Advance = nothing,
    keep: Callable[[], None] = nothing,
) -> Measured:
    """Clone until measurements are near the goal, decay the learning rate, measure again; repeat until it is reached.

    Args:
        cloner: Makes the steps; one that has made some goes on from there.
        schedule: How many steps, and when to measure.
        measure: Plays and returns what came of it.
        near: Whether a measurement at the full learning rate is worth a decay.
        reached: Whether a measurement behind a decay is the goal.
        expected: The goal in words, for the message of a failure.
        word: A measurement in words.
        remedy: What a person can do about a failure.
        say: Reports progress.
        advance: Called after every step; its total is the step at which cloning ends if the next measurement is good.
        keep: Called every `gate_every` steps at the full learning rate, measured or not: a point to go on from.

    Raises:
        WarmStartFailed: `max_steps` were not enough; the message holds the last measurement.
    """
    measured = "nothing yet"
    while cloner.steps < schedule.max_steps:
        # At the full rate up to the next measurement.
        target = schedule.min_steps if cloner.steps < schedule.min_steps else cloner.steps + schedule.gate_every
        while cloner.steps < target:
            loss = cloner.step()
            advance("cloning", cloner.steps, target + schedule.decay_steps)
            if cloner.steps % schedule.gate_every == 0 and cloner.steps < target:
                say(f"warm start: step {cloner.steps}, cloning loss {loss:.2f}")
                keep()
        found = measure()
        measured = f"{word(found)} at step {cloner.steps}"
        if not near(found):
            keep()
            continue
        # Near the goal: a decaying learning rate settles what is measured, and what comes after the decay counts.
        _decay(cloner, schedule.decay_steps, target + schedule.decay_steps, advance)
        found = measure()
        measured = f"{word(found)} at step {cloner.steps}"
        if reached(found):
            return found
    raise WarmStartFailed(
        f"warm start: after {cloner.steps} steps expected {expected}; last measured: {measured}. {remedy}"
    )


def clone_for(cloner: Steps, schedule: CloningSchedule, *, say: Report, advance: Advance = nothing) -> None:
    """Clone for `min_steps` at the full learning rate and `decay_steps` of decay, where no goal is known.

    Args:
        cloner: Makes the steps.
        schedule: How many; `gate_every` is how often the loss is said.
        say: Reports progress.
        advance: Called after every step.
    """
    total = schedule.min_steps + schedule.decay_steps
    while cloner.steps < schedule.min_steps:
        loss = cloner.step()
        advance("cloning", cloner.steps, total)
        if cloner.steps % schedule.gate_every == 0:
            say(f"warm start: step {cloner.steps}, cloning loss {loss:.2f}")
    _decay(cloner, schedule.decay_steps, total, advance)


def _decay(cloner: Steps, steps: int, total: int, advance: Advance) -> None:
    """Steps whose learning rate falls to a tenth."""
    for step in range(steps):
        cloner.step(1.0 - 0.9 * (step + 1) / steps)
        advance("cloning", cloner.steps, total)
