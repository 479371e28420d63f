"""Two environments that differ in nothing but whether the teacher's side is exposed, played side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gymnasium as gym

from sdar_envs.privileged import PRIVILEGED_KEYS
from sdar_envs.randomness import counted_generator


def check_that_the_privileged_side_is_complete_and_costs_nothing(
    make: Callable[..., gym.Env[Any, Any]], *, more_actions: Sequence[str] = (), episodes: int = 12
) -> None:
    """Random episodes: all privileged keys on one side, and else the same texts and infos on both."""
    shown, hidden = make(size="small"), make(size="small", expose_privileged=False)
    rng = counted_generator("test", "privileged")
    for number in range(episodes):
        task = {"task_id": f"test:{number:06d}"}
        (text, info), (other_text, other_info) = shown.reset(options=task), hidden.reset(options=task)
        over = False
        while not over:
            assert set(info.pop("privileged")) == PRIVILEGED_KEYS
            assert (text, info) == (other_text, other_info)
            actions = [*info["admissible_actions"], *more_actions]
            action = actions[int(rng.integers(len(actions)))]
            text, _, terminated, truncated, info = shown.step(action)
            other_text, _, _, _, other_info = hidden.step(action)
            over = terminated or truncated
