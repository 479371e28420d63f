"""Every number of the presets for large models against the scripts that the authors of SDAR ship.

Source: github.com/ZJU-REAL/SDAR at 8b85c23, ``examples/<method>_trainer/run_<world>_<size>.sh`` of six methods in three
worlds for three models (54 scripts), read one by one; what a script leaves out is from ``ppo_trainer.yaml`` there and
marked (yaml). Within a world the 54 differ in the numbers of the method, the model's name, the thinking switch of
Qwen3's template, and what only concerns the machine.
"""

from __future__ import annotations

from typing import Any

import pytest

from trainers.config import SDARConfig
from trainers.methods import METHODS
from trainers.presets import load_preset, preset_config

# Our option -> (their key, ALFWorld, WebShop, Search).
NUMBERS: dict[str, tuple[str, Any, Any, Any]] = {
    "tasks_per_step": ("data.train_batch_size", 16, 16, 128),
    "num_generations": ("env.rollout.n", 8, 8, 8),
    "max_steps": ("trainer.total_epochs, of one step; Search: trainer.total_training_steps", 150, 150, 150),
    "max_turns": ("env.max_steps", 50, 15, 4),
    "max_prompt_length": ("data.max_prompt_length", 2048, 4096, 4096),
    "max_completion_length": ("data.max_response_length", 512, 512, 512),
    "temperature": ("rollout.temperature (yaml)", 1.0, 1.0, 1.0),
    "learning_rate": ("actor.optim.lr", 1e-6, 1e-6, 1e-6),
    "warmup_steps": ("actor.optim.lr_warmup_steps_ratio 0 (yaml), 0, 0.1, of 150", 0, 0, 15),
    "lr_scheduler_type": ("actor.optim.warmup_style (yaml)", "constant", "constant", "constant"),
    "weight_decay": ("actor.optim.weight_decay (yaml)", 0.01, 0.01, 0.01),
    "max_grad_norm": ("actor.grad_clip (yaml)", 1.0, 1.0, 1.0),
    "mini_batch_rows": ("actor.ppo_mini_batch_size", 256, 64, 256),
    "num_iterations": ("actor.ppo_epochs (yaml)", 1, 1, 1),
    "epsilon": ("actor.clip_ratio (yaml)", 0.2, 0.2, 0.2),
    "epsilon_high": ("actor.clip_ratio_high, the same (yaml)", None, None, None),
    "delta": ("actor.clip_ratio_c (yaml)", 3.0, 3.0, 3.0),
    "loss_type": ("actor.loss_agg_mode token-mean (yaml)", "dapo", "dapo", "dapo"),
    "beta": ("actor.kl_loss_coef", 0.01, 0.01, 0.001),
    "kl_estimator": ("actor.kl_loss_type low_var_kl", "k3", "k3", "k3"),
    "kl_clamp": ("in the code of low_var_kl", 10.0, 10.0, 10.0),
    "kl_placement": ("actor.use_kl_loss, and no algorithm.use_kl_in_reward", "loss", "loss", "loss"),
    "entropy_coef": ("actor.entropy_coeff (yaml)", 0.001, 0.001, 0.001),
    "advantage": ("algorithm.adv_estimator", "grpo", "grpo", "grpo"),
    "advantage_unit": ("compute_mean_std_cross_steps, on in the code", "row", "row", "row"),
    "scale_rewards": ("algorithm.norm_adv_by_std_in_grpo (yaml)", "group", "group", "group"),
    "invalid_action_penalty": ("actor.invalid_action_penalty_coef", 0.1, 0.1, 0.01),
    "invalid_action_placement": ("in the code: before the statistics", "baseline", "baseline", "baseline"),
    "distill_coef": ("algorithm.sdar.sdar_coef", 0.01, 0.01, 0.01),
    "gate_beta": ("algorithm.sdar.gate_beta", 5.0, 5.0, 5.0),
    "privilege": ("algorithm.sdar.skills_dir", "skill", "skill", "skill"),
    "retrieval": ("algorithm.sdar.skill_all false", "task_type", "task_type", "task_type"),
    "eval_steps": ("trainer.test_freq", 5, 5, 150),
    "eval_episodes": ("data.val_batch_size", 128, 128, 512),
    "eval_temperature": ("val_kwargs.temperature; Search: val_kwargs.do_sample false (yaml)", 0.4, 0.4, 0.0),
    "eval_before": ("trainer.val_before_train", True, True, False),
}
WORLDS = ("household", "webshop", "searchqa")

