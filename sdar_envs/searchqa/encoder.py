"""The default encoder: hashed TF-IDF under a sparse signed random projection. No weights, no training, numpy only.

Every token is hashed to a few positions and signs of a `dim`-vector; a text is the sum of its tokens' vectors, each
weighted by ``(1 + ln tf) * (ln((1 + N) / (1 + df)) + 1)``, and normalised. A random projection keeps every inner
product up to noise of about ``1 / sqrt(dim)``, rare names included; projections that are fitted to a corpus (SVD) keep
the frequent directions and lose just those names.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..bounded_files import parse_json

_TOKEN = re.compile(r"\w+")
_ROOM = 1 << 18  # token vectors that are kept from batch to batch


def tokens_of(text: str) -> list[str]:
    """Words of a text: Unicode-normalised (NFKC), case folded."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    return _TOKEN.findall(text.casefold())


class HashedEncoder:
    """Texts to unit vectors; see the module.

    Args:
        documents: N, the number of texts that `frequencies` were counted over.
        frequencies: Token -> number of texts that have it.
        dim: Length of the vectors.
        nonzeros: Positions per token.
        heading: How often the words of a passage's first line count: what a passage is about stands there.
        seed: Key of the hash; vectors of different seeds do not compare.
    """

    def __init__(
        self,
        documents: int,
        frequencies: Mapping[str, int],
        *,
        dim: int = 512,
        nonzeros: int = 8,
        heading: int = 3,
        seed: int = 0,
    ) -> None:
        self.documents = documents
        self.frequencies = dict(frequencies)
        self.dim = dim
        self.nonzeros = nonzeros
        self.heading = heading
        self.seed = seed
        self._forget()

    def _forget(self) -> None:
        """Empty the memory of token vectors."""
        self._rows: dict[str, int] = {}
        self._positions = np.zeros((1024, self.nonzeros), dtype=np.int64)
        self._values = np.zeros((1024, self.nonzeros))

    @classmethod
    def fit(
        cls, texts: Iterable[str], *, dim: int = 512, nonzeros: int = 8, heading: int = 3, seed: int = 0
    ) -> HashedEncoder:
        """Count in how many of `texts` each token occurs."""
        counts: Counter[str] = Counter()
        documents = 0
        for text in texts:
            counts.update(set(tokens_of(text)))
            documents += 1
        return cls(documents, dict(sorted(counts.items())), dim=dim, nonzeros=nonzeros, heading=heading, seed=seed)

    @property
    def name(self) -> str:
        """What an index is stamped with."""
        return f"hashed-tfidf-{self.dim}x{self.nonzeros}-{self.heading}-{self.seed}"

    def normalise(self, query: str) -> str:
        """The part of a query that its vector depends on: equal ones may share an answer."""
        return " ".join(tokens_of(query))

    def encode_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors, ``(len(texts), dim)``; a text without words is a zero vector."""
        return self._encode([Counter(tokens_of(text)) for text in texts])

    def encode_passages(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """The same for passages, whose first line counts for more when others follow."""
        bags = []
        for text in texts:
            bag = Counter(tokens_of(text))
            first, broken, _ = text.partition("\n")
            if broken:
                for token in tokens_of(first):
                    bag[token] += self.heading - 1
            bags.append(bag)
        return self._encode(bags)

    def _encode(self, bags: Sequence[Counter[str]]) -> NDArray[np.float32]:
        # What agents write knows no bounds. Never within a batch: its rows are in use until the end.
        if len(self._rows) >= _ROOM:
            self._forget()
        rows: list[int] = []
        owners: list[int] = []
        weights: list[float] = []
        for number, bag in enumerate(bags):
            for token, count in bag.items():
                rows.append(self._row(token))
                owners.append(number)
                weights.append(1.0 + math.log(count))
        dim = self.dim
        if not rows:
            return np.zeros((len(bags), dim), dtype=np.float32)
        taken = np.array(rows)
        places = np.array(owners)[:, None] * dim + self._positions[taken]
        values = np.array(weights)[:, None] * self._values[taken]
        flat = np.bincount(places.ravel(), weights=values.ravel(), minlength=len(bags) * dim)
        vectors = flat.reshape(len(bags), dim)
        norms = np.sqrt(np.einsum("td,td->t", vectors, vectors))[:, None]
        np.divide(vectors, norms, out=vectors, where=norms > 0)
        return vectors.astype(np.float32)

    def _row(self, token: str) -> int:
        """The row of a token's positions and weighted signs, made when it is first met."""
        row = self._rows.get(token)
        if row is None:
            row = len(self._rows)
            if row == len(self._positions):
                self._positions = np.concatenate([self._positions, np.zeros_like(self._positions)])
                self._values = np.concatenate([self._values, np.zeros_like(self._values)])
            self._rows[token] = row
            digest = hashlib.blake2b(
                token.encode("utf-8", "surrogatepass"),
                digest_size=4 * self.nonzeros,
                key=self.seed.to_bytes(8, "big", signed=True),
            ).digest()
            words = np.frombuffer(digest, dtype=">u4").astype(np.int64)
            weight = math.log((1 + self.documents) / (1 + self.frequencies.get(token, 0))) + 1.0
            self._positions[row] = (words >> 1) % self.dim
            self._values[row] = np.where(words & 1, weight, -weight) / math.sqrt(self.nonzeros)
        return row

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if not name.startswith("_")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._forget()  # what was met elsewhere is cheaper to make than to send

    # On disk.

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "kind": "hashed-tfidf",
            "dim": self.dim,
            "nonzeros": self.nonzeros,
            "heading": self.heading,
            "seed": self.seed,
            "documents": self.documents,
            "frequencies": self.frequencies,
        }

    def save(self, path: Path) -> None:
        """Write `to_json`."""
        path.write_text(json.dumps(self.to_json(), ensure_ascii=False), encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> HashedEncoder:
        """The inverse of `save`.

        Raises:
            ValueError: The file is not one of these; the message names it.
        """
        try:
            text = path.read_text(encoding="utf-8")
        except OSError as error:
            raise ValueError(f"{path}: the hashed encoder cannot be opened: {error.strerror or error}") from error
        try:
            data = parse_json(text)
            if data["kind"] != "hashed-tfidf":
                raise ValueError(f"it is of kind {data['kind']!r}")
            numbers = {name: int(data[name]) for name in ("dim", "nonzeros", "heading", "seed")}
            return cls(int(data["documents"]), {str(k): int(v) for k, v in data["frequencies"].items()}, **numbers)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{path}: expected a hashed TF-IDF encoder as JSON, and it is none: {error}") from error
