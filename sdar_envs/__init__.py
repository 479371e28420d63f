"""Text worlds with a privileged side, registered with Gymnasium.

Importing this package registers ids as strings and loads nothing heavy: no torch, textworld, faiss or bs4.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import gymnasium as gym

from .distribution import warn_of_two

__version__ = "0.1.0"


@dataclass(frozen=True, slots=True, kw_only=True)
class WorldEntry:
    """Everything that is known of an environment by name. Strings alone, so that nothing is imported to read it.

    Attributes:
        env_id: What `gymnasium.make` takes.
        entry_point: The environment's class, as ``module:name``.
        vector_entry_point: The class that `gymnasium.make_vec` takes; None for Gymnasium's own.
        demonstrator: Its `sdar_envs.demonstrations.Script`, as ``module:name``; None where a model that is built from
            nothing cannot be warmed up.
        data_options: Keyword arguments that name a user's own or official data, which no generated world resembles.
        players: Scripted players (`scripted_players`): name -> function that makes one, as ``module:name``.
        presets: Model family -> name of the preset, a file in ``assets/configs``.
        machine_presets: Names of presets for a card and a size of model, which are chosen by name alone.
        skill_folder: Folder of the skill bank in ``assets/skills``.
        official_skill_folder: The same where it plays published files, if that is another bank.
        game_id: What `pettingzoo.make` takes, where the environment is one seat of a game of several roles.
        game_module: The module with ``env`` and ``parallel_env`` of that game.
        reference_returns: What can be got at most, exactly, as a function from the environment's keyword arguments to
            mean returns by what their player knows, ``module:name``; empty where nothing is known of such arguments.
    """

    env_id: str
    entry_point: str
    vector_entry_point: str | None = None
    demonstrator: str | None = None
    data_options: tuple[str, ...] = ()
    players: Mapping[str, str] = field(default_factory=dict)
    presets: Mapping[str, str] = field(default_factory=dict)
    machine_presets: tuple[str, ...] = ()
    skill_folder: str
    official_skill_folder: str | None = None
    game_id: str | None = None
    game_module: str | None = None
    reference_returns: str | None = None


HOUSEHOLD = WorldEntry(
    env_id="sdar/Household-v0",
    entry_point="sdar_envs.household.env:HouseholdEnv",
    demonstrator="sdar_envs.household.demonstrator:SCRIPT",
    players={
        "generic": "sdar_envs.household.players:generic",
        "uninformed": "sdar_envs.household.players:uninformed",
        "seen": "sdar_envs.household.players:seen",
    },
    presets={
        "tiny": "household-tiny",
        "smollm2": "household-smollm2",
        "qwen": "household-qwen",
        "qwen3": "household-qwen3",
    },
    machine_presets=("qwen-1.5b-lora-24gb", "qwen-3b-80gb"),
    skill_folder="household",
)
ALFWORLD = WorldEntry(
    env_id="sdar/ALFWorld-v0",
    entry_point="sdar_envs.household.alfworld:ALFWorldEnv",
    skill_folder="household",
)
WEBSHOP = WorldEntry(
    env_id="sdar/WebShop-v0",
    entry_point="sdar_envs.webshop.env:WebShopEnv",
    demonstrator="sdar_envs.webshop.demonstrator:SCRIPT",
    players={
        "generic": "sdar_envs.webshop.players:generic",
        "first-hit": "sdar_envs.webshop.players:first_hit",
    },
    data_options=("data_dir",),
    presets={"tiny": "webshop-tiny", "qwen": "webshop-qwen", "qwen3": "webshop-qwen3"},
    skill_folder="webshop",
    official_skill_folder="webshop_official",
)
SEARCHQA = WorldEntry(
    env_id="sdar/SearchQA-v0",
    entry_point="sdar_envs.searchqa.env:SearchQAEnv",
    vector_entry_point="sdar_envs.searchqa.vector:SearchQAVectorEnv",
    demonstrator="sdar_envs.searchqa.demonstrator:SCRIPT",
    players={"generic": "sdar_envs.searchqa.players:generic"},
    data_options=("dataset", "corpus", "index"),
    presets={"tiny": "searchqa-tiny", "qwen": "searchqa-qwen", "qwen3": "searchqa-qwen3"},
    skill_folder="searchqa",
)
HAGGLE = WorldEntry(
    env_id="sdar/Haggle-v0",
    entry_point="sdar_envs.multiagent.haggle.env:HaggleEnv",
    demonstrator="sdar_envs.multiagent.haggle.demonstrator:SCRIPT",
    players={
        "generic": "sdar_envs.multiagent.haggle.players:generic",
        "safe": "sdar_envs.multiagent.haggle.players:safe",
    },
    presets={"tiny": "haggle-tiny"},
    skill_folder="haggle",
    game_id="sdar/haggle-v0",
    game_module="sdar_envs.multiagent.haggle_v0",
    reference_returns="sdar_envs.multiagent.haggle.bounds:reference_returns",
)
PAIR = WorldEntry(
    env_id="sdar/Pair-v0",
    entry_point="sdar_envs.multiagent.pair.env:PairEnv",
    demonstrator="sdar_envs.multiagent.pair.demonstrator:SCRIPT",
    players={"generic": "sdar_envs.multiagent.pair.players:generic"},
    presets={"tiny": "pair-tiny"},
    skill_folder="pair",
    game_id="sdar/pair-v0",
    game_module="sdar_envs.multiagent.pair_v0",
)
TRIP = WorldEntry(
    env_id="sdar/Trip-v0",
    entry_point="sdar_envs.trip.env:TripEnv",
    demonstrator="sdar_envs.trip.demonstrator:SCRIPT",
    players={
        "generic": "sdar_envs.trip.players:generic",
        "cheapest": "sdar_envs.trip.players:cheapest",
        "first-hit": "sdar_envs.trip.players:first_hit",
    },
    presets={"tiny": "trip-tiny", "qwen": "trip-qwen", "qwen3": "trip-qwen3"},
    skill_folder="trip",
)

# One row per environment; whatever else is asked of an environment by its id is read from here.
WORLDS: dict[str, WorldEntry] = {
    entry.env_id: entry for entry in (HOUSEHOLD, ALFWORLD, WEBSHOP, SEARCHQA, TRIP, HAGGLE, PAIR)
}

# id -> entry point, and id -> vector entry point for those that bring their own.
ENVIRONMENTS: dict[str, str] = {entry.env_id: entry.entry_point for entry in WORLDS.values()}
VECTORS: dict[str, str] = {e.env_id: e.vector_entry_point for e in WORLDS.values() if e.vector_entry_point}

# Games of several roles by their own ids; `sdar_envs.multiagent` registers them with PettingZoo.
GAMES: dict[str, WorldEntry] = {entry.game_id: entry for entry in WORLDS.values() if entry.game_id}

# Other people's environments behind this suite's contract: they have tasks and words of their own.
ADAPTERS: dict[str, str] = {
    "sdar/OpenEnv-v0": "sdar_envs.adapters.openenv:OpenEnvText",
    "sdar/TextWorld-v0": "sdar_envs.adapters.textworld:TextWorldEnv",
}


def world_entry(env_id: str) -> WorldEntry | None:
    """The row of an environment of this suite; None for any other environment."""
    return WORLDS.get(env_id)


def _register() -> None:
    # The horizon is the environment's own (it depends on the size), so no TimeLimit is registered.
    for entry in WORLDS.values():
        if entry.env_id not in gym.registry:
            gym.register(id=entry.env_id, entry_point=entry.entry_point, vector_entry_point=entry.vector_entry_point)
    for env_id, entry_point in ADAPTERS.items():
        if env_id not in gym.registry:
            gym.register(id=env_id, entry_point=entry_point)


_register()
warn_of_two()

__all__ = ["ADAPTERS", "ENVIRONMENTS", "GAMES", "VECTORS", "WORLDS", "WorldEntry", "__version__", "world_entry"]
