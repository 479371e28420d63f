"""The vector index and its files: what FAISS does wrong by itself, row by row."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("faiss")

import faiss
from searchqa_material import unit_vectors

from sdar_envs.searchqa import index as index_module
from sdar_envs.searchqa.index import IndexFileError, VectorIndex, default_nprobe


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


def test_what_cannot_be_indexed_is_refused():
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
    with pytest.raises(IndexFileError, match="cannot be opened"):
        VectorIndex.open(tmp_path / "missing")
    with pytest.raises(IndexFileError, match=r"cannot be opened: Is a directory"):
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
    with pytest.raises(OSError, match=r"index\.faiss: the index cannot be written: no space"):
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


# IVF.


@pytest.fixture(scope="module")
def ivf(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray, list[set[int]]]:
    """A made-up IVF file over 20,000 clustered vectors in 144 lists, 200 queries, and their exact top 3."""
    rng = np.random.default_rng(0)
    centres, spread = rng.normal(size=(500, 24)), rng.normal(size=(24, 48))

    def drawn(count: int) -> np.ndarray:
        inner = centres[rng.integers(500, size=count)] + 0.8 * rng.normal(size=(count, 24))
        rows = inner @ spread + 0.5 * rng.normal(size=(count, 48))
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)

    rows, queries = drawn(20_000), drawn(200)
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(48), 48, 144, faiss.METRIC_INNER_PRODUCT)
    index.train(rows)
    index.add(rows)
    path = tmp_path_factory.mktemp("ivf") / "ivf.index"
    faiss.write_index(index, str(path))
    exact = VectorIndex.build(rows).search(queries, 3)
    return path, queries, [{row for row, _ in hits} for hits in exact]


def recall(index: VectorIndex, queries: np.ndarray, exact: list[set[int]]) -> float:
    found = [{row for row, _ in hits} for hits in index.search(queries, 3)]
    return sum(len(one & other) for one, other in zip(found, exact, strict=True)) / (3 * len(exact))


def test_ivf_files_are_searched_in_more_lists_than_one(ivf: tuple[Path, np.ndarray, list[set[int]]]):
    path, queries, exact = ivf
    assert recall(VectorIndex.open(path, nprobe=1), queries, exact) < 0.6
    assert recall(VectorIndex.open(path), queries, exact) > 0.97
    assert recall(VectorIndex.open(path, nprobe=10_000), queries, exact) == 1.0
    assert [default_nprobe(lists) for lists in (1, 16, 144, 4096, 65_536)] == [1, 16, 48, 256, 1024]
    with pytest.raises(ValueError, match="nprobe"):
        VectorIndex.open(path, nprobe=0)


def test_an_ivf_file_keeps_its_breadth_on_its_way_to_another_process(ivf: tuple[Path, np.ndarray, list[set[int]]]):
    path, queries, _ = ivf
    for nprobe in (None, 3):
        index = VectorIndex.open(path, nprobe=nprobe)
        assert pickle.loads(pickle.dumps(index)).search(queries[:20], 3) == index.search(queries[:20], 3)
