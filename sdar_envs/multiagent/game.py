"""TextGame: the contract of a text world with several roles, with neither Gymnasium nor PettingZoo in it.

Roles act in turns. What a role may read is `observe(role)` and `public(role)`; what only its teacher may read is
`privileged(role)`, and in a world of several roles that is mostly what the others know. The information barrier holds
for each role: nothing of ``privileged(r)`` is in an observation, public field or log of ``r``, and nothing private of
one role reaches another except by what it says and does.

A subclass implements `task_ids`, `_begin`, `_act`, `_public`, `_privileged`, `skill_bank` and `world_version`. Adapters
(`aec`, `parallel`, `role`) translate; scripted and learned players get a `StudentView` of their own role and nothing
else (`view`).
"""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import Any, ClassVar

from ..choices import require_choice, require_number
from ..core import PublicFields, clean_action, resolve_split
from ..privileged import PrivilegedFields, StudentView, split_info
from ..randomness import Key
from ..skills import SkillBank
from ..wrong_actions import UNKNOWN, WrongActions


class GameOverError(RuntimeError):
    """An act in a game that has ended, or that has not begun."""


class TextGame(abc.ABC):
    """A text world with several roles that act in turns.

    Args:
        split: ``train``, ``valid`` or ``test``, or a published alias.
        horizon: Turns of each role until the game is truncated.

    Attributes:
        turn: The role whose turn it is; of a game that is over, the role that acted last.
        over: Whether the game has ended.
        truncated: Whether it ended because every role's turns are used up.
        rewards: What the last act gave each role; their sums over a game are the returns.
        turns_taken: How often each role has acted.
        task_id: The task that is played; "" before the first.

    Raises:
        ValueError: An unknown split, or a horizon below 1.
    """

    # What `pettingzoo.make` takes, and the name in PettingZoo's metadata.
    game_id: ClassVar[str] = "sdar/game-v0"
    name: ClassVar[str] = "game_v0"
    roles: ClassVar[tuple[str, ...]] = ()
    max_action_length: ClassVar[int] = 512
    # Attributes that a pickle or a copy leaves out, because they cannot be pickled: the game is then played again from
    # its task and its log. Their values before the first game are attributes of the class.
    rebuilt: ClassVar[frozenset[str]] = frozenset()
    # What stands between two pieces of news in an observation.
    separator: ClassVar[str] = " "

    def __init__(self, *, split: str = "train", horizon: int) -> None:
        require_number("horizon", horizon, self.game_id, low=1, whole=True)
        self.split = resolve_split(split, self.game_id)
        self.horizon = horizon
        self.task_id = ""
        self.turn = self.roles[0]
        self.over = True
        self.truncated = False
        self.rewards: dict[str, float] = dict.fromkeys(self.roles, 0.0)
        self.turns_taken: dict[str, int] = dict.fromkeys(self.roles, 0)
        self.log: list[tuple[str, str]] = []  # (role, cleaned text) of every act of this game
        self._understood: dict[str, bool] = dict.fromkeys(self.roles, True)
        self._news: dict[str, list[str]] = {role: [] for role in self.roles}

    # What a world implements.

    @abc.abstractmethod
    def task_ids(self, split: str | None = None) -> Sequence[str]:
        """The enumerable tasks of a split (this game's own by default), in a fixed order."""

    @abc.abstractmethod
    def _begin(self, task_id: str) -> str:
        """Load a task, `tell` every role how it begins, and return the role that opens.

        Raises:
            ValueError: There is no such task; the message says what a task id looks like.
        """

    @abc.abstractmethod
    def _act(self, role: str, text: str) -> bool:
        """Play one cleaned action of the role whose turn it is. Never raises on text.

        Sets `over` where it ends the game, fills `rewards`, and tells the roles what they may know of it.

        Returns:
            Whether the text was understood; False is an ordinary turn in which nothing was done.
        """

    @abc.abstractmethod
    def _public(self, role: str) -> PublicFields:
        """The public fields of a role's present state, built afresh."""

    @abc.abstractmethod
    def _privileged(self, role: str) -> PrivilegedFields:
        """The fields of a role's teacher in the present state, built afresh."""

    @abc.abstractmethod
    def skill_bank(self, role: str) -> SkillBank:
        """What a role's teacher retrieves skills from: never the bank of another role.

        Raises:
            ValueError: There is no such role.
        """

    @property
    @abc.abstractmethod
    def world_version(self) -> str:
        """The version of everything that scores depend on, scripted players included."""

    def cluster_of(self, task_id: str) -> str:
        """What a task shares with others, so that their success rates are not independent; the task itself here."""
        return task_id

    def wrong_actions(self, role: str) -> WrongActions:
        """The first wrong actions of a role, numbered in its own turns, in a game that is over.

        Raises:
            ValueError: There is no such role.
            RuntimeError: The game is still running: nobody who acts in it may know.
        """
        self._require_role(role)
        if not self.over:
            raise RuntimeError(f"{self.game_id} tells wrong_actions() of a game that is over: this one is running")
        return self._wrong_actions(role)

    def _wrong_actions(self, role: str) -> WrongActions:
        """The same; a world with a planner overrides this. It leaves the game as it is."""
        return UNKNOWN

    @abc.abstractmethod
    def _out_of_time(self) -> None:
        """Tell the roles that the game is truncated."""

    # Playing.

    def begin(self, task_id: str) -> None:
        """Begin a task; whatever was played before leaves no trace.

        Raises:
            ValueError: There is no such task.
        """
        self.over = True  # stays so when the task cannot be loaded
        self.truncated = False
        self.rewards = dict.fromkeys(self.roles, 0.0)
        self.turns_taken = dict.fromkeys(self.roles, 0)
        self.log = []
        self._understood = dict.fromkeys(self.roles, True)
        self._news = {role: [] for role in self.roles}
        opener = self._begin(task_id)
        self.task_id = task_id
        self.turn = opener
        self.over = False

    def observe(self, role: str) -> str:
        """Everything that is new to a role since its own last turn. It changes nothing, and can be repeated.

        Raises:
            ValueError: There is no such role.
        """
        self._require_role(role)
        return self.separator.join(self._news[role])

    def act(self, role: str, text: str) -> bool:
        """Play one turn; any text is an ordinary turn.

        Returns:
            Whether the text was understood.

        Raises:
            TypeError: `text` is not a `str`.
            ValueError: There is no such role, or it is another's turn.
            GameOverError: The game has ended, or has not begun.
        """
        self._require_role(role)
        cleaned = clean_action(text, self.max_action_length)
        if self.over:
            raise GameOverError(f"{self.game_id} expects begin() before act(): no game is running")
        if role != self.turn:
            raise ValueError(f"{self.game_id} expects an action of {self.turn}, whose turn it is, got one of {role}")
        self.rewards = dict.fromkeys(self.roles, 0.0)
        self._news[role] = []
        self.log.append((role, cleaned))
        self.turns_taken[role] += 1
        understood = self._understood[role] = self._act(role, cleaned)
        if not self.over:
            if all(taken >= self.horizon for taken in self.turns_taken.values()):
                self.over = self.truncated = True
                self._out_of_time()
            else:
                self.turn = self.roles[(self.roles.index(role) + 1) % len(self.roles)]
        return understood

    def tell(self, role: str, news: str) -> None:
        """Add to what a role reads at its next turn; nothing for ""."""
        if news:
            self._news[role].append(news)

    # What each side may read.

    def public(self, role: str) -> PublicFields:
        """The public fields of a role: what it may read besides its observation.

        Raises:
            ValueError: There is no such role.
        """
        self._require_role(role)
        return self._public(role)

    def privileged(self, role: str) -> PrivilegedFields:
        """What only the teacher of a role may read.

        Raises:
            ValueError: There is no such role.
        """
        self._require_role(role)
        return self._privileged(role)

    def info(self, role: str, *, expose_privileged: bool = False) -> dict[str, Any]:
        """A role's `info` as the contract of `core.py` has it, with the key ``role``; built afresh."""
        info: dict[str, Any] = {
            "task_id": self.task_id,
            "is_action_valid": self._understood[role],
            "role": role,
            **self.public(role),
        }
        if expose_privileged:
            info["privileged"] = self.privileged(role)
        return info

    def view(self, role: str, *, slot: int = 0, draw: tuple[Key, ...] = ()) -> StudentView:
        """What a player of a role is handed: its own observation and public fields, and nothing else."""
        known = self.info(role)
        return split_info(self.observe(role), known, slot=slot, turn=self.turns_taken[role], draw=draw)[0]

    def _require_role(self, role: str) -> None:
        require_choice("role", role, self.roles, self.game_id)

    # Copies and pickles, in mid-game too.

    def __getstate__(self) -> dict[str, Any]:
        """Everything but what is `rebuilt`."""
        return {name: value for name, value in self.__dict__.items() if name not in self.rebuilt}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take over the attributes of another game, and play it again where some had to be left out."""
        self.__dict__.update(state)
        if self.rebuilt and self.task_id:
            log = self.log
            self.begin(self.task_id)
            for role, text in log:
                self.act(role, text)
