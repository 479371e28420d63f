"""This suite's checks as graders of OpenEnv's validation, under the ids that it reserves.

They are entry points of the group `openenv.validation.graders`. OpenEnv 0.10 has a loader for that group and never
calls it, and it runs no grader of the semantic level; `openenv_validation` is the driver that does both. A grader plays
the running server through `sdar/OpenEnv-v0`, as any client would.
"""

from __future__ import annotations

import functools
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gymnasium as gym

from ..adapters.openenv import OpenEnvText
from ..conformance import run_checks
from ..conformance.openenv_report import IDS, result_of
from ..conformance.report import CheckResult, ConformanceReport

try:
    from openenv.validation.report import CheckResult as Graded
    from openenv.validation.types import CheckStatus, Level
except ImportError as missing:
    raise ImportError(
        f'graders of OpenEnv need it, and there is no {missing.name}: pip install "sdar-envs[openenv]"'
    ) from missing

STARTUP = "runtime.startup"
TASK_COUNTS = "runtime.task_declaration_accuracy"
ORACLE = "semantic.oracle_max"
# Ids that OpenEnv 0.10 has graders of its own for; what ours find there is added to what those say.
BUILT_IN = frozenset({STARTUP, "runtime.observation_schema", "runtime.state_contract", "runtime.reward_well_formed"})
# Over a wire and on a busy machine a step may take so long before it counts as hanging.
_WIRE = {"step_seconds": 20.0}


class Suite:
    """Runs the checks against a server once, for all graders.

    Args:
        text_key: Field of the observation that is the text.
        action_key: Field of the action that takes the text.
        **options: Of `run_checks`.
    """

    def __init__(self, *, text_key: str = "text", action_key: str = "text", **options: Any) -> None:
        self._keys: dict[str, Any] = {"text_key": text_key, "action_key": action_key}
        self._options = {**_WIRE, **options}
        self._reports: dict[str, ConformanceReport] = {}

    def report(self, url: str) -> ConformanceReport:
        """What the checks found at an address."""
        if url not in self._reports:
            make = functools.partial(gym.make, OpenEnvText.env_id, url=url, **self._keys)
            self._reports[url] = run_checks(make, **self._options)
        return self._reports[url]

    def ran(self) -> list[ConformanceReport]:
        """The reports of all addresses so far."""
        return list(self._reports.values())


class SuiteGrader:
    """One reserved id, graded by those of our checks that it stands for."""

    requires_capabilities: frozenset[str] = frozenset()
    requires_provider: frozenset[Any] = frozenset()
    depends_on: tuple[str, ...] = (STARTUP,)

    def __init__(self, check_id: str, suite: Suite | None = None, level: Any = None) -> None:
        self.check_id = check_id
        self.level = level or Level(IDS[check_id][0] if check_id in IDS else int(Level.RUNTIME))
        self._suite = suite or Suite()

    def applies_to(self, manifest: Any) -> bool:
        """Any package that is played over a session."""
        return True

    def run(self, subject: Any) -> Graded:
        """Play, and say what came of it."""
        return graded(self.check_id, self._suite.report(subject.running.base_url)) or _skipped(
            self.check_id, "the checks that this id stands for were left out (--only, --skip)"
        )


class OracleGrader(SuiteGrader):
    """`semantic.oracle_max`: an oracle that was given, else the script that the package declares."""

    def run(self, subject: Any) -> Graded:
        """Play the oracle."""
        own = super().run(subject)
        oracle = subject.manifest.capabilities.oracle
        if own.status is not CheckStatus.SKIP:
            return own
        if oracle is None or oracle.form != "script":
            return own
        return played(subject.root / oracle.location, subject.root, subject.manifest)


