"""A `TextGame` for PettingZoo's parallel interface: every step takes the action of the one role whose turn it is.

Dialogue has turns: an offer must be read before it is answered, so the actions of the others are ignored. PettingZoo's
own conversion of turn-based environments writes into their live infos and returns four values after the end; this is
the same idea without the two.
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym
from pettingzoo import ParallelEnv

from .aec import TextGameAEC
from .text import Text

Outcome = tuple[dict[str, Text], dict[str, float], dict[str, bool], dict[str, bool], dict[str, dict[str, Any]]]


class TextGameParallel(ParallelEnv[str, Text, str]):  # type: ignore[misc]  # PettingZoo ships no types
    """A turn-based game with the dictionaries of PettingZoo's parallel interface.

    Args:
        aec: The same game as an AEC environment; it belongs to this one.
    """

    def __init__(self, aec: TextGameAEC) -> None:
        self.aec = aec
        self.metadata = aec.metadata
        self.render_mode = aec.render_mode
        self.possible_agents = list(aec.possible_agents)
        self.agents: list[str] = []

    @property
    def active_agent(self) -> str:
        """The role whose action the next step takes."""
        return self.aec.game.turn

    def observation_space(self, agent: str) -> gym.Space[Any]:
        """The space of a role's observations."""
        return self.aec.observation_space(agent)

    def action_space(self, agent: str) -> gym.Space[Any]:
        """The space of a role's actions."""
        return self.aec.action_space(agent)

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Text], dict[str, dict[str, Any]]]:
        """Begin a game, as the AEC environment does.

        Raises:
            ValueError: There is no such task.
        """
        self.aec.reset(seed=seed, options=options)
        self.agents = list(self.aec.agents)
        return self._observations(), dict(self.aec.infos)

    def step(self, actions: dict[str, str]) -> Outcome:
        """Play the turn of `active_agent`; the others' actions are ignored, and its own may not be missing.

        After the end every dictionary is empty.

        Raises:
            KeyError: The active role has no action.
            TypeError: Its action is not a `str`.
        """
        if not self.agents:
            return {}, {}, {}, {}, {}
        if self.active_agent not in actions:
            raise KeyError(f"expected an action of {self.active_agent}, whose turn it is, got {sorted(actions)}")
        aec = self.aec
        aec.step(actions[self.active_agent])
        outcome = (
            self._observations(),
            dict(aec.rewards),
            dict(aec.terminations),
            dict(aec.truncations),
            dict(aec.infos),
        )
        if aec.game.over:
            self.agents = []
        return outcome

    def _observations(self) -> dict[str, Text]:
        return {agent: self.aec.observe(agent) for agent in self.aec.agents}

    def render(self) -> str | None:
        """As the AEC environment does."""
        return self.aec.render()

    def close(self) -> None:
        """As the AEC environment does."""
        self.aec.close()
