"""Encoder, index, corpus and retriever: what FAISS and files do wrong by themselves, row by row."""

from __future__ import annotations

import copy
import json
import os
import pickle
import subprocess
import sys
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("faiss")

import faiss

from sdar_envs.randomness import counted_generator
from sdar_envs.searchqa import encoder as encoder_module
from sdar_envs.searchqa import index as index_module
from sdar_envs.searchqa.corpus import (
    CorpusError,
    JsonlCorpus,
    MemoryCorpus,
    Passage,
    fingerprint_of,
    line_starts,
    write_jsonl,
)
from sdar_envs.searchqa.encoder import HashedEncoder, tokens_of
from sdar_envs.searchqa.index import IndexFileError, VectorIndex
from sdar_envs.searchqa.retriever import CachedRetriever, Hit, LocalRetriever, clean_query
from sdar_envs.searchqa.setup import open_local, saved_encoder

TEXTS = [f'"Thing {n}"\nThis is entry number {n} about topic {n % 7} and colour {n % 5}.' for n in range(300)]


def unit_vectors(rows: int, dim: int, seed: int = 0) -> np.ndarray:
    vectors = counted_generator("vectors", seed).standard_normal((rows, dim)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


# The encoder.


def test_vectors_are_unit_and_a_text_without_words_is_zero():
    encoder = HashedEncoder.fit(TEXTS)
    vectors = encoder.encode_queries([*TEXTS[:5], "", " ?! ", "\ud800"])
    assert vectors.shape == (8, 512) and vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors[:5], axis=1), 1.0, atol=1e-6)
    assert not vectors[5:7].any()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Caf\u00e9 \u00c9COLE", unicodedata.normalize("NFD", "caf\u00e9 \u00e9cole")),
        ("STRASSE", "stra\u00dfe"),
        ("a b", "b, A."),
        ("\uff21\uff22", "AB"),
    ],
)
def test_normal_forms_of_unicode_case_and_punctuation_are_one_text(one: str, other: str):
    encoder = HashedEncoder.fit(TEXTS)
    assert np.array_equal(*encoder.encode_queries([one, other]).reshape(2, 512))


def test_the_first_line_of_a_passage_counts_for_more():
    encoder = HashedEncoder.fit(TEXTS)
    titled, untitled = encoder.encode_passages(['"Thing 3"\nAbout topic 5.', "About topic 5. Thing 3"])
    query = encoder.encode_queries(["thing 3"])[0]
    assert titled @ query > untitled @ query


@settings(max_examples=25, deadline=None)
@given(st.lists(st.text(max_size=30), min_size=1, max_size=6))
def test_a_vector_does_not_depend_on_its_batch(texts: list[str]):
    encoder = HashedEncoder.fit(TEXTS)
    together = encoder.encode_queries(texts)
    assert all(np.array_equal(encoder.encode_queries([t])[0], v) for t, v in zip(texts, together, strict=True))


def test_an_encoder_survives_its_file_and_seeds_do_not_compare(tmp_path: Path):
    encoder = HashedEncoder.fit(TEXTS, dim=128, seed=7)
    encoder.save(tmp_path / "e.json")
    twin = HashedEncoder.load(tmp_path / "e.json")
    assert twin.name == encoder.name and np.array_equal(twin.encode_queries(TEXTS), encoder.encode_queries(TEXTS))
    other = HashedEncoder.fit(TEXTS, dim=128, seed=8)
    assert abs(float(other.encode_queries(["topic 3"])[0] @ encoder.encode_queries(["topic 3"])[0])) < 0.5
    for broken in ("{}", "[", "null", json.dumps({"kind": "other"})):
        (tmp_path / "e.json").write_text(broken)
        with pytest.raises(ValueError, match=r"e\.json"):
            HashedEncoder.load(tmp_path / "e.json")


