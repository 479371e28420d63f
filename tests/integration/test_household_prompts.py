"""The real household through the real agent: what is privileged stands in every teacher's ids and in no student's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import gymnasium as gym
import pytest
from privileged_canary import check_the_canary, longest_block
from tiny_models import CHATML, load_tiny

import sdar_envs  # noqa: F401  # registers the environments
from agents.base import Parse
from agents.chat import ChatAgent
from agents.rendering import ChatRenderer
from trainers.config import SDARConfig


@pytest.mark.parametrize(
    ("style", "context"), [("paper", "window"), ("paper", "transcript"), ("compact", "transcript")]
)
def test_a_canary_in_all_privileged_fields_reaches_every_teacher_and_no_student(
    tiny_model_path: Callable[..., Path], style: str, context: str
) -> None:
    model, tokenizer = load_tiny(tiny_model_path("qwen2", CHATML))
    agent = ChatAgent(model, tokenizer, style=style, context=context, max_completion_length=12, max_prompt_length=2000)
    env = gym.make("sdar/Household-v0", size="small")
    turns = check_the_canary(agent, style, env, "train:000005")
    assert len(turns) >= 4
    for turn in turns:
        assert turn.action.tokens is not None
        assert turn.action.tokens.truncated == (turn.action.parse is Parse.TRUNCATED)


@pytest.mark.parametrize("retrieval", ["task_type", "keyword", "random", "wrong"])
def test_the_prose_of_a_skill_fits_the_default_budget_of_a_large_models_tokenizer(
    tiny_model_path: Callable[..., Path], retrieval: str
) -> None:
    renderer = ChatRenderer(load_tiny(tiny_model_path("qwen2", CHATML))[1])
    longest = longest_block(renderer, "paper", gym.make("sdar/Household-v0", retrieval=retrieval), 24)
    assert longest > 400 and 1.1 * longest < SDARConfig().teacher_budget
