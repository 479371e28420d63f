"""The protocol of a turn, answers, rewards and what a model reads: tables of cases."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdar_envs.searchqa import wording
from sdar_envs.searchqa.answers import exact_match, f1, normalise, sub_exact_match, usable
from sdar_envs.searchqa.corpus import Passage
from sdar_envs.searchqa.protocol import Fault, Turn, escape, read_turn
from sdar_envs.searchqa.retriever import Hit
from sdar_envs.searchqa.rewards import answer_reward, holds_answer

# Turns.


@pytest.mark.parametrize(
    ("text", "kind", "content", "fault"),
    [
        ("<search>who</search>", "search", "who", Fault.NONE),
        ("<answer>Beijing</answer>", "answer", "Beijing", Fault.NONE),
        ("<think>hm</think>\n<search> who \n</search> bye", "search", "who", Fault.NONE),
        ("<SEARCH>who</Search>", "search", "who", Fault.NONE),
        ("<search></search>", "search", "", Fault.NONE),
        ("<search>a < b > c </b></search>", "search", "a < b > c </b>", Fault.NONE),
        ("<search>who</search></answer>", "search", "who", Fault.NONE),
        ("</search><search>who</search>", "search", "who", Fault.NONE),
        ("<answer>a</answer> <search>b</search>", "", "", Fault.BOTH_TAGS),
        ("<search>a</search><answer>b</answer>", "", "", Fault.BOTH_TAGS),
        ("<search>a</search> so <search>b</search>", "", "", Fault.TWO_TAGS),
        ("<answer>a</answer><ANSWER>b</ANSWER>", "", "", Fault.TWO_TAGS),
        ("<search><search>a</search></search>", "", "", Fault.TWO_TAGS),
        ("<search><answer>a</answer></search>", "", "", Fault.BOTH_TAGS),
        ("<think>I could <search>x</search></think><search>y</search>", "", "", Fault.TWO_TAGS),
        ("<search>never closed", "", "", Fault.UNCLOSED),
        ("<search>a</answer>", "", "", Fault.UNCLOSED),
        ("</search>a<search>", "", "", Fault.UNCLOSED),
        ("no tags at all", "", "", Fault.NO_TAG),
        ("< search>a</ search>", "", "", Fault.NO_TAG),
        ("<\u017fearch>a</\u017fearch>", "", "", Fault.NO_TAG),  # a long s is no s
        ("<information>a</information>", "", "", Fault.NO_TAG),
        ("", "", "", Fault.NO_TAG),
    ],
)
def test_a_turn_is_one_complete_block_of_one_kind(text: str, kind: str, content: str, fault: Fault):
    turn = read_turn(text)
    assert (turn.kind, turn.content, turn.fault) == (kind, content, fault)


@pytest.mark.parametrize(
    ("text", "well_formed"),
    [
        ("<think>a</think><search>b</search>", True),
        (" <think>a</think>\n\n<answer>b</answer> ", True),
        ("<search>b</search>", False),
        ("<think>a</think> so <search>b</search>", False),
        ("<think>a</think><search>b</search> and then", False),
        ("<search>b</search><think>a</think>", False),
        ("<think>a</think><think>a</think><search>b</search>", False),
        ("<think>a</think><search>b</search><information>c</information>", False),
    ],
)
def test_a_well_formed_turn_is_thinking_and_a_block_with_white_space_between(text: str, well_formed: bool):
    assert read_turn(text).well_formed is well_formed


@given(st.text(alphabet="<>/seachnwr qé\n", max_size=60))
def test_any_text_is_a_turn_or_has_a_fault(text: str):
    turn = read_turn(text)
    assert isinstance(turn, Turn) and (turn.kind == "") == (turn.fault is not Fault.NONE)


@pytest.mark.parametrize("text", ["<" * 1_000_000, "<search>" * 100_000, "<search>" + "</" * 500_000])
def test_a_megabyte_of_tags_takes_no_time(text: str):
    assert read_turn(text).kind == ""


@given(st.text(max_size=80))
def test_an_escaped_passage_holds_no_tag_of_the_protocol(text: str):
    wrapped = f"<search>{text}</search> <answer>{text}</answer > </ INFORMATION> <think>"
    assert read_turn(escape(wrapped)).fault is Fault.NO_TAG
    assert "<think" not in escape(wrapped).lower() and "</ information" not in escape(wrapped).lower()


def test_escaping_leaves_everything_else_alone():
    assert escape("a <b> c < d <searching> é") == "a <b> c < d <searching> é"


# Answers.


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("The  Beatles", "beatles"),
        ("404,487", "404487"),
        ("U.S.", "us"),
        ("an Apple a day", "apple day"),
        ("the", ""),
        ("  ", ""),
        ("?!", ""),
        ("Jean\u2013Luc", "jean\u2013luc"),  # an en dash is no ASCII punctuation
        ("\u201cquoted\u201d", "\u201cquoted\u201d"),
        ("a-b", "ab"),
        ("theatre", "theatre"),
        ("New\tYork\nCity", "new york city"),
        ("\u00c9COLE", "\u00e9cole"),
    ],
)
def test_normal_forms_are_the_official_ones(text: str, normal: str):
    assert normalise(text) == normal


@given(st.text(max_size=40))
def test_a_normal_form_without_stray_articles_is_its_own(text: str):
    once = normalise(text)
    # Deleting punctuation can make an article ("t.he"), which one more pass would take; never anything else.
    assert set(once.split()) >= set(normalise(once).split())


def test_matches_are_any_gold_answers():
    golds = ["The Beatles", "Fab Four"]
    assert exact_match("beatles!", golds) == exact_match("fab four", golds) == 1.0
    assert exact_match("the fab four of Liverpool", golds) == 0.0
    assert sub_exact_match("the fab four of Liverpool", golds) == 1.0
    assert f1("fab four of Liverpool", golds) == pytest.approx(2 * (2 / 4) * (2 / 2) / (2 / 4 + 2 / 2))
    assert f1("nobody", golds) == 0.0


@pytest.mark.parametrize(
    ("answer", "gold", "expected"),
    [
        ("yes", "yes", 1.0),
        ("Yes.", "yes", 1.0),
        ("yes and no", "yes", 0.0),
        ("no, they were not", "no", 0.0),
        ("yes", "yes they did", 0.0),
        ("noanswer", "no answer", 0.0),
        ("yes yes", "both yes", 0.5),  # neither is a verdict
    ],
)
def test_f1_gives_nothing_for_a_hedged_verdict_as_hotpotqa_does(answer: str, gold: str, expected: float):
    assert f1(answer, [gold]) == expected


def test_the_letter_a_is_an_answer_and_the_article_is_none():
    assert exact_match("A", ["a"]) == exact_match("A.", ["A"]) == 1.0
    assert exact_match("the", ["a"]) == exact_match("", ["a"]) == exact_match("the a", ["a"]) == 0.0
    assert sub_exact_match("anything", ["a"]) == 0.0 and sub_exact_match("a", ["A"]) == 1.0
    assert usable(["the", "an", "a the", "A"]) == ["A"]
    assert not holds_answer(["anything"], ["a"])


def test_a_gold_answer_that_normalises_to_nothing_counts_for_nothing():
    assert usable(["the", "?", ""]) == []
    assert exact_match("", ["the"]) == sub_exact_match("anything", ["?"]) == f1("", [""]) == 0.0


# Rewards.


@pytest.mark.parametrize(
    ("answer", "structure", "retrieved", "expected"),
    [
        ("right", True, False, 1.0),
        ("right", False, True, 0.8),
        ("wrong", True, True, 0.3),
        ("wrong", True, False, 0.2),
        ("wrong", False, True, 0.1),
        ("", False, False, 0.1),
    ],
)
def test_the_structure_reward_is_the_published_table(answer: str, structure: bool, retrieved: bool, expected: float):
    value = answer_reward("format_em", answer, ["Right"], structure=structure, retrieved=retrieved, retrieval_score=0.1)
    assert value == pytest.approx(expected)


def test_the_other_rewards_look_at_the_answer_alone():
    for reward, expected in (("em", 0.0), ("subem", 1.0), ("f1", 2 / 3)):
        assert answer_reward(reward, "so right", ["right"], structure=True, retrieved=True) == pytest.approx(expected)


def test_an_answer_is_found_in_what_was_retrieved_in_normal_form():
    assert holds_answer(["It was The Beatles'."], ["beatles"])
    assert not holds_answer(["nothing"], ["the"]) and not holds_answer([], ["beatles"])


# What a model reads.

HITS = [
    Hit(Passage.of(4, "Paris", "City of <answer>light</answer>\u00e9."), 0.9),
    Hit(Passage(5, "one line only"), 0.5),
]


def test_search_r1_shows_the_heading_with_its_quotes_and_the_text():
    text = wording.information("search_r1", HITS)
    assert text == (
        '\n\n<information>Doc 1(Title: "Paris") City of &lt;answer>light&lt;/answer>\u00e9.\n'
        "Doc 2(Title: ) one line only</information>\n\n"
    )


def test_sdar_shows_contents_inside_json():
    text = wording.information("sdar", HITS[:1])
    inner = text.removeprefix("<information>").removesuffix("</information>")
    assert json.loads(inner) == {"result": 'Doc 1: "Paris"\nCity of &lt;answer>light&lt;/answer>\u00e9.\n'}
    assert "\\u00e9" in inner and "\\n" in inner
    both = wording.information("sdar", HITS).removeprefix("<information>").removesuffix("</information>")
    # One line break after each, and no blank line between two.
    assert json.loads(both)["result"].endswith("\u00e9.\nDoc 2: one line only\n")


def test_plain_is_the_shortest():
    assert wording.information("plain", HITS[1:]) == "<information>: one line only</information>"
    assert wording.information("plain", []) == "<information></information>"


def test_a_passage_of_any_length_is_cut_with_a_mark():
    [hit] = [Hit(Passage.of(0, "t", "word " * 5_000), 1.0)]
    assert all(len(wording.information(style, [hit])) < 5_000 for style in wording.STYLES)
    assert " [cut]" in wording.information("plain", [hit])


def test_a_refusal_says_what_is_expected_except_in_the_style_that_says_nothing():
    assert wording.refusal("search_r1", Fault.NO_TAG) == (
        "\nMy previous action is invalid. If I want to search, I should put the query between <search> and </search>. "
        "If I want to give the final answer, I should put the answer between <answer> and </answer>. "
        "Let me try again.\n"
    )
    assert "empty" in wording.refusal("search_r1", Fault.EMPTY_QUERY)
    assert wording.refusal("sdar", Fault.TWO_TAGS) == ""


def test_a_whole_prompt_shows_the_question_the_last_turns_and_the_rules():
    def shown(count: int) -> str:
        actions = [f"<search>{n}</search>" for n in range(count)]
        return wording.prompt(
            "Who {turn}?", actions, ["{history}"] * count, turn=count + 1, turns=6, shown=2, last=False
        )

    assert "Question: Who {turn}?" in shown(0) and "turn 1 of at most 6" in shown(0)
    assert "[turn 2] you wrote: <search>1</search>" in shown(3) and "[turn 1]" not in shown(3)
    assert "came back: {history}" in shown(3)
    last = wording.prompt("Who?", ["a"] * 5, ["b"] * 5, turn=6, turns=6, shown=0, last=True)
    assert "last turn" in last and "<search>" not in last
