"""What the checks share: the environment under check, its recorded episodes, and comparisons of episodes."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import gymnasium as gym

from .budget import CHECK_SECONDS, RECORDING_SHARE, Budget
from .walks import ConformanceError, Moment, PromiseError, Skipped, Walk, random_walk

Env = gym.Env[Any, Any]


@dataclass
class Subject:
    """The environment under check, and how hard to look.

    Attributes:
        build: Makes a fresh environment; takes Gymnasium's and the contract's keywords.
        episodes: Whole episodes that the walking checks play.
        hostile_actions: How many hostile texts are sent.
        step_seconds: Longest time of one step on hostile text.
        seed: Of the walks.
        plant: Puts a canary into what the privileged side is made from.
        secret: The texts that the agent's side must not have at present, of an unwrapped environment.
        teacher_context: What the teacher is told, as text, of `info`.
        variants: Makes the environment with its secret exchanged (0 or 1) and all else the same.
        oracle: The right action, of an unwrapped environment, an observation and `info`.
        tolerated: Parts of warnings that Gymnasium's checker may give.
        sessions: Environments that play at once.
        floor_margin: By how much the oracle's success has to be above the random player's.
        split_tasks: How many tasks of each split are compared by content.
        budget: The time of each check; `build` and `variants` make environments that keep to it.
        running: Name of the check that runs.
    """

    build: Callable[..., Env]
    episodes: int
    hostile_actions: int
    step_seconds: float
    seed: int
    plant: Callable[[Env, str], None] | None = None
    secret: Callable[[Env], list[str]] | None = None
    teacher_context: Callable[[dict[str, Any]], str] | None = None
    variants: Callable[[int], Env] | None = None
    oracle: Callable[[Env, str, Mapping[str, Any]], str] | None = None
    tolerated: tuple[str, ...] = ()
    sessions: int = 32
    floor_margin: float = 0.1
    split_tasks: int = 60
    budget: Budget = field(default_factory=lambda: Budget(CHECK_SECONDS))
    running: str = ""

    @property
    def seeds(self) -> range:
        """Reset seeds of the walked episodes."""
        return range(self.seed, self.seed + len(self.walks))

    @cached_property
    def walks(self) -> list[Walk]:
        """The recorded episodes, all on one instance: fewer, and cut off, where the environment is slow."""
        budget, walks = self.budget, list[Walk]()
        with contextlib.closing(self.build()) as env:
            for number in range(self.episodes):
                if walks and not budget.has(RECORDING_SHARE):
                    break
                part = (RECORDING_SHARE * budget.seconds - budget.spent) / (self.episodes - number)
                end = budget.spent + part
                ends = functools.partial(self._is_over, end)
                walks.append(random_walk(env, self.seed + number, walk_seed=self.seed, ends=ends))
        return walks

    def _is_over(self, end: float) -> bool:
        return self.budget.spent >= end

    @property
    def recorded(self) -> list[tuple[int, Walk]]:
        """Reset seed and recorded episode."""
        return list(zip(self.seeds, self.walks, strict=True))

    def moments(self) -> Iterator[Moment]:
        """Every call of every walk."""
        for walk in self.walks:
            yield from walk

    def require_privileged(self) -> None:
        """Skip the check when `info` has no privileged side."""
        if not isinstance(self.walks[0][0].snapshot.get("privileged"), dict):
            raise Skipped("info has no privileged side")


def failure(what: str, remedy: str) -> ConformanceError:
    """The error of the running check; its name is filled in by the caller."""
    return ConformanceError("", what, remedy)


def promise(what: str, remedy: str) -> PromiseError:
    """The error of the running check for what Gymnasium does not ask for; outside the contract it is a warning."""
    return PromiseError("", what, remedy)


def strings_of(value: Any) -> Iterator[str]:
    """Every string inside nested JSON values."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list | tuple):
        for part in value.values() if isinstance(value, dict) else value:
            yield from strings_of(part)


def require_same(
    expected: Walk, got: Walk, what: str, remedy: str, *, of: Callable[[Moment], tuple[Any, ...]] = Moment.comparable
) -> None:
    """Require two walks to be equal, values and types, in all of a moment or in a part `of` it.

    Raises:
        ConformanceError: They differ; the message names the first call and field that do.
    """
    fields = ("action", "observation", "reward", "terminated", "truncated", "info")
    for number, (one, other) in enumerate(zip(expected, got, strict=False)):
        pairs = zip(*(of(moment) for moment in (one, other)), strict=True)
        for name, (left, right) in zip(fields, pairs, strict=True):
            if left != right or type(left) is not type(right):
                raise failure(
                    f"{what}: {name} differs at call {number} ({one.where()}): {first_difference(left, right)}", remedy
                )
    if len(expected) != len(got):
        raise failure(f"{what}: one episode has {len(expected)} calls, the other {len(got)}", remedy)


def first_difference(left: Any, right: Any) -> str:
    """Where two unequal values part, for a message."""
    if isinstance(left, dict) and isinstance(right, dict):
        for key in [*left, *right]:
            if left.get(key) != right.get(key):
                return f"[{key!r}] {first_difference(left.get(key), right.get(key))}"
    if isinstance(left, str) and isinstance(right, str):
        at = next((i for i, (a, b) in enumerate(zip(left, right, strict=False)) if a != b), min(len(left), len(right)))
        return f"{left[max(0, at - 20) : at + 40]!r} and {right[max(0, at - 20) : at + 40]!r}"
    return f"{left!r:.100} and {right!r:.100}"
