"""Presets: configurations by (model family, environment), as YAML files under ``assets/configs``.

A preset is what a run starts from; files and flags change it. Its keys are `SDARConfig`'s, below ``config``; around
them stand one line of summary, the family and the environment it is for. This file imports no torch.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sdar_envs.assets import asset_path
from sdar_envs.choices import require_choice, unknown_choice

from .config import SDARConfig
from .options import read_yaml

FAMILIES = ("tiny", "qwen")


@dataclass(frozen=True, slots=True)
class Preset:
    """A named starting point.

    `family` says which models it is for: ``tiny`` is the model that the suite builds from nothing, ``qwen`` any
    pretrained chat model of that kind. `config` holds the options that differ from `SDARConfig`'s defaults.
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
    """Read a preset file, keys checked; the values are checked by `SDARConfig` when a run is configured.

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
    options = [field.name for field in dataclasses.fields(SDARConfig)]
    for key in config:
        if key not in options:
            raise unknown_choice("key", key, options, str(path))
    return Preset(path.stem, str(content["summary"]), content["family"], str(content["env_id"]), dict(config))


def preset_for(family: str, env_id: str) -> Preset | None:
    """The preset of a model family for an environment, None where there is none."""
    for name in preset_names():
        preset = load_preset(name)
        if (preset.family, preset.env_id) == (family, env_id):
            return preset
    return None
