"""The sizes of a model that memory and time depend on, from its ``config.json`` alone: no weights are read.

Known are decoders with rotary positions, RMS norms and a gated MLP, which is what Llama, SmolLM2, Mistral, Qwen2,
Qwen2.5 and Qwen3 are. Of another architecture nothing is guessed.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sdar_envs.assets import asset_path
from sdar_envs.bounded_files import load_json
from sdar_envs.packaged_models import packaged_model

# Of each known architecture: whether queries, keys and values have biases, and norms of their own.
_ARCHITECTURES = {
    "llama": (False, False),
    "mistral": (False, False),
    "qwen2": (True, False),
    "qwen3": (False, True),
}
_ENDINGS = re.compile(r"(-instruct|-base|-chat|-it)(-.*)?$")


class UnknownShapeError(ValueError):
    """The sizes of a model are not known; the message says what is."""


@dataclass(frozen=True, slots=True)
class ModelShape:
    """The sizes of a decoder.

    Attributes:
        name: As it was asked for.
        layers: Decoder layers.
        hidden: Width of the residual stream.
        intermediate: Width of the MLP.
        heads: Query heads.
        kv_heads: Heads of keys and values.
        head_dim: Width of a head.
        vocabulary: Rows of the embedding.
        tied: Whether the LM head is the embedding.
        qkv_bias: Whether queries, keys and values have biases.
        qk_norm: Whether queries and keys have norms of their own.
        positions: Positions that the model knows; None where its configuration does not say.
    """

    name: str
    layers: int
    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    head_dim: int
    vocabulary: int
    tied: bool
    qkv_bias: bool = False
    qk_norm: bool = False
    positions: int | None = None

    @classmethod
    def of_config(cls, config: Mapping[str, Any], name: str) -> ModelShape:
        """The sizes that a ``config.json`` states.

        Raises:
            UnknownShapeError: The architecture is not known, or a size is missing.
        """
        config = config.get("text_config") or config
        kind = str(config.get("model_type", ""))
        if kind not in _ARCHITECTURES:
            raise UnknownShapeError(
                f"{name}: expected a model_type of {', '.join(_ARCHITECTURES)}, got {kind or 'none'}: what another "
                "architecture keeps in memory is not known"
            )
        qkv_bias, qk_norm = _ARCHITECTURES[kind]
        try:
            hidden, heads = int(config["hidden_size"]), int(config["num_attention_heads"])
            return cls(
                name=name,
                layers=int(config["num_hidden_layers"]),
                hidden=hidden,
                intermediate=int(config["intermediate_size"]),
                heads=heads,
                kv_heads=int(config.get("num_key_value_heads") or heads),
                head_dim=int(config.get("head_dim") or (128 if kind == "qwen3" else hidden // heads)),
                vocabulary=int(config["vocab_size"]),
                tied=bool(config.get("tie_word_embeddings", False)),
                qkv_bias=bool(config.get("attention_bias", False)) or qkv_bias,
                qk_norm=qk_norm,
                positions=config.get("max_position_embeddings"),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise UnknownShapeError(
                f"{name}: expected the sizes of a model in its config.json, got {error!r}"
            ) from None

    @property
    def query_width(self) -> int:
        """Values of all query heads of a token."""
        return self.heads * self.head_dim

    @property
    def kv_width(self) -> int:
        """Values of all key heads of a token; values have as many."""
        return self.kv_heads * self.head_dim

    @property
    def largest_matrix(self) -> int:
        """Parameters of the largest matrix."""
        return max(self.vocabulary, self.intermediate, self.query_width) * self.hidden

    @property
    def layer_matrices(self) -> int:
        """Parameters of the matrices of one layer: what a token is multiplied with in it."""
        attention = self.hidden * (2 * self.query_width + 2 * self.kv_width)
        return attention + 3 * self.hidden * self.intermediate

    @property
    def layer_parameters(self) -> int:
        """Parameters of one layer."""
        biases = self.query_width + 2 * self.kv_width if self.qkv_bias else 0
        norms = 2 * self.hidden + (2 * self.head_dim if self.qk_norm else 0)
        return self.layer_matrices + biases + norms

    @property
    def embedding(self) -> int:
        """Parameters of the embedding."""
        return self.vocabulary * self.hidden

    @property
    def parameters(self) -> int:
        """All parameters; a tied head is not counted again."""
        return self.layers * self.layer_parameters + self.embedding * (1 if self.tied else 2) + self.hidden

    @property
    def cache_values(self) -> int:
        """Keys and values of one token in all layers."""
        return 2 * self.layers * self.kv_width


def built_in_shapes() -> dict[str, dict[str, Any]]:
    """The configurations that are known without a hub, by name."""
    content: dict[str, dict[str, Any]] = json.loads(asset_path("machines", "model_shapes.json").read_text("utf-8"))
    return content


def shape_of(model: str | os.PathLike[str]) -> ModelShape:
    """The sizes of a model.

    Looked for in this order: a folder with ``config.json``, for which the name of a packaged model may stand
    (`packaged_models`); the Hub's cache on this machine; the built-in names, with or without an owner and an ending
    such as ``-Instruct`` (``Qwen/Qwen2.5-3B-Instruct`` is ``qwen2.5-3b``); the Hub.

    Raises:
        UnknownShapeError: There is nothing of that name, or its architecture is not known.
    """
    text = os.fspath(model)
    packaged = packaged_model(text)
    if packaged is not None:
        text = str(packaged.folder) if packaged.is_here else packaged.shape
    path = _config_file(text)
    if path is not None:
        return ModelShape.of_config(_read(path), text)
    known = built_in_shapes()
    plain = _ENDINGS.sub("", text.rpartition("/")[2].lower())
    if plain in known:
        return ModelShape.of_config(known[plain], text)
    path = _from_hub(text)
    if path is not None:
        return ModelShape.of_config(_read(path), text)
    raise UnknownShapeError(
        f"{text!r}: expected a folder with config.json, or one of the built-in shapes {', '.join(known)}, and it is "
        "neither; nor is it in the Hub's cache, or to be had from the Hub now"
    )


def _config_file(text: str) -> Path | None:
    folder = Path(text).expanduser()
    if (folder / "config.json").is_file():
        return folder / "config.json"
    if folder.exists():
        raise UnknownShapeError(f"{text}: expected the folder of a model, with config.json in it")
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", text):
        return None
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(text, "config.json")
    return Path(found) if isinstance(found, str) else None


def _from_hub(text: str) -> Path | None:
    """The configuration from the Hub, a file of a few hundred bytes; None where it cannot be had."""
    import huggingface_hub
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE or not re.fullmatch(r"[\w.-]+/[\w.-]+", text):
        return None
    try:
        return Path(huggingface_hub.hf_hub_download(text, "config.json", etag_timeout=10.0))
    except Exception:  # whatever the client's network library raises: the caller says that there is none
        return None


def _read(path: Path) -> Mapping[str, Any]:
    try:
        content = load_json(path)
    except (OSError, ValueError) as error:
        raise UnknownShapeError(f"{path}: not readable as JSON ({error})") from None
    if not isinstance(content, dict):
        raise UnknownShapeError(f"{path}: expected a mapping, got {type(content).__name__}")
    return content
