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

from tiny_models import CHATML, load_tiny

import sdar_envs  # noqa: F401  # registers the environments
from agents.base import Turn
from agents.chat import ChatAgent
from agents.teacher import PRIVILEGES, Teacher
from sdar_envs.privileged import Privileged, split_info
from trainers.presets import load_preset

CANARY = "xyzzy-4711"
# The plain environment, and how the presets for tiny and for large models show it.
TINY, LARGE = (load_preset(name).config for name in ("searchqa-tiny", "searchqa-qwen"))


@pytest.fixture(scope="module", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


def marked(value: Any) -> Any:
    """The same JSON value with the canary in every string."""
    if isinstance(value, str):
        return f"{value} {CANARY}"
    if isinstance(value, list):
        return [marked(item) for item in value]
    return {key: marked(item) for key, item in value.items()} if isinstance(value, dict) else value


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
    turns: list[Turn] = []
    secrets: list[Privileged] = []
    observation, info = env.reset(options={"task_id": "train:000002"})
    for number in range(3):
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
        if not turn.action.tokens.continues:
            rows.append([])
        rows[-1].append(number)
    bank = env.unwrapped.skill_bank  # type: ignore[attr-defined]  # this environment has one
    for privilege in PRIVILEGES:
        teacher = Teacher(agent.renderer, style, privilege=privilege, budget_tokens=16_384, skill_bank=bank)
        for row in rows:
            reading = teacher.read([turns[n] for n in row], [secrets[n] for n in row])
            text = tokenizer.decode(reading.view.ids)
            told = [teacher.block(secrets[n], turns[n].view) for n in (row if teacher.every_turn else row[:1])]
            assert reading.complete and all(block in text for block in told)
            if privilege in ("random_skill", "wrong_skill"):
                assert all(told)  # the bank's own words, without the canary
            elif privilege != "none":
                assert all(CANARY in block for block in told)


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
    """By a published tokenizer's first cut for the large one, by words and signs for the tiny one."""
    from agents.rendering import ChatRenderer

    pieces = re.compile(r"'(?:[sdmt]|ll|ve|re)| ?[A-Za-z]+| ?\d| ?[^\sA-Za-z\d]+|\s+")
    renderer = ChatRenderer(load_tiny(tiny_model_path("qwen2", CHATML))[1])
    teacher = Teacher(renderer, preset["prompt_style"], privilege="skill")
    env = gym.make("sdar/SearchQA-v0", **preset["env_kwargs"])
    longest = 0
    for number in range(24):
        observation, info = env.reset(options={"task_id": f"train:{number:06d}"})
        longest = max(longest, len(pieces.findall(teacher.block(split_info(observation, info)[1]))))
    assert 0 < 1.1 * longest < preset["teacher_budget"]
