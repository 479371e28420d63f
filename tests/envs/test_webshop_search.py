"""Search ranks as Lucene does.

How the goldens were derived: Lucene 8 itself, in the fat jar of Anserini 0.14.3 (the jar that the original's pyserini
0.17.0 carries), indexed the corpus built below with `IndexCollection` and answered its queries with `SimpleSearcher`,
BM25 with k1 0.9 and b 0.4; the terms are what its `DefaultEnglishAnalyzer` makes of the lines. None of this suite's
code took part. `webshop_rankings.json` holds, for each query, the positions of the best 20 documents.
"""

from __future__ import annotations

import itertools
import json
import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sdar_envs.webshop.analysis import STOP_WORDS, terms, words
from sdar_envs.webshop.search import SearchIndex, decode_length, encode_length

RANKINGS: list[list[int]] = json.loads(Path(__file__).with_name("webshop_rankings.json").read_text(encoding="utf-8"))

SYLLABLES = ["ba", "de", "fi", "go", "lu", "ma", "ne", "pi", "ro", "su", "ta", "ve"]
ENDINGS = ["", "s", "ing", "ed", "ation", "y", "'s", "ly", "ness", "ful"]
ODDITIES = ("the", "3.5mm", "wi-fi", "of", "10,000", "us")


def linear_congruential(seed: int) -> Callable[[int], int]:
    """Draws below n, from a generator that needs no library and will never change."""
    state = seed

    def draw(n: int) -> int:
        nonlocal state
        state = (state * 1103515245 + 12345) % 2**31
        return (state >> 8) % n

    return draw


def corpus() -> tuple[list[tuple[str, str]], list[str]]:
    """300 documents, most of them short and a few long, and 60 queries."""
    draw = linear_congruential(7)
    vocabulary = ["".join(SYLLABLES[draw(12)] for _ in range(1 + draw(3))) + ENDINGS[draw(10)] for _ in range(600)]
    documents = []
    for number in range(300):
        length = 1 + draw(40) + (draw(200) if draw(4) == 0 else 0)
        text = []
        for _ in range(length):
            kind = draw(3)
            common = vocabulary[draw(20) if kind == 0 else draw(120) if kind == 1 else draw(600)] if draw(12) else None
            text.append(common or ODDITIES[draw(6)])
        documents.append((f"B{number * 7919 % 1000003:09d}", " ".join(text)))
    queries = [" ".join(vocabulary[draw(600) if draw(2) else draw(40)] for _ in range(1 + draw(9))) for _ in range(60)]
    return documents, queries


def test_rankings_are_those_of_lucene():
    documents, queries = corpus()
    position = {document: number for number, (document, _) in enumerate(documents)}
    index = SearchIndex.build(documents)
    assert [[position[found] for found in index.search(query, 20)] for query in queries] == RANKINGS


def test_scores_are_those_of_lucene():
    documents, queries = corpus()
    index = SearchIndex.build(documents)
    # Anserini reports four decimals.
    reported = {0: [3.6313, 3.5855, 3.4892], 1: [4.8888, 4.757, 4.3414], 2: [2.329, 2.2949, 2.2088]}
    for number, scores in reported.items():
        assert [score for _, score in index.scored(queries[number], 3)] == pytest.approx(scores, abs=1e-4)


def test_products_without_a_word_do_not_weigh():
    """The scores are Lucene's for these six documents; it knows nothing of C, D and E."""
    texts = ["red shirt with a hat", "blue shirt", "the of and", "", "   ", "blue shoes and more words here"]
    index = SearchIndex.build(zip("ABCDEF", texts, strict=True))
    reported = {"shirt": {"B": 0.2677, "A": 0.2521}, "blue": {"B": 0.2677, "F": 0.226}, "red hat": {"A": 1.0524}}
    for query, scores in reported.items():
        found = index.scored(query)
        assert [name for name, _ in found] == list(scores)
        assert [score for _, score in found] == pytest.approx(list(scores.values()), abs=1e-4)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The women's running shoes, size 8.5 (pack of 2)", "women run shoe size 8.5 pack 2"),
        ("4K/8K Wi-Fi router v2.0 & 10,000 mAh", "4k 8k wi fi router v2.0 10,000 mah"),
        ("e.l.f. don't US 3.5mm x_y USB-C", "e.l.f don't us 3.5mm x_y usb c"),
        (
            "men\u2019s T-Shirts possibly generously apology relational hopping",
            "men t shirt possibl gener apolog relat hop",
        ),
        ("\u2122 \xae \xa9 50% \xbd \xb2 \u2116", "\u2122 \xae \xa9 50"),
        ("漢字 ひらがな カタカナ 한국어", "漢 字 ひ ら が な カタカナ 한국어"),
        ("Ünïcode naïve \u0130stanbul straße", "ünïcode naïv istanbul straße"),
        ("\u03a3\u038a\u0393\u039c\u0391\u03a3", "\u03c3\u03af\u03b3\u03bc\u03b1\u03c3"),
        (
            "\U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001f44d\U0001f3fd \U0001f1fa\U0001f1f8 \u2764",
            "\U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001f44d\U0001f3fd \U0001f1fa\U0001f1f8 \u2764",
        ),
        ("a:b 12:30 1,5 5'11\" O'Neill's 1/2", "a:b 12 30 1,5 5'11 o'neil 1 2"),
        ("x" + "y" * 300, "x" + "y" * 253 + "i " + "y" * 45 + "i"),
        ("&amp; <b>bold</b> #1 @home C++", "amp b bold b 1 home c"),
        (" . , ; - _ __ _a_", "_a_"),
        ("boys' is it not his hers will", "boi hi her"),
        ("skies dying news innings canning exceed", "ski dy new in can exce"),
    ],
)
def test_terms_are_those_of_lucene(text: str, expected: str):
    assert terms(text) == expected.split(" ")


