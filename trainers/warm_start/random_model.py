"""A model of any known shape with random weights, and a tokenizer of an environment's words: nothing is downloaded.

For measuring what a size costs and whether a machine computes right. Its answers are noise.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from sdar_envs.demonstrations import script_of

from ..engine.model_shape import UnknownShapeError, built_in_shapes
from .tiny_model import build_tokenizer

VOCABULARY = 1000  # entries of the tokenizer; the rest of a larger vocabulary is ids without a text


def random_model(
    shape: str | Mapping[str, Any],
    env_id: str,
    *,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> tuple[Any, Any]:
    """A causal LM and its tokenizer.

    Args:
        shape: A built-in name (`model_shape`), or the sizes of a ``config.json`` with its ``model_type``.
        env_id: An environment with demonstrations, whose words the tokenizer is made of.
        seed: Of the weights; torch's global generators are left as they were.
        dtype: Of the weights, drawn in it.
        device: Where they are drawn, and stay.

    Raises:
        UnknownShapeError: There is no such built-in shape.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    if isinstance(shape, str):
        known = built_in_shapes()
        if shape not in known:
            raise UnknownShapeError(f"shape: expected one of {', '.join(known)}, got {shape!r}")
        shape = known[shape]
    tokenizer = build_tokenizer(list(script_of(env_id).texts()), VOCABULARY)
    sizes = dict(shape)
    config = AutoConfig.for_model(
        sizes.pop("model_type"), **sizes, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id
    )
    place = torch.device(device)
    with torch.random.fork_rng(devices=[place] if place.type == "cuda" else []), place:
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(config, dtype=dtype)
    return model, tokenizer


def save_random_model(shape: str | Mapping[str, Any], env_id: str, folder: Path, *, seed: int = 0) -> None:
    """Write such a model and its tokenizer in Hugging Face's format; arguments as for `random_model`."""
    model, tokenizer = random_model(shape, env_id, seed=seed)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
