"""Our side of the world of late steps: a Gymnasium environment that workers import from here."""

from __future__ import annotations

import time
from typing import Any, ClassVar

import gymnasium as gym

from sdar_envs.spaces import FreeText

from .late_world import TURNS, delay

VALID = 1_000_000  # the first seed of the split
AT_ONCE = 1000  # episodes from this number on have environments that answer at once


class LateEnv(gym.Env[str, str]):
    """An environment whose steps take their time; the reset seed is the episode's number."""

    metadata: ClassVar[dict[str, Any]] = {"render_modes": []}

    def __init__(self) -> None:
        self.observation_space = FreeText(100)
        self.action_space = FreeText(65_536)
        self.episode = self.turn = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Begin an episode."""
        super().reset(seed=seed)
        self.episode, self.turn = (seed or 0) - VALID, 0
        return "Turn 0.", {}

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Take a while."""
        if self.episode < AT_ONCE:
            time.sleep(delay(self.episode, self.turn))
        self.turn += 1
        return f"Turn {self.turn}.", 0.0, self.turn == TURNS, False, {}