def plain_bm25(documents: list[tuple[str, str]], query: str) -> list[str]:
    """The published formula, in the plainest way: no index, no arrays, exact sums."""
    counts = [(name, count) for name, text in documents if (count := Counter(terms(text)))]
    average = sum(count.total() for _, count in counts) / max(len(counts), 1)
    scores: dict[str, float] = {}
    for term, weight in Counter(terms(query)).items():
        df = sum(term in count for _, count in counts)
        for name, count in counts:
            if tf := count[term]:
                length = decode_length(encode_length(count.total()))
                idf = math.log(1 + (len(counts) - df + 0.5) / (df + 0.5))
                saturated = tf / (tf + 0.9 * (0.6 + 0.4 * length / average))
                scores[name] = scores.get(name, 0.0) + weight * idf * saturated
    # Single precision decides what counts as equal.
    return sorted(scores, key=lambda name: (-float(np.float32(scores[name])), name))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text("ab cde", max_size=30), min_size=1, max_size=12), st.text("ab cde", max_size=12))
def test_any_small_corpus_ranks_as_the_published_formula_says(texts: list[str], query: str):
    documents = [(f"B{number * 7 % 13:02d}", text) for number, text in enumerate(texts)]
    index, expected = SearchIndex.build(documents), plain_bm25(documents, query)
    scores = dict(index.scored(query))
    assert sorted(scores) == sorted(expected)
    # The last bit of a single may differ between the two ways of summing: order is compared where scores are apart.
    for better, worse in itertools.pairwise(expected):
        assert scores[better] >= scores[worse] - 1e-6


def test_lengths_are_exact_to_forty_and_never_rounded_up():
    assert [decode_length(encode_length(n)) for n in range(41)] == list(range(41))
    assert all(0 <= n - decode_length(encode_length(n)) <= n / 8 for n in range(0, 200_000, 7))
    assert encode_length(2**31 - 1) == 255


def test_a_query_without_known_words_finds_nothing():
    index = SearchIndex.build([("A", "red shirt"), ("B", "blue shirt")])
    for query in ("", " ", "of the", "green", "\x00", "!!!"):
        assert index.search(query) == []


def test_equal_scores_are_ordered_by_id_and_a_limit_cuts():
    index = SearchIndex.build([(name, "red shirt") for name in ("C", "A", "B", "D")])
    assert index.search("shirt") == ["A", "B", "C", "D"]
    assert index.search("shirt", 2) == ["A", "B"]
    large = SearchIndex.build([(f"{number * 37 % 1000:03d}", "red shirt") for number in range(1000)])
    assert large.search("shirt", 50) == [f"{number:03d}" for number in range(50)]


@pytest.mark.parametrize("documents", [[], [("A", "")], [("A", "the of")], [("A", "shirt")]])
def test_an_index_of_no_or_one_product_answers(documents: list[tuple[str, str]]):
    index = SearchIndex.build(documents)
    assert len(index) == len(documents)
    assert index.search("shirt") == [name for name, text in documents if text == "shirt"]


def test_an_index_goes_to_disk_and_back(tmp_path: Path):
    documents, queries = corpus()
    index = SearchIndex.build(documents)
    index.save(tmp_path / "index.npz")
    loaded = SearchIndex.load(tmp_path / "index.npz")
    assert [loaded.scored(query) for query in queries] == [index.scored(query) for query in queries]


def test_no_stop_word_is_a_term_and_words_keep_their_letters():
    assert len(STOP_WORDS) == 33
    assert terms(" ".join(STOP_WORDS)) == []
    assert words("Soft Tee's") == ["Soft", "Tee's"]
