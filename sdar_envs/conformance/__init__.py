"""check_text_env: whether a text environment keeps the contract of `core.py`; it works on anyone's environment.

The checks see an environment from outside, through Gymnasium, and need no knowledge of its world. What they cannot
show: that every task is solvable, that rewards are right, and that nothing privileged reaches the student in other
words. A leak is found when it is verbatim (a sentence of a skill or hint, or the plan, stands in the student's text),
when it passes through `TextEnv._privileged` (where a canary is planted) or through whatever `plant` marks, when it is a
declared `secret`, or when what is shown changes as the secret is exchanged (`variants`). Without any of these nothing
is known about leaks, and the report says so.
"""

from __future__ import annotations

import contextlib
import functools
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import gymnasium as gym

from ..choices import require_choice, require_number
from ..core import TextEnv
from .budget import CHECK_SECONDS, RESET, Budget, Clock, OutOfTime, Timed
from .catalogue import BLIND, CHECKS, CONTRACT_ONLY, NEEDS
from .report import CheckResult, ConformanceReport, Status
from .subject import Subject
from .walks import ConformanceError, PromiseError, Skipped

__all__ = [
    "PROFILES",
    "CheckResult",
    "ConformanceError",
    "ConformanceReport",
    "Status",
    "check_text_env",
    "run_checks",
]

# `contract` asks for everything, `text` warns of what is this suite's own; `auto` is the one that fits the class.
PROFILES = ("auto", "contract", "text")
_RESETS = 5  # times as long as a step may a reset take, which may have a world to make


def run_checks(
    make: Callable[..., gym.Env[Any, Any]] | str,
    *,
    episodes: int = 8,
    hostile_actions: int = 500,
    step_seconds: float = 1.0,
    seed: int = 0,
    plant: Callable[[gym.Env[Any, Any], str], None] | None = None,
    secret: Callable[[gym.Env[Any, Any]], list[str]] | None = None,
    teacher_context: Callable[[dict[str, Any]], str] | None = None,
    variants: Callable[[int], gym.Env[Any, Any]] | None = None,
    oracle: Callable[[gym.Env[Any, Any], str, Mapping[str, Any]], str] | None = None,
    sessions: int = 32,
    floor_margin: float = 0.1,
    split_tasks: int = 60,
    tolerated: tuple[str, ...] = (),
    profile: str = "auto",
    only: tuple[str, ...] = (),
    skip: tuple[str, ...] = (),
    check_seconds: float = CHECK_SECONDS,
    clock: Clock = time.monotonic,
    hang_seconds: float = 60.0,
    on_hang: Callable[[ConformanceReport], None] | None = None,
) -> ConformanceReport:
    """Run all checks to the end, whatever each finds.

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
        secret: The texts that the agent's side must not have at present, given the unwrapped environment; a text that
            the agent has earned is no longer among them.
        teacher_context: What the teacher is told, as text, of the whole `info`; its sentences are secrets until the
            world has answered an action with them.
        variants: Makes the environment with its secret exchanged, for 0 and for 1, and all else the same.
        oracle: The right action, given the unwrapped environment, the observation and `info`; the head of the
            privileged plan where there is one.
        sessions: Environments that play at once.
        floor_margin: By how much the oracle has to be above a player of random actions.
        split_tasks: How many tasks of each split are compared by content.
        tolerated: Parts of warnings that Gymnasium's own checker may give.
        profile: One of `PROFILES`.
        only: Names of the checks to run; all by default.
        skip: Names of checks to leave out.
        check_seconds: Longest time of a check. One whose time is over stops before its next call of the environment;
            what it looked at until then counts, and its result says how much that is.
        clock: The present time in seconds, by which that is measured.
        hang_seconds: After which a step counts as one that never returns; a reset after five times as long.
        on_hang: What to do then, in a thread of its own, with the report so far, since a step that hangs cannot be
            ended from inside its process. Nothing by default: the caller waits.

    Returns:
        Each check's result, in the order in which they ran.

    Raises:
        ValueError: `only` or `skip` names a check that there is not, there is no such profile, or nothing to play.
    """
    for wanted in (*only, *skip):
        require_choice("check", wanted, CHECKS, "check_text_env")
    require_choice("profile", profile, PROFILES, "check_text_env")
    build = functools.partial(gym.make, make) if isinstance(make, str) else make
    for option, number, least in (
        ("episodes", episodes, 1),
        ("sessions", sessions, 1),
        ("split_tasks", split_tasks, 1),
        ("hostile_actions", hostile_actions, 0),
    ):
        require_number(option, number, "check_text_env", low=least, whole=True)
    require_number("check_seconds", check_seconds, "check_text_env", low=1e-3)
    budget = Budget(check_seconds, clock)
    subject = Subject(
        build=functools.partial(_timed, build, budget),
        episodes=episodes,
        hostile_actions=hostile_actions,
        step_seconds=step_seconds,
        seed=seed,
        plant=plant,
        secret=secret,
        teacher_context=teacher_context,
        variants=None if variants is None else functools.partial(_timed, variants, budget),
        oracle=oracle,
        tolerated=tolerated,
        sessions=sessions,
        floor_margin=floor_margin,
        split_tasks=split_tasks,
        budget=budget,
    )
    chosen = [check for check in CHECKS if check not in skip and (not only or check in only)]
    results: list[CheckResult] = []
    with _watched(subject, name_of(make), results, hang_seconds, on_hang):
        for result in _run(subject, chosen, profile):
            results.append(result)
    return ConformanceReport(name_of(make), tuple(results))


