"""How a turn that says more than one block is read: strictly, as Search-R1 does, as SDAR does; 300 real turns too."""

from __future__ import annotations

import itertools
import json
import re
import time
from collections import Counter

import pytest
from official_questions import FOLDER, needs_official

from sdar_envs.searchqa.env import SearchQAEnv
from sdar_envs.searchqa.protocol import READINGS, Fault, read_turn
from sdar_envs.searchqa.retriever import Hit

RUNS_ON = "<search>b</search> and <information>c</information> <search>d</search>"


def by_search_r1(text: str) -> tuple[str, str, bool]:
    """Kind, content and validity, by its published rules: cut behind the first close tag, then the first block."""
    for end in ("</search>", "</answer>"):
        if end in text:
            text = text.split(end)[0] + end
            break
    match = re.search(r"<(search|answer)>(.*?)</\1>", text, re.DOTALL)
    return (match[1], match[2].strip(), True) if match else ("", "", False)


def by_sdar(text: str) -> tuple[str, str, bool]:
    """The same of SDAR's projection: a search before an answer, and several opened blocks are invalid."""
    opened = len(re.findall("<search>|<answer>", text, re.IGNORECASE))
    for end in ("</search>", "</answer>"):
        if end in text:
            text = text.split(end)[0] + end
            break
    for kind in ("search", "answer"):
        match = re.search(f"<{kind}>(.*?)</{kind}>", text, re.DOTALL | re.IGNORECASE)
        if match:
            return kind, match[1].strip(), opened == 1
    return "", "", False


def read(text: str, reading: str) -> tuple[str, str, bool]:
    turn = read_turn(text, reading)
    return turn.kind, turn.content, bool(turn.kind) and not turn.penalised


PIECES = ("<search>", "</search>", "<answer>", "</answer>", "<SEARCH>", "</SEARCH>", " a ", "<think>")


@pytest.mark.parametrize(("reading", "theirs"), [("cut", by_search_r1), ("cut_penalised", by_sdar)])
def test_every_turn_of_up_to_five_pieces_is_read_as_published(reading: str, theirs):
    for count in range(6):
        for pieces in itertools.product(PIECES, repeat=count):
            text = "".join(pieces)
            assert read(text, reading) == theirs(text), text


@pytest.mark.parametrize(
    ("text", "strict", "cut", "cut_penalised"),
    [
        ("<search>b</search>", "search", "search", "search"),
        (RUNS_ON, "two_tags", "search", "search, invalid"),
        ("<answer>b</answer> <search>c</search>", "both_tags", "answer", "search, invalid"),
        ("<search>b</search> that is all", "search", "search", "search"),
        ("<SEARCH>b</SEARCH>", "search", "no_tag", "search"),
        ("<search>b", "unclosed", "unclosed", "unclosed"),
        ("b", "no_tag", "no_tag", "no_tag"),
    ],
)
def test_the_readings_differ_where_a_turn_runs_on(text: str, strict: str, cut: str, cut_penalised: str):
    for reading, expected in zip(READINGS, (strict, cut, cut_penalised), strict=True):
        turn = read_turn(text, reading)
        said = (turn.kind or str(turn.fault)) + (", invalid" if turn.penalised else "")
        if reading == "cut" and "SEARCH" in text:
            assert turn.kind == ""  # Search-R1 knows tags in lower case alone
        else:
            assert said == expected, reading


def test_what_is_thrown_away_spoils_no_structure():
    sound = "<think>a</think><search>b</search>"
    assert read_turn(sound + " <think>and on", "cut").well_formed
    assert not read_turn(sound + " <think>and on", "strict").well_formed
    assert read_turn(sound + " x", "cut").text == sound


@pytest.mark.parametrize("reading", READINGS)
def test_long_turns_are_read_in_linear_time(reading: str):
    started = time.process_time()
    for piece in ("<search>", "</search>", "<answer", "<search></answer>"):
        read_turn(piece * 50_000, reading)
    assert time.process_time() - started < 3.0


class Nothing:
    """A retriever that finds nothing and notes what it is asked."""

    name = "nothing"

    def __init__(self) -> None:
        self.asked: list[str] = []

    def search(self, queries: list[str], k: int) -> list[list[Hit]]:
        self.asked += queries
        return [[] for _ in queries]

    def normalise(self, query: str) -> str:
        return query


@pytest.mark.parametrize(
    ("reading", "asked", "valid", "reward"),
    [("strict", [], False, -0.5), ("cut", ["b"], True, 0.0), ("cut_penalised", ["b"], False, -0.5)],
)
def test_a_turn_that_runs_on_is_refused_played_or_played_and_penalised(
    reading: str, asked: list[str], valid: bool, reward: float, tmp_path
):
    path = tmp_path / "q.jsonl"
    path.write_text(json.dumps({"question": "q?", "answer": "x"}), encoding="utf-8")
    retriever = Nothing()
    env = SearchQAEnv(
        split="test", dataset=path, retriever=retriever, reading=reading, invalid_action_penalty=0.5, obs_mode="prompt"
    )
    env.reset(seed=0)
    observation, given, terminated, _, info = env.step(RUNS_ON)
    assert (retriever.asked, info["is_action_valid"], given, terminated) == (asked, valid, reward, False)
    assert ("<search>d</search>" in observation) == (reading == "strict")  # a later prompt shows what was played
    _, given, terminated, _, info = env.step("<answer>x</answer> <answer>y</answer>")
    expected = {"strict": (-0.5, False), "cut": (1.0, True), "cut_penalised": (0.5, True)}[reading]
    assert (given, terminated) == expected
    assert info["success"] == terminated


@pytest.mark.parametrize(("style", "reading"), [("search_r1", "cut"), ("sdar", "cut_penalised"), ("plain", "strict")])
def test_a_dataset_is_read_as_the_source_of_its_style_does_and_the_generated_world_strictly(
    style: str, reading: str, tmp_path
):
    path = tmp_path / "q.jsonl"
    path.write_text(json.dumps({"question": "q?", "answer": "x"}), encoding="utf-8")
    assert SearchQAEnv(split="test", dataset=path, retriever=Nothing(), passage_style=style).reading == reading
    assert SearchQAEnv(size="small", passage_style=style).reading == "strict"
    with pytest.raises(ValueError, match="reading"):
        SearchQAEnv(size="small", reading="loose")


@needs_official
@pytest.mark.official
def test_three_hundred_real_turns_are_read_alike():
    turns = json.loads((FOLDER / "model_turns.json").read_text(encoding="utf-8"))
    assert len(turns) == 300
    counts: dict[str, Counter[str]] = {}
    for reading, theirs in (("strict", None), ("cut", by_search_r1), ("cut_penalised", by_sdar)):
        counts[reading] = Counter()
        for text in turns:
            turn = read_turn(text, reading)
            assert theirs is None or read(text, reading) == theirs(text)
            counts[reading][(turn.kind or f"not understood: {turn.fault}") + (", invalid" * turn.penalised)] += 1
    assert counts == dict.fromkeys(READINGS, COUNTED)
    tails = Counter(read_turn(f"{text} <search>and on</search>", "strict").kind for text in turns)
    assert tails == {"": 277, "search": 23}  # with a tail, strict reading loses all but those that had no block


# The log's turns end at their close tags, so all readings agree on them.
COUNTED = {"answer": 140, "search": 137, f"not understood: {Fault.NO_TAG}": 23}
