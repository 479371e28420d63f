"""List the environments; with an ID, or with --all, also their options, splits, task types and players."""

from __future__ import annotations

import argparse
import inspect
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sdar_envs.references import import_own
from sdar_envs.registered import ids_of, unknown_environment

from .flags import add_environment_argument, check_keys, chosen_environment, docstring_entries
from .terminal import make_console, one_line, show_table

if TYPE_CHECKING:
    from rich.console import Console

USAGE = "[ID] [--all]"
EPILOGUE = "Options are passed as --env-kwargs name=value, or to gymnasium.make(id, name=value)."


_LOOKED_AT = 24


@dataclass(frozen=True, slots=True)
class EnvDescription:
    """What `gymnasium.make` takes for one id, and what tasks there are.

    `options` are (name, default, meaning); `splits` maps a split to its number of tasks; `unavailable` says why the
    tasks cannot be counted here (data that is not installed), else it is empty.
    """

    env_id: str
    summary: str
    options: list[tuple[str, str, str]]
    splits: dict[str, int]
    task_types: list[str]
    unavailable: str = ""


def creator_of(env_id: str) -> tuple[Any, Any]:
    """The registration of an id, and what it calls to make an environment.

    Raises:
        ValueError: There is no such id, or the module that should register it is not there.
        ImportError: One of its own imports, or the module that holds the environment, is not there.
    """
    import gymnasium as gym
    from gymnasium.envs.registration import load_env_creator

    module, colon, _ = env_id.partition(":")
    before = frozenset(gym.registry) if colon and module not in sys.modules else frozenset()
    if colon:  # "module:Id-v0": the module registers the id; a file of the current folder is found, too
        import_own(module)
    try:
        spec = gym.spec(env_id.rpartition(":")[2])
    except gym.error.Error as error:  # not registered, or a name that none could have
        raise unknown_environment(env_id, ids_of(module, before) if colon else None) from error
    return spec, load_env_creator(spec.entry_point) if isinstance(spec.entry_point, str) else spec.entry_point


def check_env_kwargs(env_id: str, env_kwargs: Mapping[str, Any]) -> None:
    """Refuse a keyword argument that the environment does not take, before it is made.

    Raises:
        ValueError: The message names the nearest that it does take.
        ValueError: There is no such id.
    """
    parameters = inspect.signature(creator_of(env_id)[1]).parameters.values()
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        check_keys(
            env_kwargs, [parameter.name for parameter in parameters], f"the options of {env_id}", f"sdar envs {env_id}"
        )


def describe_env(env_id: str) -> EnvDescription:
    """Describe a registered environment from its own signature and docstring.

    Raises:
        gymnasium.error.Error: There is no such id.
    """
    import gymnasium as gym

    import sdar_envs
    from sdar_envs.core import SPLITS

    spec, creator = creator_of(env_id)
    entries = docstring_entries(creator)
    options = [
        (name, _default(parameter, spec.kwargs), entries.get(name, "").replace("`", ""))
        for name, parameter in inspect.signature(creator).parameters.items()
        if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    ]
    task_types: list[str] = []
    splits: dict[str, int] = {}
    unavailable = ""
    if env_id in sdar_envs.ENVIRONMENTS:
        try:
            env: Any = gym.make(env_id).unwrapped
            splits = {split: len(env.task_ids(split)) for split in SPLITS}
            # Task types come in turn, so the first tasks show them all.
            first = [env.reset(options={"task_id": task})[1]["task_type"] for task in env.task_ids()[:_LOOKED_AT]]
            task_types = list(dict.fromkeys(first))
            env.close()
        except (OSError, ImportError, ValueError) as error:  # official files that are not on this machine
            unavailable = one_line(str(error))
    return EnvDescription(env_id, summary_of(creator), options, splits, task_types, unavailable)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``sdar envs``."""
    add_environment_argument(parser, "only this one, in full; any id that gymnasium.make takes")
    parser.add_argument("--all", "--verbose", action="store_true", help="options, splits, types and players of all")


def run(options: argparse.Namespace) -> int:
    """Print what there is."""
    import sdar_envs
    from sdar_envs.scripted_players import player_names

    console = make_console()
    chosen = chosen_environment(options)
    if chosen is None and not options.all:
        show_short(console)
        return 0
    ids: Sequence[str] = [chosen] if chosen else list(sdar_envs.ENVIRONMENTS)
    for env_id in ids:
        found = describe_env(env_id)
        console.print(f"{found.env_id}  {found.summary}")
        if found.splits:
            console.print("  splits: " + ", ".join(f"{name} {count:,} tasks" for name, count in found.splits.items()))
        if found.task_types:
            console.print("  task types: " + ", ".join(found.task_types))
        if players := player_names(env_id):
            console.print("  players without a model (--agent): expert, random, " + ", ".join(players))
        if found.unavailable:
            console.print(f"  not playable here: {found.unavailable}")
        if found.options:
            show_table(console, "", ("option", "default", "meaning"), found.options, left=3)
        console.print("")
    return 0


def show_short(console: Console) -> None:
    """A line for each environment of this suite, and how to see more."""
    import sdar_envs

    width = max(map(len, sdar_envs.ENVIRONMENTS))
    for env_id in sdar_envs.ENVIRONMENTS:
        console.print(f"{env_id:<{width}}  {summary_of(creator_of(env_id)[1])}")
    console.print("")
    console.print("sdar envs ID     options, splits, task types and players of one; any id that gymnasium.make takes")
    console.print("sdar envs --all  those of all")
    console.print("sdar play ID     play one by hand")


def summary_of(creator: Any) -> str:
    """The first paragraph of what is documented, in one line."""
    return one_line(inspect.cleandoc(creator.__doc__ or "").partition("\n\n")[0]).replace("`", "")


def _default(parameter: inspect.Parameter, registered: dict[str, Any]) -> str:
    if parameter.name in registered:
        return repr(registered[parameter.name])
    return "required" if parameter.default is parameter.empty else repr(parameter.default)
