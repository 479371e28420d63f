"""Evaluation sets: files with everything that a success rate depends on besides the agent, and a hash over all of it.

An evaluation set fixes tasks, draws and batch size. Which episodes act together depends on the set alone, so the result
is the same for any number of environments.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sdar_envs.bounded_files import load_json
from sdar_envs.core import resolve_split
from sdar_envs.files import write_file

from ..rollout.environments import EnvironmentSource
from ..rollout.making import Environment

KEYS = (
    "env_id",
    "env_kwargs",
    "split",
    "task_ids",
    "max_turns",
    "temperature",
    "sampler_batch",
    "world_version",
)


class EvaluationSetError(ValueError):
    """A file of an evaluation set that cannot be trusted, or that does not fit the environment."""


@dataclass(frozen=True, slots=True)
class EvaluationSet:
    """What is played and how.

    Attributes:
        env_id: The environment.
        env_kwargs: Its keyword arguments, without the split.
        split: The split that the tasks are from.
        task_ids: The tasks, one episode each.
        max_turns: Turns per episode at most; None leaves that to the environment.
        temperature: Of sampling.
        sampler_batch: Episodes that act together: at another batch size, rounding may change a sampled token.
        world_version: The environment's version of everything that changes a score.
        hash: SHA-256 of all other fields as canonical JSON.
    """

    env_id: str
    env_kwargs: dict[str, Any]
    split: str
    task_ids: tuple[str, ...]
    max_turns: int | None
    temperature: float
    sampler_batch: int
    world_version: str
    hash: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "task_ids", tuple(self.task_ids))
        if not self.task_ids or self.sampler_batch < 1 or self.temperature < 0:
            raise EvaluationSetError(
                f"evaluation set of {self.env_id}: expected at least one task, sampler_batch >= 1 and temperature >= "
                f"0, got {len(self.task_ids)} tasks, {self.sampler_batch} and {self.temperature}"
            )
        object.__setattr__(self, "hash", content_hash(self.content()))

    def content(self) -> dict[str, Any]:
        """Everything that is hashed, as plain JSON values."""
        return {**{key: getattr(self, key) for key in KEYS}, "task_ids": list(self.task_ids)}

    def save(self, path: str | Path) -> None:
        """Write the evaluation set as JSON."""
        content = {**self.content(), "hash": self.hash}
        write_file(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")

    @classmethod
    def load(cls, path: str | Path) -> EvaluationSet:
        """Read an evaluation set and verify its hash.

        Raises:
            EvaluationSetError: Not JSON, keys missing or unknown, or the hash does not match the content.
        """
        try:
            content = load_json(path)
        except ValueError as error:
            raise EvaluationSetError(f"{path}: expected an evaluation set as JSON, got {error}") from None
        if not isinstance(content, dict) or set(content) != {*KEYS, "hash"}:
            got = sorted(content) if isinstance(content, dict) else type(content).__name__
            raise EvaluationSetError(f"{path}: expected the keys {', '.join(sorted((*KEYS, 'hash')))}, got {got}")
        stated = content.pop("hash")
        if stated != content_hash(content):
            raise EvaluationSetError(
                f"{path}: the evaluation set was changed after it was written: its hash is stated as "
                f"{str(stated)[:12]}... and is {content_hash(content)[:12]}...; make a new one, since results on "
                "another one do not compare"
            )
        return cls(**content)

    def draw(self, index: int, run_seed: int = 0) -> tuple[int | str, ...]:
        """The key of the draws of episode `index`: part of the set, so that all agents play with the same draws."""
        return ("panel", self.hash, run_seed, index)


def content_hash(content: Mapping[str, Any]) -> str:
    """SHA-256 of the fields, without ``"hash"``, as JSON with sorted keys and no white space."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def make_evaluation_set(
    env_id: str | Callable[..., Environment] | EnvironmentSource,
    env_kwargs: Mapping[str, Any] | None = None,
    split: str = "valid",
    episodes: int = 200,
    *,
    max_turns: int | None = None,
    temperature: float = 0.4,
    sampler_batch: int = 64,
) -> EvaluationSet:
    """The first tasks of a split as an evaluation set; all of them where the split has fewer than `episodes`.

    Raises:
        ValueError: Unknown split, or `episodes` below 1.
    """
    source = env_id if isinstance(env_id, EnvironmentSource) else EnvironmentSource(env_id, dict(env_kwargs or {}))
    if episodes < 1:
        raise ValueError(f"make_evaluation_set: expected at least 1 episode, got {episodes}")
    tasks = source.task_ids(split)
    return EvaluationSet(
        env_id=source.name,
        env_kwargs=without_split(source.env_kwargs),
        split=resolve_split(split, source.name),
        task_ids=tuple(tasks[index] for index in range(min(episodes, len(tasks)))),
        max_turns=max_turns,
        temperature=temperature,
        sampler_batch=sampler_batch,
        world_version=source.world_version,
    )


def without_split(env_kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Keyword arguments of an environment without the split, which an evaluation set holds in its own field."""
    return {key: value for key, value in env_kwargs.items() if key != "split"}
