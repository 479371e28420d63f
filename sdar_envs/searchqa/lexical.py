"""Search by words: BM25 over an inverted index, exact, without vectors. The default for a user's own documents.

The dense default (`encoder`) keeps a word's rarity only up to the noise of its projection; here nothing is lost, and an
index takes some 8 bytes per different word of a passage. Weights are those of Lucene's BM25, computed once per word
and passage. It is not the store's search, which imitates Lucene to the bit with a stemmer: no stems here, any language
whose words have spaces between them. Suited to some millions of passages.
"""

from __future__ import annotations

import os
import zipfile
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..choices import require_number
from ..files import replaced_file
from .corpus import Corpus
from .encoder import tokens_of
from .index import IndexFileError
from .retriever import MAX_QUERY, MAX_TOPK, Hit

# Saturation of a word's frequency, how much length counts, and how often the words of the first line count. On the
# 380 real questions that they were compared on, other usual values are up to 1 point behind.
K1 = 0.9
B = 0.4
HEADING = 2

_MAGIC = b"PK\x03\x04"
_FORMAT = "sdar-lexical-1"
_SCORE_DIGITS = 6


class LexicalIndex:
    """Words to the passages that have them.

    Attributes:
        size: Number of passages.
        path: The file it was opened from, None for one that was built here.
    """

    def __init__(
        self,
        vocabulary: Sequence[str],
        offsets: NDArray[np.int64],
        rows: NDArray[np.int32],
        weights: NDArray[np.float32],
        size: int,
        *,
        path: Path | None = None,
    ) -> None:
        self._words = list(vocabulary)
        self._numbers = {word: number for number, word in enumerate(self._words)}
        self._offsets, self._rows, self._weights = offsets, rows, weights
        self.size = size
        self.path = path

    @classmethod
    def build(cls, texts: Iterable[str]) -> LexicalIndex:
        """Index passages, whose first line counts for more when others follow."""
        numbers: dict[str, int] = {}
        words, counts, different, lengths = array("i"), array("i"), array("i"), array("i")
        for text in texts:
            bag = Counter(tokens_of(text))
            first, broken, _ = text.partition("\n")
            if broken:
                for word in tokens_of(first):
                    bag[word] += HEADING - 1
            words.extend([numbers.setdefault(word, len(numbers)) for word in bag])
            counts.extend(bag.values())
            different.append(len(bag))
            lengths.append(bag.total())
        size = len(lengths)
        word_of, tf = np.array(words, dtype=np.int32), np.array(counts, dtype=np.float64)
        row_of = np.repeat(np.arange(size, dtype=np.int32), np.array(different, dtype=np.int64))
        length = np.array(lengths, dtype=np.float64)
        mean = float(length.mean()) if size and length.any() else 1.0
        order = np.argsort(word_of, kind="stable")
        found_in = np.bincount(word_of, minlength=len(numbers)) if len(word_of) else np.zeros(len(numbers), dtype=int)
        rarity = np.log(1.0 + (size - found_in + 0.5) / (found_in + 0.5))
        saturated = tf / (tf + K1 * (1.0 - B + B * length[row_of] / mean))
        weights = (rarity[word_of] * saturated).astype(np.float32)
        offsets = np.concatenate([[0], np.cumsum(found_in)]).astype(np.int64)
        return cls(list(numbers), offsets, row_of[order], weights[order], size)

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays."""
        return self._offsets.nbytes + self._rows.nbytes + self._weights.nbytes

    def search(self, queries: Sequence[str], k: int) -> list[list[tuple[int, float]]]:
        """The best rows of each query, as (row, score), best first; equal scores in the order of rows.

        A passage without any word of the query is no hit.

        Raises:
            ValueError: `k` is out of range.
        """
        require_number("k", k, "LexicalIndex.search", low=1, high=MAX_TOPK, whole=True)
        return [self._best(query, k) for query in queries]

    def _best(self, query: str, k: int) -> list[tuple[int, float]]:
        asked = Counter(tokens_of(query[:MAX_QUERY]))
        known = sorted((self._numbers[word], count) for word, count in asked.items() if word in self._numbers)
        if not known:
            return []
        sums = np.zeros(self.size)
        for number, count in known:
            own = slice(int(self._offsets[number]), int(self._offsets[number + 1]))
            sums[self._rows[own]] += count * self._weights[own].astype(np.float64)
        edge = 0.0 if self.size <= k else float(np.partition(sums, self.size - k)[self.size - k])
        rows = np.flatnonzero(sums >= edge) if edge > 0 else np.flatnonzero(sums)
        rows = rows[np.argsort(-sums[rows], kind="stable")[:k]]
        return list(zip(rows.tolist(), np.round(sums[rows], _SCORE_DIGITS).tolist(), strict=True))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the index file; it is there whole or not at all."""
        words = np.frombuffer("\n".join(self._words).encode("utf-8", "surrogatepass"), dtype=np.uint8)
        with replaced_file(path) as partial, partial.open("wb") as file:
            np.savez(
                file,
                format=np.array(_FORMAT),
                size=np.array(self.size),
                words=words,
                offsets=self._offsets,
                rows=self._rows,
                weights=self._weights,
            )

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> LexicalIndex:
        """Read an index file.

        Raises:
            IndexFileError: The file is missing, damaged, or another kind of file.
        """
        file = Path(path)
        try:
            with np.load(file, allow_pickle=False) as data:
                if str(data["format"]) != _FORMAT:
                    raise IndexFileError(f"{file}: expected a lexical index of form {_FORMAT}, got {data['format']}")
                words = data["words"].tobytes().decode("utf-8", "surrogatepass")
                vocabulary = words.split("\n") if words else []
                offsets, rows, weights = data["offsets"], data["rows"], data["weights"]
                size = int(data["size"])
        except OSError as error:
            raise IndexFileError(f"{file}: the index cannot be opened: {error.strerror or error}") from error
        except (KeyError, EOFError, zipfile.BadZipFile, ValueError) as error:
            if isinstance(error, IndexFileError):
                raise
            raise IndexFileError(f"{file}: expected a lexical index, and it is none, or damaged: {error}") from error
        whole = len(offsets) == len(vocabulary) + 1 and len(rows) == len(weights) == int(offsets[-1])
        if not whole or (len(rows) and not 0 <= int(rows.min()) <= int(rows.max()) < size):
            raise IndexFileError(f"{file}: expected a lexical index whose parts fit each other: it is damaged")
        return cls(vocabulary, offsets, rows, weights, size, path=file)

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        if self.path is not None:
            return LexicalIndex.open, (str(self.path),)
        return LexicalIndex, (self._words, self._offsets, self._rows, self._weights, self.size)

    def __deepcopy__(self, memo: dict[int, Any]) -> LexicalIndex:
        return self  # nothing in it changes: a copy in the same process shares it


