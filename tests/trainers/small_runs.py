"""Small runs of the whole trainer: a random model on disk, and a configuration that ends in a second."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from scripted_agents import ParityWorld
from tiny_models import CHATML, make_model, make_tokenizer

from trainers.config import SDARConfig
from trainers.trainer import SDARTrainer


def save_model(folder: Path, positions: int = 2048) -> Path:
    """A random Qwen2 model; a third of all ids ends a completion, so that random completions are actions."""
    tokenizer = make_tokenizer(CHATML)
    model = make_model("qwen2", len(tokenizer), positions=positions)
    model.generation_config.eos_token_id = list(range(3, len(tokenizer), 3))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def small_config(folder: Path, **changes: Any) -> SDARConfig:
    """Three tasks with four episodes each per iteration, at a rate that moves the weights visibly."""
    options: dict[str, Any] = {
        "output_dir": str(folder / "run"),
        "max_steps": 2,
        "tasks_per_step": 3,
        "num_generations": 4,
        "max_turns": 3,
        "max_completion_length": 6,
        "max_prompt_length": 600,
        "teacher_budget": 200,
        "learning_rate": 1e-2,
        "eval_steps": 0,
        "eval_episodes": 4,
        "test_episodes": 0,
        "save_steps": 0,
        "prompt_style": "compact",
        "context": "transcript",
        "list_actions": False,
        "bf16": False,
        "device": "cpu",
        "env_workers": 0,
    }
    return SDARConfig(**{**options, **changes})


def make_trainer(folder: Path, env: Any = ParityWorld, *, trainer: dict[str, Any] | None = None, **changes: Any) -> Any:
    """A trainer on a fresh copy of the same random model."""
    path = folder / "model"
    if not path.exists():
        save_model(path)
    return SDARTrainer(str(path), env, small_config(folder, **changes), **(trainer or {}))


def weights(trainer: SDARTrainer) -> dict[str, Any]:
    """A copy of all weights."""
    return {name: tensor.detach().clone() for name, tensor in trainer.model.state_dict().items()}