def test_inner_products_are_kept_up_to_noise():
    """Cosines of TF-IDF vectors in full and projected: unbiased, with a deviation near 1/sqrt(dim)."""
    encoder = HashedEncoder.fit(TEXTS, dim=512)
    words = sorted(encoder.frequencies)
    weights = {w: np.log((1 + encoder.documents) / (1 + encoder.frequencies[w])) + 1 for w in words}

    def exact(text: str) -> np.ndarray:
        bag = tokens_of(text)
        vector = np.array([(1 + np.log(bag.count(w))) * weights[w] if w in bag else 0.0 for w in words])
        return vector / np.linalg.norm(vector)

    queries = [text.replace("\n", " ") for text in TEXTS[:60]]
    full = np.stack([exact(q) for q in queries])
    projected = encoder.encode_queries(queries)
    upper = np.triu_indices(60, k=1)
    errors = (projected @ projected.T - full @ full.T)[upper]
    assert abs(errors.mean()) < 0.02 and errors.std() < 2 / np.sqrt(512)


def test_what_agents_write_does_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(encoder_module, "_ROOM", 2_000)
    encoder = HashedEncoder.fit(TEXTS)
    for start in range(0, 9_000, 600):
        encoder.encode_queries([" ".join(f"w{n}" for n in range(start, start + 600))])
        assert len(encoder._rows) < 2_000 + 600
    assert np.array_equal(encoder.encode_queries(["topic 3"]), HashedEncoder.fit(TEXTS).encode_queries(["topic 3"]))


