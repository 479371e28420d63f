"""SDAR inside TRL's GRPO trainer: at every turn a teacher reads the plan, and the policy does not.

    python trl_sdar.py --model Qwen/Qwen3-0.6B

The policy plays the household by TRL's tool loop with one tool, `act`; TRL plays, rewards and steps. What is added is
SDAR's term: the same sampled tokens, read given the plan. Any model will do whose chat template has tools and is known
to TRL (Qwen 2.5 and 3, Llama 3.1, and others). docs/bridges/trl.md has costs and limits.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from trl import GRPOConfig

from sdar_envs.bridges.trl import environment_for, task_dataset
from trainers.bridges.trl import PrivilegedGRPOTrainer
from trainers.options import MethodOptions

WORLD = {"env_id": "sdar/Household-v0", "size": "small"}
TURNS = 10  # of an episode: the horizon of small houses


def main(
    model: str, folder: Path, *, method: str = "sdar", world: dict[str, Any] = WORLD, tasks: int = 1000, **settings: Any
) -> float:
    """Train a model, write it to a folder, and return the mean reward of the last step that was logged.

    Args:
        model: A folder, or a name on the Hugging Face hub.
        folder: Where it is written.
        method: Of the table in docs/methods.md; ``grpo`` is TRL's own.
        world: Its id and arguments.
        tasks: How many different ones are played, of those for training.
        **settings: Of `GRPOConfig`; they win over those here.
    """
    chosen = {
        "num_generations": 8,  # episodes of each task
        "max_completion_length": 2048,  # of a whole episode, with what the world says in it
        "max_tool_calling_iterations": TURNS + 1,  # so that the policy is told the end
        "learning_rate": 1e-6,
        "logging_steps": 1,
    }
    trainer = PrivilegedGRPOTrainer(
        model=model,
        args=GRPOConfig(str(folder), **chosen | settings),
        train_dataset=task_dataset(split="train", n=tasks, **world),
        environment_factory=environment_for(teacher=True, **world),
        method_options=MethodOptions(method=method, privilege="plan"),
    )
    trainer.train()
    trainer.save_model(str(folder / "trained"))
    return float(next(entry["reward"] for entry in reversed(trainer.state.log_history) if "reward" in entry))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--method", default="sdar")
    parser.add_argument("--folder", type=Path, default=Path("runs/trl"))
    arguments = parser.parse_args()
    print(f"mean reward {main(arguments.model, arguments.folder, method=arguments.method):.2f}")
