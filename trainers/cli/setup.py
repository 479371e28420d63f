"""What a run is configured with: defaults < preset < file < flags, and where each mistake comes from."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sdar_envs.choices import unknown_choice

from ..config import SDARConfig
from ..options.convert import merge, nested, read_yaml
from ..presets import ANY, Preset, asks_for_lora, load_preset, preset_config, preset_names, preset_of
from .flags import add_config_flags, add_teacher_context_argument, check_keys, given_flags, read_pairs
from .game_ids import game_id, seat_id

DEFAULT_ENV = "sdar/Household-v0"
# What a file may say beside the configuration: the other arguments of a trainer.
FILE_KEYS = ("env_id", "model", "teacher_context")


@dataclass(frozen=True, slots=True)
class Setup:
    """A run before anything is built: `model` is None where the embedded tiny model is meant.

    `given` has the names of the options that stand on the command line itself, not in a preset or a file.
    `teacher_context` is a user's own, as ``module:function``. `warm_start` is the preset's.
    """

    env_id: str
    model: str | None
    config: SDARConfig
    preset: str | None
    given: tuple[str, ...] = ()
    teacher_context: str | None = None
    warm_start: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def add_setup_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare where configuration comes from, and one flag per option of `SDARConfig`."""
    parser.add_argument("--env", metavar="ID", help=f"environment: any id that gymnasium.make takes [{DEFAULT_ENV}]")
    parser.add_argument(
        "--game", metavar="ID", help="game of several roles, such as sdar/haggle-v0: self-play of --roles [both]"
    )
    parser.add_argument("--model", metavar="PATH", help="model path or name; without it the embedded tiny model")
    add_teacher_context_argument(parser)
    parser.add_argument(
        "--preset", metavar="NAME", help=f"{', '.join(preset_names())} [chosen by environment and model]; none for none"
    )
    parser.add_argument("--config", metavar="FILE", help="YAML file of options; flags win over it, it over the preset")
    parser.add_argument(
        "--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE", dest="pairs",
        help="options by their names, e.g. --set learning_rate=7e-4 env_kwargs.size=small",
    )  # fmt: skip
    add_config_flags(parser, SDARConfig)


def resolve_setup(options: argparse.Namespace) -> Setup:
    """Put the layers together.

    Raises:
        ValueError: An unknown preset or key (the nearest is named), or a value that is out of range.
        OSError: The file cannot be read.
    """
    known = [field.name for field in dataclasses.fields(SDARConfig)]
    from_file: dict[str, Any] = {}
    if options.config:
        from_file = read_yaml(options.config)
        check_keys(from_file, [*known, *FILE_KEYS], options.config)
    pairs = nested(read_pairs(options.pairs, "--set"))
    check_keys(pairs, known, "--set")
    flags = given_flags(options)
    env_id, of_game = seat_of_game(getattr(options, "game", None), options.env or from_file.get("env_id"), flags)
    model = options.model or from_file.get("model")
    teacher_context = options.teacher_context or from_file.get("teacher_context")
    from_file = {key: value for key, value in from_file.items() if key not in FILE_KEYS}
    preset = choose_preset(options.preset, env_id, model)
    env_id = str(env_id or (preset.env_id if preset and preset.env_id != ANY else DEFAULT_ENV))
    given = merge(of_game, from_file, pairs, flags)
    chosen = merge(preset_config(preset, given.get("method"), lora=asks_for_lora(given)), given)
    named = preset.name if preset else None
    warm_start = preset.warm_start if preset else {}
    return Setup(env_id, model, build_config(chosen), named, tuple({**pairs, **flags}), teacher_context, warm_start)


def seat_of_game(game: str | None, env_id: str | None, flags: Mapping[str, Any]) -> tuple[str | None, dict[str, Any]]:
    """The environment that a game is played in, and the options that make it self-play.

    Every role learns unless ``roles`` says otherwise. Evaluation sets are played against a fixed opponent
    (``env_kwargs.opponent``), in the seats that learn: what is won against oneself says nothing.

    Args:
        game: ``--game``.
        env_id: ``--env``.
        flags: The options on the command line.

    Raises:
        ValueError: There is no such game, or two different worlds are named.
    """
    from sdar_envs import GAMES

    if game is None:
        return (seat_id(env_id) if env_id else None), {}
    entry = GAMES[game_id(game)]
    if env_id not in (None, entry.env_id, entry.game_id):
        raise ValueError(f"--game {game} is played in {entry.env_id}, got --env {env_id}: name one of the two")
    roles = tuple(flags.get("roles") or ("both",))
    seat = roles[0] if len(roles) == 1 and roles[0] != "all" else "both"
    return entry.env_id, {"roles": list(roles), "env_kwargs": {"role": seat}}


def choose_preset(name: str | None, env_id: str | None, model: str | None) -> Preset | None:
    """The preset that was named, else the one for this environment and kind of model, None where there is none.

    Raises:
        ValueError: There is no preset of that name, or it is for another environment.
    """
    if name == "none":
        return None
    if name is None:
        return preset_of(model, env_id or DEFAULT_ENV)
    if name not in preset_names():
        raise unknown_choice("preset", name, [*preset_names(), "none"], "--preset")
    preset = load_preset(name)
    if env_id is not None and not preset.is_for(env_id):
        raise ValueError(f"preset {name!r} is for {preset.env_id}, got --env {env_id}: choose one of the two")
    return preset


def build_config(values: Mapping[str, Any]) -> SDARConfig:
    """`SDARConfig` from plain values; a value of a wrong type is the caller's mistake here, not a defect.

    Raises:
        ValueError: As `SDARConfig`, wrong types included.
    """
    try:
        return SDARConfig.from_dict(values)
    except TypeError as error:
        raise ValueError(str(error)) from error
