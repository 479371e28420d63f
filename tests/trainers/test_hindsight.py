"""Texts made of an iteration's own episodes: whose success tells whose teacher, and what a verdict says."""

from __future__ import annotations

import math
import random
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.base import Action, Episode, StopReason, Turn, TurnTokens
from agents.hindsight import HINDSIGHTS, successful_actions, verdict, worded
from agents.teacher import PRIVILEGES, split_privilege
from sdar_envs.privileged import Privileged, StudentView
from trainers.config import SDARConfig
from trainers.methods import METHODS
from trainers.rollout.collect import Rollout, TaskDraw
from trainers.rollout.hindsight import hindsight_of
from trainers.rollout.rows import build_rows, read_teachers
from trainers.rollout.teacher_views import readings_of


def episode(*actions: str, success: bool = False, rejected: tuple[int, ...] = (), **fields: Any) -> Episode:
    turns = [
        Turn(
            StudentView("seen", turn=number),
            Action(text, text, tokens=TurnTokens((1, 2), number > 0, (3,), (-1.0,))),
            0.0,
            number not in rejected,
        )
        for number, text in enumerate(actions)
    ]
    reason = StopReason.SUCCESS if success else StopReason.HORIZON
    own = Episode("env", "task", "kind", (), turns, success=success, stop_reason=reason)
    for name, value in fields.items():
        setattr(own, name, value)
    return own


def rollouts_of(*groups: list[Episode]) -> list[Rollout]:
    return [
        Rollout(own, TaskDraw("task", (), group, member), [Privileged({}) for _ in own.turns])
        for group, episodes in enumerate(groups)
        for member, own in enumerate(episodes)
    ]


def told(rollouts: list[Rollout], privilege: str) -> list[Any]:
    return [None if each is None else each.reveal() for each in hindsight_of(rollouts, privilege)]


# --- whose episode tells whose teacher ---


def test_the_first_other_success_of_the_group_is_shown_and_never_an_episodes_own() -> None:
    found = told(rollouts_of([episode("a", success=True), episode("b"), episode("c", success=True)]), "sibling")
    assert found == [{"sibling": ["c"]}, {"sibling": ["a"]}, {"sibling": ["a"]}]


def test_a_single_success_tells_the_others_and_has_no_text_itself() -> None:
    assert told(rollouts_of([episode("a"), episode("b", success=True)]), "sibling") == [{"sibling": ["b"]}, None]


def test_a_group_without_a_success_has_no_text_and_other_groups_lend_none() -> None:
    found = told(rollouts_of([episode("a"), episode("b")], [episode("c", success=True), episode("d")]), "sibling")
    assert found == [None, None, None, {"sibling": ["c"]}]


def test_another_seat_of_the_same_game_is_no_sibling() -> None:
    seats = [episode("bid", success=True, role="buyer"), episode("ask", role="seller"), episode("offer", role="buyer")]
    assert told(rollouts_of(seats), "sibling") == [None, None, {"sibling": ["bid"]}]


def test_hindsight_is_a_siblings_success_and_where_there_is_none_the_verdict() -> None:
    found = told(rollouts_of([episode("a"), episode("b", success=True)], [episode("c")]), "hindsight")
    assert found[0] == {"sibling": ["b"]} and found[1] is None
    assert list(found[2]) == ["feedback"] and "did not succeed" in found[2]["feedback"][0]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(HINDSIGHTS))
def test_nothing_is_told_of_a_broken_environment_and_no_text_is_from_outside_its_group(
    seed: int, privilege: str
) -> None:
    draw = random.Random(seed)
    groups = []
    for group in range(draw.randrange(1, 4)):
        own = []
        for member in range(draw.randrange(1, 5)):
            one = episode(f"act {group} {member}", success=draw.random() < 0.4)
            if draw.random() < 0.2:
                one.success, one.stop_reason = False, StopReason.FAILED
            own.append(one)
        groups.append(own)
    rollouts = rollouts_of(*groups)
    for rollout, found in zip(rollouts, told(rollouts, privilege), strict=True):
        siblings = [
            other.episode
            for other in rollouts
            if other.task.group == rollout.task.group and other is not rollout and other.episode.success
        ]
        if found is None:
            continue
        if "sibling" in found:
            assert found["sibling"] == successful_actions(siblings[0])
        else:
            assert privilege != "sibling" and not rollout.episode.success and not rollout.episode.failed
            assert not (siblings and privilege == "hindsight")


def test_what_is_told_does_not_depend_on_what_the_environment_keeps_from_the_student() -> None:
    plain = rollouts_of([episode("a"), episode("b", success=True)])
    informed = rollouts_of([episode("a"), episode("b", success=True)])
    for rollout in informed:
        rollout.privileged = [Privileged({"plan": ["xyzzy"]}) for _ in rollout.privileged]
    for privilege in HINDSIGHTS:
        assert told(plain, privilege) == told(informed, privilege)
        assert "xyzzy" not in str(told(informed, privilege))


