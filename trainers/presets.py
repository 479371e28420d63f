"""Presets: configurations by (model family, environment), as YAML files under ``assets/configs``.

A run starts from a preset; files and flags change it. Its options are under ``config``, with the names of
`options.joined.Options`; its other keys are a one-line ``summary``, the ``family`` and the ``env_id`` that it is for,
where its tiny model is warmed up otherwise than others are, what differs as ``warm_start`` (`WarmStartConfig`), and,
where it only changes some options of another one, that preset's name as ``base``. This file imports no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sdar_envs import world_entry
from sdar_envs.assets import asset_path
from sdar_envs.bounded_files import load_json
from sdar_envs.choices import require_choice, unknown_choice
from sdar_envs.model_files import adapter_base
from sdar_envs.packaged_models import PACKAGED_MODELS, packaged_name

from .options import Options
from .options.convert import convert, merge, nested, read_yaml
from .options.optimiser import adapter_rate
from .options.option import options_of

if TYPE_CHECKING:
    from .methods.method import Method

# Kinds of models: the one that the suite builds itself, SmolLM2 (`sdar models get smollm2`), Qwen3 (whose chat template
# has a thinking switch), all others.
FAMILIES = ("tiny", "smollm2", "qwen", "qwen3")
# A preset's coefficient is meant for SDAR, whose published one is SDAR_COEF. Terms of the loss whose published
# coefficient is at most that are scaled by the same factor. Methods that act on the advantage, and terms with a larger
# published coefficient (losses that stand alone), keep theirs.
SDAR_COEF = 0.01
SCALED_INJECTIONS = ("aux", "divergence")
# The preset of a tiny model that was made for an environment outside this suite (`sdar tiny`), and what stands in it in
# the place of an environment's id.
ANY_TINY, ANY = "any-tiny", "any"


@dataclass(frozen=True, slots=True)
class Preset:
    """A named starting point.

    `family` is the kind of model that it is for: ``tiny`` is the model that the suite builds itself, ``smollm2`` the
    packaged SmolLM2, ``qwen3`` a Qwen3, ``qwen`` any other pretrained chat model (`model_family`). `config` holds the
    options that differ from the defaults, as plain values, `warm_start` those of the tiny model's warm start; those of
    its ``base`` are included. `env_id` is `ANY` where it is for no environment in particular.
    """

    name: str
    summary: str
    family: str
    env_id: str
    config: Mapping[str, Any]
    warm_start: Mapping[str, Any] = field(default_factory=dict)

    def is_for(self, env_id: str) -> bool:
        """Whether it is for this environment."""
        return self.env_id in (env_id, ANY)


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
        if key not in (*wanted, "base", "warm_start"):
            raise unknown_choice("key", key, (*wanted, "base", "warm_start"), str(path))
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
    warm_start = content.get("warm_start") or {}
    if not isinstance(warm_start, Mapping) or (warm_start and content["family"] != "tiny"):
        raise ValueError(f"{path}: expected a mapping under warm_start, in a preset of the family tiny alone")
    base = read_preset(path.parent / f"{content['base']}.yaml") if "base" in content else None
    return Preset(
        path.stem,
        str(content["summary"]),
        content["family"],
        str(content["env_id"]),
        merge(base.config if base else {}, config),
        merge(base.warm_start if base else {}, nested(warm_start)),
    )


def scaled_coefficient(coef: float | None, method: Method) -> float | None:
    """A preset's coefficient, scaled for a method; None where the method keeps its published one."""
    if coef is None or method.injection not in SCALED_INJECTIONS or method.coef > SDAR_COEF:
        return None
    return round(coef * method.coef / SDAR_COEF, 6)


def preset_config(preset: Preset | None, method: str | None = None, *, lora: bool = False) -> dict[str, Any]:
    """A preset's options for a method (by default its own), with the coefficient that the method gets from it.

    With `lora`, asked for beside a preset of whole weights, its learning rate is multiplied (`adapter_rate`).

    Raises:
        ValueError: There is no such method.
    """
    from .methods import get_method

    config: dict[str, Any] = {} if preset is None else dict(preset.config)
    chosen = get_method(str(method or config.get("method", Options.method)))
    if lora and "learning_rate" in config and not config.get("lora", False):
        config["learning_rate"] = adapter_rate(float(config["learning_rate"]))
    coef = scaled_coefficient(config.pop("distill_coef", None), chosen)
    return config if coef is None else {**config, "distill_coef": coef}


def asks_for_lora(given: Mapping[str, Any]) -> bool:
    """Whether options that somebody gave, as plain values, switch adapters on."""
    return bool(convert(given.get("lora", False), bool, "lora"))


def model_family(model: Any) -> str:
    """The kind of a model, of `FAMILIES`, which says what preset it gets.

    ``tiny`` for none (the embedded one is meant) and for folders that its warm start wrote; the warm form of another
    model is of that model's kind. A packaged model is of the kind of its name. ``qwen3`` where the configuration says
    so, or the name, which is all that is known of a model that is still to be downloaded. ``qwen`` for all others.

    Args:
        model: A model's folder or name, a model object, or None.
    """
    if model is None:
        return "tiny"
    if not isinstance(model, (str, Path)):
        kind = str(getattr(getattr(model, "config", None), "model_type", ""))
        return "qwen3" if kind.startswith("qwen3") else "qwen"
    if str(model) in FAMILIES and str(model) in PACKAGED_MODELS:
        return str(model)
    folder = Path(adapter_base(model) or model)
    if (folder / "warm_start.json").is_file():
        return _recorded_family(_read_json(folder / "warm_start.json").get("family", "tiny"))
    if (name := packaged_name(folder)) is not None:
        return _recorded_family(name)
    read = _read_json(folder / "config.json")
    kind = str(read.get("model_type", ""))
    # A folder that says what it holds is believed; a name is only a name.
    return "qwen3" if kind.startswith("qwen3") or (not kind and "qwen3" in str(model).lower()) else "qwen"


def _read_json(path: Path) -> dict[str, Any]:
    """The mapping in a JSON file; empty where there is none."""
    try:
        read = load_json(path)
    except (OSError, ValueError):
        return {}
    return read if isinstance(read, dict) else {}


def _recorded_family(name: object) -> str:
    """A kind that a record names; ``qwen``, the kind of all others, where it is none of `FAMILIES`."""
    return str(name) if name in FAMILIES else "qwen"


def preset_for(family: str, env_id: str) -> Preset | None:
    """The preset of a model family for an environment, None where there is none.

    An environment of the suite names its presets in its registration (`sdar_envs.WORLDS`).
    """
    entry = world_entry(env_id)
    name = None if entry is None else entry.presets.get(family)
    return None if name is None else load_preset(name)


def preset_of(model: Any, env_id: str) -> Preset | None:
    """The preset that a run of a model gets in an environment where nobody names one; None where there is none.

    Args:
        model: A model's folder or name, a model object, or None for the embedded tiny one.
        env_id: The environment; "" for one without an id.
    """
    family = model_family(model)
    # A folder of a tiny model in an environment of other people can only be one that was made for it.
    if model is not None and family == "tiny" and world_entry(env_id) is None:
        return load_preset(ANY_TINY)
    return preset_for(family, env_id)
