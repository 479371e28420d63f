"""One seat of Haggle as a Gymnasium environment: sdar/Haggle-v0."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from ... import HAGGLE
from ...choices import require_number
from ...core import Transition
from ...wrong_actions import UNKNOWN, WrongActions, by_scores
from ..player import Player
from ..role import RoleEnv
from .game import Haggle
from .players import make_player
from .regularities import regularities
from .tables import REGULARITY, SHOPPER


class HaggleEnv(RoleEnv):
    """A shopper or a seller who bargains with a scripted other side.

    Args:
        split: ``train``, ``valid`` or ``test``, or an alias.
        role: ``shopper_0``, ``seller_0``, or ``both``: the seat then changes with the number of the task.
        opponent: Who sits in the other seat: ``limiter`` takes whatever its limit allows, asks for the extreme, and
            leaves when its limit is missed by too much; ``random``, ``greedy``, ``ladder``, ``safe``, ``honest``,
            ``informed`` (which is told the regularities) and ``silent`` are other scripts. A player, too, or a mapping
            from roles.
        size: ``small`` for tiny models: a grid of ten dollars and a regularity per kind of thing. ``full``: lots of the
            generated store at whole dollars, and a regularity per department.
        talk: Whether words behind a colon are passed on to the other side.
        regularity: Probability with which a task's limits follow the regularities.
        world_seed: Which regularities.
        stale: Corrupted share: of so many things the skill statements are wrong; the world does not change with it.
        stale_seed: Which things.
        retrieval: How ``info["privileged"]["skills"]`` is chosen, see `SkillBank.retrieve`.
        patience: Levels by which an offer may miss the limiter's limit before it leaves; by default the size's own.
        horizon: Turns of each side until truncation; by default the size's own.
        expose_privileged: Whether `info` has ``"privileged"``.
        render_mode: ``"ansi"`` or ``"human"``.

    Raises:
        ValueError: An unknown choice or a number out of range.
    """

    env_id: ClassVar[str] = HAGGLE.env_id

    def __init__(
        self,
        split: str = "train",
        role: str = SHOPPER,
        opponent: str | Player | Mapping[str, str | Player] = "limiter",
        size: str = "small",
        talk: bool = True,
        regularity: float = REGULARITY,
        world_seed: int = 0,
        stale: float = 0.0,
        stale_seed: int = 0,
        retrieval: str = "task_type",
        patience: int | None = None,
        horizon: int | None = None,
        expose_privileged: bool = True,
        render_mode: str | None = None,
    ) -> None:
        if patience is not None:
            require_number("patience", patience, self.env_id, low=0, whole=True)
        self.patience = patience
        self._reachable: list[float] = []  # the best share, at the beginning and after each turn
        game = Haggle(
            split=split,
            size=size,
            talk=talk,
            regularity=regularity,
            world_seed=world_seed,
            stale=stale,
            stale_seed=stale_seed,
            retrieval=retrieval,
            horizon=horizon,
        )
        super().__init__(
            game, role=role, opponent=opponent, expose_privileged=expose_privileged, render_mode=render_mode
        )

    def _begin(self, task_id: str) -> str:
        observation = super()._begin(task_id)
        self._reachable = [self._best_share()]
        return observation

    def _act(self, action: str) -> Transition:
        transition = super()._act(action)
        self._reachable.append(self._best_share())
        return transition

    def _best_share(self) -> float:
        assert isinstance(self.game, Haggle)
        return self.game.reachable(self.seat)

    def _wrong_actions(self) -> WrongActions:
        # What can be reached is known of the usual opponent alone, which takes whatever its limit allows. There are no
        # detours: every offer but the best is a loss.
        other = next(role for role in self.game.roles if role != self.seat)
        return WrongActions(None, by_scores(self._reachable)) if self.opponents[other] == "limiter" else UNKNOWN

    def _make_player(self, name: str, role: str) -> Player:
        # What a player is told is true: `stale` is about what a learner's teacher is told.
        assert isinstance(self.game, Haggle)
        known = regularities(self.game.size, self.game.world_seed).statements(role)
        return make_player(name, [statement.compact_line() for statement in known], patience=self.patience)
