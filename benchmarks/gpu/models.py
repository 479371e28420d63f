"""The models of the drill: random weights of a built-in shape, or of one that a CPU runs in seconds."""

from __future__ import annotations

from typing import Any

from trainers.engine.model_shape import ModelShape, built_in_shapes
from trainers.warm_start.random_model import random_model

from .machine import Device

ENV_ID = "sdar/Household-v0"
TINY: dict[str, Any] = {
    "model_type": "qwen2",
    "hidden_size": 128,
    "intermediate_size": 512,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 9000,
    "tie_word_embeddings": True,
    "max_position_embeddings": 4096,
}


def sizes_of(name: str) -> dict[str, Any]:
    """The configuration of a shape; ``tiny`` is the drill's own."""
    return TINY if name == "tiny" else built_in_shapes()[name]


def shape_named(name: str) -> ModelShape:
    """The sizes of a shape."""
    return ModelShape.of_config(sizes_of(name), name)


def build(name: str, device: Device) -> tuple[Any, Any]:
    """A random model on the device in its precision, and a tokenizer."""
    return random_model(sizes_of(name), ENV_ID, dtype=device.dtype, device=device.device)
