"""Where an episode comes from, in every line of the log: the world that it was played in, the policy that acted.

A line that was copied out of its run still says both, so that stored episodes can be told apart, joined, and refused
where they do not belong together. Nothing privileged is in it, and no path of a machine but what the environment's own
keyword arguments name.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..options import Options
from ..rollout.environments import EnvironmentSource
from .episode_log import plain_json

_DIGITS = 16  # hexadecimal digits of a hash in a line: 64 bits tell apart whatever one person collects


@dataclass(frozen=True, slots=True)
class Provenance:
    """What the lines of a run have in common.

    Attributes:
        world: Keyword arguments, version and turn limit of the environment.
        policy: Model, and what decides which text its token ids are.
        temperatures: Of training episodes, and of evaluations.
    """

    world: dict[str, Any]
    policy: dict[str, Any]
    temperatures: tuple[float, float]

    def blocks(self, *, phase: str, iteration: int) -> dict[str, Any]:
        """The keys ``world`` and ``policy`` of a line."""
        temperature = self.temperatures[phase != "train"]
        return {"world": self.world, "policy": {**self.policy, "iteration": iteration, "temperature": temperature}}


def provenance_of(
    options: Options, source: EnvironmentSource, tokenizer: Any, *, model: str, initial_weights: str
) -> Provenance:
    """The provenance of a run's episodes.

    Args:
        options: Of the run.
        source: Its environment.
        tokenizer: Its tokenizer, with a chat template.
        model: Name or folder of the initial model; of a folder the last part is kept.
        initial_weights: Fingerprint of its parameters.
    """
    name = Path(model).name if Path(model).is_absolute() or Path(model).is_dir() else model
    return Provenance(
        world={
            "kwargs": plain_json(dict(source.env_kwargs)),
            "version": source.world_version,
            "max_turns": options.max_turns,
        },
        policy={
            "model": name,
            "initial_weights": initial_weights[:_DIGITS],
            **tokenizer_facts(tokenizer),
            "context": options.context,
            "prompt_style": options.prompt_style,
        },
        temperatures=(options.temperature, options.eval_temperature),
    )


def tokenizer_facts(tokenizer: Any) -> dict[str, str]:
    """Hashes of what token ids mean: the vocabulary with its ids, and the chat template."""
    vocabulary = json.dumps(sorted(tokenizer.get_vocab().items(), key=lambda entry: (entry[1], entry[0])))
    template = json.dumps(tokenizer.chat_template, sort_keys=True)
    return {"tokenizer": _hash(vocabulary), "template": _hash(template)}


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGITS]
