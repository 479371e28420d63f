"""A vector of searching environments that looks everything up at once: one search per step, whatever asks.

It is Gymnasium's synchronous vector in all other respects; `gymnasium.make_vec` makes this one.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from gymnasium.vector import AutoresetMode, SyncVectorEnv

from .env import SearchQAEnv


class SearchQAVectorEnv(SyncVectorEnv):
    """Several `SearchQAEnv` in one process.

    Args:
        num_envs: How many.
        autoreset_mode: As in Gymnasium.
        **kwargs: Of each environment.
    """

    def __init__(
        self, num_envs: int = 1, autoreset_mode: str | AutoresetMode = AutoresetMode.NEXT_STEP, **kwargs: Any
    ) -> None:
        super().__init__([functools.partial(SearchQAEnv, **kwargs)] * num_envs, autoreset_mode=autoreset_mode)

    def step(self, actions: Sequence[str]) -> tuple[Any, ...]:
        """Play one action in every environment; what they ask is looked up together."""
        # Where episodes begin in the step after their end, that step plays no action.
        waits = self.autoreset_mode == AutoresetMode.NEXT_STEP
        playing = [
            (env.unwrapped, action)
            for env, action, ended in zip(self.envs, actions, self._autoreset_envs, strict=True)
            if not (waits and ended)
        ]
        SearchQAEnv.prepare_steps(
            [env for env, _ in playing if isinstance(env, SearchQAEnv)], [action for _, action in playing]
        )
        return super().step(actions)
