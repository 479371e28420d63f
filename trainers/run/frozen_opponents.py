"""Opponents in a game that are models: a run directory or a model's folder, frozen, with a sampler of its own."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agents.base import Agent

from ..engine.base import Engine
from ..engine.checkpoint import CheckpointStore
from ..engine.single import load_model
from ..methods import METHODS
from ..options import Options
from ..options.convert import read_yaml
from ..rollout.environments import EnvironmentSource
from ..rollout.policies import make_policies
from ..rollout.seats import FROZEN

# What of a run's own configuration makes its prompts.
_OWN = ("prompt_style", "context", "history_length", "list_actions", "enable_thinking", "ask_for_thinking")
_OWN_TOO = ("append_history", "when_full", "max_completion_length", "max_prompt_length", "stop", "temperature")


def load_frozen(
    names: Sequence[str], source: EnvironmentSource, options: Options, engine: Engine, *, trust: bool = False
) -> dict[str, Agent]:
    """The agents of the opponents that are models, by name; scripted players are not among them.

    A run's opponent is prompted as the run was; a model without a run as `options` say.

    Args:
        names: Of opponents, as in the option ``opponents``.
        source: The environment.
        options: Of the run that is about to train.
        engine: Where they compute.
        trust: Whether code that a model brings may run.

    Raises:
        ValueError: There is no such model, or no checkpoint in a run directory.
    """
    return {
        name: _agent(name.removeprefix(FROZEN), source, options, engine, trust)
        for name in names
        if name.startswith(FROZEN)
    }


def _agent(place: str, source: EnvironmentSource, options: Options, engine: Engine, trust: bool) -> Agent:
    folder = Path(place).expanduser()
    own: dict[str, Any] = {}
    if (folder / "run.json").is_file():
        newest = CheckpointStore(folder / "checkpoints").newest()
        if newest is None:
            raise ValueError(f"opponents: the run {place} has no checkpoint yet")
        written = read_yaml(folder / "config.yaml")
        own = {name: written[name] for name in (*_OWN, *_OWN_TOO) if name in written}
        own["stop"] = tuple(own.get("stop") or ())
        place = str(newest.path)
    model, tokenizer = load_model(place, trust_remote_code=trust)
    root = engine.prepare(model)
    root.requires_grad_(False)
    # A player needs no teacher; grpo is the method without one.
    policies = make_policies(
        root.language_model, tokenizer, dataclasses.replace(options, **own), METHODS["grpo"], source, None
    )
    return policies.student