def test_a_batch_of_more_words_than_are_kept_has_the_vectors_of_its_texts_alone(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(encoder_module, "_ROOM", 50)
    encoder = HashedEncoder.fit(TEXTS)
    for start in (0, 400, 800):
        texts = [" ".join(f"w{n}" for n in range(first, first + 7)) for first in range(start, start + 140, 7)]
        alone = [HashedEncoder.fit(TEXTS).encode_queries([text])[0] for text in texts]
        assert np.array_equal(encoder.encode_queries(texts), np.stack(alone))


def test_an_encoder_that_is_not_there_is_named(tmp_path: Path):
    with pytest.raises(ValueError, match=r"gone\.json: the hashed encoder can not be opened: No such file"):
        HashedEncoder.load(tmp_path / "gone.json")


# The index.


@pytest.mark.parametrize("batch", [1, 3, 64])
def test_hits_do_not_depend_on_the_batch_or_on_the_path_that_faiss_takes(batch: int):
    vectors, queries = unit_vectors(3_000, 64), unit_vectors(64, 64, seed=1)
    vectors[1_500:1_510] = vectors[0]  # equal rows: their order is the rows'
    queries[5] = vectors[0]
    found = VectorIndex.build(vectors)
    whole = found.search(queries, 5)
    parts = [hits for start in range(0, 64, batch) for hits in found.search(queries[start : start + batch], 5)]
    assert parts == whole
    assert [row for row, _ in whole[5]] == [0, 1_500, 1_501, 1_502, 1_503]


def test_flat_search_is_exact():
    vectors, queries = unit_vectors(500, 32), unit_vectors(20, 32, seed=1)
    exact = queries.astype(np.float64) @ vectors.astype(np.float64).T
    for scores, hits in zip(exact, VectorIndex.build(vectors).search(queries, 4), strict=True):
        assert [row for row, _ in hits] == list(np.argsort(-scores, kind="stable")[:4])
        assert [score for _, score in hits] == pytest.approx(np.sort(scores)[::-1][:4], abs=1e-6)


@pytest.mark.parametrize("bad", [np.zeros(16), np.full(16, np.nan), np.array([np.inf] + [0.0] * 15)])
def test_a_query_that_is_zero_or_not_finite_finds_nothing(bad: np.ndarray):
    index = VectorIndex.build(unit_vectors(10, 16))
    queries = np.stack([bad, unit_vectors(1, 16)[0]]).astype(np.float32)
    hits = index.search(queries, 3)
    assert hits[0] == [] and len(hits[1]) == 3


def test_more_hits_than_rows_are_all_rows_and_no_row_minus_one():
    index = VectorIndex.build(unit_vectors(4, 16))
    [hits] = index.search(unit_vectors(1, 16, seed=1), 100)
    assert sorted(row for row, _ in hits) == [0, 1, 2, 3]


@pytest.mark.parametrize("k", [0, -1, 101, 1.5, True, "3"])
def test_k_is_a_number_from_1_to_100(k: object):
    with pytest.raises(ValueError, match="k"):
        VectorIndex.build(unit_vectors(4, 16)).search(unit_vectors(1, 16), k)  # type: ignore[arg-type]


def test_no_queries_find_nothing_and_float64_is_converted():
    index = VectorIndex.build(unit_vectors(4, 16).astype(np.float64))
    assert index.search(np.zeros((0, 16)), 3) == []
    assert index.search(unit_vectors(2, 16).astype(np.float64), 3) == index.search(unit_vectors(2, 16), 3)
    strided = np.asfortranarray(unit_vectors(6, 16))[::2]
    assert len(index.search(strided, 1)) == 3


@pytest.mark.parametrize("shape", [(2, 15), (16,), (1, 2, 16)])
def test_vectors_of_another_shape_are_refused_with_both(shape: tuple[int, ...]):
    with pytest.raises(ValueError, match=r"\(n, 16\)"):
        VectorIndex.build(unit_vectors(4, 16)).search(np.zeros(shape, dtype=np.float32), 3)


def test_what_can_not_be_indexed_is_refused():
    with pytest.raises(ValueError, match="finite matrix"):
        VectorIndex.build(np.full((2, 3), np.nan, dtype=np.float32))
    with pytest.raises(ValueError, match="flat"):
        VectorIndex.build(unit_vectors(4, 16), kind="flatt")


def test_hnsw_files_are_searched_with_sense(tmp_path: Path):
    vectors = unit_vectors(2_000, 32)
    built = VectorIndex.build(vectors, kind="hnsw")
    built.save(tmp_path / "graph.faiss")
    raw = faiss.read_index(str(tmp_path / "graph.faiss"))
    raw.hnsw.efSearch = 16  # what files of others say
    faiss.write_index(raw, str(tmp_path / "graph.faiss"))
    opened = VectorIndex.open(tmp_path / "graph.faiss")
    assert opened._index.hnsw.efSearch == 128
    queries = unit_vectors(50, 32, seed=1)
    flat = VectorIndex.build(vectors).search(queries, 3)
    shared = sum(
        len({r for r, _ in a} & {r for r, _ in b}) for a, b in zip(opened.search(queries, 3), flat, strict=True)
    )
    assert shared / 150 > 0.95


@pytest.mark.parametrize("to", index_module.COMPRESSIONS)
def test_compressed_indexes_are_smaller_and_find_nearly_the_same(to: str, tmp_path: Path):
    vectors = unit_vectors(2_000, 64)
    VectorIndex.build(vectors).save(tmp_path / "flat.faiss")
    flat = VectorIndex.open(tmp_path / "flat.faiss")
    flat.compressed(to).save(tmp_path / "small.faiss")
    sizes = [(tmp_path / name).stat().st_size for name in ("flat.faiss", "small.faiss")]
    assert sizes[1] < sizes[0] * (0.52 if to == "SQfp16" else 0.27)
    queries = unit_vectors(40, 64, seed=1)
    small = VectorIndex.open(tmp_path / "small.faiss").search(queries, 1)
    assert sum(a[0][0] == b[0][0] for a, b in zip(small, flat.search(queries, 1), strict=True)) >= 36
    with pytest.raises(ValueError, match="SQ8"):
        flat.compressed("SQ4")


def test_the_threshold_of_blas_and_the_threads_are_set_where_they_matter():
    VectorIndex.build(unit_vectors(4, 16))
    if hasattr(faiss.cvar, "distance_compute_blas_threshold"):
        modern = tuple(map(int, faiss.__version__.split(".")[:2])) >= (1, 15)
        assert faiss.cvar.distance_compute_blas_threshold == (index_module.BLAS_THRESHOLD if modern else 20)
    assert faiss.omp_get_max_threads() == 1


# Index files.


def saved(tmp_path: Path, rows: int = 50, dim: int = 16) -> Path:
    path = tmp_path / "index.faiss"
    VectorIndex.build(unit_vectors(rows, dim)).save(path)
    return path


def test_a_flat_file_has_the_size_that_the_message_about_a_cut_one_names(tmp_path: Path):
    path = saved(tmp_path)
    assert path.stat().st_size == 45 + 50 * 16 * 4
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(IndexFileError, match=r"3,245 bytes .* 50 rows of 16, got 3,145.*part_aa"):
        VectorIndex.open(path)


@pytest.mark.parametrize("content", [b"", b"IxF", b"garbage" * 100, b"<html>404</html>", b"IxFI" + b"\xff" * 60])
def test_what_is_no_index_is_refused_by_name(content: bytes, tmp_path: Path):
    path = tmp_path / "index.faiss"
    path.write_bytes(content)
    with pytest.raises(IndexFileError, match=r"index\.faiss"):
        VectorIndex.open(path)
    with pytest.raises(IndexFileError, match="can not be opened"):
        VectorIndex.open(tmp_path / "missing")
    with pytest.raises(IndexFileError, match=r"can not be opened: Is a directory"):
        VectorIndex.open(tmp_path)


def test_a_file_that_is_larger_than_the_memory_is_opened_with_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = saved(tmp_path)
    free = index_module.memory_available()
    assert free is None or free > 1_000_000
    monkeypatch.setattr(index_module, "memory_available", lambda: 3_000)
    with pytest.warns(UserWarning, match=r"3,245 bytes, and 3,000 of memory are free.*sdar index compress"):
        index = VectorIndex.open(path)
    assert len(index.search(unit_vectors(1, 16), 3)[0]) == 3


@pytest.mark.parametrize("kind", ["IDMap,Flat", "IDMap2,Flat", "IDMap,HNSW8"])
def test_rows_under_other_numbers_than_their_own_are_refused_and_graphs_in_wrappers_searched_with_sense(
    kind: str, tmp_path: Path
):
    faiss = pytest.importorskip("faiss")
    path, vectors = tmp_path / "named.faiss", unit_vectors(20, 8)
    for first in (0, 1_000):
        index = faiss.index_factory(8, kind, faiss.METRIC_INNER_PRODUCT)
        index.add_with_ids(vectors, np.arange(first, first + 20))
        faiss.write_index(index, str(path))
        if first:
            with pytest.raises(IndexFileError, match=r"row 0 under its own number, got id 1000"):
                VectorIndex.open(path)
            continue
        opened = VectorIndex.open(path)
        assert opened.search(vectors[3:4], 1)[0][0][0] == 3
        if "HNSW" in kind:
            assert faiss.downcast_index(opened._index.index).hnsw.efSearch == 128


def test_a_file_is_written_whole_or_not_at_all_and_others_may_read_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = saved(tmp_path)
    plain = tmp_path / "plain"
    plain.write_bytes(b"")
    assert path.stat().st_mode == plain.stat().st_mode
    before = path.read_bytes()

    class Full:
        @staticmethod
        def write_index(index: object, name: str) -> None:
            Path(name).write_bytes(b"half of it")
            raise RuntimeError("no space left")

    index = VectorIndex.open(path)
    monkeypatch.setattr("sdar_envs.searchqa.index._faiss", Full)
    with pytest.raises(OSError, match=r"index\.faiss: the index can not be written: no space"):
        index.save(path)
    assert path.read_bytes() == before and sorted(tmp_path.iterdir()) == sorted([path, plain])


def test_an_index_under_another_metric_is_refused(tmp_path: Path):
    index = faiss.IndexFlatL2(16)
    index.add(unit_vectors(5, 16))
    faiss.write_index(index, str(tmp_path / "l2.faiss"))
    with pytest.raises(IndexFileError, match="inner product"):
        VectorIndex.open(tmp_path / "l2.faiss")


def test_an_opened_index_travels_as_its_path(tmp_path: Path):
    index = VectorIndex.open(saved(tmp_path))
    twin = pickle.loads(pickle.dumps(index))
    assert len(pickle.dumps(index)) < 400
    assert twin.search(unit_vectors(3, 16, seed=2), 4) == index.search(unit_vectors(3, 16, seed=2), 4)
    with pytest.raises(TypeError, match="save and open"):
        pickle.dumps(VectorIndex.build(unit_vectors(4, 16)))


ANONYMOUS = """
import sys
from sdar_envs.searchqa.index import VectorIndex
def anonymous():
    return next(int(line.split()[1]) for line in open("/proc/self/smaps_rollup") if line.startswith("Anonymous"))
VectorIndex.open(sys.argv[1]).search
import faiss
before = anonymous()
index = VectorIndex.open(sys.argv[2])
print(anonymous() - before)
import numpy as np
index.search(np.ones((1, index.dim), dtype=np.float32), 3)
print(anonymous() - before)
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/smaps_rollup"), reason="memory is read from Linux's smaps_rollup")
def test_opening_a_large_file_takes_a_tenth_of_it_in_memory_at_most(tmp_path: Path):
    small = saved(tmp_path)
    large = tmp_path / "large.faiss"
    VectorIndex.build(unit_vectors(25_000, 256)).save(large)
    run = subprocess.run(
        [sys.executable, "-c", ANONYMOUS, str(small), str(large)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert all(int(kilobytes) * 1024 < 0.1 * large.stat().st_size for kilobytes in run.stdout.split())


FORK = """
import os, sys
import numpy as np
import {first}
from sdar_envs.searchqa.index import VectorIndex
rng = np.random.default_rng(0)
vectors = rng.standard_normal((20_000, 64)).astype(np.float32)
VectorIndex.build(vectors).save(sys.argv[1])
index = VectorIndex.open(sys.argv[1], threads=2)
queries = vectors[:64]
expected = index.search(queries, 3)
{matmul}
child = os.fork()
if not child:
    os._exit(0 if index.search(queries, 3) == expected else 3)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.parametrize("torch", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["alone", "with torch"])
def test_a_forked_child_searches_and_does_not_hang(torch: bool, tmp_path: Path):
    if torch:
        pytest.importorskip("torch")
    matmul = "torch.set_num_threads(2); torch.ones(512, 512) @ torch.ones(512, 512)" if torch else ""
    code = FORK.format(first="torch" if torch else "os", matmul=matmul)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    environment.pop("OMP_NUM_THREADS", None)
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "i.faiss")],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout.strip() == "0", done.stderr