# --- what is said ---


def test_a_success_is_shown_by_what_was_understood_of_it() -> None:
    own = episode("look", "open fridg", "open fridge", success=True, rejected=(1,))
    assert successful_actions(own) == ["look", "open fridge"]
    text = worded({"sibling": successful_actions(own)}, str.upper, compact=False)
    assert text.splitlines() == [
        "Another attempt at this task succeeded. What was done in it, in order:",
        "1. LOOK",
        "2. OPEN FRIDGE",
    ]
    assert worded({"sibling": ["look", "take mug"]}, str, compact=True) == "look; take mug"


def test_a_verdict_says_how_it_ended_and_what_was_wrong_in_it() -> None:
    own = episode("look", "open fridg", "take mug", rejected=(1,), score=0.25, first_wrong_turn=2)
    assert verdict(own) == [
        "This attempt did not succeed; its score is 0.25 of 1.",
        "It ran out of turns after 3.",
        "Not understood: turn 2, 'open fridg'.",
        "Less could be reached after turn 3, 'take mug', than before it.",
    ]
    assert verdict(episode("look", success=True)) == [] == verdict(episode())


def test_a_verdict_names_a_few_of_many_rejected_actions_and_no_turn_that_is_not_there() -> None:
    own = episode(*"abcdefgh", rejected=tuple(range(8)), first_wrong_turn=-1)
    assert verdict(own)[-1].endswith("turn 5, 'e'; and 3 more.")
    assert len(verdict(episode("a", first_wrong_turn=7))) == 2


def test_nothing_told_is_no_text() -> None:
    assert worded({}, str, compact=False) == "" == worded({"sibling": [], "feedback": []}, str, compact=True)


# --- readings ---


class Reader:
    """Remembers what it was shown."""

    def __init__(self) -> None:
        self.shown: list[Any] = []

    def read(self, turns: Any, privileged: Any) -> Any:
        self.shown.append([each.reveal() for each in privileged])
        row = build_rows(rollouts_of([episode(*(turn.action.text for turn in turns))]))[0]
        return type("Reading", (), {"view": row.student, "block_tokens": 4, "history_cut": 0, "complete": True})()


def test_a_row_of_which_nothing_is_told_is_not_read_and_is_no_missing_context() -> None:
    rollouts = rollouts_of([episode("a", "b"), episode("c", success=True)])
    reader = Reader()
    views, metrics = read_teachers(
        build_rows(rollouts), rollouts, {"teacher": reader}, {"teacher": hindsight_of(rollouts, "sibling")}
    )
    assert [list(own) for own in views] == [["teacher"], []]
    assert reader.shown == [[{"sibling": ["c"]}, {"sibling": ["c"]}]]
    assert metrics.metrics()["teacher/without_text"] == 0.5 and metrics.incomplete == 0


def test_other_teachers_have_no_such_metric() -> None:
    rollouts = rollouts_of([episode("a")])
    _, metrics = read_teachers(build_rows(rollouts), rollouts, {"teacher": Reader()})
    assert "teacher/without_text" not in metrics.metrics()


def test_they_are_privileges_by_name_and_no_environments() -> None:
    assert not set(HINDSIGHTS) & set(PRIVILEGES)
    assert split_privilege("sibling+skill") == ("sibling", "skill")
    with pytest.raises(ValueError, match="sibling"):
        split_privilege("siblings")
    with pytest.raises(ValueError, match="privilege"):
        hindsight_of([], "skill")


# --- SDPO ---


def test_sdpo_weighs_a_divergence_by_the_capped_ratio_without_gradient() -> None:
    student = torch.tensor([[-1.0, -1.0, -1.0]], requires_grad=True)
    batch: Any = SimpleNamespace(live_student=lambda: student, behaviour_BT=torch.tensor([[-1.0, -1.5, -4.0]]))
    weight = METHODS["sdpo"].weight(student, batch, SDARConfig())
    assert weight.flatten().tolist() == pytest.approx([1.0, math.exp(0.5), 2.0]) and not weight.requires_grad


def test_sdpo_is_told_of_episodes_whatever_privilege_is_and_its_teacher_is_averaged() -> None:
    method = METHODS["sdpo"]
    for privilege in ("skill", "plan"):
        assert readings_of(method, SDARConfig(method="sdpo", privilege=privilege)) == {"hindsight": "hindsight"}
    assert method.teacher_weights_for(SDARConfig()) == "ema" and method.pg_coef == 0.0
