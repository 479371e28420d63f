"""TextArena's games as AEC environments (the extra ``sdar-gym[textarena]``; made with version 0.7.4).

    from sdar_envs.multiagent.textarena import TextArenaAEC
    env = TextArenaAEC("KuhnPoker-v0")
    seat = AECRoleEnv(lambda: TextArenaAEC("KuhnPoker-v0"), "player_0", {"player_1": my_player})

Their games seed and draw from Python's *global* random stream (some from NumPy's, too), so two games that run in turns
disturb each other, and a game disturbs its caller. PettingZoo's `seed_test` does not notice. Here each game has streams
of its own, which are swapped in around every call and out again. Threads would see the swap: play one batch per
process.

There is no information barrier of ours in these games: what a game tells a player is what its student reads. A function
`privileged` may read the game's state for a role's teacher; whoever writes it is responsible for what it returns.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.utils import seeding
from pettingzoo import AECEnv

from ..choices import require_number
from ..core import clean_action
from ..skills import SkillBank
from ..spaces import FreeText
from .text import Text, bounded

MAX_ACTION_LENGTH = 4_096
MAX_OBSERVATION_LENGTH = 1 << 16

# (the game, role) -> what the role's teacher may know, as plain JSON values.
PrivilegedOf = Callable[[Any, str], Mapping[str, Any]]


class TextArenaAEC(AECEnv[str, Text, str | None]):  # type: ignore[misc]  # PettingZoo ships no types
    """One of TextArena's games.

    A player's observation is all that the game has told it since its own last turn. Rewards come at the end. An
    invalid move may end a game, with a loss for its author and a win for the others: in self-play that pays a player
    for waiting for malformed text, so ``infos[agent]["invalid_move"]`` says who made one; report such wins apart.

    Args:
        game: TextArena's id, e.g. ``KuhnPoker-v0``, or a function that makes a game.
        num_players: How many play.
        privileged: What a role's teacher may know; None for games without a privileged side.

    Raises:
        ImportError: TextArena is not installed, and `game` is an id.
        ValueError: Fewer than one player.
    """

    def __init__(
        self, game: str | Callable[[], Any], *, num_players: int = 2, privileged: PrivilegedOf | None = None
    ) -> None:
        super().__init__()
        require_number("num_players", num_players, "TextArenaAEC", low=1, whole=True)
        self.game_id = game if isinstance(game, str) else getattr(game, "__name__", type(game).__name__)
        self._make = _maker(game) if isinstance(game, str) else game
        self._privileged = privileged
        self.metadata = {"name": f"textarena_{self.game_id}", "render_modes": ["ansi"], "is_parallelizable": False}
        self.render_mode = "ansi"
        self.possible_agents = [f"player_{number}" for number in range(num_players)]
        self.agents: list[str] = []
        self._observation_spaces = {agent: FreeText(MAX_OBSERVATION_LENGTH) for agent in self.possible_agents}
        self._action_spaces = {agent: FreeText(MAX_ACTION_LENGTH) for agent in self.possible_agents}
        self._np_random, _ = seeding.np_random(None)
        self._streams: tuple[Any, Any] = (random.Random(0).getstate(), np.random.RandomState(0).get_state())
        self.game: Any = None

    def observation_space(self, agent: str) -> gym.Space[Any]:
        """The space of a player's observations; the same object at every call."""
        return self._observation_spaces[agent]

    def action_space(self, agent: str) -> gym.Space[Any]:
        """The space of a player's actions; the same object at every call."""
        return self._action_spaces[agent]

    @contextmanager
    def _own_streams(self) -> Iterator[None]:
        """Let the game draw from streams of its own, and leave those of everybody else as they were."""
        outer = random.getstate(), np.random.get_state()
        random.setstate(self._streams[0])
        np.random.set_state(self._streams[1])
        try:
            yield
        finally:
            self._streams = random.getstate(), np.random.get_state()
            random.setstate(outer[0])
            np.random.set_state(outer[1])

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> None:
        """Begin a game; options are ignored. Without a seed, one is drawn."""
        if seed is not None:
            self._np_random, _ = seeding.np_random(seed)
        drawn = int(self._np_random.integers(2**31)) if seed is None else seed
        self._streams = (random.Random(drawn).getstate(), np.random.RandomState(drawn % 2**32).get_state())
        with self._own_streams():
            self.game = self._make()
            self.game.reset(num_players=len(self.possible_agents), seed=drawn)
        self.agents = list(self.possible_agents)
        self._skip_agent_selection = None
        self.rewards = dict.fromkeys(self.agents, 0.0)
        self._cumulative_rewards = dict.fromkeys(self.agents, 0.0)
        self.terminations = dict.fromkeys(self.agents, False)
        self.truncations = dict.fromkeys(self.agents, False)
        self._texts = {agent: Text("") for agent in self.agents}
        self._valid = dict.fromkeys(self.agents, True)
        self._invalid_moves = dict.fromkeys(self.agents, False)
        self._task = str(drawn)
        self._read()

    def _read(self) -> None:
        """Read once, and keep, what the player whose turn it is has been told; games may forget it by being read."""
        with self._own_streams():
            number, told = self.game.get_observation()
        self.agent_selection = self.possible_agents[int(number)]
        self._texts[self.agent_selection] = bounded(_as_text(told), MAX_OBSERVATION_LENGTH)
        self._refresh_infos()

    def _refresh_infos(self) -> None:
        self.infos = {agent: self._info(agent) for agent in self.agents}

    def _info(self, agent: str) -> dict[str, Any]:
        info: dict[str, Any] = {
            "task_id": self._task,
            "task_type": self.game_id,
            "role": agent,
            "is_action_valid": self._valid[agent],
            "invalid_move": self._invalid_moves[agent],
        }
        if self._privileged is not None:
            skills = SkillBank.empty().retrieve("none", task_type="", keys=())
            facts = dict(self._privileged(self.game, agent))
            info["privileged"] = {
                "task_type": self.game_id,
                "plan": [],
                "next_action": "",
                "hints": [],
                "facts": facts,
                "skills": skills,
            }
        return info

    def observe(self, agent: str) -> Text:
        """What a player was told at its last turn."""
        return self._texts[agent]

    def step(self, action: str | None) -> None:
        """Play the turn of `agent_selection`; a player whose game is over takes None, and leaves.

        Raises:
            TypeError: The action of a playing agent is not a `str`.
        """
        agent = self.agent_selection
        if self.terminations[agent] or self.truncations[agent]:
            self._was_dead_step(action)
            return
        text = clean_action(action, MAX_ACTION_LENGTH)
        self.rewards = dict.fromkeys(self.agents, 0.0)
        self._cumulative_rewards[agent] = 0.0
        with self._own_streams():
            done, _ = self.game.step(text)
        if done:
            self._end()
        else:
            self._read()
        self._accumulate_rewards()
        self._deads_step_first()

    def _end(self) -> None:
        """Take over the rewards, which come at the end alone, and who made an invalid move."""
        with self._own_streams():
            rewards, about = self.game.close()
        for number, agent in enumerate(self.possible_agents):
            self.rewards[agent] = float((rewards or {}).get(number, 0.0))
            self._invalid_moves[agent] = bool((about or {}).get(number, {}).get("invalid_move", False))
            self._valid[agent] = not self._invalid_moves[agent]
        self.terminations = dict.fromkeys(self.agents, True)
        self._refresh_infos()

    def render(self) -> str:
        """What the player whose turn it is was told."""
        return str(self._texts.get(self.agent_selection, ""))

    def close(self) -> None:
        """Nothing is held that would have to be released."""


def _maker(game_id: str) -> Callable[[], Any]:
    try:
        import textarena
    except ImportError as error:
        raise ImportError(
            f"{game_id} is expected to come from TextArena, which is not installed: "
            'pip install "sdar-gym[textarena]", or pass a function that makes a game'
        ) from error

    def make() -> Any:
        return textarena.make(game_id)

    return make


def _as_text(told: Any) -> str:
    """An observation of TextArena's: a text, or messages of (sender, text, kind)."""
    if isinstance(told, str):
        return told
    return "\n".join(str(message[1]) for message in told)
