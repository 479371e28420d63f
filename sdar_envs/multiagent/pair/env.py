"""One seat of Pair as a Gymnasium environment: sdar/Pair-v0."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from ... import PAIR
from ..player import Player
from ..role import RoleEnv
from .game import Pair
from .players import PARTNER, make_player
from .tables import HORIZON, REGULARITY, RUNNER
from .wishes import cook_statements, runner_statements


class PairEnv(RoleEnv):
    """A cook or a runner who shares a house, and a task, with a scripted other.

    Args:
        split: ``train``, ``valid`` or ``test``, or an alias.
        role: ``runner_0``, ``cook_0``, or ``both``: the seat then changes with the number of the task.
        opponent: Who sits in the other seat: ``partner``, its usual player, or one by name: ``cook``, ``teller`` (which
            says what it needs), ``random`` and ``silent`` for the cook's seat; ``informed`` (which is told wishes and
            homes), ``wishes``, ``homes``, ``carrier`` (which knows neither), ``listener``, ``random`` and ``silent``
            for the runner's. A player, too, or a mapping from roles.
        channel: What the two may say to each other with ``say``: ``none``, one ``word``, or a line (``free``).
        shaping: Whether both are paid once, when a wanted thing first lies on the pass.
        regularity: Probability with which wishes and homes hold in a task.
        world_seed: Which wishes and homes, and which layouts.
        stale: Corrupted share: of so many of a skill bank's keys the statements are wrong; the house does not change
            with it.
        stale_seed: Which keys.
        retrieval: How ``info["privileged"]["skills"]`` is chosen, see `SkillBank.retrieve`.
        horizon: Turns of each role until truncation.
        expose_privileged: Whether `info` has ``"privileged"``. Without it no plan is computed.
        render_mode: ``"ansi"`` or ``"human"``.

    Raises:
        ValueError: An unknown choice or a number out of range.
    """

    env_id: ClassVar[str] = PAIR.env_id

    def __init__(
        self,
        split: str = "train",
        role: str = RUNNER,
        opponent: str | Player | Mapping[str, str | Player] = PARTNER,
        channel: str = "none",
        shaping: bool = False,
        regularity: float = REGULARITY,
        world_seed: int = 0,
        stale: float = 0.0,
        stale_seed: int = 0,
        retrieval: str = "task_type",
        horizon: int = HORIZON,
        expose_privileged: bool = True,
        render_mode: str | None = None,
    ) -> None:
        game = Pair(
            split=split,
            channel=channel,
            shaping=shaping,
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

    def _make_player(self, name: str, role: str) -> Player:
        assert isinstance(self.game, Pair)
        # What a player is told is true: `stale` is about what a learner's teacher is told.
        known = runner_statements(self.game.world_seed) if role == RUNNER else cook_statements(self.game.world_seed)
        return make_player(name, role, [statement.compact_line() for statement in known])
