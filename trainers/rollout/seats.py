"""The seats of a game in training: who learns, who sits opposite, and the games that are played.

The student plays every role that learns, with one set of parameters. The other seats are filled by opponents that are
drawn once per *group*: the members of a group meet the same opponent, else the group's baseline would measure
opponents.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from agents.base import Agent
from agents.teacher import split_privilege
from sdar_envs.choices import require_choice
from sdar_envs.multiagent.game import TextGame
from sdar_envs.multiagent.player import Player
from sdar_envs.multiagent.role import RoleEnv
from sdar_envs.randomness import counted_generator

from ..options import Options
from ..options.seats import EVERY_ROLE
from .collect import Rollout, TaskDraw
from .environments import EnvironmentSource
from .games import GamePlan, ScriptedSeats, Seating, collect_games
from .tasks import group_key

FROZEN = "model:"
SCRIPTED = "scripted:"
# What a teacher may not be told where the other side learns: actions that are best against a *named* opponent.
BEST_RESPONSES = ("plan", "next_action")


def seat_env(source: EnvironmentSource) -> RoleEnv:
    """An environment of a source, which must be a seat of a game.

    Raises:
        ValueError: It is none.
    """
    env = source.make("train").unwrapped
    if not isinstance(env, RoleEnv):
        raise ValueError(
            f"roles are seats of a game of several roles, and {source.name} is none: leave --roles out, or choose an "
            "environment such as sdar/Haggle-v0"
        )
    return env


def chosen_roles(names: Sequence[str], roles: Sequence[str], where: str) -> tuple[str, ...]:
    """Roles by their names, in the game's order; ``both`` and ``all`` stand for every role.

    Raises:
        ValueError: An unknown role; the nearest is named.
    """
    if any(name in EVERY_ROLE for name in names):
        return tuple(roles)
    for name in names:
        require_choice("role", name, (*roles, *EVERY_ROLE), where)
    return tuple(role for role in roles if role in names)


@dataclass(frozen=True, slots=True)
class Seats:
    """Who sits where in a run's training games.

    Attributes:
        env: A seat of the game, which knows its scripted players.
        learned: The roles that the student plays.
        student: Plays them.
        opponents: Names of who may sit in the other seats.
        frozen: The agents of those opponents that are models, by name.
    """

    env: RoleEnv
    learned: tuple[str, ...]
    student: Agent
    opponents: tuple[str, ...]
    frozen: Mapping[str, Agent]

    @classmethod
    def of(
        cls,
        source: EnvironmentSource,
        student: Agent,
        options: Options,
        frozen: Mapping[str, Agent],
    ) -> Seats:
        """The seats that options ask for.

        Raises:
            ValueError: The environment is no seat of a game; there is no such role or scripted player; a role is to be
                taught that does not learn; or a teacher is to name the best actions against an opponent that changes.
        """
        env = seat_env(source)
        learned = chosen_roles(options.roles, env.game.roles, env.env_id)
        taught = chosen_roles(options.teach_roles, env.game.roles, env.env_id)
        if idle := [role for role in taught if role not in learned]:
            raise ValueError(f"teach_roles: expected roles that learn ({', '.join(learned)}), got {', '.join(idle)}")
        told = [shown for shown in split_privilege(options.privilege) if shown in BEST_RESPONSES]
        if len(learned) > 1 and told:
            raise ValueError(
                f"privilege={options.privilege!r} names the best actions against a scripted opponent, and in self-play "
                "the opponent learns and is none: choose skill, facts or hints, or let one role learn"
            )
        for role in env.game.roles:
            for name in options.opponents if role not in learned else ():
                if name not in frozen:
                    env.seat_player(name.removeprefix(SCRIPTED), role)
        return cls(env, learned, student, options.opponents, frozen)

    def seating(self, scripted: dict[tuple[str, str], ScriptedSeats], draw: TaskDraw) -> Seating:
        """Who sits where in one game."""
        others = [role for role in self.env.game.roles if role not in self.learned]
        seated: dict[str, Agent | ScriptedSeats] = dict.fromkeys(self.learned, self.student)
        for role in others:
            key = group_key(draw.draw) or draw.draw
            rng = counted_generator("opponent", role, *key)
            name = self.opponents[int(rng.integers(len(self.opponents)))]
            if name in self.frozen:
                seated[role] = self.frozen[name]
                continue
            if (name, role) not in scripted:
                make: Callable[[], Player] = partial(self.env.seat_player, name.removeprefix(SCRIPTED), role)
                scripted[name, role] = ScriptedSeats(name, make)
            seated[role] = scripted[name, role]
        return seated

    def play(
        self, games: Sequence[TextGame], plan: GamePlan, draws: Sequence[TaskDraw], **options: Any
    ) -> list[Rollout]:
        """Play a game per draw."""
        scripted: dict[tuple[str, str], ScriptedSeats] = {}
        return collect_games(games, draws, partial(self.seating, scripted), plan, **options)
