"""Scores of players without a model in every generated world: the file that the site's pages of worlds are made from.

    python -m benchmarks.world_scores [--env ID ...] [--tasks 200] [--output docs/data/world_scores.json]

Each world is played as `gymnasium.make` gives it and as its tiny preset does, on the first tasks of `valid`, by
`sdar eval`: a random player, one that knows what anyone knows (*generic*), the same with the skill statements, and the
expert, which plays the environment's own plan. Worlds that are not named keep what the file has of them. A person's
score is written by hand, as the player "person" with the same keys, where somebody has played the same tasks.
"""

from __future__ import annotations

import argparse
import inspect
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gymnasium as gym
from gymnasium.envs.registration import load_env_creator

import sdar_envs
from sdar_envs.files import replaced_file
from trainers.cli import main as sdar
from trainers.presets import load_preset

OUTPUT = Path(__file__).resolve().parents[1] / "docs" / "data" / "world_scores.json"
PLAYERS = ("random", "generic", "generic+skills", "expert")
KEPT = ("success_rate", "ci95", "mean_score", "mean_turns")
# Worlds that are seats of a game are measured in the sizes that they have; the tiny preset's is one of them.
MORE: Mapping[str, tuple[dict[str, Any], ...]] = {"sdar/Haggle-v0": ({"size": "full"},)}


def settings_of(entry: sdar_envs.WorldEntry) -> list[dict[str, Any]]:
    """Keyword arguments that a world is measured with: none, those of its tiny preset, and further ones."""
    found: list[dict[str, Any]] = [{}, *MORE.get(entry.env_id, ())]
    if "tiny" in entry.presets:
        defaults = inspect.signature(load_env_creator(entry.entry_point)).parameters
        preset = load_preset(entry.presets["tiny"]).config.get("env_kwargs", {})
        found.append({key: value for key, value in preset.items() if value != defaults[key].default})
    return [kwargs for index, kwargs in enumerate(found) if kwargs not in found[:index]]


def measured(env_id: str, kwargs: Mapping[str, Any], tasks: int) -> dict[str, Any]:
    """What `sdar eval` finds, and which world it was found in."""
    made: Any = gym.make(env_id, **kwargs).unwrapped
    world = {"env_kwargs": dict(kwargs), "horizon": made.horizon, "world_version": made.world_version}
    made.close()
    words = ["eval", "--env", env_id, "--episodes", str(tasks)]
    words += [word for player in PLAYERS for word in ("--agent", player)]
    words += ["--env-kwargs", *(f"{key}={value}" for key, value in kwargs.items())] if kwargs else []
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "scores.json"
        if sdar([*words, "--json", str(file)]):
            raise SystemExit(f"sdar {' '.join(words)} failed")
        results = json.loads(file.read_text(encoding="utf-8"))["results"]
    players = {name: {key: results[name][key] for key in KEPT} for name in PLAYERS}
    evaluation = {key: results["expert"][key] for key in ("split", "episodes", "panel_hash")}
    return world | evaluation | {"command": "sdar " + " ".join(words), "players": players}


def main() -> None:
    """Measure, and write the file."""
    options = argparse.ArgumentParser(prog="python -m benchmarks.world_scores", description=__doc__)
    playable = [env_id for env_id, entry in sdar_envs.WORLDS.items() if entry.players]
    options.add_argument("--env", nargs="+", choices=playable, default=playable, metavar="ID")
    options.add_argument("--tasks", type=int, default=200)
    options.add_argument("--output", type=Path, default=OUTPUT)
    arguments = options.parse_args()
    known = json.loads(arguments.output.read_text(encoding="utf-8")) if arguments.output.exists() else {}
    for env_id in arguments.env:
        kept = {json.dumps(each["env_kwargs"]): each["players"].get("person") for each in known.get(env_id, [])}
        known[env_id] = []
        for kwargs in settings_of(sdar_envs.WORLDS[env_id]):
            found = measured(env_id, kwargs, arguments.tasks)
            if person := kept.get(json.dumps(kwargs)):
                found["players"]["person"] = person
            known[env_id].append(found)
    with replaced_file(arguments.output) as partial:
        partial.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