def _timed(make: Callable[..., gym.Env[Any, Any]], budget: Budget, /, *args: Any, **kwargs: Any) -> Timed:
    """What `make` makes, while there is time, to be called while there is."""
    budget.require()
    return Timed(make(*args, **kwargs), budget)


@contextlib.contextmanager
def _watched(
    subject: Subject,
    name: str,
    results: list[CheckResult],
    seconds: float,
    on_hang: Callable[[ConformanceReport], None] | None,
) -> Iterator[None]:
    """Meanwhile somebody looks whether the environment comes back from what it was given."""
    over = threading.Event()

    def look() -> None:
        while on_hang is not None and not over.wait(min(1.0, seconds / 4)):
            waited = {what: time.monotonic() - since for what, since in list(subject.budget.calls.values())}
            hanging = [what for what, since in waited.items() if since >= seconds * (_RESETS if what == RESET else 1)]
            if not hanging:
                continue
            call = hanging[0]
            if call == RESET:
                what = f"expected a reset to come back, got nothing in {_RESETS * seconds:g} s"
            else:
                what = f"expected a step within {subject.step_seconds:g} s, got none in {seconds:g} s from {call}"
            remedy = f"Bound the time of a {'reset' if call == RESET else 'step'}"
            failed = CheckResult(subject.running, Status.FAILED, waited[call], what, remedy)
            on_hang(ConformanceReport(name, (*results, failed)))
            return

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


def name_of(make: Any) -> str:
    """What a report calls an environment: its id or the name of its class, and the arguments that are bound."""
    if isinstance(make, functools.partial):
        own = make.args[0] if make.func is gym.make and make.args else make.func
        return " ".join([name_of(own), *(f"{key}={value}" for key, value in make.keywords.items())])
    return make if isinstance(make, str) else str(getattr(make, "__name__", repr(make)))


def _run(subject: Subject, chosen: list[str], profile: str) -> Iterator[CheckResult]:
    failed: set[str] = set()
    late = False  # not one episode could be recorded in time
    contract = profile == "contract"
    if profile == "auto":
        with contextlib.suppress(Exception), contextlib.closing(subject.build()) as env:  # `plays` says what it raised
            contract = isinstance(env.unwrapped, TextEnv)
    for name in chosen:
        missing = [need for need in ("plays", *NEEDS.get(name, ())) if need in failed]
        if missing:
            yield CheckResult(name, Status.SKIPPED, 0.0, f"it tells nothing where {', '.join(missing)} failed")
            continue
        if late:
            why = f"no episode could be recorded in time: {subject.budget.said()}"
            yield CheckResult(name, Status.SKIPPED, 0.0, why, looked_at="nothing")
            continue
        result = _check(subject, name, contract=contract)
        late = name == "plays" and result.status is Status.SKIPPED
        if result.bad:
            failed.add(name)
            if name in CONTRACT_ONLY and not contract and result.status is Status.FAILED:
                result = CheckResult(name, Status.WARNED, result.seconds, result.what, result.remedy)
        yield result


def _check(subject: Subject, name: str, *, contract: bool) -> CheckResult:
    budget = subject.budget
    budget.start()

    def ended(status: Status, what: str = "", remedy: str = "", **more: Any) -> CheckResult:
        return CheckResult(name, status, budget.spent, what, remedy, **more)

    subject.running = name
    try:
        measured = CHECKS[name](subject)
    except OutOfTime:
        if budget.judged:
            return ended(Status.HELD, blind=BLIND.get(name, ""), looked_at=budget.said())
        return ended(Status.SKIPPED, budget.said(), looked_at=budget.looked_at or "nothing")
    except Skipped as reason:
        return ended(Status.SKIPPED, str(reason))
    except PromiseError as error:
        return ended(Status.FAILED if contract else Status.WARNED, error.what, error.remedy)
    except ConformanceError as error:
        return ended(Status.FAILED, error.what, error.remedy)
    except Exception as error:
        what = f"expected the check to play through, got {type(error).__name__}: {error!s:.300}"
        return ended(Status.ERROR, what, "Mend the environment's exception")
    looked_at = budget.said() if budget.looked_at else ""
    return ended(Status.HELD, measured=measured or {}, blind=BLIND.get(name, ""), looked_at=looked_at)


def check_text_env(make: Callable[..., gym.Env[Any, Any]] | str, **options: Any) -> ConformanceReport:
    """Check that an environment keeps the contract of text worlds: `run_checks`, and an error if one failed.

    Args:
        make: As `run_checks`.
        **options: As `run_checks`.

    Returns:
        The report: which checks held, and which were skipped because there was nothing to check.

    Raises:
        ConformanceError: A check failed; the message says which, what was expected and got, the remedy, and which
            others failed. Its `report` has them all.
        ValueError: As `run_checks`.
    """
    report = run_checks(make, **options)
    report.require()
    return report
