"""Encoders of the E5 and BGE kind, by name or path: the one file of this package that imports torch and transformers.

It is imported only when such an encoder is asked for. Prefixes, pooling and lengths follow Search-R1's retriever, so
that its published indexes can be searched: E5 takes ``query: `` and ``passage: `` and the mean over the mask, BGE an
instruction on queries and the first token, DPR the pooled output without normalisation.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

try:
    import torch
    import transformers as transformers  # what it loads with; asked for here, so that the message below is true
except ImportError as error:
    raise ImportError(
        "an encoder of the transformers kind needs torch and transformers: python -m pip install torch transformers "
        "(the default, encoder='hashed', needs neither)"
    ) from error

from ..choices import require_choice
from ..model_files import load_encoder, load_tokenizer

POOLINGS = ("mean", "cls", "pooler")

MAX_QUERY_TOKENS = 256
MAX_PASSAGE_TOKENS = 180
_BATCH = 64
_BGE_QUERY = "Represent this sentence for searching relevant passages: "


class TransformerEncoder:
    """Texts to vectors with a pretrained encoder.

    Args:
        name: Of a model on Hugging Face's hub, or a directory.
        pooling: ``mean`` over the mask, ``cls`` or ``pooler``; None for the family's own (by name: e5, bge, dpr).
        query_prefix: In front of queries; None for the family's own.
        passage_prefix: In front of passages; None for the family's own.
        unit: Whether vectors are normalised; None for all families but DPR.
        device: ``auto`` takes a GPU where there is one, and half precision there.

    Raises:
        OSError: There is no such model here, and it cannot be fetched.
        ValueError: Unknown pooling.
    """

    def __init__(
        self,
        name: str,
        *,
        pooling: str | None = None,
        query_prefix: str | None = None,
        passage_prefix: str | None = None,
        unit: bool | None = None,
        device: str = "auto",
    ) -> None:
        self._arguments = (name, pooling, query_prefix, passage_prefix, unit, device)
        family = Path(name).name.lower()
        own_pooling = "cls" if "bge" in family else "pooler" if "dpr" in family else "mean"
        self._pooling = require_choice("pooling", pooling or own_pooling, POOLINGS, "TransformerEncoder")
        e5, bge = "e5" in family, "bge" in family
        own_query = "query: " if e5 else _BGE_QUERY if bge else ""
        self._query_prefix = own_query if query_prefix is None else query_prefix
        self._passage_prefix = ("passage: " if e5 else "") if passage_prefix is None else passage_prefix
        self._unit = "dpr" not in family if unit is None else unit
        self._device = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
        self._tokenizer, model = _loaded(name)
        model.eval().to(self._device)
        self._model = model.half() if self._device.startswith("cuda") else model.float()
        self._dim = int(model.config.hidden_size)
        self._name = f"{name} {self._pooling} {_stamp(name, model)}"

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return _opened, self._arguments  # another process loads the weights itself

    @property
    def name(self) -> str:
        """What an index is stamped with."""
        return self._name

    @property
    def dim(self) -> int:
        """Length of the vectors."""
        return self._dim

    def normalise(self, query: str) -> str:
        """The part of a query that its vector depends on."""
        return " ".join(query.split())

    def encode_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors of queries, ``(n, dim)``; a query without text gives zeros, which finds nothing."""
        vectors = self._encode([self._query_prefix + self.normalise(text) for text in texts], MAX_QUERY_TOKENS)
        vectors[[not text.strip() for text in texts]] = 0.0
        return vectors

    def encode_passages(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors of passages, ``(n, dim)``."""
        return self._encode([self._passage_prefix + text for text in texts], MAX_PASSAGE_TOKENS)

    def _encode(self, texts: Sequence[str], max_length: int) -> NDArray[np.float32]:
        vectors = np.zeros((len(texts), self._dim), dtype=np.float32)
        # Texts of like length together: less padding.
        order = sorted(range(len(texts)), key=lambda place: len(texts[place]))
        for start in range(0, len(order), _BATCH):
            places = order[start : start + _BATCH]
            batch = self._tokenizer(
                [texts[place] for place in places],
                padding=True,
                truncation=True,
                max_length=max_length,
                return_tensors="pt",
            ).to(self._device)
            with torch.inference_mode():
                pooled = self._pooled(self._model(**batch), batch["attention_mask"]).float()
                if self._unit:
                    pooled = torch.nn.functional.normalize(pooled, dim=-1)
            vectors[places] = pooled.cpu().numpy()
        return vectors

    def _pooled(self, output: Any, mask_BT: torch.Tensor) -> torch.Tensor:
        if self._pooling == "pooler":
            pooled: torch.Tensor = output.pooler_output
            return pooled
        hidden_BTD: torch.Tensor = output.last_hidden_state
        if self._pooling == "cls":
            return hidden_BTD[:, 0]
        kept_BTD = hidden_BTD.masked_fill(~mask_BT[..., None].bool(), 0.0)
        return kept_BTD.sum(dim=1) / mask_BT.sum(dim=1)[:, None]


def _opened(
    name: str,
    pooling: str | None,
    query_prefix: str | None,
    passage_prefix: str | None,
    unit: bool | None,
    device: str,
) -> TransformerEncoder:
    return TransformerEncoder(
        name,
        pooling=pooling,
        query_prefix=query_prefix,
        passage_prefix=passage_prefix,
        unit=unit,
        device=device,
    )


def _loaded(name: str) -> tuple[Any, Any]:
    """Tokenizer and model: what is here already first, the network only for what is not."""
    return load_tokenizer(name), load_encoder(name)


def _stamp(name: str, model: Any) -> str:
    """Eight hexadecimal digits that change with the weights: the hub's commit, or names, sizes and times of files."""
    commit = getattr(model.config, "_commit_hash", None)
    files = sorted(path for path in Path(name).glob("*") if path.suffix in (".safetensors", ".bin", ".json"))
    facts = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    return hashlib.sha256(repr((commit, facts)).encode()).hexdigest()[:8]
