"""OpenEnv's own validation of a package, with a server that needs no Docker and with this suite's graders.

Stock `openenv validate` 0.10 needs Docker for its runtime level, runs graders of the static and the runtime level
alone, and loads no third party's. Here its `run_validation` gets our provider and our graders; those of semantic ids
run at the runtime level, since no other is run, and the report says the level that they are of.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..conformance.report import ConformanceReport
from .openenv_graders import BUILT_IN, STARTUP, Suite, graded, graders
from .openenv_provider import NOT_ENFORCED, LocalProvider

try:
    from openenv.validation import load_policy, runner
    from openenv.validation.policy import apply_policy
    from openenv.validation.report import ValidationReportV2
    from openenv.validation.signature import SignatureError, UnsupportedPackageError
    from openenv.validation.types import CheckStatus, Level
except ImportError as missing:
    raise ImportError(
        f'validating an OpenEnv package needs OpenEnv, and there is no {missing.name}: pip install "sdar-envs[openenv]"'
    ) from missing

_WORST = (CheckStatus.ERROR, CheckStatus.FAIL, CheckStatus.PASS, CheckStatus.SKIP)


def validate(folder: Path, suite: Suite) -> ValidationReportV2:
    """Validate a package up to the semantic level.

    Args:
        folder: Has `openenv.yaml`; its program is run by this interpreter.
        suite: Runs our checks against it.

    Returns:
        OpenEnv's report. A check that nobody has written is `skip` in it, and makes its verdict `warn` at best.

    Raises:
        ValueError: The folder is no package that can be validated.
    """
    policy = load_policy("v2")
    try:
        with _with_graders(suite):
            report = runner.run_validation(folder, max_level=Level.SEMANTIC, policy=policy, provider=LocalProvider())
    except (SignatureError, UnsupportedPackageError) as error:
        raise ValueError(f"{folder}: expected a package of OpenEnv: {error}") from None
    for own in suite.ran():
        _add(report, own)
    if any(result.check_id.startswith("semantic.") and _looked(result) for result in report.results):
        report.levels_run.append(Level.SEMANTIC)
    report.results.sort(key=lambda result: result.check_id.partition(".")[0] != "static")  # the rest keeps its order
    report.verdict = apply_policy(report.results, policy, report.lane)
    return ValidationReportV2.model_validate(report.model_dump())


@contextlib.contextmanager
def _with_graders(suite: Suite) -> Iterator[None]:
    """OpenEnv's registry has ours, too, for as long as this lasts."""
    stock = runner.default_grader_registry

    def registry(policy: Any) -> Any:
        own = stock(policy)
        for grader in graders(suite, Level.RUNTIME):
            if own.get(grader.check_id) is None:  # a later release may have one of its own, or load the entry points
                own.register(grader)
        return own

    runner.default_grader_registry = registry
    try:
        yield
    finally:
        runner.default_grader_registry = stock


def _add(report: Any, own: ConformanceReport) -> None:
    """What our checks found under ids that OpenEnv has graders of its own for."""
    for result in report.results:
        if result.check_id == STARTUP:
            result.evidence.append(NOT_ENFORCED)
        ours = None
        if result.check_id in BUILT_IN and result.check_id != "runtime.reward_well_formed":
            ours = graded(result.check_id, own)
        if ours is None or result.status is CheckStatus.SKIP:
            continue
        result.measured["sdar"] = ours.measured
        result.evidence.extend(ours.evidence)
        result.remediation = result.remediation or ours.remediation
        result.status = next(status for status in _WORST if status in (result.status, ours.status))


def _looked(result: Any) -> bool:
    return result.status is not CheckStatus.SKIP


def text_of(report: ValidationReportV2) -> str:
    """The report for people; what nobody has implemented is counted, and not listed."""
    lines = [report.target]
    unwritten = 0
    for result in report.results:
        if result.status is CheckStatus.SKIP and result.evidence == ["grader not implemented in this build"]:
            unwritten += 1
            continue
        lines.append(f"  {result.status.value:<6} {result.check_id:<36} {result.duration_s:7.2f} s")
        if result.status is not CheckStatus.PASS:
            lines += [f"{'':9}{said}" for said in [*result.evidence, result.remediation] if said]
    lines.append(f"  verdict {report.verdict.value}; {unwritten} reserved checks have no implementation")
    return "\n".join(lines)
