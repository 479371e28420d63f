"""What the adapters of this folder share: text in, text out, a seed that is passed on, a horizon."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import gymnasium as gym

from sdar_envs.spaces import FreeText


class Played(NamedTuple):
    """What a game answers to one action."""

    text: str
    reward: float
    over: bool
    success: bool


class TextGame(gym.Env[str, str]):
    """Somebody's game: `begin` starts it from a seed, `play` is one turn."""

    metadata: ClassVar[dict[str, Any]] = {"render_modes": []}  # type: ignore[misc]
    horizon = 100
    actions: Sequence[str] = ()  # that the checks may play, where the game's actions can be listed

    def __init__(self, render_mode: str | None = None) -> None:
        self.observation_space = FreeText(1 << 23)
        self.action_space = FreeText(1 << 11)
        self.render_mode = render_mode

    def begin(self, seed: int) -> str:
        """Start an episode, and return what there is to read."""
        raise NotImplementedError

    def play(self, action: str) -> Played:
        """Take one turn."""
        raise NotImplementedError

    def about(self) -> dict[str, Any]:
        """Public fields beside success."""
        return {"admissible_actions": list(self.actions)}

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        super().reset(seed=seed)
        if options:
            raise ValueError(f"expected no reset options, got {sorted(options)}")
        self.turns = 0
        text = self.begin(int(self.np_random.integers(2**31)))
        return text, self.about() | {"success": False}

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        if not isinstance(action, str):
            raise TypeError(f"expected text, got {type(action).__name__}")
        self.turns += 1
        text, reward, over, success = self.play(action)
        truncated = not over and self.turns >= self.horizon
        return text, float(reward), over, truncated, self.about() | {"success": success}
