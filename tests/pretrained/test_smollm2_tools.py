"""SmolLM2 plays by tool calls: its real template has the documented form, and episodes run to their end."""

from __future__ import annotations

import json
from collections import Counter
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

pytestmark = pytest.mark.pretrained


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


@pytest.mark.parametrize("context", ["window", "transcript"])
def test_it_plays_an_episode_by_tool_calls(model: Any, tokenizer: Any, context: str) -> None:
    env = gym.make("sdar/Household-v0", size="small", horizon=8)
    agent = ChatAgent(
        model,
        tokenizer,
        style="tools",
        context=context,
        temperature=0.0,
        max_completion_length=48,
        max_prompt_length=3_000,
        list_actions=True,
        tools=tool_set_of(env.unwrapped),
    )
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
    print(f"{context}: {dict(Counter(parses))}, {valid} of {len(parses)} understood by the world")
    assert Parse.OK in parses and valid > 0
