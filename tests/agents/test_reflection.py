"""What a policy is asked about its finished episodes, and which of its answers are of no use to a teacher."""

from __future__ import annotations

from typing import Any

import pytest

from agents.base import Action, Episode, StopReason, Turn
from agents.hindsight import verdict, worded
from agents.prompts import prompt_style
from agents.reflection import FLAWS, actions_of, episode_messages, flaw_of, guide_messages, written_text
from sdar_envs.hostile import hostile_actions
from sdar_envs.privileged import StudentView

PAPER, COMPACT, PLAIN = prompt_style("paper"), prompt_style("compact"), prompt_style("plain")


def episode(*actions: str, success: bool = False, task: str = "heat the apple", **fields: Any) -> Episode:
    turns = [
        Turn(
            StudentView(f"state {n}", instruction=task, turn=n, admissible_actions=("look", "open fridge 1")),
            Action(text, f"<action>{text}</action>"),
            0.0,
            n not in fields.get("rejected", ()),
        )
        for n, text in enumerate(actions)
    ]
    reason = StopReason.SUCCESS if success else StopReason.HORIZON
    own = Episode("env", "task", "kind", (), turns, success=success, score=float(success), stop_reason=reason)
    own.first_wrong_turn = fields.get("first_wrong_turn")
    return own


# --- what is asked ---


def test_an_episode_is_told_with_its_task_its_turns_and_its_outcome() -> None:
    system, user = episode_messages(PAPER, episode("look", "open fridge 1", success=True))
    assert system["role"] == "system" and user["role"] == "user"
    text = user["content"]
    parts = [
        "Your task was: heat the apple",
        "[turn 1] seen: state 0\n[turn 1] done: look\n[turn 2] seen: state 1\n[turn 2] done: open fridge 1",
        "This attempt succeeded after 2 turn(s); its score is 1.00 of 1.",
    ]
    assert sorted(parts, key=text.index) == parts


def test_a_failure_is_told_with_what_was_not_understood_and_what_only_a_planner_knows_not_unless_asked() -> None:
    own = episode("lok", "open fridge 1", rejected=(0,), first_wrong_turn=1)
    plain = episode_messages(PAPER, own)[-1]["content"]
    told = episode_messages(PAPER, own, wrong_turn=True)[-1]["content"]
    planners = "Less could be reached after turn 2, 'open fridge 1', than before it."
    assert "Not understood: turn 1, 'lok'." in plain and planners not in plain
    assert told.replace(f" {planners}", "") == plain
    assert planners in verdict(own) and planners not in verdict(own, wrong_turn=False)


def test_the_first_turns_are_left_out_by_number_and_the_others_keep_theirs() -> None:
    text = episode_messages(PAPER, episode("a", "b", "c"), left_out=2)[-1]["content"]
    assert "(the first 2 turn(s) are left out here)\n[turn 3] seen: state 2\n[turn 3] done: c" in text
    assert "state 1" not in text


def test_a_task_that_is_not_stated_leaves_no_heading_and_no_other_part() -> None:
    for style in (PAPER, COMPACT, PLAIN):
        text = episode_messages(style, episode("look", task=""))[-1]["content"]
        assert "{" not in text and "Your task was" not in text and "state 0" in text and "did not succeed" in text


def test_long_observations_and_actions_are_cut_and_nothing_that_was_done_is_a_placeholder() -> None:
    own = episode("x" * 9999, "{task} {turns}", "")
    text = episode_messages(PAPER, own)[-1]["content"]
    assert "x" * 400 + " [...]" in text and "x" * 401 not in text
    assert "done: {task} {turns}" in text and "done: (nothing that could be read as an action)" in text


def test_only_styles_with_a_system_message_have_one_here() -> None:
    own = episode("look")
    assert [len(episode_messages(style, own)) for style in (PAPER, COMPACT, PLAIN)] == [2, 2, 1]


def test_a_guide_is_asked_for_with_notes_on_both_outcomes_apart() -> None:
    text = guide_messages(PAPER, "heat the apple", ["go straight", "open first"], ["looked too long"])[-1]["content"]
    assert "The task was: heat the apple" in text
    won, lost = text.partition("After attempts that did not:")[::2]
    assert "[attempt 1] go straight\n[attempt 2] open first" in won and "[attempt 1] looked too long" in lost
    assert "looked" not in won and "straight" not in lost


# --- what is written ---


def test_thinking_is_no_note_and_thinking_that_never_ends_leaves_none() -> None:
    assert written_text("<think>well</think>\n Open it first. ") == "Open it first."
    assert written_text("<think>well, let me") == "" == written_text("  \n")
    assert written_text("a </think> b </think> c") == "c"


@pytest.mark.parametrize(
    ("text", "flaw"),
    [
        ("", "empty"),
        (" ... !? ", "empty"),
        ("open fridge 1", "action"),
        ("Open  Fridge 1.", "action"),
        ("<action>open fridge 1</action>", "action"),
        ("look", "action"),
        ("open it", "short"),
        ("go to fridge " * 4, "repeated"),  # 3 of 12 words: 0.25 is not below a quarter, so one more is needed
        ("1. Open the fridge before looking for the apple.", ""),
        ("The fridge should have been opened at once.", ""),
        ("先打开冰箱再拿苹果", ""),
    ],
)
def test_an_answer_is_of_use_or_has_a_flaw_with_a_name(text: str, flaw: str) -> None:
    actions = actions_of(PAPER, [episode("look", "open fridge 1")])
    if flaw == "repeated":
        assert flaw_of(text, actions) == ""
        text += "go to fridge"
    assert flaw_of(text, actions) == flaw and flaw in ("", *FLAWS)


def test_an_action_as_a_tiny_model_words_it_is_no_note_either() -> None:
    own = episode("open x17")
    view = StudentView("x17 here", admissible_actions=("look at x17",))
    own.turns = [Turn(view, Action("look at x17", "look at item 1"), 0.0, True)]
    assert flaw_of("look at item 1", actions_of(COMPACT, [own])) == "action"


def test_no_text_of_an_agent_raises_in_any_of_it() -> None:
    for text in [*hostile_actions(60, seed=3, legal=("look",)), "\ud800", "{task}", "=== episode", "</think>" * 5]:
        own = episode(text, text)
        for style in (PAPER, COMPACT, PLAIN):
            assert episode_messages(style, own)[-1]["content"]
            assert guide_messages(style, text, [text], [text])[-1]["content"]
        assert flaw_of(written_text(text), actions_of(PAPER, [own])) in ("", *FLAWS)


# --- as a teacher reads it ---


def test_a_text_of_the_policys_stands_under_a_heading_that_says_whose_it_is() -> None:
    assert worded({"reflection": "Open first."}, str.upper, compact=False).splitlines() == [
        "Notes on this very attempt, written after it had ended:",
        "Open first.",
    ]
    assert worded({"group_reflection": "Open first."}, str, compact=False).startswith("A guide to this task")
    assert worded({"reflection": "Open first."}, str, compact=True) == "Open first."
