"""All option groups in one, for the steps of a run.

A formula takes the group that it reads, which its type shows; a step that reads several groups (scorer, updater,
collector) takes `Options`. Users make `trainers.config.SDARConfig`, which adds the checks against the tables of
methods, advantages and sinks.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from .adapter import AdapterOptions
from .evaluation import EvaluationOptions
from .machine import MachineOptions
from .method import MethodOptions
from .optimiser import OptimiserOptions
from .policy import PolicyOptions
from .rollout import RolloutOptions
from .run import RunOptions
from .seats import SeatOptions
from .server import ServerOptions


# Fields of dataclasses are collected from the last base to the first, and the method comes first in files and in help.
@dataclass(frozen=True, kw_only=True)
class Options(
    RunOptions,
    MachineOptions,
    EvaluationOptions,
    ServerOptions,
    RolloutOptions,
    SeatOptions,
    AdapterOptions,
    OptimiserOptions,
    PolicyOptions,
    MethodOptions,
):
    """Every option of a run under one flat name each."""

    @property
    def environment_kwargs(self) -> dict[str, Any]:
        """Keyword arguments of environments: `env_kwargs`, and `retrieval` where it is not the environments' default.

        The environment retrieves the skills, so that every reader gets the same ones for an episode. ``ucb`` is not
        passed: what a bandit learns while training is no part of an environment.
        """
        asks = {} if self.retrieval in ("task_type", "ucb") else {"retrieval": self.retrieval}
        return {**asks, **self.env_kwargs}

    @property
    def episodes_together(self) -> int:
        """How many episodes act together: `sampler_batch`, else all of an iteration."""
        return self.sampler_batch or self.tasks_per_step * self.num_generations

    def to_dict(self) -> dict[str, Any]:
        """All options as plain JSON values."""
        values = dataclasses.asdict(self)
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    def to_yaml(self, path: str | Path) -> None:
        """Write all options, readable by `SDARConfig.from_yaml`."""
        import yaml

        Path(path).write_text(yaml.safe_dump(self.to_dict(), sort_keys=False), encoding="utf-8")

    def digest(self) -> str:
        """SHA-256 over the options that change what a run computes.

        Output, logging and speed are left out, and so is the number of iterations where the learning rate does not
        depend on it, so that a finished run can be lengthened. An option declared ``omit_at_default`` is left out
        while it has its default, so that digests that were written before there was the option stay true.
        """
        values = self.to_dict()
        counted = {
            option.name: values[option.name]
            for option in fields(self)
            if option.metadata["maths"]
            and not (option.metadata["omit_at_default"] and getattr(self, option.name) == option.default)
        }
        if self.lr_scheduler_type == "constant":
            del counted["max_steps"]
        text = json.dumps(counted, sort_keys=True, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(text.encode("ascii")).hexdigest()
