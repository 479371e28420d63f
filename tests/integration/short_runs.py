"""A tiny model on disk with random weights, and the flags of a run of seconds."""

from __future__ import annotations

from pathlib import Path

from sdar_envs.demonstrations import script_of
from trainers.warm_start.tiny_model import TinyModelConfig, build_model, build_tokenizer, save_model

ENV_ID = "sdar/Household-v0"

# Two iterations of two groups of two short episodes, and panels of six.
SHORT_RUN = [
    *("--env-kwargs", "size=small", "horizon=3"),
    *("--max-steps", "2", "--tasks-per-step", "2", "--num-generations", "2", "--num-mini-batches", "1"),
    *("--eval-steps", "1", "--eval-episodes", "6", "--test-episodes", "6", "--save-steps", "1"),
]


def save_random_model(directory: Path) -> Path:
    """Write a model that answers with noise; its directory looks like a warm start's."""
    tokenizer = build_tokenizer(list(script_of(ENV_ID).texts()), 400)
    config = TinyModelConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=1)
    save_model(build_model(tokenizer, config, seed=0), tokenizer, directory, seed=0)
    return directory