def is_lexical(path: Path) -> bool:
    """Whether a file is a lexical index and none of vectors; a file that is not there is neither."""
    try:
        with path.open("rb") as file:
            return file.read(len(_MAGIC)) == _MAGIC
    except OSError:
        return False


class LexicalRetriever:
    """A lexical index and its corpus in this process.

    Raises:
        IndexFileError: The two do not belong together.
    """

    def __init__(self, index: LexicalIndex, corpus: Corpus, *, where: str = "LexicalRetriever") -> None:
        if index.size != len(corpus):
            raise IndexFileError(
                f"{where}: expected as many passages in the index as in the corpus, got {index.size:,} and "
                f"{len(corpus):,}: index and corpus are not of one making"
            )
        self.index = index
        self.corpus = corpus
        self.name = f"lexical, {len(corpus)} passages {corpus.fingerprint}"

    def search(self, queries: Sequence[str], k: int) -> list[list[Hit]]:
        """See `retriever.Retriever`."""
        return [[Hit(self.corpus.passage(row), score) for row, score in hits] for hits in self.index.search(queries, k)]

    def normalise(self, query: str) -> str:
        """See `retriever.Retriever`."""
        return " ".join(sorted(tokens_of(query[:MAX_QUERY])))

    def __deepcopy__(self, memo: dict[int, Any]) -> LexicalRetriever:
        return self  # nothing in it changes: a copy in the same process shares it
