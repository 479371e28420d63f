"""Schedules: the factor of a method's coefficient over the iterations of a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


class Schedule(Protocol):
    """Factor of the coefficient at an iteration, counted from 0; ``str`` of it describes it for readers."""

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
