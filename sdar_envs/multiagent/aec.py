"""A `TextGame` as a PettingZoo environment: agents act one after another (AEC).

Only this file, `parallel` and the modules named ``*_v0`` import PettingZoo.

Three habits of PettingZoo environments are left out on purpose. No `EzPickle`: a copy or pickle of it in mid-game would
have lost the game. No `AssertOutOfBoundsWrapper`: too long a text would raise, and agent text never raises here. And
reset options other than ``task_id`` are ignored, because PettingZoo's own `api_test` passes one that no environment
knows (the Gymnasium view of a role refuses them).
"""

from __future__ import annotations

import sys
from typing import Any

import gymnasium as gym
from gymnasium.utils import seeding
from pettingzoo import AECEnv

from ..choices import require_bool, require_choice
from ..spaces import FreeText
from .game import TextGame
from .text import Text, bounded

MAX_OBSERVATION_LENGTH = 16_384


class TextGameAEC(AECEnv[str, Text, str | None]):  # type: ignore[misc]  # PettingZoo ships no types
    """A text game for PettingZoo.

    Args:
        game: The game; it belongs to this environment.
        expose_privileged: Whether the agents' infos have ``"privileged"``. Observations are byte-identical either way.
        render_mode: ``"ansi"`` returns the game so far as text, ``"human"`` prints what is new.

    Raises:
        ValueError: An unknown render mode, or a value that is no bool.
    """

    def __init__(self, game: TextGame, *, expose_privileged: bool = True, render_mode: str | None = None) -> None:
        super().__init__()
        modes = ["ansi", "human"]
        require_bool("expose_privileged", expose_privileged, game.game_id)
        if render_mode is not None:
            require_choice("render_mode", render_mode, modes, game.game_id)
        # Of the instance: some wrappers append to the list.
        self.metadata = {"name": game.name, "render_modes": modes, "is_parallelizable": False, "render_fps": 4}
        self.game = game
        self.expose_privileged = expose_privileged
        self.render_mode = render_mode
        self.possible_agents = list(game.roles)
        self.agents: list[str] = []
        self._observation_spaces = {role: FreeText(MAX_OBSERVATION_LENGTH) for role in game.roles}
        self._action_spaces = {role: FreeText(game.max_action_length) for role in game.roles}
        self._np_random, _ = seeding.np_random(None)
        self._shown = 0  # acts that "human" has printed

    @property
    def world_version(self) -> str:
        """The version of everything that scores depend on."""
        return self.game.world_version

    def task_ids(self, split: str | None = None) -> Any:
        """The tasks of a split, in a fixed order."""
        return self.game.task_ids(split)

    def observation_space(self, agent: str) -> gym.Space[Any]:
        """The space of a role's observations; the same object at every call."""
        return self._observation_spaces[agent]

    def action_space(self, agent: str) -> gym.Space[Any]:
        """The space of a role's actions; the same object at every call."""
        return self._action_spaces[agent]

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> None:
        """Begin the game of ``options["task_id"]``, or of a task drawn from the split; other options are ignored.

        Raises:
            ValueError: There is no such task.
        """
        if seed is not None:
            self._np_random, _ = seeding.np_random(seed)
        task_id = (options or {}).get("task_id")
        if task_id is None:
            tasks = self.game.task_ids()
            task_id = tasks[int(self._np_random.integers(len(tasks)))]
        self.game.begin(str(task_id))
        self._shown = 0
        self.agents = list(self.possible_agents)
        self.agent_selection = self.game.turn
        self._skip_agent_selection = None
        self._cumulative_rewards = dict.fromkeys(self.agents, 0.0)
        self._take_over()
        if self.render_mode == "human":
            self.render()

    def observe(self, agent: str) -> Text:
        """What is new to a role since its own last turn."""
        return bounded(self.game.observe(agent), MAX_OBSERVATION_LENGTH)

    def step(self, action: str | None) -> None:
        """Play the turn of `agent_selection`; a role whose game is over takes None, and leaves.

        Raises:
            TypeError: The action of a playing role is not a `str`.
        """
        agent = self.agent_selection
        if self.terminations[agent] or self.truncations[agent]:
            self._was_dead_step(action)
            return
        self.game.act(agent, action)  # type: ignore[arg-type]  # what is no text is refused there
        self._cumulative_rewards[agent] = 0.0
        self._take_over()
        self._accumulate_rewards()
        self.agent_selection = self.game.turn
        self._deads_step_first()
        if self.render_mode == "human":
            self.render()

    def _take_over(self) -> None:
        """Read rewards, ends and infos off the game; all of them are built afresh."""
        game = self.game
        self.rewards = {role: game.rewards[role] for role in self.agents}
        self.terminations = dict.fromkeys(self.agents, game.over and not game.truncated)
        self.truncations = dict.fromkeys(self.agents, game.truncated)
        self.infos = {role: game.info(role, expose_privileged=self.expose_privileged) for role in self.agents}

    def render(self) -> str | None:
        """The game so far: returned in ``"ansi"`` mode, what is new printed in ``"human"`` mode."""
        if self.render_mode is None:
            gym.logger.warn(f'{self.game.game_id}.render() needs render_mode="ansi" or "human"')
            return None
        lines = [f"{role}: {text}" for role, text in self.game.log]
        if self.render_mode == "ansi":
            return "\n".join([self.game.task_id, *lines])
        new = lines[self._shown :] if self._shown else [self.game.task_id, *lines]
        self._shown = len(lines)
        if new:
            sys.stdout.write("\n".join(new) + "\n")
        return None

    def close(self) -> None:
        """Nothing is held that would have to be released."""
