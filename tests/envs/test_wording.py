"""What other stacks' agents read, and which action their replies are taken for."""

from __future__ import annotations

import functools
from typing import Any

import gymnasium as gym
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sdar_envs
from sdar_envs.bridges.replies import action_in
from sdar_envs.bridges.sessions import Registry, Seen, Session, Worlds
from sdar_envs.bridges.wording import ending, opening, with_actions

WORLDS = [name for name in ("Household", "WebShop", "SearchQA", "Trip") if f"sdar/{name}-v0" in sdar_envs.WORLDS]


def seen(**fields: Any) -> Seen:
    given: dict[str, Any] = {
        "text": "A room.",
        "reward": 0.0,
        "terminated": False,
        "truncated": False,
        "task_id": "",
        "task_type": "",
    }
    given |= {"instruction": "", "admissible_actions": [], "is_action_valid": True, "success": False, "score": 0.0}
    return Seen(**{**given, **fields})


@pytest.mark.parametrize("world", WORLDS)
def test_the_first_message_states_the_task_once_and_every_action(world: str) -> None:
    if world == "SearchQA":
        pytest.importorskip("faiss")
    session = Session(Worlds(functools.partial(gym.make, f"sdar/{world}-v0")), Registry())
    begun = session.reset(seed=0)
    text = opening(begun, list_actions=True)
    assert text.count(begun.instruction) == 1
    assert [line.removeprefix("- ") for line in text.splitlines()[-len(begun.admissible_actions) :]] == (
        begun.admissible_actions
    )
    known = session.teacher_view()[1]
    for action in [*begun.admissible_actions, known["next_action"]]:
        reply = f"<think><action>no</action></think> So: <action>{action}</action>"
        assert action_in(action) == action_in(reply) == action
    session.close()


def test_a_task_that_the_observation_does_not_state_comes_first() -> None:
    assert opening(seen(instruction="find the key")) == "find the key\n\nA room."
    assert opening(seen(instruction="A room", admissible_actions=["go"])) == "A room."
    assert with_actions("A room.", seen()) == "A room."


@pytest.mark.parametrize(
    ("reply", "action"),
    [
        ("look", "look"),
        ("  look\n", "look"),
        ("I see. <action> look </action> Done.", "look"),
        ("<think>maybe <action>wait</action></think>look", "look"),
        ("<action><search>who</search></action>", "<search>who</search>"),
        ("<action>look</action><action>wait</action>", ""),
        ("<action>look", ""),
        ("look</action>", ""),
        ("</action>look<action>", ""),
        ("", ""),
    ],
)
def test_a_reply_is_one_action_or_none(reply: str, action: str) -> None:
    assert action_in(reply) == action


PARTS = st.sampled_from(["<action>", "</action>", "</think>", "a", "\n", "\ud800", " "])


@given(st.lists(PARTS, max_size=8).map("".join))
def test_what_is_read_is_part_of_the_reply_and_holds_no_tag(reply: str) -> None:
    action = action_in(reply)
    assert action in reply and not any(tag in action for tag in ("<action>", "</action>", "</think>"))


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"success": True, "score": 1.0, "truncated": True}, "The episode is over: solved, score 1.00."),
        ({"score": 0.5, "truncated": True}, "The episode is over: out of turns, score 0.50."),
        ({"terminated": True}, "The episode is over: not solved, score 0.00."),
    ],
)
def test_how_an_episode_ended_is_one_sentence(fields: dict[str, Any], sentence: str) -> None:
    assert ending(seen(**fields)) == sentence
