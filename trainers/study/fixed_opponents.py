"""A trained policy against the fixed opponents of a study: in both seats, and with itself.

What a policy wins against itself says nothing of how it does against others, so a study of self-play is decided here.
Tasks and draws are the same for every arm. The matrix stays in the run directory as `crossplay.json`, where the run's
report finds it; the result keeps what endpoints need.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sdar_envs.multiagent.role import BOTH

from ..evaluation.crossplay import CROSSPLAY_FILE, play_against
from ..rollout.environments import EnvironmentSource
from ..rollout.games import ScriptedSeats
from ..rollout.seats import SCRIPTED, seat_env
from .plain_json import read_json, write_json
from .plan_records import FixedOpponents, StudyError
from .result_records import Count, MeasuredGames, Meeting

if TYPE_CHECKING:
    from agents.base import Agent
    from sdar_envs.multiagent.role import RoleEnv

    from ..config import SDARConfig
    from ..evaluation.crossplay import SeatPlayer

# The policy's name in the matrix of its own run.
OWN = "this run"


def play_opponents(run: Path, env_id: str, opponents: FixedOpponents) -> None:
    """Play the newest policy of a run against the opponents and write `crossplay.json`; nothing to do where that is.

    Args:
        run: The run directory.
        env_id: A seat of the game.
        opponents: Who is played, and on which tasks.

    Raises:
        StudyError: The run has no checkpoint.
    """
    if (run / CROSSPLAY_FILE).is_file():
        return
    from ..config import SDARConfig

    config = SDARConfig.from_yaml(run / "config.yaml")
    kwargs = {**config.environment_kwargs, "role": BOTH}
    source = EnvironmentSource(env_id, kwargs)
    try:
        env = seat_env(source)
        tasks = list(env.task_ids(opponents.split))[: opponents.episodes]
        policy = _policy(run, config, source)
        players: dict[str, SeatPlayer] = {OWN: lambda role: policy}
        players |= {SCRIPTED + name: _scripted(env, name) for name in opponents.players}
        found = play_against(
            [seat_env(source).game for _ in range(min(opponents.together, len(tasks)))],
            OWN,
            players,
            tasks,
            seats={SCRIPTED + name: seats_of(env, name) for name in opponents.players},
            settings={**kwargs, "split": opponents.split},
        )
    finally:
        source.close()
    write_json(run / CROSSPLAY_FILE, found.to_json())


def seats_of(env: RoleEnv, name: str) -> tuple[str, ...]:
    """The roles that a scripted player knows how to play.

    Raises:
        ValueError: There is no such player in any seat.
    """
    found, refusal = [], None
    for role in env.game.roles:
        try:
            env.seat_player(name, role)
            found.append(role)
        except ValueError as error:
            refusal = refusal or error
    if refusal is not None and not found:
        raise refusal
    return tuple(found)


def _scripted(env: RoleEnv, name: str) -> SeatPlayer:
    return lambda role: ScriptedSeats(name, lambda: env.seat_player(name, role))


def _policy(run: Path, config: SDARConfig, source: EnvironmentSource) -> Agent:
    """The run's newest policy under the plain prompt, at the temperature of evaluation."""
    from ..engine.checkpoint import CheckpointStore
    from ..engine.single import SingleProcess, load_model
    from ..methods import METHODS
    from ..rollout.policies import make_policies

    newest = CheckpointStore(run / "checkpoints").newest()
    if newest is None:
        raise StudyError(f"{run} has no checkpoint to play with: remove the folder, and the job trains again")
    model, tokenizer = load_model(str(newest.path))
    model = SingleProcess.of(config).prepare(model).language_model
    # Acting asks nothing of the method; grpo is the method that needs no teacher.
    return make_policies(model, tokenizer, config, METHODS["grpo"], source, None).evaluator


def read_games(run: Path, opponents: FixedOpponents) -> MeasuredGames:
    """What `play_opponents` has written, as far as a result keeps it.

    Raises:
        OSError: There is no such file.
        DamagedFileError: It is no JSON.
    """
    content = read_json(run / CROSSPLAY_FILE)
    meetings = []
    for cell in content["cells"]:
        for place, role in enumerate(content["roles"]):
            name, other = (cell["row"], cell["column"]) if place == 0 else (cell["column"], cell["row"])
            if name == OWN:
                meetings.append(_meeting(cell, role, None if other == OWN else other.removeprefix(SCRIPTED)))
    return MeasuredGames(opponents.split, tuple(meetings), str(content["hash"]))


def _meeting(cell: Mapping[str, Any], role: str, opponent: str | None) -> Meeting:
    wins = "".join("-" if won is None else str(int(won)) for won in cell["wins"][role])
    played = len(wins) - wins.count("-")
    return Meeting(
        role=role,
        opponent=opponent,
        overall=Count(wins.count("1"), played),
        mean_return=round(float(cell["payoffs"][role]), 6) if played else None,
        deals=round(float(cell["deals"]), 6),
        joint=round(float(cell["joint"]), 6),
        wins=wins,
    )
