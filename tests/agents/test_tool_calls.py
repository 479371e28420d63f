"""From a completion to the one call in it: what is no call is a counted step with a reason, and nothing raises."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.base import Parse
from agents.parsing import parse_call
from agents.tool_formats import JSON, SMOLLM2, ToolFormat
from agents.tool_style import ToolStyle
from sdar_envs.household.tools import TOOLS
from sdar_envs.privileged import StudentView
from sdar_envs.tool_sets import CallTools
from sdar_envs.trip.tools import tool_schemas

QWEN = ToolFormat("template", "<tool_call>\n", "\n</tool_call>", result_role="tool")
LLAMA = ToolFormat("template", arguments_key="parameters", result_role="tool")
FORMS = pytest.mark.parametrize("form", [QWEN, SMOLLM2, JSON, LLAMA], ids=["qwen", "smollm2", "json", "other keys"])
DEEP = '{"name": "look", "arguments": {"x": ' + "[" * 10_000 + "]" * 10_000 + "}}"


@FORMS
@pytest.mark.parametrize("action", ["go to fridge 1", "take apple 1 from fridge 1", "look"])
def test_a_call_is_read_as_the_action_that_it_was_written_for(form: ToolFormat, action: str) -> None:
    words = ToolStyle("tools", False, False, TOOLS, form)
    call = words.completion_for(action)
    assert words.parse(call, False) == (action, Parse.OK)
    assert words.parse(f"<think>\nnot {call}\n</think>\n\n{call}", False) == (action, Parse.OK)
    assert words.parse(call, True) == (action, Parse.TRUNCATED)
    assert words.parse(f"  {call}\n", False) == (action, Parse.OK)


def test_text_around_a_call_in_tags_is_left_unread() -> None:
    assert parse_call('I go.\n<tool_call>\n{"name": "look"}\n</tool_call> Done.', False, QWEN, TOOLS) == (
        "look",
        Parse.OK,
    )


@FORMS
@pytest.mark.parametrize(
    ("said", "parse"),
    [
        ("", Parse.EMPTY),
        ("  \n", Parse.EMPTY),
        ("go to fridge 1", Parse.NO_TOOL_CALL),
        ("WRAP{", Parse.BROKEN_TOOL_CALL),
        ("WRAP{}", Parse.BROKEN_TOOL_CALL),
        ('WRAP{"name": 3, "KEY": {}}', Parse.BROKEN_TOOL_CALL),
        ('WRAP{"name": "look", "KEY": {"x": NaN}}', Parse.BROKEN_TOOL_CALL),
        ('WRAP{"name": "look", "KEY": {"x": ' + "9" * 5_000 + "}}", Parse.BROKEN_TOOL_CALL),
        ("WRAP" + DEEP.replace("arguments", "KEY"), Parse.BROKEN_TOOL_CALL),
        ('WRAP{"name": "look", "KEY": {}} {"name": "look", "KEY": {}}', Parse.MANY_TOOL_CALLS),
        ('WRAP{"name": "fly", "KEY": {}}', Parse.UNKNOWN_TOOL),
        ('WRAP{"name": "look", "KEY": "x"}', Parse.BAD_ARGUMENTS),
        ('WRAP{"name": "go_to", "KEY": {}}', Parse.BAD_ARGUMENTS),
        ('WRAP{"name": "go_to", "KEY": {"place": ["fridge 1"]}}', Parse.BAD_ARGUMENTS),
        ('WRAP{"name": "go_to", "KEY": {"place": 1e999}}', Parse.BAD_ARGUMENTS),
        ('WRAP{"name": "go_to", "KEY": {"place": "x", "why": "y"}}', Parse.BAD_ARGUMENTS),
    ],
)
def test_what_is_no_call_has_a_reason_and_no_action(form: ToolFormat, said: str, parse: Parse) -> None:
    text = said.replace("KEY", form.arguments_key)
    if text.startswith("WRAP"):
        text = form.opening + text.removeprefix("WRAP") + form.closing
        if form.listed:
            text = text.replace("} {", "}, {")
    assert parse_call(text, False, form, TOOLS) == ("", parse)


def test_a_call_that_is_left_open_or_followed_by_more_is_none() -> None:
    assert parse_call('<tool_call>\n{"name": "look"}', False, QWEN, TOOLS) == ("", Parse.NO_TOOL_CALL)
    assert parse_call('<tool_call>\n{"name": "look"', True, QWEN, TOOLS) == ("", Parse.TRUNCATED)
    assert parse_call('{"name": "look"} please', False, JSON, TOOLS) == ("", Parse.BROKEN_TOOL_CALL)


def test_two_calls_in_tags_are_none() -> None:
    call = '<tool_call>\n{"name": "look", "arguments": {}}\n</tool_call>'
    assert parse_call(f"{call}\n{call}", False, QWEN, TOOLS) == ("", Parse.MANY_TOOL_CALLS)
    assert parse_call("<tool_call>[]</tool_call>", False, SMOLLM2, TOOLS) == ("", Parse.NO_TOOL_CALL)


def test_a_world_that_takes_calls_as_they_are_says_itself_what_is_wrong() -> None:
    trips = CallTools(json.dumps(tool_schemas("small")))
    action, parse = parse_call('{"name": "fly", "arguments": {"to": "graz"}}', False, JSON, trips)
    assert parse is Parse.UNKNOWN_TOOL and json.loads(action) == {"name": "fly", "arguments": {"to": "graz"}}
    action, parse = parse_call('{"name": "book", "arguments": {"id": 1e999}}', False, JSON, trips)
    assert parse is Parse.OK and "Infinity" in action


def test_half_a_character_does_not_reach_the_world() -> None:
    text = '{"name": "go_to", "arguments": {"place": "fridge \\ud800"}}'
    assert parse_call(text, False, JSON, TOOLS) == ("go to fridge ?", Parse.OK)


pieces = st.sampled_from(
    ["<tool_call>", "</tool_call>", "[", "]", "{", "}", '"name"', '"look"', '"arguments"', ":", ",", "</think>", "1e9"]
)


@FORMS
@given(parts=st.lists(pieces | st.text(max_size=4), max_size=12))
@settings(max_examples=60, deadline=None)
def test_no_text_raises(form: ToolFormat, parts: list[str]) -> None:
    action, parse = parse_call("".join(parts), False, form, TOOLS)
    assert (parse is Parse.OK) == (action != "")
    ToolStyle("tools", False, False, TOOLS, form).turn(StudentView("seen"), "".join(parts))


# What the agent is told, and what a window shows.


@pytest.mark.parametrize(
    ("answered", "told"),
    [
        ("hm", "Nothing was called: answer with one call.\nSeen."),
        ("<tool_call>{</tool_call>", "That call could not be read: it is not the JSON that a call is made of.\nSeen."),
        ("<tool_call></tool_call><tool_call>", "Nothing was done: answer with one call at a time.\nSeen."),
        ('<tool_call>{"name": "fly"}</tool_call>', "There is no tool of that name.\nSeen."),
        ('<tool_call>{"name": "go_to"}</tool_call>', "The arguments are not those of that tool.\nSeen."),
        ('<tool_call>{"name": "look"}</tool_call>', "Seen."),
    ],
)
def test_the_reason_stands_in_front_of_what_is_seen_next(answered: str, told: str) -> None:
    words = ToolStyle("tools", False, False, TOOLS, QWEN)
    assert words.turn(StudentView("Seen."), answered) == [{"role": "tool", "content": told}]


def test_a_window_is_a_chat_of_the_last_calls_and_lists_possible_ones_for_the_present_alone() -> None:
    words = ToolStyle("tools", True, False, TOOLS, QWEN)
    views = [StudentView(f"Seen {n}.", instruction="heat it", admissible_actions=("look",)) for n in range(4)]
    calls = [words.completion_for(action) for action in ("go to fridge 1", "open fridge 1", "look")]
    messages = words.window(views, [words.remembered("", f"<think>\nx\n</think>\n\n{call}") for call in calls], 2)
    assert [message["role"] for message in messages] == ["system", "user", "assistant", "tool", "assistant", "tool"]
    assert "heat it" in messages[1]["content"] and messages[1]["content"].endswith("Seen 1.")
    assert messages[2]["content"] == calls[1] and messages[3]["content"] == "Seen 2."
    assert messages[5]["content"].startswith("Seen 3.")
    assert messages[5]["content"].endswith('Calls that are possible now:\n{"name": "look", "arguments": {}}')
    whole = words.window(views, calls, 9)
    assert whole[1]["content"].endswith("Seen 0.") and len(whole) == 8
