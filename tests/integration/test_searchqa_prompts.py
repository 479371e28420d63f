"""Retrieval through the real agent: what is privileged stands in every teacher's ids and in no student's."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest

pytest.importorskip("faiss")
pytest.importorskip("torch")

from privileged_canary import check_the_canary, longest_block
from tiny_models import CHATML, load_tiny

import sdar_envs  # noqa: F401  # registers the environments
from agents.chat import ChatAgent
from agents.rendering import ChatRenderer
from sdar_envs.privileged import split_info
from trainers.presets import load_preset

# The plain environment, and how the presets for tiny and for large models show it.
TINY, LARGE = (load_preset(name).config for name in ("searchqa-tiny", "searchqa-qwen"))


pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.mark.parametrize(
    ("style", "context", "env_kwargs"),
    [
        ("paper", "window", {"size": "small"}),
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
    env = gym.make("sdar/SearchQA-v0", task_type="compare", **env_kwargs)
    # No more turns: passages of the full world do not fit the tiny model's context any longer.
    assert len(check_the_canary(agent, style, env, "train:000002", most=3)) == 3


@pytest.mark.parametrize("preset", [TINY, LARGE], ids=["tiny", "qwen"])
@pytest.mark.parametrize("task_type", ["direct", "attribute", "multi_hop"])
def test_a_student_reads_the_answer_only_where_a_passage_says_it(preset: dict[str, Any], task_type: str) -> None:
    """Other than in comparisons, whose questions name their candidates."""
    env = gym.make("sdar/SearchQA-v0", task_type=task_type, **preset["env_kwargs"])
    for seed in range(12):
        observation, info = env.reset(seed=seed)
        answers = info["privileged"]["facts"]["answers"]
        passages = ""
        while info["privileged"]["plan"]:
            view, _ = split_info(observation, info)
            for answer in answers:
                word = re.compile(rf"(?<!\w){re.escape(answer)}(?!\w)")
                assert not word.search(repr(view)) or word.search(passages)
            observation, _, _, _, info = env.step(info["privileged"]["next_action"])
            passages += observation
        assert info["success"]


@pytest.mark.parametrize("preset", [TINY, LARGE], ids=["tiny", "qwen"])
def test_what_a_teacher_is_told_fits_the_budget_of_the_preset(
    tiny_model_path: Callable[..., Path], preset: dict[str, Any]
) -> None:
    renderer = ChatRenderer(load_tiny(tiny_model_path("qwen2", CHATML))[1])
    longest = longest_block(renderer, preset["prompt_style"], gym.make("sdar/SearchQA-v0", **preset["env_kwargs"]), 24)
    assert 0 < 1.1 * longest < preset["teacher_budget"]
