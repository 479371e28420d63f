"""Encoder, index and corpus together: what a retriever finds, keeps, and takes along to another process."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

pytest.importorskip("faiss")


from searchqa_material import TEXTS, unit_vectors

from sdar_envs.searchqa.corpus import (
    MemoryCorpus,
    Passage,
    write_jsonl,
)
from sdar_envs.searchqa.encoder import HashedEncoder
from sdar_envs.searchqa.index import IndexFileError, VectorIndex
from sdar_envs.searchqa.retriever import CachedRetriever, Hit, LocalRetriever, clean_query
from sdar_envs.searchqa.setup import open_local, saved_encoder


def local(texts: Sequence[str] = TEXTS) -> LocalRetriever:
    encoder = HashedEncoder.fit(texts)
    corpus = MemoryCorpus([Passage(n, text) for n, text in enumerate(texts)])
    return LocalRetriever(encoder, VectorIndex.build(encoder.encode_passages(texts)), corpus)


def test_an_index_and_a_corpus_that_do_not_belong_together_are_refused_with_both_numbers():
    encoder = HashedEncoder.fit(TEXTS)
    index = VectorIndex.build(encoder.encode_passages(TEXTS))
    corpus = MemoryCorpus([Passage(n, text) for n, text in enumerate(TEXTS[:-1])])
    with pytest.raises(IndexFileError, match="300 vectors and 299 passages"):
        LocalRetriever(encoder, index, corpus)
    other = HashedEncoder.fit(TEXTS, dim=256)
    with pytest.raises(IndexFileError, match="256 dimensions, got 512"):
        LocalRetriever(other, index, MemoryCorpus([Passage(n, text) for n, text in enumerate(TEXTS)]))


@pytest.mark.parametrize(
    ("query", "cleaned"),
    [
        ("  who  ", "who"),
        ("", ""),
        ("?! \u2026", ""),
        ("\ud800", ""),
        ("a \udfff b", "a ? b"),
        ("x" * 10_000, "x" * 8_192),
        ("\x00word", "\x00word"),
    ],
)
def test_queries_are_bounded_encodable_and_empty_without_a_word(query: str, cleaned: str):
    assert clean_query(query) == cleaned


def test_an_empty_query_finds_nothing_and_a_huge_one_is_cut():
    retriever = local()
    found = retriever.search(["", "topic 3", "colour 2 " * 200_000, "\ud800"], 3)
    assert [len(hits) for hits in found] == [0, 3, 3, 0]
    assert retriever.search([], 3) == []


def test_a_cache_asks_once_for_what_is_the_same_and_forgets_the_oldest():
    inner = local()
    asked: list[list[str]] = []
    search = inner.search
    inner.search = lambda queries, k: (asked.append(list(queries)), search(queries, k))[1]  # type: ignore[method-assign]
    cached = CachedRetriever(inner, room=2)
    one, other, again = cached.search(["topic 3", "colour 2", "TOPIC 3!"], 3)
    assert asked == [["topic 3", "colour 2"]] and one == again != other
    assert cached.search(["topic 3"], 3) == [one] and len(asked) == 1
    cached.search(["topic 3"], 2)
    assert asked[1:] == [["topic 3"]]  # another k is another question
    cached.search(["topic 5", "topic 4"], 3)
    assert cached.search(["colour 2"], 3) == [other] and asked[-1] == ["colour 2"]
    assert (cached.counts.asked, cached.counts.calls) == (8, 4)


def test_what_a_cache_returns_can_be_changed_without_changing_it():
    cached = CachedRetriever(local())
    first = cached.search(["topic 3"], 3)[0]
    first.clear()
    assert len(cached.search(["topic 3"], 3)[0]) == 3


@pytest.mark.parametrize("room", [0, 1, 3])
def test_a_cache_of_any_room_answers_like_its_retriever(room: int):
    queries = ["topic 1", "topic 2", "topic 1", "", "topic 3", "topic 4"]
    assert CachedRetriever(local(), room).search(queries, 2) == local().search(queries, 2)


TRAVEL = """
import pickle, sys
retriever = pickle.loads(sys.stdin.buffer.read())
hits = retriever.search(["topic 3", "entry number 17"], 3)
sys.stdout.buffer.write(pickle.dumps([[(h.passage.id, h.passage.contents, h.score) for h in found] for found in hits]))
"""


def on_disk(folder: Path) -> CachedRetriever:
    """An index, its encoder and its corpus in files, opened."""
    write_jsonl(folder / "c.jsonl", [Passage(n, text) for n, text in enumerate(TEXTS)])
    encoder = HashedEncoder.fit(TEXTS)
    VectorIndex.build(encoder.encode_passages(TEXTS)).save(folder / "c.index")
    encoder.save(saved_encoder(folder / "c.index"))
    return open_local(str(folder / "c.jsonl"), str(folder / "c.index"), "hashed")


def test_a_retriever_travels_to_another_process_as_its_paths_and_finds_the_same_there(tmp_path: Path):
    retriever = on_disk(tmp_path)
    retriever.search([f"word{n} topic 3" for n in range(500)], 3)
    parcel = pickle.dumps(retriever)
    assert (
        len(parcel) < (tmp_path / "c.index").stat().st_size / 50
    )  # neither vectors nor passages nor what it remembers
    found = retriever.search(["topic 3", "entry number 17"], 3)
    done = subprocess.run(
        [sys.executable, "-c", TRAVEL],
        input=parcel,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        check=True,
    )
    there = pickle.loads(done.stdout)
    assert there == [[(h.passage.id, h.passage.contents, h.score) for h in hits] for hits in found]


def test_a_copy_in_the_same_process_is_the_same_retriever(tmp_path: Path):
    """Gymnasium copies the arguments of an environment into its specification."""
    for retriever in (local(), CachedRetriever(local()), on_disk(tmp_path)):
        assert copy.deepcopy({"retriever": retriever})["retriever"] is retriever
    index = VectorIndex.build(unit_vectors(4, 16))
    assert copy.deepcopy(index) is index


def test_a_hit_is_a_passage_with_its_score():
    [[hit]] = local().search(["entry number 17"], 1)
    assert isinstance(hit, Hit) and hit.passage.title == "Thing 17" and 0 < hit.score <= 1


class Wordy:
    """A retriever whose answers are texts of a thousand letters."""

    name = "wordy"

    def search(self, queries: list[str], k: int) -> list[list[Hit]]:
        return [[Hit(Passage(n, query * 1_000), 1.0) for n in range(k)] for query in queries]

    def normalise(self, query: str) -> str:
        return query


def test_what_is_remembered_is_bounded_in_bytes():
    cached = CachedRetriever(Wordy(), room=1_000, room_bytes=50_000)
    for letter in "abcdefghijklmnopqrstuvwxyz":
        assert len(cached.search([letter], 5)[0]) == 5
        assert cached.nbytes <= 50_000
    assert cached.nbytes > 30_000
    before = cached.counts.calls
    cached.search(["z", "y"], 5)
    assert cached.counts.calls == before  # the last ones are still known
    cached.search(["a"], 5)
    assert cached.counts.calls == before + 1
    small = CachedRetriever(Wordy(), room_bytes=1_000)
    assert len(small.search(["a", "b"], 5)[1]) == 5 and small.nbytes == 0
    assert pickle.loads(pickle.dumps(cached)).nbytes == 0
