"""Real passages and answers, shown and judged as the originals do: their formulas are written here once more."""

from __future__ import annotations

import json
import re
import string
from collections import Counter

import pytest
from official_questions import FOLDER, needs_official, rows

from sdar_envs.searchqa import wording
from sdar_envs.searchqa.answers import exact_match, f1, sub_exact_match
from sdar_envs.searchqa.corpus import Passage
from sdar_envs.searchqa.protocol import escape, read_turn
from sdar_envs.searchqa.retriever import Hit

pytestmark = [needs_official, pytest.mark.official]


def normal(text: str) -> str:
    """SQuAD's normal form."""
    text = "".join(letter for letter in text.lower() if letter not in set(string.punctuation))
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())


def hotpot_f1(answer: str, gold: str) -> float:
    """HotpotQA's."""
    given, wanted = normal(answer), normal(gold)
    if given != wanted and {given, wanted} & {"yes", "no", "noanswer"}:
        return 0.0
    common = sum((Counter(given.split()) & Counter(wanted.split())).values())
    if not common:
        return 0.0
    precision, recall = common / len(given.split()), common / len(wanted.split())
    return 2 * precision * recall / (precision + recall)


def test_three_passages_at_a_time_are_shown_as_the_originals_show_them():
    contents = [row["contents"] for row in rows("wiki_passages.jsonl")]
    compared = 0
    for start in range(0, len(contents), 3):
        three = contents[start : start + 3]
        if any(escape(text) != text or len(text) > wording.MAX_PASSAGE for text in three):
            continue  # a tag of the protocol in a passage is escaped here, and a passage of any length is cut
        hits = [Hit(Passage(n, text), 1.0) for n, text in enumerate(three)]
        listed = ""
        for number, text in enumerate(three):
            title, rest = text.split("\n")[0], "\n".join(text.split("\n")[1:])
            listed += f"Doc {number + 1}(Title: {title}) {rest}\n"
        assert wording.information("search_r1", hits) == f"\n\n<information>{listed.strip()}</information>\n\n"
        whole = "".join(f"Doc {number + 1}: {text}\n" for number, text in enumerate(three))
        assert wording.information("sdar", hits) == f"<information>{json.dumps({'result': whole})}</information>"
        compared += len(three)
    assert (compared, len(contents)) == (3_988, 4_000)  # four threes hold a word in angle brackets


def test_real_answers_are_judged_as_the_originals_judge_them():
    turns = json.loads((FOLDER / "model_turns.json").read_text(encoding="utf-8"))
    answers = [turn.content for turn in map(read_turn, turns) if turn.kind == "answer"]
    questions = [row["golden_answers"] for row in rows("questions.jsonl")]
    compared = right = 0
    for number, golds in enumerate(questions):
        for answer in {*answers[number % 14 :: 14], golds[0], f"The {golds[-1].upper()}!", f"{golds[0]} or so"}:
            forms = [normal(gold) for gold in golds if normal(gold)]
            assert exact_match(answer, golds) == float(normal(answer) in forms)
            assert sub_exact_match(answer, golds) == float(any(form in normal(answer) for form in forms))
            assert f1(answer, golds) == pytest.approx(max(hotpot_f1(answer, gold) for gold in golds))
            compared += 1
            right += exact_match(answer, golds) == 1.0
    assert len(questions) == 380 and len(answers) == 140 and compared > 4_500 and right >= 760