# The corpus.


def lines(count: int, end: str = "\n") -> str:
    return "".join(json.dumps({"id": str(n), "contents": TEXTS[n]}, ensure_ascii=False) + end for n in range(count))


def corpus_file(tmp_path: Path, content: str | bytes) -> Path:
    path = tmp_path / "corpus.jsonl"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    "shape",
    [
        lambda text: text,
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.rstrip("\n"),
        lambda text: "\n" + text.replace("\n", "\n\n") + "  \n\t\r\n",
        lambda text: "\ufeff" + text,
    ],
    ids=["plain", "CRLF", "no final line break", "blank lines", "byte order mark"],
)
def test_lines_are_found_however_they_end(shape: Callable[[str], str], tmp_path: Path):
    corpus = JsonlCorpus(corpus_file(tmp_path, shape(lines(50))))
    assert len(corpus) == 50
    assert [corpus.passage(n).contents for n in (0, 7, 49)] == [TEXTS[0], TEXTS[7], TEXTS[49]]
    assert [passage.id for passage in corpus] == list(range(50))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from(["", " ", "\r", '{"a": 1}', "é" * 40, "x" * 5]), max_size=30), st.booleans())
def test_line_starts_are_those_of_a_plain_reader(parts: list[str], final: bool):
    import mmap

    data = ("\n".join(parts) + ("\n" if final else "")).encode()
    if not data:
        return
    with mmap.mmap(-1, len(data)) as mapped:
        mapped.write(data)
        starts = line_starts(mapped)
    found = [data[start:].split(b"\n")[0].strip() for start in starts]
    assert found == [line.strip() for line in data.split(b"\n") if line.strip()]


