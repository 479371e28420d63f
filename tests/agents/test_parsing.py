"""Completions become actions, with a reason when they do not, in linear time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.base import Parse
from agents.parsing import parse_bare, parse_tagged
from agents.prompts import parse_completion, prompt_style

THOUGHT = "<think>the fridge is near</think>"


@pytest.mark.parametrize(
    ("text", "action", "parse"),
    [
        (f"{THOUGHT}<action>go to fridge 1</action>", "go to fridge 1", Parse.OK),
        (f"{THOUGHT}\n\n <action>\n Go to Fridge 1 </action> done", "Go to Fridge 1", Parse.OK),
        ("</think><action>look</action>", "look", Parse.OK),  # the generation prompt may have opened the thought
        ("<action>look</action>", "look", Parse.NO_THINK_TAG),
        (f"{THOUGHT}look", "", Parse.NO_ACTION_TAG),
        (f"{THOUGHT}<action>look", "", Parse.NO_ACTION_TAG),
        (f"{THOUGHT}</action>look<action>", "", Parse.NO_ACTION_TAG),
        (f"{THOUGHT}<action>look</action><action>open</action>", "", Parse.MANY_ACTION_TAGS),
        (f"{THOUGHT}<action><action>look</action>", "", Parse.MANY_ACTION_TAGS),
        (f"{THOUGHT}<action> </action>", "", Parse.EMPTY),
        (THOUGHT, "", Parse.EMPTY),
        ("", "", Parse.EMPTY),
        ("<think>maybe <action>open</action>?</think><action>look</action>", "look", Parse.OK),
        ("<think>only <action>open</action> here</think>", "", Parse.EMPTY),
    ],
)
def test_tagged_completions(text: str, action: str, parse: Parse) -> None:
    assert parse_tagged(text, False, thinking=True) == (action, parse)


def test_thinking_is_not_asked_of_a_model_that_does_not_think() -> None:
    assert parse_tagged("<action>look</action>", False, thinking=False) == ("look", Parse.OK)


def test_a_truncated_completion_says_so_and_keeps_an_action_only_if_it_was_complete() -> None:
    assert parse_tagged(f"{THOUGHT}<action>look</action> and", True, thinking=True) == ("look", Parse.TRUNCATED)
    assert parse_tagged(f"{THOUGHT}<action>go to cab", True, thinking=True) == ("", Parse.TRUNCATED)
    assert parse_bare("go to cabinet 1", True) == ("", Parse.TRUNCATED)


def test_a_bare_completion_is_the_action() -> None:
    assert parse_bare(" go to fridge 1\n", False) == ("go to fridge 1", Parse.OK)
    assert parse_bare(" \n", False) == ("", Parse.EMPTY)


def test_the_style_decides_how_a_completion_is_read() -> None:
    assert parse_completion("compact", "<action>look</action>") == ("<action>look</action>", Parse.OK)
    assert parse_completion("paper", f"{THOUGHT}<action>look</action>") == ("look", Parse.OK)
    assert parse_completion(prompt_style("paper", thinking=False), "<action>look</action>") == ("look", Parse.OK)


@given(action=st.text(min_size=1).map(str.strip).filter(lambda text: text and "<" not in text))
def test_what_a_style_writes_for_an_action_it_also_reads(action: str) -> None:
    for style in (prompt_style("paper"), prompt_style("paper", thinking=False), prompt_style("compact")):
        assert style.parse(style.completion_for(action), False) == (action, Parse.OK)


@given(text=st.text(), truncated=st.booleans(), thinking=st.booleans())
def test_no_text_raises(text: str, truncated: bool, thinking: bool) -> None:
    action, parse = parse_tagged(text, truncated, thinking=thinking)
    assert (parse is Parse.TRUNCATED) == truncated
    assert action in text


@pytest.mark.parametrize("unit", ["<", "<action>", "</action>", "<action></action>", "</think>", "<think>", "<action"])
def test_megabytes_of_tags_are_read_without_backtracking(unit: str) -> None:
    """Any search that backtracks would need hours for this."""
    text = unit * (8_000_000 // len(unit))
    for style in ("paper", "compact"):
        assert isinstance(parse_completion(style, text)[1], Parse)
