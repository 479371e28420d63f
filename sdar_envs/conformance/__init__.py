"""check_text_env: whether a text environment keeps the contract of `core.py`; it works on anyone's environment.

The checks see an environment from outside, through Gymnasium, and need no knowledge of its world. What they cannot
show: that every task is solvable, that rewards are right, and that nothing privileged reaches the student in other
words. A leak is found when it is verbatim (a sentence of a skill or hint, or the plan, stands in the student's text),
when it passes through `TextEnv._privileged` (where a canary is planted), or through whatever `plant` marks.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import gymnasium as gym

from ..choices import require_choice
from .checks import CHECKS
from .subject import Subject
from .walks import ConformanceError, Skipped

__all__ = ["CheckResult", "ConformanceError", "ConformanceReport", "check_text_env"]


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One check that passed, or that had nothing to check."""

    name: str
    seconds: float
    skipped: str = ""


@dataclass(frozen=True, slots=True)
class ConformanceReport:
    """What was checked; a check that fails raises instead."""

    env: str
    results: tuple[CheckResult, ...]

    def __str__(self) -> str:
        rows = (
            f"  {result.name:<22} "
            + (f"skipped: {result.skipped}" if result.skipped else f"held {result.seconds:8.2f} s")
            for result in self.results
        )
        return "\n".join([self.env, *rows])


def check_text_env(
    make: Callable[..., gym.Env[Any, Any]] | str,
    *,
    episodes: int = 8,
    hostile_actions: int = 500,
    step_seconds: float = 1.0,
    seed: int = 0,
    plant: Callable[[gym.Env[Any, Any], str], None] | None = None,
    only: tuple[str, ...] = (),
) -> ConformanceReport:
    """Check that an environment keeps the contract of text worlds.

    Args:
        make: An environment id, or a callable that builds a fresh environment and takes Gymnasium's and the contract's
            keyword arguments (`render_mode`, `expose_privileged`).
        episodes: Whole episodes that the walking checks play.
        hostile_actions: How many hostile texts are sent, every tenth interleaved with a legal one.
        step_seconds: Longest time that one step on hostile text may take.
        seed: Of the walks; the same seed makes the same walks.
        plant: Puts a canary text into whatever the environment's privileged side is made from, given the unwrapped
            environment after its construction; for worlds that are not a `TextEnv`, and for a deeper look into those
            that are.
        only: Names of the checks to run; all by default.

    Returns:
        The report: which checks held, and which were skipped because there was nothing to check.

    Raises:
        ConformanceError: A check failed; the message says which, what was expected and got, and the remedy.
        ValueError: `only` names a check that there is not.
    """
    for wanted in only:
        require_choice("check", wanted, CHECKS, "check_text_env")
    build = functools.partial(gym.make, make) if isinstance(make, str) else make
    name = make if isinstance(make, str) else getattr(make, "__name__", repr(make))
    subject = Subject(
        build=build,
        episodes=episodes,
        hostile_actions=hostile_actions,
        step_seconds=step_seconds,
        seed=seed,
        plant=plant,
    )
    results = tuple(_run(subject, name, only))
    return ConformanceReport(name, results)


def _run(subject: Subject, env_name: str, only: tuple[str, ...]) -> Iterator[CheckResult]:
    for name, check in CHECKS.items():
        if only and name not in only:
            continue
        began = time.perf_counter()
        skipped = ""
        try:
            check(subject)
        except Skipped as reason:
            skipped = str(reason)
        except ConformanceError as error:
            raise ConformanceError(name, f"{env_name}: {error.what}", error.remedy) from error.__cause__
        except Exception as error:
            what = f"{env_name}: expected the check to play through, got {type(error).__name__}: {error!s:.300}"
            raise ConformanceError(name, what, "Mend the environment's exception (its traceback is above)") from error
        yield CheckResult(name, time.perf_counter() - began, skipped)
