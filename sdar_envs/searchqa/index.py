"""A FAISS index: opened without reading it whole, one thread by default, usable after a fork.

What FAISS does by itself and this file does not let through:

- ``IO_FLAG_MMAP`` reads a flat index whole all the same; only ``IO_FLAG_MMAP_IFC`` maps it.
- From 1.15 on, flat search goes through BLAS only from a product of queries and dimensions of 128,000 on; at 768
  dimensions a batch of 64 stays on the path that is twelve times slower. The threshold is put lower, for the process.
- IVF files open with ``nprobe`` 1, which finds a quarter to a half of the exact top 3: see `default_nprobe`.
- HNSW files open with ``efSearch`` 16, which loses 3 to 14 gold passages in 100 on lexical vectors, by their links.
- After a fork, a search over a pool of several threads hangs: a child opens the index anew, with one thread.
- Two batches of different sizes add up in different orders, and near ties change places: the first hits are scored
  again in float64 and ordered by score and row, so that a result depends on neither batch nor thread.
"""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..choices import require_choice, require_number
from ..files import replaced_file

if TYPE_CHECKING:
    from types import ModuleType

KINDS = ("flat", "hnsw")
COMPRESSIONS = ("SQfp16", "SQ8")

# Queries times dimensions from which flat search goes through BLAS; the crossover is at about four queries of 768.
BLAS_THRESHOLD = 3_000
HNSW_LINKS = 32
HNSW_CONSTRUCTION = 200
# Hits beyond those asked for that are scored again: room for near ties at the edge.
SPARE = 8
_SCORE_DIGITS = 6
_HEADER = 45  # bytes in front of the vectors of a flat index file
_ROWS = 100_000

_prepared: set[int] = set()


class IndexFileError(ValueError):
    """An index that cannot be used; the message names the file and what was expected of it."""


def _faiss() -> ModuleType:
    """FAISS, with what is global in it set once per process.

    Raises:
        ImportError: It is not installed.
    """
    try:
        import faiss
    except ImportError as error:
        raise ImportError(
            "searching in this process needs FAISS: python -m pip install faiss-cpu (or pass retriever=, the address "
            "of a server)"
        ) from error
    if os.getpid() not in _prepared:
        _prepared.add(os.getpid())
        version = tuple(int(part) for part in faiss.__version__.split(".")[:2])
        # Before 1.15 the number means queries alone, and its default is right.
        if version >= (1, 15) and hasattr(faiss.cvar, "distance_compute_blas_threshold"):
            faiss.cvar.distance_compute_blas_threshold = BLAS_THRESHOLD
        faiss.omp_set_num_threads(1)
    module: ModuleType = faiss
    return module


