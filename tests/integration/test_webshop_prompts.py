"""The store through the real agent: what is privileged stands in every teacher's ids and in no student's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest

pytest.importorskip("torch")

from privileged_canary import PIECES, check_the_canary, longest_block
from tiny_models import CHATML, load_tiny

import sdar_envs  # noqa: F401  # registers the environments
from agents.chat import ChatAgent
from agents.prompts import prompt_style
from agents.rendering import ChatRenderer
from sdar_envs.privileged import StudentView, split_info
from trainers.config import SDARConfig
from trainers.presets import load_preset

TINY, LARGE = (load_preset(name).config for name in ("webshop-tiny", "webshop-qwen"))


@pytest.mark.parametrize(
    ("style", "context", "env_kwargs"),
    [
        ("plain", "transcript", {"size": "small", "observation_mode": "text_rich"}),
        (TINY["prompt_style"], TINY["context"], TINY["env_kwargs"]),
        (LARGE["prompt_style"], LARGE["context"], LARGE["env_kwargs"]),
    ],
    ids=["plain environment", "tiny preset", "qwen preset"],
)
def test_a_canary_in_all_privileged_fields_reaches_every_teacher_and_no_student(
    tiny_model_path: Callable[..., Path], style: str, context: str, env_kwargs: dict[str, Any]
) -> None:
    model, tokenizer = load_tiny(tiny_model_path("qwen2", CHATML))
    agent = ChatAgent(model, tokenizer, style=style, context=context, max_completion_length=12, max_prompt_length=2000)
    env = gym.make("sdar/WebShop-v0", **env_kwargs)
    assert len(check_the_canary(agent, style, env, "train:000002")) >= 4


@pytest.mark.parametrize("preset", [TINY, LARGE], ids=["tiny", "qwen"])
def test_what_a_teacher_is_told_fits_the_budget_of_the_preset(
    tiny_model_path: Callable[..., Path], preset: dict[str, Any]
) -> None:
    renderer = ChatRenderer(load_tiny(tiny_model_path("qwen2", CHATML))[1])
    longest = longest_block(renderer, preset["prompt_style"], gym.make("sdar/WebShop-v0", **preset["env_kwargs"]), 28)
    assert 0 < 1.1 * longest < preset["teacher_budget"]


@pytest.mark.parametrize("preset", [TINY, LARGE], ids=["tiny", "qwen"])
def test_the_shortest_way_fits_the_preset(preset: dict[str, Any]) -> None:
    """Its turns into `max_turns`, each page of the large preset's windows into the prompt."""
    style = prompt_style(preset["prompt_style"], list_actions=preset["list_actions"], thinking=True)
    env = gym.make("sdar/WebShop-v0", **preset["env_kwargs"])
    longest = 0
    for number in range(14):
        observation, info = env.reset(options={"task_id": f"train:{number:06d}"})
        views: list[StudentView] = []
        actions: list[str] = []
        while info["privileged"]["plan"]:
            views.append(split_info(observation, info, turn=len(views))[0])
            if preset["context"] == "window":
                prompt = style.window(views, actions, preset["history_length"])
                longest = max(longest, sum(len(PIECES.findall(message["content"])) for message in prompt))
            actions.append(info["privileged"]["next_action"])
            observation, _, _, _, info = env.step(actions[-1])
        assert info["success"] and len(actions) <= preset.get("max_turns", env.unwrapped.horizon)  # type: ignore[attr-defined]
    assert 1.1 * longest < preset["max_prompt_length"]


def test_the_qwen_preset_holds_the_hyperparameters_that_were_shipped_for_webshop() -> None:
    config = SDARConfig.from_dict(dict(LARGE))
    shipped = {
        "learning_rate": 1e-6, "distill_coef": 0.01, "gate_beta": 5.0, "beta": 0.01, "entropy_coef": 0.001,
        "tasks_per_step": 16, "num_generations": 8, "max_turns": 15, "history_length": 2, "max_prompt_length": 4096,
        "max_completion_length": 512, "mini_batch_rows": 64, "max_steps": 150, "epsilon": 0.2, "delta": 3.0,
        "weight_decay": 0.01, "invalid_action_penalty": 0.1, "advantage_unit": "row", "eval_temperature": 0.4,
        "eval_steps": 5, "eval_episodes": 128,
    }  # fmt: skip
    assert {name: getattr(config, name) for name in shipped} == shipped
    env = gym.make("sdar/WebShop-v0", **config.environment_kwargs)
    _, info = env.reset(seed=0)
    rewards = []
    for action in info["privileged"]["plan"]:
        rewards.append(env.step(action)[1])
    assert rewards == [0.0] * (len(rewards) - 1) + [10.0]
