"""SmolLM2 plays by tool calls: its real template has the documented form, and episodes run to their end."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest

import sdar_envs  # noqa: F401  # registers the environments
from agents.base import Parse
from agents.chat import ChatAgent
from agents.rendering import ChatRenderer
from agents.tool_formats import SMOLLM2
from agents.tool_style import ToolStyle
from sdar_envs.household.tools import TOOLS
from sdar_envs.privileged import StudentView, split_info
from sdar_envs.tool_sets import tool_set_of
from trainers.engine.single import load_model
from trainers.warm_start.behaviour_cloning import Cloner, FineTuningConfig
from trainers.warm_start.demonstrations import WorldScript, demonstration_views, play_demonstrations

pytestmark = pytest.mark.pretrained

# Two tools: a short list, and rows that a CPU learns from in minutes; and no ids that would have to be copied.
QUESTIONS: tuple[str, dict[str, Any]] = ("sdar/SearchQA-v0", {"size": "small"})


def test_its_template_knows_no_tools_and_has_the_documented_form(tokenizer: Any) -> None:
    options = {"tokenize": False, "add_generation_prompt": True}
    asked = [{"role": "user", "content": "Hi."}]
    told = tokenizer.apply_chat_template(asked, tools=TOOLS.schemas(), **options)
    assert told == tokenizer.apply_chat_template(asked, **options)
    assert ChatRenderer(tokenizer, tools=TOOLS.schemas()).tool_format == SMOLLM2


@pytest.mark.parametrize("ended", [True, False])
def test_a_row_of_calls_has_the_ids_of_the_templates_own_chat(tokenizer: Any, ended: bool) -> None:
    renderer = ChatRenderer(tokenizer, tools=TOOLS.schemas())
    words = ToolStyle("tools", False, False, TOOLS, SMOLLM2)
    views = [StudentView(f"You arrive at fridge {n}. It is closed.", instruction="cool an apple.") for n in (1, 2, 3)]
    messages = words.opening(views[0])
    ids = renderer.begin(messages)
    for view, action in zip(views[1:], ("go to fridge 2", "open fridge 3"), strict=True):
        said = words.completion_for(action)
        new = words.turn(view, said)
        between = renderer.extend(messages, said, ended, new)
        assert between is not None
        ids += [*renderer.encode_completion(said)[: None if ended else -1], *between]
        messages = [*messages, {"role": "assistant", "content": said}, *new]
    whole = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=True, return_dict=True)
    assert ids == whole["input_ids"]
    shown = tokenizer.decode(ids)
    start = shown.index("<tools>") + len("<tools>")
    assert json.loads(shown[start : shown.index("</tools>")]) == TOOLS.schemas()


def player(model: Any, tokenizer: Any, tools: Any) -> ChatAgent:
    return ChatAgent(
        model,
        tokenizer,
        style="tools",
        context="window",
        history_length=1,
        temperature=0.0,
        max_completion_length=48,
        max_prompt_length=3_000,
        tools=tools,
    )


def play(agent: ChatAgent, env: gym.Env[str, str]) -> tuple[list[Parse], int]:
    """An episode: how each answer was read, and how many actions the world understood."""
    observation, info = env.reset(options={"task_id": "valid:000000"})
    parses: list[Parse] = []
    valid, over = 0, False
    while not over:
        view, _ = split_info(observation, info, turn=len(parses), draw=("smollm2",))
        (action,) = agent.act([view])
        assert not action.context_full
        observation, _, terminated, truncated, info = env.step(action.text)
        print(f"{action.parse.value}: {action.completion!r} -> {action.text!r}")
        parses.append(action.parse)
        valid += bool(info["is_action_valid"])
        over = terminated or truncated
    agent.release([0])
    print(f"{dict(Counter(parses))}, {valid} of {len(parses)} understood by the world")
    return parses, valid


def test_it_plays_an_episode_by_tool_calls_once_it_was_shown_their_form(smollm2: Path, tokenizer: Any) -> None:
    """Untaught, this smallest SmolLM2 calls nothing, and each such answer is a counted step; a few rows teach it."""
    pytest.importorskip("faiss")
    env = gym.make(QUESTIONS[0], **QUESTIONS[1])
    model = load_model(str(smollm2))[0].float()
    agent = player(model.eval(), tokenizer, tool_set_of(env.unwrapped))
    before, _ = play(agent, env)
    assert Parse.OK not in before
    played = play_demonstrations(WorldScript(*QUESTIONS), 48, 0.0, seed=1, successful=True)
    views = demonstration_views(played, agent, None)
    tuning = FineTuningConfig(batch_size=2, warmup_steps=2)
    cloner = Cloner(model, views, tuning, key=("tools",), pad_id=agent.renderer.pad_id)
    losses = [cloner.step() for _ in range(72)]
    print(f"loss {losses[0]:.2f} to {losses[-1]:.2f}, {cloner.tokens} tokens in {cloner.steps} steps")
    model.eval()
    parses, valid = play(agent, env)
    assert parses.count(Parse.OK) > len(parses) / 2 and valid > 0
