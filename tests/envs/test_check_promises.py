"""Promises that only this suite's contract makes: a warning in somebody else's environment, and a failure in ours."""

from __future__ import annotations

from typing import Any

import pytest
from strangers import Vault

from sdar_envs.conformance import Status, run_checks
from sdar_envs.conformance.report import CheckResult

SKILLS: dict[str, Any] = {"general": "", "task": "", "lines": [], "compact_lines": [], "claim_ids": [], "stale": []}


class Guided(Vault):
    """A stranger with a teacher's side of its own shape, in which nothing is wrong."""

    def info(self, won: bool) -> dict[str, Any]:
        return {**super().info(won), "privileged": self.teacher(won)}

    def teacher(self, won: bool) -> dict[str, Any]:
        plan = [] if won else [f"say {self.password}"]
        return {"plan": plan, "next_action": plan[0] if plan else ""}


class StillPlanning(Guided):
    def teacher(self, won: bool) -> dict[str, Any]:
        return {"plan": [f"say {self.password}"], "next_action": f"say {self.password}"}


class PlanAlone(Guided):
    def teacher(self, won: bool) -> dict[str, Any]:
        return {"plan": [] if won else [f"say {self.password}"]}


class SkillsAsTexts(Guided):
    def teacher(self, won: bool) -> dict[str, Any]:
        return {**super().teacher(won), "skills": ["notes are worth reading"], "hints": "read first, then speak"}


class WrongPlan(Guided):
    def teacher(self, won: bool) -> dict[str, Any]:
        return {"plan": ["wait"], "next_action": "wait"}


class TellingSkills(Guided):
    def teacher(self, won: bool) -> dict[str, Any]:
        return {"skills": ["there is a note on the table"]}  # which is what the student reads at the beginning


class Exposing(Guided):
    """Takes the keyword, and does not do what it says."""

    def __init__(self, render_mode: str | None = None, expose_privileged: bool = True) -> None:
        super().__init__(render_mode)


def checked(kind: type, check: str, profile: str = "text") -> CheckResult:
    [result] = run_checks(kind, episodes=2, only=(check,), profile=profile).results
    return result


@pytest.mark.parametrize(
    ("kind", "check", "said"),
    [
        (Guided, "privileged_off", "expected the keyword expose_privileged"),
        (StillPlanning, "plan", "expected an empty plan after success"),
        (PlanAlone, "plan", "expected next_action"),
        (SkillsAsTexts, "info_keys", "expected info['privileged'] to have the keys"),
    ],
)
def test_a_promise_of_this_suite_alone_warns_for_strangers_and_fails_for_the_contract(
    kind: type, check: str, said: str
) -> None:
    for profile, status in (("text", Status.WARNED), ("auto", Status.WARNED), ("contract", Status.FAILED)):
        result = checked(kind, check, profile)
        assert result.status is status and said in result.what and result.remedy


@pytest.mark.parametrize(
    ("kind", "check", "said"),
    [
        (WrongPlan, "plan", "expected the plan to solve"),
        (Exposing, "privileged_off", "expected no info['privileged']"),
        (TellingSkills, "canary", "privileged text reached the student"),
    ],
)
def test_what_is_wrong_for_anybody_fails_for_strangers_too(kind: type, check: str, said: str) -> None:
    result = checked(kind, check)
    assert result.status is Status.FAILED and said in result.what


def test_a_teachers_side_of_any_shape_is_looked_through_for_leaks_and_breaks_no_check() -> None:
    assert checked(SkillsAsTexts, "canary").status is Status.SKIPPED  # nothing found, nothing planted
    assert not run_checks(SkillsAsTexts, episodes=2, hostile_actions=5, sessions=2, skip=("gymnasium",)).failures


def test_a_warned_plan_hides_no_oracle() -> None:
    report = run_checks(
        StillPlanning, episodes=2, only=("plays", "plan", "oracle"), profile="text",
        oracle=lambda env, observation, info: f"say {env.password}",
    )  # fmt: skip
    assert [result.status for result in report.results] == [Status.HELD, Status.WARNED, Status.HELD]
