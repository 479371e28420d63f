"""Retrieval: queries to passages, in batches. One protocol for an index in this process and for a server elsewhere."""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from .corpus import Corpus, Passage
from .encoder import tokens_of
from .index import VectorIndex, check_fit

MAX_QUERY = 8_192
MAX_TOPK = 100
ROOM_BYTES = 1 << 28  # of remembered answers
_ENTRY, _HIT = 400, 250


class Hit(NamedTuple):
    """A passage that was found, and its score."""

    passage: Passage
    score: float


class RetrievalError(RuntimeError):
    """Retrieval is out of order (a server that does not answer, an answer that is none); never the agent's doing."""


class Retriever(Protocol):
    """Queries to passages."""

    name: str

    def search(self, queries: Sequence[str], k: int) -> list[list[Hit]]:
        """The best `k` passages for each query, best first; fewer where there are fewer.

        Raises:
            RetrievalError: Retrieval is out of order.
        """
        ...

    def normalise(self, query: str) -> str:
        """The part of a query that the answer depends on: equal ones have equal answers."""
        ...


class Encoder(Protocol):
    """Texts to unit vectors."""

    @property
    def name(self) -> str:
        """What an index is stamped with."""
        ...

    @property
    def dim(self) -> int:
        """Length of the vectors."""
        ...

    def encode_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors of queries, ``(n, dim)``."""
        ...

    def encode_passages(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors of passages, ``(n, dim)``."""
        ...

    def normalise(self, query: str) -> str:
        """The part of a query that its vector depends on."""
        ...


def clean_query(query: str) -> str:
    """A query as retrievers get it: bounded, encodable, without white space around; "" when it holds no word."""
    text = query[:MAX_QUERY].encode("utf-8", "replace").decode("utf-8").strip()
    return text if tokens_of(text) else ""


class LocalRetriever:
    """An encoder, an index and a corpus in this process.

    Raises:
        IndexFileError: The three do not belong together.
    """

    def __init__(self, encoder: Encoder, index: VectorIndex, corpus: Corpus, *, where: str = "LocalRetriever") -> None:
        check_fit(index, len(corpus), encoder.dim, where)
        self.encoder = encoder
        self.index = index
        self.corpus = corpus
        self.name = f"{encoder.name}, {len(corpus)} passages {corpus.fingerprint}"

    def search(self, queries: Sequence[str], k: int) -> list[list[Hit]]:
        """See `Retriever`."""
        if not queries:
            return []
        vectors = self.encoder.encode_queries([query[:MAX_QUERY] for query in queries])
        return [[Hit(self.corpus.passage(row), score) for row, score in hits] for hits in self.index.search(vectors, k)]

    def normalise(self, query: str) -> str:
        """See `Retriever`."""
        return self.encoder.normalise(query)

    def __deepcopy__(self, memo: dict[int, Any]) -> LocalRetriever:
        return self  # nothing in it changes: a copy in the same process shares it


@dataclass
class Counts:
    """What a `CachedRetriever` was asked and did: queries asked, those sent on, and calls that sent some."""

    asked: int = 0
    sent: int = 0
    calls: int = 0


class CachedRetriever:
    """Asks another retriever for what it does not know yet, each question once per call.

    Args:
        inner: Who is asked.
        room: Queries that are remembered, the least recently used forgotten first; 0 remembers nothing.
        room_bytes: Bytes that queries and texts of their passages may take, as far as they can be counted: each text
            counts for every query that found it.
    """

    def __init__(self, inner: Retriever, room: int = 65_536, room_bytes: int = ROOM_BYTES) -> None:
        self.inner = inner
        self.name = inner.name
        self.counts = Counts()
        self._room, self._room_bytes = room, room_bytes
        self._bytes = 0
        self._known: OrderedDict[tuple[str, int], list[Hit]] = OrderedDict()

    def search(self, queries: Sequence[str], k: int) -> list[list[Hit]]:
        """See `Retriever`."""
        keys = [(self.inner.normalise(query), k) for query in queries]
        self.counts.asked += len(keys)
        missing: dict[tuple[str, int], str] = {}
        for key, query in zip(keys, queries, strict=True):
            if key not in self._known:
                missing.setdefault(key, query)
        # Kept apart from the memory, which may be smaller than one call.
        answers = {key: self._known[key] for key in keys if key not in missing}
        if missing:
            self.counts.calls += 1
            self.counts.sent += len(missing)
            found = self.inner.search(list(missing.values()), k)
            answers.update(zip(missing, found, strict=True))
        for key in answers:
            if key not in self._known:
                self._bytes += _size_of(key, answers[key])
            self._known[key] = answers[key]
            self._known.move_to_end(key)
        while self._known and (len(self._known) > self._room or self._bytes > self._room_bytes):
            self._bytes -= _size_of(*self._known.popitem(last=False))
        return [list(answers[key]) for key in keys]

    def normalise(self, query: str) -> str:
        """See `Retriever`."""
        return self.inner.normalise(query)

    @property
    def nbytes(self) -> int:
        """What it remembers, in bytes, counted as `room_bytes` counts."""
        return self._bytes

    def __reduce__(self) -> tuple[Any, tuple[Retriever, int, int]]:
        return CachedRetriever, (self.inner, self._room, self._room_bytes)  # the memory stays where it is

    def __deepcopy__(self, memo: dict[int, Any]) -> CachedRetriever:
        return self  # a copy in the same process (a specification's arguments) shares the memory


def _size_of(key: tuple[str, int], hits: Sequence[Hit]) -> int:
    """Bytes that a remembered answer takes: its texts, and what Python adds to an object."""
    return sys.getsizeof(key[0]) + _ENTRY + sum(sys.getsizeof(hit.passage.contents) + _HIT for hit in hits)
