"""Ranked search: BM25 with every detail of Lucene 8, so that a query brings the same products in the same order.

Four details decide the order and differ in all other libraries that were measured: the length of a document is kept in
one byte, the analysis is Lucene's (`analysis.py`), scores are single precision, and equal scores are ordered by
product id. The index is immutable, so any number of environments share one.
"""

from __future__ import annotations

import json
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt

from .analysis import terms

# The original's settings (Anserini's defaults): saturation of term frequency, and how much length counts.
K1 = np.float32(0.9)
B = np.float32(0.4)

_Floats = npt.NDArray[np.float32]
_Integers = npt.NDArray[np.int32]


def encode_length(length: int) -> int:
    """A document's length as Lucene's one byte (SmallFloat): exact to 40, then three bits of mantissa."""
    if length < _FREE:
        return length
    value = length - _FREE
    shift = max(value.bit_length() - 4, 0)
    return _FREE + (value if value < 8 else ((value >> shift) & 7) | ((shift + 1) << 3))


def decode_length(byte: int) -> int:
    """What such a byte stands for: the length, rounded down."""
    if byte < _FREE:
        return byte
    code = byte - _FREE
    return _FREE + (code if code < 8 else ((code & 7) | 8) << ((code >> 3) - 1))


# So many bytes are lengths as they are, because the largest 32-bit length then has the largest byte.
_FREE = 24


class SearchIndex:
    """An inverted index over product documents.

    Args:
        ids: Product ids; results name them.
        vocabulary: Terms; their positions are term numbers.
        offsets: Postings of term t are ``documents[offsets[t]:offsets[t + 1]]``, and so for `frequencies`.
        documents: Document numbers, positions in the ids' ascending order.
        frequencies: How often the term stands in the document.
        lengths: Terms of each document, by document number.
    """

    def __init__(
        self,
        ids: Sequence[str],
        vocabulary: Sequence[str],
        offsets: npt.NDArray[np.int64],
        documents: _Integers,
        frequencies: _Integers,
        lengths: _Integers,
    ) -> None:
        self.ids = tuple(ids)
        self.vocabulary = {term: number for number, term in enumerate(vocabulary)}
        self._offsets, self._documents, self._frequencies, self._lengths = offsets, documents, frequencies, lengths
        self._starts = offsets.tolist()
        # Lucene knows nothing of documents without terms: neither the mean length nor the rarity of a term counts them.
        count = int(np.count_nonzero(lengths))
        average = np.float32(int(lengths.sum(dtype=np.int64)) / count) if count else np.float32(1)
        bytes_, inverse = np.unique(lengths, return_inverse=True)
        rounded = np.array([decode_length(encode_length(int(length))) for length in bytes_], dtype=np.float32)
        norms = (K1 * ((np.float32(1) - B) + B * rounded / average)).astype(np.float32)[inverse]
        # Saturated frequency, in double precision until the last step, as Lucene computes it.
        tf = frequencies.astype(np.float64)
        self._saturated = (tf / (tf + norms[documents])).astype(np.float32)
        df = np.diff(offsets).astype(np.float64)
        self._idf = np.log(1 + (count - df + 0.5) / (df + 0.5)).astype(np.float32)

    @classmethod
    def build(cls, documents: Iterable[tuple[str, str]]) -> SearchIndex:
        """Index (id, text) pairs; ids are expected to be unique."""
        ids: list[str] = []
        numbers: dict[str, int] = {}
        term_numbers, frequencies, sizes, lengths = array("i"), array("i"), array("i"), array("i")
        for product_id, text in documents:
            counts = Counter(terms(text))
            ids.append(product_id)
            term_numbers.extend([numbers.setdefault(term, len(numbers)) for term in counts])
            frequencies.extend(counts.values())
            sizes.append(len(counts))
            lengths.append(counts.total())
        # Documents are numbered in the order of their ids, so that a stable sort by score leaves equals in that order.
        order = sorted(range(len(ids)), key=ids.__getitem__)
        rank = np.empty(len(ids), dtype=np.int32)
        rank[order] = np.arange(len(ids), dtype=np.int32)
        of_posting = np.repeat(rank, _integers(sizes))
        by_term = np.lexsort((of_posting, _integers(term_numbers)))
        df = np.bincount(_integers(term_numbers), minlength=len(numbers))
        return cls(
            [ids[number] for number in order],
            list(numbers),
            np.concatenate([[0], np.cumsum(df)]).astype(np.int64),
            of_posting[by_term],
            _integers(frequencies)[by_term],
            _integers(lengths)[order],
        )

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays."""
        arrays = (self._offsets, self._documents, self._frequencies, self._lengths, self._saturated, self._idf)
        return sum(one.nbytes for one in arrays)

    def search(self, query: str, limit: int = 50) -> list[str]:
        """The ids of the best `limit` products, best first; a product without any term of the query is no hit."""
        return [self.ids[number] for number in self._best(query, limit)[0].tolist()]

    def scored(self, query: str, limit: int = 50) -> list[tuple[str, float]]:
        """The same with scores, as Lucene reports them."""
        found, scores = self._best(query, limit)
        return [(self.ids[number], float(score)) for number, score in zip(found.tolist(), scores, strict=True)]

    def _best(self, query: str, limit: int) -> tuple[npt.NDArray[np.intp], _Floats]:
        sums: npt.NDArray[np.float64] | None = None
        for term, count in Counter(terms(query)).items():
            number = self.vocabulary.get(term)
            if number is None:
                continue
            if sums is None:
                sums = np.zeros(len(self.ids))
            postings = slice(self._starts[number], self._starts[number + 1])
            # A repeated word weighs as often as it is said. Single precision per word, double in the sum.
            weight = np.float32(count) * self._idf[number]
            sums[self._documents[postings]] += weight * self._saturated[postings]
        if sums is None:
            return np.empty(0, dtype=np.intp), np.empty(0, dtype=np.float32)
        scores = sums.astype(np.float32)
        hits = np.flatnonzero(scores)
        if len(hits) > 4 * limit:
            worst = np.partition(scores[hits], len(hits) - limit)[len(hits) - limit]
            hits = hits[scores[hits] >= worst]
        best = hits[np.argsort(-scores[hits], kind="stable")[:limit]]
        return best, scores[best]

    # On disk.

    def save(self, path: Path) -> None:
        """Write the index to one file, without pickles."""
        words = np.frombuffer(json.dumps([self.ids, list(self.vocabulary)]).encode(), dtype=np.uint8)
        with path.open("wb") as file:
            np.savez(
                file,
                words=words,
                offsets=self._offsets,
                documents=self._documents,
                frequencies=self._frequencies,
                lengths=self._lengths,
            )

    @classmethod
    def load(cls, path: Path) -> SearchIndex:
        """Read what `save` wrote."""
        with np.load(path, allow_pickle=False) as stored:
            ids, vocabulary = cast(tuple[list[str], list[str]], json.loads(stored["words"].tobytes()))
            return cls(ids, vocabulary, *(stored[name] for name in ("offsets", "documents", "frequencies", "lengths")))


def _integers(numbers: array[int]) -> _Integers:
    return np.frombuffer(numbers, dtype=np.int32) if numbers else np.empty(0, dtype=np.int32)
