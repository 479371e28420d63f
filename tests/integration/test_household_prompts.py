"""The real household through the real agent: what is privileged stands in every teacher's ids and in no student's."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
from tiny_models import CHATML, load_tiny

import sdar_envs  # noqa: F401  # registers the environments
from agents.base import Parse, Turn
from agents.chat import ChatAgent
from agents.rendering import ChatRenderer
from agents.teacher import PRIVILEGES, Teacher
from sdar_envs.privileged import Privileged, split_info
from trainers.config import SDARConfig

CANARY = "xyzzy-4711"


def marked(value: Any) -> Any:
    """The same JSON value with the canary in every string."""
    if isinstance(value, str):
        return f"{value} {CANARY}"
    if isinstance(value, list):
        return [marked(item) for item in value]
    return {key: marked(item) for key, item in value.items()} if isinstance(value, dict) else value


@pytest.mark.parametrize(
    ("style", "context"), [("paper", "window"), ("paper", "transcript"), ("compact", "transcript")]
)
def test_a_canary_in_all_privileged_fields_reaches_every_teacher_and_no_student(
    tiny_model_path: Callable[..., Path], style: str, context: str
) -> None:
    model, tokenizer = load_tiny(tiny_model_path("qwen2", CHATML))
    agent = ChatAgent(model, tokenizer, style=style, context=context, max_completion_length=12, max_prompt_length=2000)
    env = gym.make("sdar/Household-v0", size="small")
    turns: list[Turn] = []
    secrets: list[Privileged] = []
    observation, info = env.reset(options={"task_id": "train:000005"})
    for number in range(4):
        original = info["privileged"]
        info["privileged"] = {**marked(original), "task_type": original["task_type"]}
        view, secret = split_info(observation, info, turn=number, draw=("canary", style))
        assert secret is not None
        (action,) = agent.act([view])
        turns.append(Turn(view, action, 0.0, True))
        secrets.append(secret)
        # The tiny model writes noise: the episode follows the plan, so that observations change.
        observation, _, terminated, truncated, info = env.step(original["next_action"])
        assert not (terminated or truncated)
    rows: list[list[int]] = []
    for number, turn in enumerate(turns):
        assert turn.action.tokens is not None
        assert CANARY not in tokenizer.decode(turn.action.tokens.prompt_ids)
        assert CANARY not in str(turn.action.messages) + str(turn.view)
        assert turn.action.tokens.truncated == (turn.action.parse is Parse.TRUNCATED)
        if not turn.action.tokens.continues:
            rows.append([])
        rows[-1].append(number)
    bank = env.unwrapped.skill_bank  # type: ignore[attr-defined]  # the household has one
    for privilege in PRIVILEGES:
        teacher = Teacher(agent.renderer, style, privilege=privilege, budget_tokens=8192, skill_bank=bank)
        for row in rows:
            reading = teacher.read([turns[n] for n in row], [secrets[n] for n in row])
            text = tokenizer.decode(reading.view.ids)
            told = [teacher.block(secrets[n], turns[n].view) for n in (row if teacher.every_turn else row[:1])]
            assert reading.complete and all(block in text for block in told)
            if privilege in ("random_skill", "wrong_skill"):
                assert all(told)  # the bank's own words, without the canary
            elif privilege != "none":
                assert all(CANARY in block for block in told)


# A published tokenizer's first cut (words with their space, single digits, runs of signs and of white space); common
# words are one token behind it, and a tenth is added for those that are not.
PIECES = re.compile(r"'(?:[sdmt]|ll|ve|re)| ?[A-Za-z]+| ?\d| ?[^\sA-Za-z\d]+|\s+")


@pytest.mark.parametrize("retrieval", ["task_type", "keyword", "random", "wrong"])
def test_the_prose_of_a_skill_fits_the_default_budget_of_a_large_models_tokenizer(
    tiny_model_path: Callable[..., Path], retrieval: str
) -> None:
    renderer = ChatRenderer(load_tiny(tiny_model_path("qwen2", CHATML))[1])
    teacher = Teacher(renderer, "paper", privilege="skill")
    env = gym.make("sdar/Household-v0", retrieval=retrieval)
    longest = 0
    for number in range(24):
        observation, info = env.reset(options={"task_id": f"train:{number:06d}"})
        longest = max(longest, len(PIECES.findall(teacher.block(split_info(observation, info)[1]))))
    assert longest > 400 and 1.1 * longest < teacher.budget_tokens == SDARConfig().teacher_budget
