"""Ids become numbers in the compact style and numbers ids again, one view at a time; other styles show the world."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.base import Parse
from agents.item_aliases import numbered_ids, with_ids, with_numbers
from agents.prompts import prompt_style
from sdar_envs.privileged import StudentView

ACTIONS = ("click[back to search]", "click[b0u1245o7n]", "click[b0q3k0fuq9]", "click[next >]")
VIEW = StudentView("Page 1 [SEP] B0U1245O7N [SEP] boots [SEP] $25.0", "boots", admissible_actions=ACTIONS)


def test_ids_are_numbered_in_the_order_of_the_actions_whatever_their_case():
    assert numbered_ids(ACTIONS) == {"b0u1245o7n": "item 1", "b0q3k0fuq9": "item 2"}
    assert with_numbers("B0Q3K0FUQ9, b0u1245o7n and B099999999", ACTIONS) == "item 2, item 1 and B099999999"
    assert with_numbers("click[b0q3k0fuq9]", ACTIONS) == "click[item 2]"


def test_words_numbers_and_short_names_are_no_ids():
    for text in ("click[description]", "click[12345678]", "go to cabinet 12", "click[a1]", "click[39 eu]", "e9d0"):
        assert numbered_ids((text,)) == {}


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("click[item 1]", "click[b0u1245o7n]"),
        ("click[item 2]", "click[b0q3k0fuq9]"),
        ("click[item 3]", "click[item 3]"),
        ("click[item 12]", "click[item 12]"),
        ("search[item 1]", "search[item 1]"),
        ("item 1", "item 1"),
        ("click[b0u1245o7n]", "click[b0u1245o7n]"),
        ("click[next >]", "click[next >]"),
        ("", ""),
    ],
)
def test_a_number_is_read_as_an_id_only_where_that_makes_an_admissible_action(said: str, meant: str):
    assert with_ids(said, ACTIONS) == meant


@given(st.text(max_size=60))
def test_whatever_is_said_stays_as_it_is_or_becomes_admissible(said: str):
    meant = with_ids(said, ACTIONS)
    assert meant == said or meant in ACTIONS


def test_only_the_compact_style_numbers():
    compact = prompt_style("compact", list_actions=True)
    content = compact.turn(VIEW)[0]["content"]
    assert "item 1" in content and "click[item 2];" in content and "B0U" not in content.upper()
    assert compact.completion_for("click[b0q3k0fuq9]", VIEW) == "click[item 2]"
    assert compact.parse("click[item 2]", False, VIEW) == ("click[b0q3k0fuq9]", Parse.OK)
    for name in ("paper", "plain"):
        style = prompt_style(name)
        assert "B0U1245O7N" in style.turn(VIEW)[0]["content"]
        assert "item" not in style.completion_for("click[b0q3k0fuq9]", VIEW)


def test_windows_show_what_was_done_in_the_words_that_were_said():
    after = StudentView("the boots", "boots", turn=1, admissible_actions=("click[buy now]",))
    [*_, message] = prompt_style("compact").window([VIEW, after], ["click[b0q3k0fuq9]"], 1)
    assert "> click[item 2]" in message["content"]


def test_the_compact_store_states_its_task_once_and_repeats_it_on_no_page():
    style = prompt_style("compact")
    wanted = "Find me a retro wool rug for yoga, fade proof, and price lower than 50.00 dollars"
    index = StudentView(f"WebShop [SEP] Instruction: [SEP] {wanted} [SEP] Search", wanted)
    opening = style.opening(index)[-1]["content"]
    assert opening == "task: Find me a retro wool rug for yoga, fade proof, under 50\nsearch page"
    head = f"Instruction: [SEP] {wanted} [SEP] Back to Search [SEP] "
    listed = "B0U1245O7N [SEP] yoga rug [SEP] $25.0 [SEP] B0Q3K0FUQ9 [SEP] yoga rug [SEP] $30.0"
    text = f"{head}Page 1 (Total results: 50) [SEP] Next > [SEP] {listed}"
    results = StudentView(text, wanted, turn=1, admissible_actions=ACTIONS)
    assert style.observed(results) == "page 1\nitem 1 costs 25 yoga rug\nitem 2 costs 30 yoga rug"
    empty = StudentView(f"{head}Page 7 (Total results: 0) [SEP] < Prev [SEP] Next >")
    assert style.observed(empty) == "page 7"
    item = StudentView(
        f"{head}< Prev [SEP] edge [SEP] retro edge [SEP] surface [SEP] retro surface [SEP] yoga rug [SEP] "
        "Price: $25.0 [SEP] Rating: 4.0 [SEP] Description [SEP] Features [SEP] Reviews [SEP] Buy Now"
    )
    assert style.observed(item) == "edge\nretro edge\nsurface\nretro surface\nyoga rug"
    small = item.observation.replace("edge", "body").replace("surface", "trim")
    assert style.observed(StudentView(small)) == "retro body, retro trim\nyoga rug"
    assert style.observed(StudentView(f"{head}< Prev [SEP] well made [SEP] wool")) == "well made\nwool"
    [*_, message] = style.window([index, results], ["search[yoga rug]"], 1)
    assert message["content"].startswith("task: Find me a retro wool rug for yoga, fade proof, under 50\n")