class VectorIndex:
    """Rows of vectors under the inner product.

    Make one with `build` or `open`. An opened one can be pickled: what travels is the path.

    Attributes:
        path: The file it was opened from, None for one that was built here.
        size: Number of rows.
        dim: Length of a row.
    """

    def __init__(
        self,
        index: Any,
        *,
        path: Path | None = None,
        threads: int = 1,
        ef_search: int = 128,
        nprobe: int | None = None,
    ) -> None:
        self._index = index
        self._pid = os.getpid()
        self._threads = threads
        self._ef_search = ef_search
        self._nprobe = nprobe
        self._rescores = True
        self.path = path
        self.size = int(index.ntotal)
        self.dim = int(index.d)

    @classmethod
    def build(cls, vectors: NDArray[np.float32], *, kind: str = "flat", threads: int = 1) -> VectorIndex:
        """Index the rows of `vectors`.

        Args:
            vectors: ``(rows, dim)``.
            kind: ``flat`` is exact and the right choice below some 200,000 rows; ``hnsw`` is a graph.
            threads: For building and searching.

        Raises:
            ValueError: `vectors` is not a finite matrix, or the kind is unknown.
        """
        shape = np.shape(vectors)
        return cls.build_from([vectors], dim=shape[1] if len(shape) == 2 else 0, kind=kind, threads=threads)

    @classmethod
    def build_from(
        cls, blocks: Iterable[NDArray[np.float32]], *, dim: int, kind: str = "flat", threads: int = 1
    ) -> VectorIndex:
        """The same from blocks of rows, so that only the index itself has to fit into memory."""
        require_choice("kind of index", kind, KINDS, "VectorIndex.build")
        faiss = _faiss()
        index = None
        for block in blocks:
            rows = np.ascontiguousarray(block, dtype=np.float32)
            if rows.ndim != 2 or rows.shape[1] != dim or not dim or not np.isfinite(rows).all():
                raise ValueError(f"VectorIndex.build expects a finite matrix (rows, {dim or 'dim'}), got {rows.shape}")
            if index is None:
                index = _empty(kind, dim)
            faiss.omp_set_num_threads(threads)
            index.add(rows)
        return cls(_empty(kind, dim) if index is None else index, threads=threads)

    @classmethod
    def open(
        cls, path: str | os.PathLike[str], *, threads: int = 1, ef_search: int = 128, nprobe: int | None = None
    ) -> VectorIndex:
        """Open an index file without reading it whole.

        Args:
            path: The file.
            threads: Of searches. More than one pays from some 50,000 rows of 512 on, on cores of their own.
            ef_search: Breadth of the search in HNSW files, at least.
            nprobe: Lists that a search in an IVF file reads, at most all of them; None for `default_nprobe`.

        Raises:
            IndexFileError: The file is missing, cut short or no index; its metric is not the inner product; or its
                rows have ids that are not their own numbers.
        """
        file = Path(path)
        if nprobe is not None:
            require_number("nprobe", nprobe, "VectorIndex.open", low=1, whole=True)
        index = _read(file)
        faiss = _faiss()
        if index.metric_type != faiss.METRIC_INNER_PRODUCT:
            raise IndexFileError(f"{file}: expected an index under the inner product, got metric {index.metric_type}")
        size, free = file.stat().st_size, memory_available()
        if free is not None and size > free:
            warnings.warn(
                f"{file}: {size:,} bytes, and {free:,} of memory are free: every exact search will read the rest of it "
                "from disk. `sdar index compress` halves or quarters it",
                stacklevel=2,
            )
        inner = index
        while hasattr(inner, "index"):  # a wrapper, of ids or of a transformation
            _check_ids(inner, file)
            inner = faiss.downcast_index(inner.index)
        hnsw = getattr(inner, "hnsw", None)
        if hnsw is not None:
            hnsw.efSearch = max(int(hnsw.efSearch), ef_search)
        if hasattr(inner, "nprobe") and hasattr(inner, "nlist"):
            lists = int(inner.nlist)
            inner.nprobe = max(int(inner.nprobe), default_nprobe(lists)) if nprobe is None else min(nprobe, lists)
        return cls(index, path=file, threads=threads, ef_search=ef_search, nprobe=nprobe)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the index file; it is there whole or not at all.

        Raises:
            OSError: It cannot be written.
        """
        with replaced_file(path) as partial:
            try:
                _faiss().write_index(self._index, str(partial))
            except RuntimeError as error:
                raise OSError(f"{path}: the index cannot be written: {error}") from error

    def __reduce__(self) -> tuple[Any, tuple[str, int, int, int | None]]:
        if self.path is None:
            raise TypeError("an index that was built in memory cannot be sent to another process: save and open it")
        return _reopened, (str(self.path), self._threads, self._ef_search, self._nprobe)

    def __deepcopy__(self, memo: dict[int, Any]) -> VectorIndex:
        return self  # rows never change: a copy in the same process (a specification's arguments) shares them

    def search(self, vectors: NDArray[np.float32], k: int) -> list[list[tuple[int, float]]]:
        """The best rows of each query, as (row, score), best first; equal scores in the order of rows.

        A query that is zero or not finite finds nothing, and there are never more hits than rows.

        Args:
            vectors: ``(queries, dim)``.
            k: Hits per query, 1 to 100.

        Raises:
            ValueError: `k` is out of range, or the vectors do not fit the index.
        """
        require_number("k", k, "VectorIndex.search", low=1, high=100, whole=True)
        queries = np.ascontiguousarray(vectors, dtype=np.float32)
        if queries.ndim != 2 or queries.shape[1] != self.dim:
            raise ValueError(f"VectorIndex.search expects queries of shape (n, {self.dim}), got {queries.shape}")
        found: list[list[tuple[int, float]]] = [[] for _ in queries]
        asked = np.flatnonzero(np.isfinite(queries).all(axis=1) & queries.any(axis=1))
        if not len(asked) or not self.size:
            return found
        faiss, index = _faiss(), self._own()
        faiss.omp_set_num_threads(self._threads)
        queries = queries[asked]
        scores, rows = index.search(queries, min(k + SPARE, self.size))
        scores = self._rescored(index, queries, rows, scores)
        # Rows that FAISS did not fill are -1 and come last.
        order = np.lexsort((rows, np.where(rows < 0, np.inf, -scores)), axis=-1)[:, :k]
        best_rows = np.take_along_axis(rows, order, axis=1).tolist()
        best_scores = np.take_along_axis(scores, order, axis=1).tolist()
        for place, row_ids, row_scores in zip(asked.tolist(), best_rows, best_scores, strict=True):
            found[place] = [hit for hit in zip(row_ids, row_scores, strict=True) if hit[0] >= 0]
        return found

    def _rescored(
        self, index: Any, queries: NDArray[np.float32], rows: NDArray[np.int64], scores: NDArray[np.float32]
    ) -> NDArray[np.float64]:
        """The same scores from the stored vectors, in float64, where the index can give them back."""
        exact = scores.astype(np.float64)
        if self._rescores:
            try:
                known = index.reconstruct_batch(np.maximum(rows, 0).ravel()).reshape(*rows.shape, self.dim)
                exact = np.einsum("qkd,qd->qk", known, queries, dtype=np.float64)
            except RuntimeError:  # an index that keeps no way back, such as IVF without a direct map
                self._rescores = False
        return np.round(exact, _SCORE_DIGITS)

    def _own(self) -> Any:
        """The index of this process: a fork's copy is opened anew, or used with one thread when it has no file."""
        if os.getpid() != self._pid:
            self._pid, self._threads = os.getpid(), 1
            if self.path is not None:
                self._index = VectorIndex.open(self.path, ef_search=self._ef_search, nprobe=self._nprobe)._index
        return self._index

    def compressed(self, to: str) -> VectorIndex:
        """The same rows in fewer bytes: ``SQfp16`` halves, ``SQ8`` quarters them; searches in batches get slower.

        Rows are read and written in blocks, so a mapped index of any size will do.

        Raises:
            ValueError: Unknown target, or an index that cannot give its rows back.
        """
        require_choice("compression", to, COMPRESSIONS, "VectorIndex.compressed")
        faiss, source = _faiss(), self._own()
        kind = faiss.ScalarQuantizer.QT_fp16 if to == "SQfp16" else faiss.ScalarQuantizer.QT_8bit
        target = faiss.IndexScalarQuantizer(self.dim, kind, faiss.METRIC_INNER_PRODUCT)
        try:
            # Eight bits are spread over the range of each column, which a sample shows.
            sample = np.unique(np.linspace(0, self.size - 1, num=min(_ROWS, self.size), dtype=np.int64))
            target.train(source.reconstruct_batch(sample))
            for start in range(0, self.size, _ROWS):
                target.add(source.reconstruct_n(start, min(_ROWS, self.size - start)))
        except RuntimeError as error:
            raise ValueError(f"{self.path}: this kind of index cannot give its vectors back: {error}") from error
        return VectorIndex(target, threads=self._threads)


