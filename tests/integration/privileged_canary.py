"""A canary in all that is privileged: every teacher's ids hold it, and no student's; the same for every world."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import gymnasium as gym

from agents.base import Turn
from agents.chat import ChatAgent
from agents.rendering import ChatRenderer
from agents.teacher import PRIVILEGES, Teacher
from sdar_envs.privileged import Privileged, split_info

CANARY = "xyzzy-4711"
# A published tokenizer's first cut (words with their space, single digits, runs of signs and of white space); common
# words are one token behind it, and a tenth is added for those that are not.
PIECES = re.compile(r"'(?:[sdmt]|ll|ve|re)| ?[A-Za-z]+| ?\d| ?[^\sA-Za-z\d]+|\s+")


def marked(value: Any) -> Any:
    """The same JSON value with the canary in every string."""
    if isinstance(value, str):
        return f"{value} {CANARY}"
    if isinstance(value, list):
        return [marked(item) for item in value]
    return {key: marked(item) for key, item in value.items()} if isinstance(value, dict) else value


def follow_the_plan(
    agent: ChatAgent, env: gym.Env[str, str], task_id: str, most: int
) -> tuple[list[Turn], list[Privileged]]:
    """The first turns of an episode that follows the plan, and the teacher's side of each with the canary."""
    turns: list[Turn] = []
    secrets: list[Privileged] = []
    observation, info = env.reset(options={"task_id": task_id})
    while info["privileged"]["plan"] and len(turns) < most:
        original = info["privileged"]
        info["privileged"] = {**marked(original), "task_type": original["task_type"]}
        view, secret = split_info(observation, info, turn=len(turns), draw=("canary",))
        assert secret is not None
        (action,) = agent.act([view])
        turns.append(Turn(view, action, 0.0, True))
        secrets.append(secret)
        # The tiny model writes noise: the episode follows the plan, so that observations change.
        observation, _, _, _, info = env.step(original["next_action"])
    assert info["success"] or len(turns) == most
    return turns, secrets


def check_no_student_reads_it(agent: ChatAgent, turns: Sequence[Turn]) -> list[list[int]]:
    """No prompt, message or view holds the canary; returns the turns of each row."""
    rows: list[list[int]] = []
    for number, turn in enumerate(turns):
        assert turn.action.tokens is not None
        assert CANARY not in agent.renderer.decode(turn.action.tokens.prompt_ids)
        assert CANARY not in str(turn.action.messages) + str(turn.view)
        if not turn.action.tokens.continues:
            rows.append([])
        rows[-1].append(number)
    return rows


def check_every_teacher_reads_it(
    agent: ChatAgent, style: str, bank: Any, turns: Sequence[Turn], secrets: Sequence[Privileged], rows: list[list[int]]
) -> None:
    """Behind every privilege but none, each row's teacher reads the whole block, and the canary in it."""
    for privilege in PRIVILEGES:
        teacher = Teacher(agent.renderer, style, privilege=privilege, budget_tokens=16_384, skill_bank=bank)
        for row in rows:
            reading = teacher.read([turns[n] for n in row], [secrets[n] for n in row])
            text = agent.renderer.decode(reading.view.ids)
            told = [teacher.block(secrets[n], turns[n].view) for n in (row if teacher.every_turn else row[:1])]
            assert reading.complete and all(block in text for block in told)
            if privilege in ("random_skill", "wrong_skill"):
                assert all(told)  # the bank's own words, without the canary
            elif privilege != "none":
                assert all(CANARY in block for block in told)


def check_the_canary(
    agent: ChatAgent, style: str, env: gym.Env[str, str], task_id: str, *, most: int = 99
) -> list[Turn]:
    """The whole check over an episode of at most so many turns; returns them."""
    turns, secrets = follow_the_plan(agent, env, task_id, most)
    rows = check_no_student_reads_it(agent, turns)
    check_every_teacher_reads_it(agent, style, env.unwrapped.skill_bank, turns, secrets, rows)  # type: ignore[attr-defined]
    return turns


def longest_block(renderer: ChatRenderer, style: str, env: gym.Env[str, str], episodes: int) -> int:
    """Pieces of the longest skill block that the first training tasks give a teacher."""
    teacher = Teacher(renderer, style, privilege="skill")
    longest = 0
    for number in range(episodes):
        observation, info = env.reset(options={"task_id": f"train:{number:06d}"})
        longest = max(longest, len(PIECES.findall(teacher.block(split_info(observation, info)[1]))))
    return longest
