"""Every player in every seat against every other: the payoff matrix of a game, with intervals.

A player is a run directory, a model's folder or name, `scripted:NAME`, `expert` or `random`. All pairs play the same
tasks with the same draws, so differences are paired. The matrix is written as JSON, and as a picture.
"""

from __future__ import annotations

import argparse
import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .flags import add_trust_argument, read_pairs
from .terminal import make_console, show_table

if TYPE_CHECKING:
    from rich.console import Console

    from sdar_envs.multiagent.role import RoleEnv

    from ..evaluation.crossplay import CrossPlay, SeatPlayer
    from ..rollout.environments import EnvironmentSource

USAGE = "PLAYER [PLAYER ...] [options]"
EPILOGUE = """examples:
  sdar crossplay runs/a runs/b scripted:limiter scripted:greedy
  sdar crossplay scripted:limiter scripted:honest scripted:informed --episodes 400 --svg matrix.svg"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``sdar crossplay``."""
    parser.add_argument("who", nargs="+", metavar="PLAYER", help="run, model, scripted:NAME, expert or random")
    parser.add_argument("--game", default="sdar/haggle-v0", metavar="ID", help="the game [sdar/haggle-v0]")
    parser.add_argument(
        "--env-kwargs", nargs="+", action="extend", metavar="KEY=VALUE", default=[], help="options of the game"
    )
    parser.add_argument("--split", default="valid", help="train, valid or test [valid]")
    parser.add_argument("--episodes", type=int, default=200, metavar="N", help="tasks that every pair plays [200]")
    parser.add_argument("--together", type=int, default=64, metavar="N", help="games played at once [64]")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the sampling draws, not of the tasks [0]")
    parser.add_argument(
        "--json",
        metavar="FILE",
        help="write the matrix to this file, - for standard output; a run directory takes it into the run's report",
    )
    parser.add_argument("--svg", metavar="FILE", help="draw the matrix into this file")
    add_trust_argument(parser)


def run(options: argparse.Namespace) -> int:
    """Play the matrix and show it."""
    from sdar_envs import GAMES
    from sdar_envs.choices import require_number, unknown_choice
    from sdar_envs.files import write_file

    from ..evaluation.crossplay import CROSSPLAY_FILE, cross_play
    from ..rollout.environments import EnvironmentSource
    from ..rollout.seats import seat_env
    from ..run.progress import StageBar
    from .players import is_run_directory

    console = make_console(stderr=options.json == "-")
    require_number("--episodes", options.episodes, "sdar crossplay", low=1, whole=True)
    require_number("--together", options.together, "sdar crossplay", low=1, whole=True)
    if doubled := sorted({name for name in options.who if options.who.count(name) > 1}):
        raise ValueError(f"expected each player once, got {', '.join(doubled)} several times")
    entry = GAMES.get(options.game) or next((one for one in GAMES.values() if one.env_id == options.game), None)
    if entry is None:
        raise unknown_choice("game", options.game, GAMES, "--game")
    kwargs = read_pairs(options.env_kwargs, "--env-kwargs")
    source = EnvironmentSource(entry.env_id, {**kwargs, "role": "both"})
    env = seat_env(source)
    tasks = list(env.task_ids(options.split))[: options.episodes]
    players: dict[str, SeatPlayer] = {}
    identities: dict[str, str] = {}
    for name in options.who:
        players[name], identities[name] = _player(name, env, source, options)
    games = [seat_env(source).game for _ in range(min(options.together, len(tasks)))]
    with StageBar("cross-play") as bar:
        found = cross_play(
            games, players, tasks, seed=options.seed, identities=identities, settings=kwargs,
            advance=partial(bar.advance, "games"),
        )  # fmt: skip
    source.close()
    show_cross_play(console, found)
    content = found.to_json()
    if options.svg:
        from ..report.matrix import payoff_matrix

        write_file(options.svg, str(payoff_matrix(content)) + "\n")
    if options.json:
        text = json.dumps(content, indent=1) + "\n"
        if options.json == "-":
            print(text, end="")
        else:
            path = Path(options.json)
            write_file(path / CROSSPLAY_FILE if is_run_directory(options.json) else path, text)
    return 0


def _player(name: str, env: RoleEnv, source: EnvironmentSource, options: argparse.Namespace) -> tuple[SeatPlayer, str]:
    """Who plays under a name, in whatever role, and what stands for its weights."""
    from ..rollout.games import ScriptedSeats
    from ..rollout.seats import SCRIPTED
    from .players import load_player, plays_without_model, require_player

    if name.startswith(SCRIPTED):
        script = name.removeprefix(SCRIPTED)
        for role in env.game.roles:
            env.seat_player(script, role)  # an unknown name is refused before anything is played
        return lambda role: ScriptedSeats(script, lambda: env.seat_player(script, role)), name
    require_player(name)
    player = load_player(name, source, seed=options.seed, trust_remote_code=options.trust_remote_code)
    identity = name if plays_without_model(name) else _fingerprint(player.agent)
    return lambda role: player.agent, identity


def _fingerprint(agent: Any) -> str:
    from ..engine.single import fingerprint

    return fingerprint(agent.sampler.model)


def show_cross_play(console: Console, found: CrossPlay) -> None:
    """The matrix, and what it says of each player."""
    first, second = found.roles
    console.print(f"{found.game_id}: {len(found.clusters)} tasks, the same for every pair; set {found.hash[:12]}")
    console.print("")
    rows = []
    for cell in found.cells.values():
        row = [cell.row, cell.column]
        for role in (first, second):
            row += [f"{cell.payoffs[role]:.2f}", _bounds(cell.intervals[role])]
        rows.append([*row, f"{cell.deals:.2f}", f"{cell.joint:.2f}", str(cell.failed)])
    columns = [first, second, "its return", "95 % interval", "its return", "95 % interval", "deals", "joint", "failed"]
    show_table(console, "mean returns", columns, rows, left=2)
    console.print("")
    summary = [
        [name, *(f"{found.regret(role, name):.2f}" for role in found.roles), f"{found.exploitability(name):.2f}"]
        for name in found.players
    ]
    heads = ["player", *(f"regret as {role}" for role in found.roles), "exploitability"]
    show_table(console, "against best responses within these players", heads, summary)


def _bounds(bounds: tuple[float, float] | None) -> str:
    return "-" if bounds is None else f"{bounds[0]:.2f} to {bounds[1]:.2f}"
