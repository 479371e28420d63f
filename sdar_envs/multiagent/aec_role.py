"""AECRoleEnv: one agent of anyone's AEC text game as a Gymnasium environment, so that the trainer can play it.

It asks nothing of the game beyond PettingZoo's own interface, and imports nothing of PettingZoo itself. Tasks are reset
seeds. The rewards that an agent gets while others act are added up, and arrive with its own next observation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import gymnasium as gym

from ..choices import require_choice
from ..core import ClosedError, clean_action
from ..privileged import split_info
from ..spaces import FreeText
from .player import Player, PlayerError


class AECRoleEnv(gym.Env[str, str]):
    """One agent of an AEC game with text in and text out.

    `info` is what the game has for this agent, with neutral values for the keys of the contract that it lacks. A game
    of others has no information barrier of ours: what it puts into an agent's observation or info is what that agent's
    student reads, but for ``"privileged"``.

    Args:
        make_game: Makes the AEC environment.
        role: The agent that acts here.
        players: Agent -> who sits in that seat, for every other agent.
        max_action_length: Longer texts are cut, and control characters become a mark, before the game sees them.
        max_observation_length: Bound of the observation space, in characters.

    Raises:
        ValueError: The game has no such agent, or another agent has no player.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": [], "render_fps": 4}  # type: ignore[misc]

    def __init__(
        self,
        make_game: Callable[[], Any],
        role: str,
        players: Mapping[str, Player],
        *,
        max_action_length: int = 4_096,
        max_observation_length: int = 1 << 16,
    ) -> None:
        self.game = make_game()
        self.render_mode = None
        agents = [str(agent) for agent in self.game.possible_agents]
        self.role = require_choice("role", role, agents, "AECRoleEnv")
        missing = [agent for agent in agents if agent not in (role, *players)]
        if missing:
            raise ValueError(f"AECRoleEnv expects a player for every other agent, got none for {', '.join(missing)}")
        self.players = dict(players)
        self.max_action_length = max_action_length
        self.observation_space = FreeText(max_observation_length)
        self.action_space = FreeText(max_action_length)
        self._over = True
        self._closed = False
        self._seed = 0
        self._turns: dict[str, int] = {}

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Begin a game; without a seed, one is drawn."""
        super().reset(seed=seed)
        self._seed = int(self.np_random.integers(2**31)) if seed is None else seed
        self.game.reset(seed=self._seed, options=options)
        self._turns = dict.fromkeys(map(str, self.game.possible_agents), 0)
        self._closed = self._over = False
        observation, _, ended, truncated, info = self._until_own_turn()
        self._over = ended or truncated
        return observation, info

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Play one turn of the role, and let the others play until it is its turn again.

        Raises:
            TypeError: `action` is not a `str`.
            ClosedError: The environment is closed.
            gymnasium.error.ResetNeeded: No game is running.
            PlayerError: A player raised, or returned no text.
        """
        text = clean_action(action, self.max_action_length)
        if self._closed:
            raise ClosedError("AECRoleEnv is closed, and cannot step: reset() opens it again")
        if self._over:
            raise gym.error.ResetNeeded("AECRoleEnv expects reset() before step(): no game is running")
        if self.role in self.game.agents and self.game.agent_selection == self.role and not self._is_dead():
            self._turns[self.role] += 1
            self.game.step(text)
        observation, reward, ended, truncated, info = self._until_own_turn()
        self._over = ended or truncated
        return observation, reward, ended, truncated, info

    def _is_dead(self) -> bool:
        agent = self.game.agent_selection
        return bool(self.game.terminations[agent] or self.game.truncations[agent])

    def _until_own_turn(self) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Let the others act until the role is asked, alive or for the last time."""
        while self.role in self.game.agents:
            agent = self.game.agent_selection
            observation, reward, ended, truncated, info = self.game.last()
            if agent == self.role:
                text = "" if observation is None else str(observation)
                known = self._info(info)
                return text, float(reward), bool(ended), bool(truncated), known
            self.game.step(None if ended or truncated else self._asked(str(agent), observation, info))
        return "", 0.0, True, False, self._info({})

    def _asked(self, agent: str, observation: Any, info: Mapping[str, Any]) -> str:
        """What another agent's player answers to that agent's own observation and public info."""
        draw = ("opponent", self._seed, agent)
        view, _ = split_info(str(observation), info, turn=self._turns[agent], draw=draw)
        self._turns[agent] += 1
        player = self.players[agent]
        where = f"player {type(player).__name__!r} of {agent}, seed {self._seed}"
        try:
            text = player.act(view)
        except Exception as error:
            raise PlayerError(f"{where}: expected a text, and it raised {type(error).__name__}: {error}") from error
        if not isinstance(text, str):
            raise PlayerError(f"{where}: expected a text, got {type(text).__name__}: return the action itself")
        return clean_action(text, self.max_action_length)

    def _info(self, info: Mapping[str, Any]) -> dict[str, Any]:
        return {"is_action_valid": True, "role": self.role, **info}

    def close(self) -> None:
        """Close the game; a second call does nothing."""
        if not self._closed:
            self.game.close()
        self._over = self._closed = True
