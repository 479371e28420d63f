"""A task of skyrl-gym (github.com/NovaSky-AI/SkyRL): sums in the form of its GSM8K environment of several turns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import skyrl_gym
from text_game import Played, TextGame

from sdar_envs.randomness import counted_generator


class Sums(TextGame):
    """No data set is fetched: the questions are ours, environment and verifier are theirs."""

    def __init__(self, exchange: int = 0, render_mode: str | None = None) -> None:
        super().__init__(render_mode)
        self.exchange = exchange

    def begin(self, seed: int) -> str:
        one, other = (int(number) for number in counted_generator("sums", seed).integers(10_000, 90_000, size=2))
        self.truth = str(one + other + self.exchange)
        extras = {"reward_spec": {"ground_truth": self.truth}, "extra_info": {}}
        self.task = skyrl_gym.make("gsm8k_multi_turn", env_config={}, extras=extras)
        question = f"What is {one} + {other}? End with #### and the number."
        return str(self.task.init([{"role": "user", "content": question}])[0][-1]["content"])

    def play(self, action: str) -> Played:
        answer = self.task.step(action)
        text = "\n".join(str(message["content"]) for message in answer["observations"])
        return Played(text, answer["reward"], answer["done"], answer["done"] and answer["reward"] == 1.0)


def solve(env: Sums, observation: str, info: Mapping[str, Any]) -> str:
    """The right answer."""
    return f"#### {env.truth}"
