"""What other libraries call our options: for the suggestion after a name that there is not; none is accepted itself."""

from __future__ import annotations

# Theirs -> ours. Names of TRL that mean the same are ours already.
OTHER_NAMES = {
    "lr": "learning_rate",
    "alpha": "lora_alpha",
    "batch_size": "tasks_per_step",
    "per_device_train_batch_size": "tasks_per_step",
    "train_batch_size": "tasks_per_step",
    "clip_ratio": "epsilon",
    "env": "env_kwargs",
    "epochs": "max_steps",
    "group_size": "num_generations",
    "hint": "privilege",
    "iterations": "max_steps",
    "kl_coef": "beta",
    "kl_loss_coef": "beta",
    "max_new_tokens": "max_completion_length",
    "max_tokens": "max_completion_length",
    "n": "num_generations",
    "num_train_epochs": "max_steps",
    "ppo_epochs": "num_iterations",
    "ppo_mini_batch_size": "mini_batch_rows",
    "rollout_n": "num_generations",
    "total_epochs": "max_steps",
    "wd": "weight_decay",
}
