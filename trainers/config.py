"""SDARConfig: the configuration of a training run, checked against the tables of methods, advantages and sinks.

Names are TRL's where the meaning is TRL's. Defaults are near the settings that the authors of SDAR (arXiv 2605.15155)
ship for ALFWorld, but not those: where their code does what this suite does otherwise (statistics over turns, the
penalty before them, an entropy bonus, mini-batches), the default is the suite's. What they ship is in the presets,
which `SDARConfig.preset` reads. The options, with their ranges and help texts, are in `options`, group by group. This
file imports no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from sdar_envs.choices import require_choice, unknown_choice

from .options import Options
from .options.convert import merge, read_yaml
from .options.other_names import OTHER_NAMES
from .presets import asks_for_lora, load_preset, preset_config, preset_of


@dataclass(frozen=True, kw_only=True)
class SDARConfig(Options):
    """Configuration of a run. Frozen; `dataclasses.replace` makes a changed copy, validated again.

    `delta` is the dual clip: with a negative advantage the ratio counts as `delta` at most, as in TRL's two-sided
    clipping. `distill_coef` None takes the method's published coefficient.

    Raises:
        ValueError: A value is out of range or not among its choices; the message says which values are accepted.
        TypeError: A value has the wrong type.
    """

    def check(self) -> None:
        """Refuse names that are in no table, and options that the method cannot use."""
        super().check()
        # Imported here, because these files import torch: importing this module must not.
        from .maths.advantages import ADVANTAGES
        from .methods import get_method
        from .run.sinks import SINKS

        method = get_method(self.method)
        require_choice("advantage", self.advantage, ADVANTAGES, "SDARConfig")
        method.check_options(self)
        object.__setattr__(self, "report_to", tuple(name for name in self.report_to if name != "none"))
        for name in self.report_to:
            require_choice("report_to", name, SINKS, "SDARConfig")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], *, where: str = "SDARConfig") -> SDARConfig:
        """Build a configuration from plain values, converting text such as ``"1e-6"`` to the field's type.

        Raises:
            ValueError: A key is unknown; the message names the nearest one. Or as for the constructor.
        """
        known = [option.name for option in fields(cls)]
        for key in values:
            if key not in known:
                raise unknown_choice("key", key, known, where, other_names=OTHER_NAMES)
        return cls(**dict(values))

    @classmethod
    def preset(cls, name: str, /, **overrides: Any) -> SDARConfig:
        """What ``sdar train --preset NAME`` runs with these options: a preset's configuration, changed.

        As on the command line, `env_kwargs` are merged key by key, and the preset's coefficient, which is SDAR's, is
        scaled for another ``method``.

        Args:
            name: The preset, see `presets.preset_names`.
            **overrides: Options that win over the preset's.

        Raises:
            ValueError: There is no such preset, or as `from_dict`.
        """
        from .presets import asks_for_lora, load_preset, preset_config

        chosen = merge(
            preset_config(load_preset(name), overrides.get("method"), lora=asks_for_lora(overrides)), overrides
        )
        return cls.from_dict(chosen, where=f"SDARConfig.preset({name!r})")

    @classmethod
    def from_yaml(cls, path: str | Path, **overrides: Any) -> SDARConfig:
        """Read a YAML mapping of options; `overrides` win over the file.

        Raises:
            ValueError: The file is not a mapping, is not YAML, or names an unknown key.
        """
        return cls.from_dict({**read_yaml(path), **overrides}, where=str(path))


def configuration(
    model: Any,
    env_id: str | Callable[..., Any],
    args: SDARConfig | Mapping[str, Any] | None,
    preset: str | None,
) -> SDARConfig:
    """The configuration that a trainer's arguments stand for; arguments and errors as for `SDARTrainer`."""
    if preset is None:
        if args is not None and not isinstance(args, SDARConfig):
            raise TypeError(
                f"SDARTrainer.args: expected an SDARConfig, got {type(args).__name__}: a mapping of options goes with "
                "preset=, and SDARConfig(**options) starts from the defaults"
            )
        return args or SDARConfig()
    if isinstance(args, SDARConfig):
        raise TypeError(
            "SDARTrainer: expected args with preset= to be a mapping of the options that differ from the preset, got a "
            'whole SDARConfig: pass args={"seed": 1}, say, or leave out preset= and pass '
            "args=SDARConfig.preset(name, seed=1)"
        )
    name = env_id if isinstance(env_id, str) else ""
    chosen = preset_of(model, name) if preset == "auto" else load_preset(preset)
    if chosen is not None and name and not chosen.is_for(name):
        raise ValueError(f"preset {chosen.name!r} is for {chosen.env_id}, got env_id={name!r}: choose one of the two")
    given = dict(args or {})
    return SDARConfig.from_dict(merge(preset_config(chosen, given.get("method"), lora=asks_for_lora(given)), given))
