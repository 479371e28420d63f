"""Games of several roles on the command line: who sits where."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sdar_envs

if TYPE_CHECKING:
    from agents.base import Agent
    from sdar_envs.privileged import StudentView


@dataclass
class AgentPlayer:
    """An agent in a seat: it reads the views of that seat, as any player does.

    Args:
        agent: A run's or model's agent, which plays without privileged information.
    """

    agent: Agent

    def act(self, view: StudentView) -> str:
        """The text of the next turn."""
        if view.turn == 0 and (release := getattr(self.agent, "release", None)) is not None:
            release([view.slot])
        return self.agent.act([view])[0].text

    def __deepcopy__(self, memo: dict[int, Any]) -> AgentPlayer:
        """Itself: Gymnasium copies the arguments of environments, and a model is no argument to copy."""
        return self


def seat_options(
    env_id: str, role: str | None, against: str | None, *, seed: int = 0, trust_remote_code: bool = False
) -> Mapping[str, Any]:
    """The environment's keyword arguments for a seat, and for who sits in the other ones.

    Args:
        env_id: The environment, a seat of a game if `role` or `against` is given.
        role: Which seat; None for the environment's own default.
        against: The name of a scripted player, a run directory or a model; None for the environment's own default.
        seed: Of a random agent's choices.
        trust_remote_code: Whether code that a model brings may run.

    Raises:
        ValueError: The environment is no seat of a game, or there is no such player.
    """
    if role is None and against is None:
        return {}
    entry = sdar_envs.WORLDS.get(env_id)
    if entry is None or entry.game_id is None:
        seats = ", ".join(seat.env_id for seat in sdar_envs.GAMES.values())
        raise ValueError(f"--as and --against name seats of a game of several roles ({seats}), and {env_id} is none")
    options: dict[str, Any] = {} if role is None else {"role": role}
    if against is not None:
        options["opponent"] = _opponent(env_id, against, seed, trust_remote_code)
    return options


def _opponent(env_id: str, who: str, seed: int, trust_remote_code: bool) -> str | AgentPlayer:
    """A scripted player stays a name; a run directory or a model becomes an agent in the seat."""
    from ..rollout.environments import EnvironmentSource
    from .players import environment_of, is_run_directory, load_player

    if not is_run_directory(who) and "/" not in who:
        return who  # the environment knows its scripted players
    own_env, own_kwargs = environment_of(who, env_id, {})
    source = EnvironmentSource(own_env, own_kwargs)
    try:
        return AgentPlayer(load_player(who, source, seed=seed, trust_remote_code=trust_remote_code).agent)
    finally:
        source.close()
