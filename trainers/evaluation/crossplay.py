"""Cross-play: every player in every seat against every other, on the same tasks.

What a policy wins against itself says nothing of how it does against others, so self-play is judged here: by the payoff
matrix, by the regret of each player against the best response *within the set of players*, and by how much others could
gain against it. No rating is computed: in a game of mixed motives both sides may win.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from sdar_envs.multiagent.game import TextGame
from sdar_envs.randomness import Key

from ..rollout.collect import Rollout, TaskDraw
from ..rollout.games import GamePlan, Seating, collect_games
from .intervals import Interval, clustered, paired_difference

CROSSPLAY_SCHEMA = "sdar/crossplay/1"
# Where a run directory has its matrix.
CROSSPLAY_FILE = "crossplay.json"

# A player: from a role to who plays it.
SeatPlayer = Callable[[str], Any]


@dataclass(frozen=True, slots=True)
class Cell:
    """What two players got from each other.

    Attributes:
        row: Who sits in the first seat.
        column: Who sits in the second.
        payoffs: Mean return by role.
        intervals: 95 % intervals of these, clustered by what tasks share; None with one cluster.
        deals: Share of games that gave anything to anybody.
        joint: Mean sum of both returns.
        games: Games that did not fail.
        failed: Games that did.
        returns: Role -> return per task, in the order of the tasks; None where the game failed.
        wins: Role -> per task, whether the seat was won; None where the game failed.
    """

    row: str
    column: str
    payoffs: dict[str, float]
    intervals: dict[str, Interval | None]
    deals: float
    joint: float
    games: int
    failed: int
    returns: dict[str, list[float | None]] = field(repr=False)
    wins: dict[str, list[bool | None]] = field(repr=False)

    def success(self, role: str) -> float | None:
        """Share of games that a seat won; None where none was played."""
        played = [won for won in self.wins[role] if won is not None]
        return sum(played) / len(played) if played else None

    def to_json(self) -> dict[str, Any]:
        """Plain values, the returns of every task among them."""
        return dataclasses.asdict(self)


@dataclass(frozen=True, slots=True)
class CrossPlay:
    """A matrix of cells over one set of players and tasks.

    A matrix is whole, or has the cells of one player alone (`play_against`); of such a one there is no regret and no
    exploitability, because nothing is known of what others would have got. `hash` is over everything that the numbers
    depend on besides the code: game, options, version of the world, tasks, and the players with the fingerprints of
    those that are models.
    """

    game_id: str
    roles: tuple[str, ...]
    players: tuple[str, ...]
    cells: dict[tuple[str, str], Cell]
    clusters: tuple[str, ...] = field(repr=False)
    hash: str = ""

    def payoff(self, role: str, player: str, other: str) -> float:
        """What a player gets in a seat against another in the other seat."""
        pair = (player, other) if role == self.roles[0] else (other, player)
        return self.cells[pair].payoffs[role]

    def regret(self, role: str, player: str) -> float:
        """How much a player falls short of the best response to each other player, on average over these.

        Best responses are taken within the set. Regret 0 means that nobody in the set does better in this seat against
        anybody.
        """
        others = self.players
        lost = [
            max(self.payoff(role, who, other) for who in self.players) - self.payoff(role, player, other)
            for other in others
        ]
        return sum(lost) / len(lost)

    def exploitability(self, player: str) -> float:
        """How much could be gained, over both seats, by leaving a game of a player with itself for another of the set.

        The sum over seats of the best payoff that anybody in the set gets against the player, less what it gets against
        itself: 0 where it is a best response to itself, within the set.
        """
        return sum(
            max(self.payoff(role, who, player) for who in self.players) - self.payoff(role, player, player)
            for role in self.roles
        )

    def difference(self, role: str, player: str, than: str, others: Sequence[str]) -> tuple[float, Interval] | None:
        """How much more a player gets in a seat than another does, against the same opponents on the same tasks.

        Args:
            role: The seat.
            player: Whose payoffs.
            than: Whose payoffs are subtracted.
            others: The opponents; their tasks are joined, and clustered by what they share.
        """
        mine = [value for other in others for value in self._returns(role, player, other)]
        its = [value for other in others for value in self._returns(role, than, other)]
        return paired_difference(its, mine, list(self.clusters) * len(others))

    def _returns(self, role: str, player: str, other: str) -> list[float | None]:
        pair = (player, other) if role == self.roles[0] else (other, player)
        return self.cells[pair].returns[role]

    @property
    def is_whole(self) -> bool:
        """Whether every player has met every other in both seats."""
        return len(self.cells) == len(self.players) ** 2

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        judged = self.players if self.is_whole else ()
        return {
            "schema": CROSSPLAY_SCHEMA,
            "game": self.game_id,
            "roles": list(self.roles),
            "players": list(self.players),
            "hash": self.hash,
            "cells": [cell.to_json() for cell in self.cells.values()],
            "regret": {role: {player: self.regret(role, player) for player in judged} for role in self.roles},
            "exploitability": {player: self.exploitability(player) for player in judged},
        }


def cross_play(
    games: Sequence[TextGame],
    players: Mapping[str, SeatPlayer],
    task_ids: Sequence[str],
    *,
    seed: int = 0,
    identities: Mapping[str, str] | None = None,
    settings: Mapping[str, Any] | None = None,
    advance: Callable[[int, int], None] | None = None,
) -> CrossPlay:
    """Play every pair of players in both seats.

    Args:
        games: Games of one kind and one set of options; so many are played at once.
        players: Who plays, by name; a player may be asked for any role.
        task_ids: The tasks, the same for every pair.
        seed: Of the sampling draws, not of the tasks.
        identities: What stands for a player's weights, such as a fingerprint; names stand for the others.
        settings: The game's options, for the hash.
        advance: Told how many games have ended, and of how many.

    Raises:
        ValueError: The game has not two roles, or no player or task was named.
    """
    pairs = [(row, column) for row in players for column in players]
    return _play(games, players, pairs, task_ids, seed, identities or {}, settings or {}, advance)


def play_against(
    games: Sequence[TextGame],
    name: str,
    players: Mapping[str, SeatPlayer],
    task_ids: Sequence[str],
    *,
    seats: Mapping[str, Collection[str]] | None = None,
    seed: int = 0,
    identities: Mapping[str, str] | None = None,
    settings: Mapping[str, Any] | None = None,
    advance: Callable[[int, int], None] | None = None,
) -> CrossPlay:
    """Play one player in both seats against every other, and against itself.

    Draws are those of `cross_play`: a cell is the same in both, and policies that are compared so meet the same tasks
    with the same draws.

    Args:
        games: As in `cross_play`.
        name: Whose games are played, of `players`.
        players: That player and the others, by name.
        task_ids: As in `cross_play`.
        seats: Player -> the roles that it knows how to play; one that is not named plays every role.
        seed: As in `cross_play`.
        identities: As in `cross_play`.
        settings: As in `cross_play`.
        advance: As in `cross_play`.

    Raises:
        ValueError: As `cross_play`.
    """
    first, second = games[0].roles if len(games[0].roles) == 2 else ("", "")
    plays = {player: (seats or {}).get(player, (first, second)) for player in players}
    pairs = [
        (row, column)
        for row in players
        for column in players
        if name in (row, column) and first in plays[row] and second in plays[column]
    ]
    return _play(games, players, pairs, task_ids, seed, identities or {}, settings or {}, advance)


def _play(
    games: Sequence[TextGame],
    players: Mapping[str, SeatPlayer],
    pairs: Sequence[tuple[str, str]],
    task_ids: Sequence[str],
    seed: int,
    identities: Mapping[str, str],
    settings: Mapping[str, Any],
    advance: Callable[[int, int], None] | None,
) -> CrossPlay:
    game = games[0]
    if len(game.roles) != 2 or not players or not task_ids:
        raise ValueError(
            f"cross-play expects a game of two roles, at least one player and one task, got {game.game_id} with "
            f"{len(game.roles)} roles, {len(players)} players and {len(task_ids)} tasks"
        )
    clusters = [game.cluster_of(task_id) for task_id in task_ids]
    total = len(pairs) * len(task_ids)
    cells: dict[tuple[str, str], Cell] = {}
    for row, column in pairs:
        done = len(cells) * len(task_ids)
        seated: Seating = {game.roles[0]: players[row](game.roles[0]), game.roles[1]: players[column](game.roles[1])}
        draws = [TaskDraw(task, ("cross-play", seed, n), group=n) for n, task in enumerate(task_ids)]
        rollouts = collect_games(
            games,
            draws,
            partial(_seated, seated),
            _plan(game, seated),
            advance=partial(_count, advance, done, total),
        )
        cells[row, column] = _cell(row, column, game.roles, rollouts, clusters)
    identity = {
        "game": game.game_id,
        "settings": dict(settings),
        "world_version": game.world_version,
        "tasks": list(task_ids),
        "players": {name: identities.get(name, name) for name in players},
        "seed": seed,
    }
    text = json.dumps(identity, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    digest = hashlib.sha256(text.encode("ascii")).hexdigest()
    return CrossPlay(game.game_id, game.roles, tuple(players), cells, tuple(clusters), digest)


def _seated(seated: Seating, draw: TaskDraw) -> Seating:
    """The same two in every game of a pair."""
    return seated


def _count(advance: Callable[[int, int], None] | None, done: int, total: int, ended: int, _: int) -> None:
    if advance is not None:
        advance(done + ended, total)


def _plan(game: TextGame, seated: Seating) -> GamePlan:
    reads = any(getattr(agent, "reads_privileged", False) for agent in seated.values())
    return GamePlan(game.roles, "every" if reads else "never")


def _cell(row: str, column: str, roles: Sequence[str], rollouts: Sequence[Rollout], clusters: Sequence[Key]) -> Cell:
    """The cell of the episodes of one pair. A seat that never acted got what its game gave it: nothing."""
    tasks = len(clusters)
    broken = {rollout.task.group // len(roles) for rollout in rollouts if rollout.episode.failed}
    returns: dict[str, list[float | None]] = {
        role: [None if task in broken else 0.0 for task in range(tasks)] for role in roles
    }
    wins: dict[str, list[bool | None]] = {
        role: [None if task in broken else False for task in range(tasks)] for role in roles
    }
    for rollout in rollouts:
        task = rollout.task.group // len(roles)
        if task not in broken:
            returns[rollout.episode.role][task] = rollout.episode.return_
            wins[rollout.episode.role][task] = rollout.episode.success
    played = [task for task in range(tasks) if task not in broken]
    own = {role: [value for value in returns[role] if value is not None] for role in roles}
    sums = [sum(own[role][place] for role in roles) for place in range(len(played))]
    count = max(len(played), 1)
    shared = [clusters[task] for task in played]
    return Cell(
        row=row,
        column=column,
        payoffs={role: sum(values) / count for role, values in own.items()},
        intervals={role: clustered(values, shared) if values else None for role, values in own.items()},
        deals=sum(value > 0.0 for value in sums) / count,
        joint=sum(sums) / count,
        games=len(played),
        failed=len(broken),
        returns=returns,
        wins=wins,
    )