def played(script: Path, root: Path, manifest: Any) -> Graded:
    """Run a package's oracle; the last line that it prints is the return that it got."""
    began = time.monotonic()
    try:
        done = subprocess.run(
            [sys.executable, str(script)],
            cwd=root,
            capture_output=True,
            text=True,
            check=False,
            timeout=manifest.resources.episode_timeout_s,
        )
        got = float((done.stdout.strip().splitlines() or [""])[-1])
    except (ValueError, subprocess.TimeoutExpired) as error:
        return _skipped(ORACLE, f"expected the oracle's last line to be its return: {type(error).__name__}")
    wanted = manifest.reward.range[1] - manifest.reward.oracle_tolerance
    good = got >= wanted
    return Graded(
        check_id=ORACLE,
        status=CheckStatus.PASS if good else CheckStatus.FAIL,
        measured={"oracle_reward": got, "required": wanted},
        evidence=[] if good else [f"expected the oracle to get at least {wanted:g}, got {got:g}"],
        remediation=None if good else "Mend the oracle, or the reward range that openenv.yaml declares",
        duration_s=time.monotonic() - began,
    )


class TaskCountGrader(SuiteGrader):
    """`runtime.task_declaration_accuracy`: the task API counts what the manifest declares."""

    def run(self, subject: Any) -> Graded:
        """Ask for every split that is declared."""
        began = time.monotonic()
        declared: Mapping[str, int] = subject.manifest.capabilities.declared_task_count
        if not declared:
            return _skipped(TASK_COUNTS, "the manifest declares no task counts")
        env = OpenEnvText(subject.running.base_url)
        try:
            counted = {split: len(env.task_ids(split)) for split in declared}
        except ValueError as error:
            counted = {"error": str(error)}  # type: ignore[dict-item]
        finally:
            env.close()
        good = counted == dict(declared)
        return Graded(
            check_id=TASK_COUNTS,
            status=CheckStatus.PASS if good else CheckStatus.FAIL,
            measured={"declared": dict(declared), "counted": counted},
            evidence=[] if good else [f"expected {dict(declared)} tasks, got {counted}"],
            remediation=None if good else "Declare the counts that the task API gives (declared_task_count)",
            duration_s=time.monotonic() - began,
        )


def graded(check_id: str, report: ConformanceReport) -> Graded | None:
    """What our checks say of a reserved id; None where none of them ran."""
    own = _own(check_id, report)
    return Graded(**result_of(check_id, own)) if own else None


def _own(check_id: str, report: ConformanceReport) -> list[CheckResult]:
    names = IDS[check_id][1]
    return [result for result in report.results if result.name in names]


def _skipped(check_id: str, why: str) -> Graded:
    return Graded(check_id=check_id, status=CheckStatus.SKIP, evidence=[why], duration_s=0.0)


def graders(suite: Suite | None = None, level: Any = None) -> list[SuiteGrader]:
    """All of them.

    Args:
        suite: Runs the checks, once for all.
        level: Whatever their own; the driver gives the runtime level, since OpenEnv 0.10 runs no other.
    """
    shared = suite or Suite()
    kinds = {ORACLE: OracleGrader}
    own = [kinds.get(check_id, SuiteGrader)(check_id, shared, level) for check_id in IDS if check_id not in BUILT_IN]
    return [*own, TaskCountGrader(TASK_COUNTS, shared, level)]


# The entry points, one instance for each id; they share their suite.
_SHARED = Suite()
SEED_CONTROL = SuiteGrader("runtime.seed_control", _SHARED)
EPISODE_DETERMINISM = SuiteGrader("runtime.episode_determinism", _SHARED)
EPISODE_ISOLATION = SuiteGrader("runtime.episode_isolation", _SHARED)
TASK_DECLARATION = TaskCountGrader(TASK_COUNTS, _SHARED)
ORACLE_MAX = OracleGrader(ORACLE, _SHARED)
FLOOR_GAP = SuiteGrader("semantic.floor_gap", _SHARED)
NO_SOLUTION_LEAKAGE = SuiteGrader("semantic.no_solution_leakage", _SHARED)
VERIFIER_DETERMINISM = SuiteGrader("semantic.verifier_determinism", _SHARED)
REPLAYABILITY = SuiteGrader("semantic.replayability", _SHARED)
