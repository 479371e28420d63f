"""What scripted players reach in the worlds of several roles, and what they do to each other.

    python -m benchmarks.multiagent_players [--json] [--tasks 2016] [--pair-tasks 1000] [--cross 700]

Haggle: every player of each side against the usual opponent, both sizes, with true statements and with statements that
are wrong about a part of the things; and the payoff matrix of players against players in the small size. Pair: every
runner beside the usual cook, at the horizon and a turn around it, and beside a cook that says what it needs.
"""

from __future__ import annotations

import statistics
from collections import Counter
from typing import Any

from benchmarks.measure import emit, parser, table
from sdar_envs.multiagent.haggle.game import Haggle
from sdar_envs.multiagent.haggle.players import PLAYERS, make_player
from sdar_envs.multiagent.haggle.tables import OTHER, ROLES, SELLER, SHOPPER, SIZES
from sdar_envs.multiagent.pair import players as pair_players
from sdar_envs.multiagent.pair.game import Pair
from sdar_envs.multiagent.pair.tables import COOK, HORIZON, RUNNER
from sdar_envs.multiagent.pair.wishes import runner_statements
from sdar_envs.multiagent.playing import play_game

CROSSED = ("honest", "greedy", "ladder", "safe", "informed", "limiter")
STALE = (0.25, 0.5)


def _lines(game: Haggle, role: str) -> list[str]:
    return [statement.compact_line() for statement in game.skill_bank(role).statements]


def against_limiter(size: str, role: str, name: str, tasks: int, stale: float = 0.0) -> list[float]:
    """Share, success, deals and turns of a player against the usual opponent."""
    game = Haggle(size=size, stale=stale)
    rows = []
    for task_id in game.task_ids("train")[:tasks]:
        players = {role: make_player(name, _lines(game, role)), OTHER[role]: make_player("limiter")}
        share = play_game(game, task_id, players)[role]
        rows.append([share, float(share >= 0.8), float(game.price is not None), float(game.turns_taken[role])])
    return [round(statistics.fmean(column), 4) for column in zip(*rows, strict=True)]


def cross_play(tasks: int) -> list[list[str]]:
    """Shares of shopper and seller, and deals, for every pair of players."""
    game = Haggle()
    rows = []
    for shopper in CROSSED:
        row = [shopper]
        for seller in CROSSED:
            gained = dict.fromkeys(ROLES, 0.0)
            deals = 0
            for task_id in game.task_ids("train")[:tasks]:
                seats = {
                    SHOPPER: make_player(shopper, _lines(game, SHOPPER)),
                    SELLER: make_player(seller, _lines(game, SELLER)),
                }
                for role, share in play_game(game, task_id, seats).items():
                    gained[role] += share
                deals += game.price is not None
            row.append(f"{gained[SHOPPER] / tasks:.2f} / {gained[SELLER] / tasks:.2f} ({deals / tasks:.2f})")
        rows.append(row)
    return rows


def runners(channel: str, cook: str, name: str, tasks: int) -> list[float]:
    """Share of tasks won by a runner within one turn less than the horizon, the horizon, and one more."""
    game = Pair(channel=channel, horizon=HORIZON + 1)
    lines = [statement.compact_line() for statement in runner_statements(0)]
    turns: Counter[int] = Counter()
    for task_id in game.task_ids("train")[:tasks]:
        seats = {
            COOK: pair_players.make_player(cook, COOK),
            RUNNER: pair_players.make_player(name, RUNNER, lines),
        }
        play_game(game, task_id, seats)
        if game.won:
            turns[game.turns_taken[COOK]] += 1
    return [
        round(sum(count for taken, count in turns.items() if taken <= most) / tasks, 3)
        for most in (HORIZON - 1, HORIZON, HORIZON + 1)
    ]


def main() -> None:
    """Print tables, or one JSON object."""
    options = parser("multiagent_players", "Scripted players in worlds of several roles.")
    options.add_argument("--tasks", type=int, default=2_016, help="games of Haggle per player and side")
    options.add_argument("--pair-tasks", type=int, default=1_000, help="games of Pair per runner")
    options.add_argument("--cross", type=int, default=700, help="games of Haggle per pair of players")
    arguments = options.parse_args()
    figures: dict[str, Any] = {"haggle": [], "cross": [], "pair": []}
    for size in SIZES:
        for role in ROLES:
            for name in PLAYERS:
                figures["haggle"].append([size, role, name, *against_limiter(size, role, name, arguments.tasks)])
            for stale in STALE:
                row = against_limiter(size, role, "informed", arguments.tasks, stale)
                figures["haggle"].append([size, role, f"informed, {stale:.0%} stale", *row])
    figures["cross"] = cross_play(arguments.cross)
    for channel, cook in (("none", "cook"), ("word", "teller")):
        for name in pair_players.PLAYERS[RUNNER]:
            figures["pair"].append([channel, cook, name, *runners(channel, cook, name, arguments.pair_tasks)])
    parts = [
        table(["size", "role", "player", "share", "success", "deals", "turns"], figures["haggle"]),
        table(["shopper \\ seller", *CROSSED], figures["cross"]),
        table(
            ["channel", "cook", "runner", *(f"{turns} turns" for turns in (HORIZON - 1, HORIZON, HORIZON + 1))],
            figures["pair"],
        ),
    ]
    emit("multiagent_players", figures, parts, as_json=arguments.json)


if __name__ == "__main__":
    main()
