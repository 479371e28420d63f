"""Supervised steps over stored episodes, by the trainer itself: the method ``rft`` on episodes that were played before.

An iteration takes its episodes from the curated folder where it would play them otherwise; rows, loss, optimiser,
checkpoints and evaluations are those of any run. So the same rows have the same loss, offline and online.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sdar_envs.randomness import counted_generator

from ..methods.method import IterationPlan
from ..rollout.dynamic_sampling import Resampled
from ..run.provenance import tokenizer_facts
from .curate import TEXT_KEYS
from .replay import rollout_of
from .stored import StoredEpisodesError, read_curated, world_key

METHOD = "rft"
# What a run on stored episodes takes from them unless it is told otherwise, by where a line has it.
_OF_POLICY = ("temperature", "context", "prompt_style")
_OF_WORLD = ("max_turns",)


class StoredEpisodes:
    """Curated episodes as the source of a run's iterations: passes in a counted order, each episode once per pass.

    Args:
        records: Curated lines.
        per_step: Episodes of an iteration; all of them where there are fewer.
        seed: Of the run; with the pass it is the key of the order.

    Raises:
        StoredEpisodesError: There is no episode.
    """

    def __init__(self, records: Sequence[Mapping[str, Any]], per_step: int, seed: int) -> None:
        if not records:
            raise StoredEpisodesError("expected at least one curated episode, got none")
        self.records = records
        self.per_step = min(per_step, len(records))
        self.seed = seed
        self._orders: dict[int, NDArray[np.int64]] = {}

    @property
    def samples(self) -> bool:
        """False: nobody plays."""
        return False

    def identity(self) -> Mapping[str, str]:
        """A hash of the episodes and of how many an iteration has."""
        return {"stored_episodes": self._hash}

    @cached_property
    def _hash(self) -> str:
        text = "\n".join([str(self.per_step), *(str(record["id"]) for record in self.records)])
        return hashlib.sha256(text.encode()).hexdigest()

    def steps(self, epochs: float) -> int:
        """Iterations of so many passes."""
        return max(1, math.ceil(epochs * len(self.records) / self.per_step))

    def collect(self, plan: IterationPlan) -> Resampled:
        """The episodes of an iteration, each a group of its own: they were compared when they were curated."""
        places = [self._place(plan.step * self.per_step + number) for number in range(self.per_step)]
        return Resampled([rollout_of(self.records[place], number) for number, place in enumerate(places)], [])

    def _place(self, position: int) -> int:
        """The episode at a position of all passes in turn; the orders of the last two passes are kept."""
        number, index = divmod(position, len(self.records))
        if number not in self._orders:
            order = counted_generator("stored episodes", self.seed, number).permutation(len(self.records))
            self._orders = {n: kept for n, kept in self._orders.items() if n == number - 1} | {number: order}
        return int(self._orders[number][index])

    def close(self) -> None:
        """Nothing is held."""


def read_records(folder: str | Path, tokenizer: Any) -> list[dict[str, Any]]:
    """The curated episodes of a folder, whose ids are texts of this tokenizer.

    Raises:
        StoredEpisodesError: There are none, or they were written with another tokenizer or chat template.
    """
    records = read_curated(folder)
    own = tokenizer_facts(tokenizer)
    for record in records:
        for key in TEXT_KEYS:
            stated = record.get("policy", {}).get(key)
            if stated != own[key]:
                raise StoredEpisodesError(
                    f"{folder}, episode {record['id']}: expected the model's {key} {own[key]}, got {stated}: its token "
                    f"ids are other texts here; train a model of the kind of {record['policy'].get('model')!r}, or "
                    "export the chats (sdar export --format messages)"
                )
    return records


def settings_of(records: Sequence[Mapping[str, Any]]) -> tuple[str, dict[str, Any]]:
    """The environment of curated episodes, and the options that they were played with.

    Raises:
        StoredEpisodesError: They are of several worlds, so that none can be the one to evaluate in.
    """
    worlds = sorted({world_key(record) for record in records})
    if len(worlds) > 1:
        raise StoredEpisodesError(
            f"expected episodes of one world to evaluate in, got {len(worlds)}: {', '.join(worlds)}; curate them apart"
        )
    first = records[0]
    options: dict[str, Any] = {"env_kwargs": dict(first["world"].get("kwargs") or {})}
    for block, names in (("policy", _OF_POLICY), ("world", _OF_WORLD)):
        for name in names:
            values = {record[block].get(name) for record in records}
            if len(values) == 1 and None not in values:
                options[name] = values.pop()
    return str(first["env_id"]), options
