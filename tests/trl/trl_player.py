"""A tiny model that calls `act` in the form of Qwen3's chat template, cloned from episodes of the toy world."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

from toy_world import ToyWorld
from transformers.utils import get_json_schema
from trl.chat_template_utils import get_training_chat_template, qwen3_chat_template

from agents.base import View
from sdar_envs.bridges.trl import SYSTEM, TextEnvironment, environment_for
from sdar_envs.randomness import counted_generator
from trainers.warm_start.behaviour_cloning import Cloner, CloningConfig
from trainers.warm_start.tiny_model import TinyModelConfig, build_model, build_tokenizer

HORIZON = 4
STEPS = 200
SIZE = TinyModelConfig(hidden_size=32, num_hidden_layers=2, intermediate_size=64, head_dim=16, vocab_size=700)
TOOL_TAGS = ["<think>", "</think>", "<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>"]


def boxes(**kwargs: Any) -> ToyWorld:
    """The toy world, with a short horizon."""
    return ToyWorld(horizon=HORIZON, **kwargs)


class Demonstrator:
    """Opens boxes in some order until the coin is found, and now and then leaves the coin."""

    def __init__(self, number: int) -> None:
        self.draws = counted_generator("trl player", number)
        self.left = [f"open {box}" for box in self.draws.permutation(ToyWorld.boxes) + 1]

    def act(self, seen: str) -> str:
        if "A coin!" in seen and self.draws.random() < 0.9:
            return "take coin"
        return self.left.pop() if self.left else "open 1"


def call(action: str) -> str:
    """A call as Qwen3's template writes it."""
    return "<tool_call>\n" + json.dumps({"name": "act", "arguments": {"action": action}}) + "\n</tool_call>"


def demonstration(number: int, world: TextEnvironment, tokenizer: Any, schema: list[Any]) -> View:
    """The ids of a played episode, put together as TRL puts them together, and the places of the answers."""
    render = functools.partial(
        tokenizer.apply_chat_template,
        tokenize=True,
        return_dict=False,
        add_generation_prompt=True,
        chat_template=get_training_chat_template(tokenizer),
    )
    begun = world.reset(task_id=f"train:{number % 30}")
    ids = list(render([{"role": "system", "content": SYSTEM}, {"role": "user", "content": begun}], tools=schema))
    places: list[int] = []
    player, seen = Demonstrator(number), begun

    def answer(text: str) -> None:
        own = [*tokenizer(text, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
        places.extend(range(len(ids), len(ids) + len(own)))
        ids.extend(own)

    asked = {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "act", "arguments": {}}}]}
    before = render([{"role": "user", "content": "q"}, asked], add_generation_prompt=False)
    before = before[: max(at for at, token in enumerate(before) if token == tokenizer.eos_token_id) + 1]
    while not world._session.over:
        action = player.act(seen)
        answer(call(action))
        seen = world.act(action)
        result = {"role": "tool", "name": "act", "content": seen}
        ids.extend(render([{"role": "user", "content": "q"}, asked, result])[len(before) :])
    answer("Done.")
    return View(ids, places)


@functools.cache
def player(folder: Path) -> Path:
    """The model and its tokenizer in a folder."""
    environment = environment_for(boxes, list_actions=False)
    world, texts = environment(), [SYSTEM]
    schema = [get_json_schema(world.act)]
    for number in range(60):
        seen, demonstrator = world.reset(task_id=f"train:{number % 30}"), Demonstrator(number)
        while not world._session.over:
            texts.append(seen)
            action = demonstrator.act(seen)
            texts.append(call(action))
            seen = world.act(action)
    # The template's own words become few tokens, too.
    wording = build_tokenizer(texts, 300)
    wording.chat_template = qwen3_chat_template
    told = wording.apply_chat_template([{"role": "user", "content": ""}], tools=schema, tokenize=False)
    tokenizer = build_tokenizer([*texts, *[told] * 4], SIZE.vocab_size)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    tokenizer.add_tokens(TOOL_TAGS)
    tokenizer.eos_token = "<|im_end|>"
    tokenizer.chat_template = qwen3_chat_template
    views = [demonstration(number, world, tokenizer, schema) for number in range(120)]
    model = build_model(tokenizer, SIZE, seed=0)
    cloner = Cloner(model, views, CloningConfig(batch_size=6), key=("trl player",), pad_id=tokenizer.pad_token_id)
    for step in range(STEPS):
        cloner.step(min(1.0, 4 * (STEPS - step) / STEPS))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
