"""Three tasks of reasoning-gym (github.com/open-thought/reasoning-gym): one question, one answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import reasoning_gym
from text_game import Played, TextGame


class _Task(TextGame):
    name = ""
    options: ClassVar[Mapping[str, Any]] = {}

    def begin(self, seed: int) -> str:
        self.questions = reasoning_gym.create_dataset(self.name, size=1, seed=seed, **self.options)
        self.entry = self.questions[0]
        return str(self.entry["question"])

    def play(self, action: str) -> Played:
        score = float(self.questions.score_answer(action, self.entry))
        return Played("", score, True, score == 1.0)


class Countdown(_Task):
    """Reach a number with the numbers that are given."""

    name = "countdown"


class SpiralMatrix(_Task):
    """Read a matrix in a spiral."""

    name = "spiral_matrix"
    options: ClassVar[Mapping[str, Any]] = {"min_n": 4, "max_n": 6}


class CaesarCipher(_Task):
    """Read a text whose letters were shifted."""

    name = "caesar_cipher"


def answers(env: _Task) -> list[str]:
    """What the agent must not read: the answer as the task has it."""
    return [str(env.entry["answer"])]


def solve(env: _Task, observation: str, info: Mapping[str, Any]) -> str:
    """That answer."""
    return str(env.entry["answer"])
