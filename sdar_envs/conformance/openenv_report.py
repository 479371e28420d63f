"""A report in the schema of OpenEnv's validation, version 2, with its check ids, so that its tools can read ours.

OpenEnv 0.10 reserves the ids and has an implementation of five of them. A check of ours that has no id of its own there
is named in what was measured by the one that it belongs to.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from .report import CheckResult, ConformanceReport, Status

# OpenEnv's id -> its level, and our checks that it stands for.
IDS: dict[str, tuple[int, tuple[str, ...]]] = {
    "runtime.startup": (2, ("plays",)),
    "runtime.observation_schema": (
        2,
        ("text", "info_json", "info_keys", "info_fresh", "gymnasium", "spaces", "render"),
    ),
    "runtime.state_contract": (2, ("horizon", "hostile_actions", "not_text", "unknown_option")),
    "runtime.seed_control": (2, ("determinism",)),
    "runtime.episode_determinism": (2, ("determinism", "vector")),
    "runtime.episode_isolation": (2, ("episode_isolation", "sessions", "global_random")),
    "semantic.oracle_max": (3, ("plan", "oracle")),
    "semantic.floor_gap": (3, ("floor_gap",)),
    "semantic.no_solution_leakage": (3, ("privileged_off", "canary", "declared_secret", "counterfactual")),
    "semantic.verifier_determinism": (3, ("verifier_determinism",)),
    "semantic.replayability": (3, ("task_replay", "group_shares_task", "splits")),
}
_STATUS = {
    Status.HELD: "pass",
    Status.FAILED: "fail",
    Status.WARNED: "pass",  # said in the evidence: no duty of an environment outside this suite
    Status.SKIPPED: "skip",
    Status.ERROR: "error",
}


def validation_report(report: ConformanceReport, target: str) -> dict[str, Any]:
    """A `ValidationReportV2` as plain values.

    Args:
        report: What the checks found.
        target: What was checked, as the user named it.
    """
    by_name = {result.name: result for result in report.results}
    results = []
    for check_id, (_, names) in IDS.items():
        own = [by_name[name] for name in names if name in by_name]
        if own:
            results.append(result_of(check_id, own))
    warned = bool(report.by_status(Status.WARNED))
    # There is no package whose files could be hashed: this tells reports of different targets and checks apart.
    content = json.dumps([target, [result.name for result in report.results]])
    return {
        "report_schema_version": "2",
        "target": target,
        "source_digest": "sha256:" + hashlib.sha256(content.encode()).hexdigest(),
        "signature": "openenv.yaml",
        "manifest": None,
        "policy_version": "v2",
        "lane": "local",
        "levels_run": sorted({IDS[result["check_id"]][0] for result in results}),
        "results": results,
        "verdict": "fail" if report.failures else "warn" if warned else "pass",
    }


def result_of(check_id: str, own: Sequence[CheckResult]) -> dict[str, Any]:
    """What the checks that a reserved id stands for say of it, in the fields of OpenEnv's `CheckResult`."""
    statuses = [_STATUS[result.status] for result in own]
    worst = next((status for status in ("error", "fail", "pass") if status in statuses), "skip")
    remedies = [result.remedy for result in own if result.remedy]
    return {
        "check_id": check_id,
        "status": worst,
        "measured": {result.name: {"status": str(result.status), **dict(result.measured)} for result in own},
        "evidence": [f"{result.name}: {text}" for result in own for text in (result.what, result.looked_at) if text],
        "remediation": remedies[0] if remedies else None,
        "duration_s": sum(result.seconds for result in own),
    }