def _empty(kind: str, dim: int) -> Any:
    faiss = _faiss()
    if kind == "flat":
        return faiss.IndexFlatIP(dim)
    index = faiss.IndexHNSWFlat(dim, HNSW_LINKS, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = HNSW_CONSTRUCTION
    index.hnsw.efSearch = 128
    return index


def _reopened(path: str, threads: int, ef_search: int, nprobe: int | None) -> VectorIndex:
    return VectorIndex.open(path, threads=threads, ef_search=ef_search, nprobe=nprobe)


def default_nprobe(lists: int) -> int:
    """Lists that a search in an IVF file reads by default: four times their number's square root, at most all.

    On clustered vectors (60,000 of 64 dimensions in 256 lists) 1, 16 and 64 lists find .45, .92 and .997 of the exact
    top 3; on lexical ones (4,000 of 512 in 64) 1, 8 and 32 find .23, .54 and .87.
    """
    return min(lists, 4 * max(1, round(math.sqrt(lists))))


def _read(file: Path) -> Any:
    faiss = _faiss()
    try:
        with file.open("rb") as opened:
            size = os.fstat(opened.fileno()).st_size
    except OSError as error:
        raise IndexFileError(f"{file}: the index cannot be opened: {error.strerror or error}") from error
    try:
        return faiss.read_index(str(file), faiss.IO_FLAG_MMAP_IFC)
    except (RuntimeError, MemoryError) as error:
        raise IndexFileError(f"{file}: {_what_is_wrong(file, size)}") from error


def _check_ids(index: Any, file: Path) -> None:
    """Require ids that an index gives its rows to be the rows' numbers."""
    if hasattr(index, "id_map"):
        ids = _faiss().vector_to_array(index.id_map)
        others = np.flatnonzero(ids != np.arange(len(ids)))
        if len(others):
            raise IndexFileError(
                f"{file}: expected row {others[0]:,} under its own number, got id {ids[others[0]]}: rows of an index "
                "stand for lines of a corpus, so it has to be built without ids"
            )


def memory_available() -> int | None:
    """Bytes of memory that can be had, page cache included; None where the system does not say."""
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            return next(1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    except (OSError, ValueError, StopIteration):
        return None


def _what_is_wrong(file: Path, size: int) -> str:
    """A sentence on a file that FAISS refused."""
    with file.open("rb") as head:
        start = head.read(16)
    if start[:4] != b"IxFI" or len(start) < 16:
        return f"its {size:,} bytes are expected to begin as a FAISS index does, and do not: no index, or cut short"
    dim, rows = int.from_bytes(start[4:8], "little"), int.from_bytes(start[8:16], "little")
    expected = _HEADER + rows * dim * 4
    return (
        f"expected {expected:,} bytes for a flat index of {rows:,} rows of {dim}, got {size:,}: the file is cut short; "
        "an index that is published in parts has to be joined first (cat part_aa part_ab > e5_Flat.index)"
    )


def check_fit(index: VectorIndex, rows: int, dim: int, where: str) -> None:
    """Require an index, a corpus and an encoder to belong together.

    Raises:
        IndexFileError: They do not; both numbers are in the message.
    """
    if index.size != rows:
        raise IndexFileError(
            f"{where}: expected as many vectors as passages, got {index.size:,} vectors and {rows:,} passages: index "
            "and corpus are not of one making"
        )
    if index.dim != dim:
        raise IndexFileError(
            f"{where}: expected vectors of the encoder's {dim} dimensions, got {index.dim}: the index was made with "
            "another encoder"
        )


def _after_fork() -> None:
    """A child has one thread, whatever its parent had; it never waits for threads that were not copied."""
    _prepared.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
