"""Presets: configurations by (model family, environment), as YAML files under ``assets/configs``.

A preset is what a run starts from; files and flags change it. Its keys are those of `options.Options`, below
``config``; around them stand one line of summary, the family and the environment it is for. This file imports no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sdar_envs import world_entry
from sdar_envs.assets import asset_path
from sdar_envs.choices import require_choice, unknown_choice

from .options import Options
from .options.convert import read_yaml
from .options.option import options_of

if TYPE_CHECKING:
    from .methods.method import Method

FAMILIES = ("tiny", "qwen")
# A preset's coefficient is meant for SDAR, whose published one this is. Terms of the loss whose published coefficients
# are of that order or below are scaled by as much; shares of the advantage and losses that stand alone keep theirs.
SDAR_COEF = 0.01
SCALED_INJECTIONS = ("aux", "divergence")


@dataclass(frozen=True, slots=True)
class Preset:
    """A named starting point.

    `family` says which models it is for: ``tiny`` is the model that the suite builds from nothing, ``qwen`` any
    pretrained chat model of that kind. `config` holds the options that differ from the defaults, as plain values.
    """

    name: str
    summary: str
    family: str
    env_id: str
    config: Mapping[str, Any]


def preset_names() -> list[str]:
    """The names of all presets, sorted."""
    return sorted(path.stem for path in asset_path("configs").glob("*.yaml"))


def load_preset(name: str) -> Preset:
    """Read a preset by name.

    Raises:
        ValueError: There is no such preset, or its file does not hold what a preset holds.
    """
    require_choice("preset", name, preset_names(), "assets/configs")
    return read_preset(asset_path("configs", f"{name}.yaml"))


def read_preset(path: Path) -> Preset:
    """Read a preset file, keys checked; the values are checked when a run is configured.

    Raises:
        ValueError: A key is unknown or missing; the message names the file and the nearest key.
    """
    content = read_yaml(path)
    wanted = ("summary", "family", "env_id", "config")
    for key in content:
        if key not in wanted:
            raise unknown_choice("key", key, wanted, str(path))
    for key in wanted:
        if key not in content:
            raise ValueError(f"{path}: expected the key {key!r}, which is missing")
    require_choice("family", content["family"], FAMILIES, str(path))
    config = content["config"] or {}
    if not isinstance(config, Mapping):
        raise ValueError(f"{path}: expected a mapping under config, got {type(config).__name__}")
    options = options_of(Options)
    for key in config:
        if key not in options:
            raise unknown_choice("key", key, options, str(path))
    return Preset(path.stem, str(content["summary"]), content["family"], str(content["env_id"]), dict(config))


def scaled_coefficient(coef: float | None, method: Method) -> float | None:
    """A preset's coefficient, brought to a method's scale; None where the method keeps its published one."""
    if coef is None or method.injection not in SCALED_INJECTIONS or method.coef > SDAR_COEF:
        return None
    return round(coef * method.coef / SDAR_COEF, 6)


def preset_config(preset: Preset | None, method: str | None = None) -> dict[str, Any]:
    """A preset's options for a method (by default its own), with the coefficient that the method gets from it.

    Raises:
        ValueError: There is no such method.
    """
    from .methods import get_method

    config: dict[str, Any] = {} if preset is None else dict(preset.config)
    row = get_method(str(method or config.get("method", Options.method)))
    coef = scaled_coefficient(config.pop("distill_coef", None), row)
    return config if coef is None else {**config, "distill_coef": coef}


def preset_for(family: str, env_id: str) -> Preset | None:
    """The preset of a model family for an environment, None where there is none.

    An environment of the suite names its presets in its registration (`sdar_envs.WORLDS`).
    """
    entry = world_entry(env_id)
    name = None if entry is None else entry.presets.get(family)
    return None if name is None else load_preset(name)
