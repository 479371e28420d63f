"""What other stacks' agents read, and which action their replies are taken for."""

from __future__ import annotations

import gymnasium as gym
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sdar_envs  # registers the worlds
from sdar_envs.bridges.wording import action_in, opening, outcome, turn
from sdar_envs.privileged import StudentView, split_info

WORLDS = sorted({"sdar/Household-v0", "sdar/WebShop-v0", "sdar/SearchQA-v0", "sdar/Trip-v0"} & set(sdar_envs.WORLDS))


@pytest.mark.parametrize("env_id", WORLDS)
def test_the_first_message_states_the_task_once_and_every_action(env_id: str) -> None:
    env = gym.make(env_id)
    observation, info = env.reset(seed=0)
    text = opening(split_info(observation, info)[0])
    assert text.count(info["instruction"]) == 1
    assert text.split("\n\nActions:\n")[1].splitlines() == info["admissible_actions"]
    env.close()


@pytest.mark.parametrize("env_id", WORLDS)
def test_an_action_that_a_world_lists_is_read_back_from_a_reply(env_id: str) -> None:
    env = gym.make(env_id)
    _, info = env.reset(seed=0)
    for action in [*info["admissible_actions"], info["privileged"]["next_action"]]:
        assert (
            action_in(action)
            == action_in(f"<think><action>no</action></think> So: <action>{action}</action>")
            == action
        )
    env.close()


def test_a_task_that_the_observation_does_not_state_comes_first() -> None:
    view = StudentView(observation="A room.", instruction="find the key")
    assert opening(view) == "Your task: find the key\n\nA room."
    assert turn(view) == "A room."


def test_actions_are_left_out_on_request_and_counted_where_there_are_too_many() -> None:
    view = StudentView(observation="A room.", admissible_actions=("north", "south", "wait"))
    assert turn(view, actions=False) == "A room."
    assert turn(view, most_actions=2) == "A room.\n\nActions:\nnorth\nsouth\n(1 more)"


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


def test_how_an_episode_ended_is_one_sentence() -> None:
    assert outcome(success=True, score=1, truncated=True) == "The episode is over: solved, score 1.00."
    assert outcome(success=False, score=0.5, truncated=True) == "The episode is over: out of turns, score 0.50."
    assert outcome(success=False, score=0, truncated=False) == "The episode is over: not solved, score 0.00."