# Our method -> (coefficient, sharpness of the gate, coefficient of the policy gradient, iterations of its decay); None
# where the script has no such number. All are the same in the three worlds.
METHOD_NUMBERS: dict[str, tuple[float | None, float | None, float, int | None]] = {
    "sdar": (0.01, 5.0, 1.0, None),
    "opsd": (0.01, 5.0, 0.0, None),
    "grpo+opsd": (0.01, 0.0, 1.0, None),
    "rlsd": (0.5, None, 1.0, 100),
    "skill-sd": (0.001, None, 1.0, None),  # warmdown_steps -1, for ever
    "skill-grpo": (None, None, 1.0, None),
}


@pytest.mark.parametrize("model", ["qwen", "qwen3"])
@pytest.mark.parametrize("world", WORLDS)
def test_every_number_of_a_preset_is_the_scripts(world: str, model: str) -> None:
    config = SDARConfig.preset(f"{world}-{model}")
    shipped = {name: row[1 + WORLDS.index(world)] for name, row in NUMBERS.items()}
    assert {name: getattr(config, name) for name in shipped} == shipped


@pytest.mark.parametrize("model", ["qwen", "qwen3"])
@pytest.mark.parametrize("world", WORLDS)
def test_a_preset_sets_no_number_that_the_table_does_not_hold(world: str, model: str) -> None:
    """What is left has no counterpart in the scripts, or another form there; each is accounted for here."""
    ours = {
        "method", "env_kwargs", "teacher_budget", "save_steps", "test_episodes", "bf16", "gradient_checkpointing",
        *("context", "history_length", "prompt_style", "list_actions", "enable_thinking", "ask_for_thinking"),
    }  # fmt: skip
    assert set(load_preset(f"{world}-{model}").config) <= {*NUMBERS, *ours}


@pytest.mark.parametrize("world", WORLDS)
def test_the_number_of_earlier_turns_in_a_prompt_is_the_scripts(world: str) -> None:
    config = SDARConfig.preset(f"{world}-qwen")
    shown = config.history_length or config.env_kwargs["history_length"]
    assert shown == {"household": 2, "webshop": 2, "searchqa": 4}[world]  # env.history_length, 2 in the yaml


@pytest.mark.parametrize("world", WORLDS)
def test_the_thinking_switch_of_the_template_is_set_for_qwen3_alone(world: str) -> None:
    # data.apply_chat_template_kwargs.enable_thinking, in the 18 scripts for Qwen3 and in none of the 36 others.
    assert SDARConfig.preset(f"{world}-qwen").enable_thinking is None
    assert SDARConfig.preset(f"{world}-qwen3").enable_thinking is False


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("name", METHOD_NUMBERS)
def test_the_numbers_of_the_methods_are_the_scripts(world: str, name: str) -> None:
    coef, sharpness, pg_coef, decay = METHOD_NUMBERS[name]
    method, config = METHODS[name], SDARConfig.preset(f"{world}-qwen", method=name)
    assert method.pg_coef == pg_coef
    if coef is not None:
        assert method.coefficient(0, config) == coef
    if sharpness is not None and "gate_beta" in method.options:
        assert config.gate_beta == sharpness
    if sharpness == 0.0:  # sigmoid(0), written out
        assert "gate_beta" not in method.options
    if name == "rlsd":
        assert decay is not None
        assert method.coefficient(decay // 2, config) == 0.25
        assert method.coefficient(decay, config) == 0.0
        assert config.weight_clip == 0.2
    elif coef is not None:
        assert method.coefficient(149, config) == coef


def test_a_preset_in_python_is_what_the_command_line_runs() -> None:
    config = SDARConfig.preset("household-qwen", method="skill-sd", env_kwargs={"retrieval": "all"}, seed=3)
    assert config.env_kwargs == {"size": "full", "reward_scale": 10.0, "retrieval": "all"}
    assert (config.method, config.seed, config.distill_coef) == ("skill-sd", 3, 0.001)
    assert SDARConfig.preset("household-qwen") == SDARConfig.from_dict(preset_config(load_preset("household-qwen")))
    with pytest.raises(ValueError, match='the nearest is "household-qwen"'):
        SDARConfig.preset("houshold-qwen")
    with pytest.raises(ValueError, match=r"preset\('household-tiny'\).*learning_rate"):
        SDARConfig.preset("household-tiny", learning_rat=1)


def test_the_defaults_are_not_the_scripts_and_do_not_say_so() -> None:
    defaults = SDARConfig(distill_coef=METHODS["sdar"].coef)  # none stands for the method's own
    different = {n for n, row in NUMBERS.items() if getattr(defaults, n) != row[1]}
    assert different == {"advantage_unit", "invalid_action_placement", "entropy_coef", "kl_clamp", "mini_batch_rows"}
    import trainers.config

    assert "published settings" not in str(trainers.config.__doc__)
