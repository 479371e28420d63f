"""Encoders of the E5 and BGE kind, by name or path: the one file of this package that imports torch and transformers.

It is imported only when such an encoder is asked for. Prefixes and pooling are the model's own (`encoder_settings`);
lengths follow Search-R1's retriever, so that its published indexes can be searched.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..bounded_files import load_json

try:
    import torch
    from transformers.utils.hub import cached_file  # asked for here, so that the message below is true
except ImportError as error:
    raise ImportError(
        "an encoder of the transformers kind needs torch and transformers: python -m pip install torch transformers "
        "(the default, encoder='hashed', needs neither)"
    ) from error

from ..choices import require_choice
from ..model_files import load_encoder, load_tokenizer, locate
from .encoder_settings import POOLINGS, EncoderOptions, choose_settings

logger = logging.getLogger(__name__)

MAX_QUERY_TOKENS = 256
MAX_PASSAGE_TOKENS = 180
_BATCH = 64


class TransformerEncoder:
    """Texts to vectors with a pretrained encoder.

    Args:
        name: Of a model on Hugging Face's hub, or a directory.
        pooling: ``mean`` over the mask, ``cls`` or ``pooler``; None for the model's own, see `encoder_settings`.
        query_prefix: In front of queries; None for the model's own.
        passage_prefix: In front of passages; None for the model's own.
        unit: Whether vectors are normalised; None for the model's own.
        device: ``auto`` takes a GPU where there is one, and half precision there.

    Raises:
        OSError: There is no such model here, and it cannot be fetched.
        ValueError: Unknown pooling, or the model's own files ask for something that is not done here.

    Attributes:
        settings: What was chosen, and where it was read; `logging` has it too.
        cut: Passages so far that were longer than what is encoded of them.
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
        options = EncoderOptions(pooling, query_prefix, passage_prefix, unit)
        if pooling is not None:
            require_choice("pooling", pooling, POOLINGS, "TransformerEncoder")
        where = locate(name)  # before anything else is asked for: what is not there is said once
        self.settings = choose_settings(name, options, lambda file: _own_json(where, file))
        self.cut = 0
        self._device = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
        self._tokenizer, model = _loaded(name)
        model.eval().to(self._device)
        self._model = model.half() if self._device.startswith("cuda") else model.float()
        self._dim = int(model.config.hidden_size)
        self._name = f"{name} {self.settings.pooling} {_stamp(name, model, self.settings.query_prefix)}"
        level = logging.WARNING if self.settings.is_guess else logging.INFO
        logger.log(level, "encoder %s: %s", name, self.settings)

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
        vectors = self._encode([self.settings.query_prefix + self.normalise(text) for text in texts], MAX_QUERY_TOKENS)
        vectors[[not text.strip() for text in texts]] = 0.0
        return vectors

    def encode_passages(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors of passages, ``(n, dim)``."""
        return self._encode([self.settings.passage_prefix + text for text in texts], MAX_PASSAGE_TOKENS, count=True)

    def _encode(self, texts: Sequence[str], max_length: int, *, count: bool = False) -> NDArray[np.float32]:
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
            if count:  # a passage that ends at the limit to the token is counted with those that are longer
                self.cut += int((batch["attention_mask"].sum(dim=1) >= max_length).sum())
            with torch.inference_mode():
                pooled = self._pooled(self._model(**batch), batch["attention_mask"]).float()
                if self.settings.unit:
                    pooled = torch.nn.functional.normalize(pooled, dim=-1)
            vectors[places] = pooled.cpu().numpy()
        return vectors

    def _pooled(self, output: Any, mask_BT: torch.Tensor) -> torch.Tensor:
        if self.settings.pooling == "pooler":
            pooled: torch.Tensor = output.pooler_output
            return pooled
        hidden_BTD: torch.Tensor = output.last_hidden_state
        if self.settings.pooling == "cls":
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


def _own_json(name: str, file: str) -> Any:
    """A JSON file of the model's; None where it has none, or none that is JSON."""
    path = cached_file(
        name,
        file,
        _raise_exceptions_for_gated_repo=False,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
    )
    try:
        return None if path is None else load_json(path)
    except (OSError, ValueError):
        return None


def _stamp(name: str, model: Any, query_prefix: str) -> str:
    """Eight hexadecimal digits that change with the weights: the hub's commit, or names, sizes and times of files."""
    commit = getattr(model.config, "_commit_hash", None)
    files = sorted(path for path in Path(name).glob("*") if path.suffix in (".safetensors", ".bin", ".json"))
    facts = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    return hashlib.sha256(repr((commit, facts, query_prefix)).encode()).hexdigest()[:8]
