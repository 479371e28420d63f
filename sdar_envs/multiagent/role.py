"""RoleEnv: one seat of a `TextGame` as an ordinary Gymnasium text world, with players in the other seats.

It is a `TextEnv`, so everything that trains, plays or checks a world takes it as it is. The other seats move inside
`reset` and `step`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..choices import require_choice, unknown_choice
from ..core import PublicFields, TextEnv, Transition
from ..privileged import PrivilegedFields
from ..skills import SkillBank
from ..wrong_actions import WrongActions
from .game import TextGame
from .player import Player
from .playing import play_seat

# The word for a seat that changes with the task: one role in every task, all of them in turn.
BOTH = "both"


class RoleEnv(TextEnv):
    """One seat of a game.

    Args:
        game: The game; it belongs to this environment.
        role: The seat that acts here, or ``both``: the roles take turns with the number of the task.
        opponent: Who sits in the other seats: a name that `_make_player` knows, a `Player`, or a mapping from roles to
            either of them.
        expose_privileged: Whether `info` has ``"privileged"``.
        render_mode: ``"ansi"`` or ``"human"``.

    Attributes:
        seat: The role that acts in the present task.
        opponents: Role -> name of the player that sits there when the seat is another.

    Raises:
        ValueError: An unknown role or player, or a mapping that leaves a seat empty.
    """

    def __init__(
        self,
        game: TextGame,
        *,
        role: str,
        opponent: str | Player | Mapping[str, str | Player],
        expose_privileged: bool = True,
        render_mode: str | None = None,
    ) -> None:
        self.game = game
        self.role = require_choice("role", role, (*game.roles, BOTH), self.env_id)
        super().__init__(
            split=game.split, horizon=game.horizon, expose_privileged=expose_privileged, render_mode=render_mode
        )
        self.seat = game.roles[0] if role == BOTH else role
        # With a role that changes, every seat is another's now and then.
        self.opponents: dict[str, str] = {}
        self._players: dict[str, Player] = {}
        for other in game.roles:
            if other != role:
                who = opponent.get(other) if isinstance(opponent, Mapping) else opponent
                if who is None:
                    raise ValueError(f"{self.env_id} expects an opponent for {other}, got none in {opponent!r:.100}")
                self.opponents[other] = who if isinstance(who, str) else type(who).__name__
                self._players[other] = self._make_player(who, other) if isinstance(who, str) else who

    def seat_player(self, name: str, role: str) -> Player:
        """A new scripted player for a seat of this game.

        Raises:
            ValueError: There is no such player or role.
        """
        return self._make_player(name, require_choice("role", role, self.game.roles, self.env_id))

    def _make_player(self, name: str, role: str) -> Player:
        """The scripted player of a name; a world that has some overrides this.

        Raises:
            ValueError: There is no such player.
        """
        raise unknown_choice("opponent", name, [], self.env_id)

    @property
    def world_version(self) -> str:  # type: ignore[override]  # of the game, whose size decides
        """The version of everything that scores depend on, scripted players included."""
        return self.game.world_version

    @property
    def skill_bank(self) -> SkillBank:
        """The bank of the seat.

        With ``role="both"``, the banks of all roles in one: their statements have keys of their own role.
        """
        if self.role != BOTH:
            return self.game.skill_bank(self.role)
        return joined_bank([self.game.skill_bank(role) for role in self.game.roles])

    def task_ids(self, split: str | None = None) -> Sequence[str]:
        """The tasks of a split, in a fixed order."""
        return self.game.task_ids(split)

    def cluster_of(self, task_id: str) -> str:
        """What a task shares with others, so that their success rates are not independent."""
        return self.game.cluster_of(task_id)

    def seat_of(self, task_id: str) -> str:
        """The role that is acted here in a task."""
        if self.role != BOTH:
            return self.role
        digits = task_id.rpartition(":")[2]
        return self.game.roles[int(digits) % len(self.game.roles) if digits.isdecimal() else 0]

    def _begin(self, task_id: str) -> str:
        self.game.begin(task_id)
        self.seat = self.seat_of(task_id)
        self._others_move()
        return self.game.observe(self.seat)

    def _act(self, action: str) -> Transition:
        game = self.game
        if game.over:  # the others ended the game before the first turn of this seat: nothing is left to decide
            return Transition(game.observe(self.seat), 0.0, not game.truncated, False)
        understood = game.act(self.seat, action)
        reward = game.rewards[self.seat] + self._others_move()
        ended = self.game.over and not self.game.truncated
        return Transition(game.observe(self.seat), reward, ended, understood)

    def _others_move(self) -> float:
        """Let the other seats act until it is this seat's turn; what that gave to this seat."""
        game, gained = self.game, 0.0
        while not game.over and game.turn != self.seat:
            other = game.turn
            play_seat(self._players[other], game, name=self.opponents[other], draw=("opponent", game.task_id, other))
            gained += game.rewards[self.seat]
        return gained

    def _wrong_actions(self) -> WrongActions:
        return self.game.wrong_actions(self.seat)

    def _public(self) -> PublicFields:
        return {**self.game.public(self.seat), "role": self.seat}  # type: ignore[typeddict-unknown-key]

    def _privileged(self) -> PrivilegedFields:
        return self.game.privileged(self.seat)


def joined_bank(banks: Sequence[SkillBank]) -> SkillBank:
    """One bank with the statements of several, whose prose is the same and whose ids and keys differ."""
    first = banks[0]
    statements = [statement for bank in banks for statement in bank.statements]
    return SkillBank(first.general, first.tasks, statements)