def test_both_forms_of_a_record_are_read_and_unicode_survives(tmp_path: Path):
    records = [{"id": 0, "contents": '"\u00c9cole"\nd\u00e9j\u00e0'}, {"id": 1, "title": "T", "text": "U\u2028V"}]
    path = corpus_file(tmp_path, "\n".join(json.dumps(r, ensure_ascii=False) for r in records))
    corpus = JsonlCorpus(path)
    assert corpus.passage(0).title == "\u00c9cole" and corpus.passage(0).heading == '"\u00c9cole"'
    assert corpus.passage(1).contents == '"T"\nU\u2028V' and corpus.passage(1).text == "U\u2028V"


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("", "empty file"),
        ("\n \n", "blank lines"),
        ("<html>Not found</html>", "row 0"),
        ('{"id": "0", "contents": "a"}\n{"id": "1", "conte', "row 1"),
        ('{"id": "0"}', "contents"),
        ('{"id": "0", "contents": null}', "contents"),
        ('{"id": "0", "title": "a", "text": 3}', "contents"),
        ('["a"]', "JSON list"),
        ("3", "JSON int"),
        ('{"id": "5", "contents": "a"}', "expected id 0, got 5"),
        ('{"id": "1", "contents": "a"}\n{"id": "0", "contents": "b"}', "reordered"),
        (b'{"id": "0", "contents": "\xff\xfe"}', "row 0"),
        ("[" * 100_000, "row 0"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_damaged_corpus_is_refused_by_file_and_row(content: str | bytes, named: str, tmp_path: Path):
    with pytest.raises(CorpusError, match=named) as caught:
        JsonlCorpus(corpus_file(tmp_path, content))
    assert "corpus.jsonl" in str(caught.value)


def test_a_damaged_line_between_those_of_the_sample_is_met_when_it_is_read(tmp_path: Path):
    rows = [json.dumps({"id": str(n), "contents": "x"}) for n in range(3_000)]
    rows[1_001] = rows[1_001].replace("}", "")
    corpus = JsonlCorpus(corpus_file(tmp_path, "\n".join(rows)))
    with pytest.raises(CorpusError, match="row 1001"):
        corpus.passage(1_001)


def test_a_missing_corpus_is_named(tmp_path: Path):
    with pytest.raises(CorpusError, match=r"gone\.jsonl.*can not be opened"):
        JsonlCorpus(tmp_path / "gone.jsonl")


def test_the_sidecar_is_used_and_made_again_when_the_file_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from sdar_envs.searchqa import corpus as module

    path = corpus_file(tmp_path, lines(40))
    JsonlCorpus(path)
    scans: list[int] = []
    monkeypatch.setattr(module, "line_starts", lambda data: (scans.append(len(data)), line_starts(data))[1])
    assert len(JsonlCorpus(path)) == 40 and scans == []
    path.write_text(lines(41))
    assert len(JsonlCorpus(path)) == 41 and len(scans) == 1
    # Same size and time, other content: the edges tell.
    state = path.stat()
    path.write_text(lines(41).replace("topic 3", "tepic 3"))
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    JsonlCorpus(path)
    assert len(scans) == 2


@pytest.mark.parametrize("damage", [b"", b"junk", b"\x93NUMPY" + b"\0" * 100])
def test_a_damaged_sidecar_is_made_again(damage: bytes, tmp_path: Path):
    path = corpus_file(tmp_path, lines(40))
    JsonlCorpus(path)
    for name in ("corpus.jsonl.offsets.npy", "corpus.jsonl.offsets.json"):
        sidecar = tmp_path / name
        sidecar.write_bytes(damage)
        assert len(JsonlCorpus(path)) == 40


def test_where_the_folder_can_not_be_written_to_the_sidecar_lies_in_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from sdar_envs.searchqa import corpus as module

    data, cache = tmp_path / "data", tmp_path / "cache"
    data.mkdir()
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    path = corpus_file(data, lines(40))
    save = module._save_sidecar

    def refuse(base: Path, *rest: object) -> None:
        if base.parent == data:
            raise PermissionError(13, "read-only")
        save(base, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "_save_sidecar", refuse)
    assert len(JsonlCorpus(path)) == 40
    assert list(cache.rglob("*.npy")) and not list(data.glob("*.npy"))
    monkeypatch.setattr(module, "_save_sidecar", lambda *_: pytest.fail("it is in the cache"))
    assert len(JsonlCorpus(path)) == 40


def test_a_fingerprint_is_of_what_is_said_not_of_how_it_is_kept(tmp_path: Path):
    passages = [Passage(n, text) for n, text in enumerate(TEXTS)]
    write_jsonl(tmp_path / "c.jsonl", passages)
    kept = JsonlCorpus(tmp_path / "c.jsonl")
    assert kept.fingerprint == MemoryCorpus(passages).fingerprint == fingerprint_of(kept)
    assert MemoryCorpus(passages[:-1]).fingerprint != kept.fingerprint


# Together.


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
def test_a_cache_of_any_room_answers_like_the_retriever_behind_it(room: int):
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
