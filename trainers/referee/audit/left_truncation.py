"""Privileged text in front of a prompt that is cut from the left: the teacher loses what it should know."""

from __future__ import annotations

from collections.abc import Sequence

import gymnasium as gym
import numpy as np

from agents.prompts import PromptStyle
from sdar_envs.privileged import StudentView, split_info
from sdar_envs.randomness import counted_generator

from .item import AuditItem, Figure, KeyPart, Thread

# Tokens: the scripts' limit for ALFWorld; TRL's when its trainers had the defect; one task's skill (general part and
# its own, some 820 words at 4/3 tokens); and the whole bank (11 kB at four characters a token), as `skill_all` shows.
LIMIT, OTHER_LIMIT, ONE_SKILL, WHOLE_BANK = 2_048, 512, 1_090, 2_750
CHARACTERS = 4
EPISODES, TURNS = 3, 30


def lost(prompt: int, block: int, limit: int) -> float:
    """Share of a block in front of a prompt that is gone when the last `limit` tokens are kept."""
    return min(max(prompt + block - limit, 0), block) / block


def prompt_lengths(key: KeyPart) -> list[int]:
    """Tokens of prompts in the published form (two earlier turns, all actions listed) while somebody acts at random."""
    env = gym.make("sdar/Household-v0", expose_privileged=False)
    style = PromptStyle("paper", list_actions=True, thinking=True)
    generator = counted_generator("audit", "left truncation", key)
    found = []
    for _ in range(EPISODES):
        observation, info = env.reset(seed=int(generator.integers(2**31)))
        views: list[StudentView] = []
        actions: list[str] = []
        for _ in range(TURNS):
            views.append(split_info(observation, info)[0])
            found.append(sum(len(message["content"]) for message in style.window(views, actions, 2)) // CHARACTERS)
            actions.append(str(generator.choice(info["admissible_actions"])))
            observation, _, terminated, truncated, info = env.step(actions[-1])
            if terminated or truncated:
                break
    env.close()
    return found


def mean_lost(prompts: Sequence[int], block: int, limit: int) -> float:
    """Of all turns, in per cent."""
    return 100 * float(np.mean([lost(prompt, block, limit) for prompt in prompts]))


def measure(key: KeyPart) -> tuple[Figure, ...]:
    """Privileged text that the teacher does not get."""
    prompts = prompt_lengths(key)
    return (
        Figure("of the whole bank is cut at 2,048 tokens", mean_lost(prompts, WHOLE_BANK, LIMIT), 0.0, "%"),
        Figure("of one task's skill is cut at 2,048 tokens", mean_lost(prompts, ONE_SKILL, LIMIT), 0.0, "%"),
        Figure("of one task's skill is cut at 512 tokens", mean_lost(prompts, ONE_SKILL, OTHER_LIMIT), 0.0, "%"),
    )


ITEM = AuditItem(
    name="left-truncation",
    title="what is cut first is what only the teacher knows",
    where="SDAR's builder of teacher batches",
    explanation=(
        "The privileged text is put in front of the whole rendered chat, and of what is longer than max_prompt_length "
        "the last tokens are kept: the privileged text goes first, without a word, and a teacher without it is the "
        "student. Simulated on prompts of the household in a form like the published one (two earlier turns, all "
        "admissible actions listed; four characters a token). With one task's skill the scripts' limit of 2,048 tokens "
        "is enough; of the whole bank, as `skill_all` shows it, more than a third is lost. The limit decides: check "
        "yours."
    ),
    fixed=(
        "The privileged text has a budget of its own and is never cut: whole turns of history go first, and a reading "
        "that still does not fit teaches nothing and is counted in `teacher/privileged_dropped`."
    ),
    threads=(
        Thread(
            "trl #5883: teacher prompts truncated to the student's length",
            "https://github.com/huggingface/trl/pull/5883",
        ),
        Thread("trl #5862: the same in its first part", "https://github.com/huggingface/trl/pull/5862"),
        Thread(
            "trl #5990: left truncation of the teacher drops the problem",
            "https://github.com/huggingface/trl/pull/5990",
        ),
    ),
    measure=measure,
)
