"""Where episodes come from: an environment id (or a factory), its tasks per split, and what it states about itself.

Environments of this suite enumerate their tasks and give privileged information. Any other Gymnasium environment with
text in and text out can be trained on too: its reset seeds are the task ids, and what its `info` lacks has a neutral
value. Not here: stepping environments (`batch_env`).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import gymnasium as gym

from sdar_envs.core import resolve_split
from sdar_envs.privileged import split_info

from ..options.references import import_own

Environment = gym.Env[Any, Any]

# Reset seeds of environments that do not enumerate tasks: far apart, so that no split ever reads another's.
SEED_TASKS = {"train": range(0, 100_000), "valid": range(1_000_000, 1_002_000), "test": range(2_000_000, 2_002_000)}


class SeedTasks(Sequence[str]):
    """The task ids of an environment that has none: its reset seeds, written as decimal numbers."""

    def __init__(self, split: str) -> None:
        self._seeds = SEED_TASKS[split]

    def __len__(self) -> int:
        return len(self._seeds)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [str(seed) for seed in self._seeds[index]]
        return str(self._seeds[index])


@dataclass(frozen=True)
class EnvironmentSource:
    """An environment id or a function that makes one, with its keyword arguments.

    Args:
        env_id: A registered Gymnasium id, or a callable that returns an environment for `env_kwargs`.
        env_kwargs: Passed to every environment made here; `make` adds ``split``.
        success_threshold: The return from which an episode counts as success when `info` has no ``"success"``; None
            means the registration's ``reward_threshold``, else 1.
    """

    env_id: str | Callable[..., Environment]
    env_kwargs: Mapping[str, Any] = field(default_factory=dict)
    success_threshold: float | None = None

    @property
    def name(self) -> str:
        """The id in logs and evaluation sets."""
        if isinstance(self.env_id, str):
            return self.env_id
        return f"{self.env_id.__module__}:{getattr(self.env_id, '__qualname__', type(self.env_id).__name__)}"

    def make(self, split: str | None = None) -> Environment:
        """Make one environment; `split` reaches only environments that have splits.

        Raises:
            gymnasium.error.Error: The id is not registered.
        """
        kwargs = dict(self.env_kwargs)
        if split is not None and self.enumerates_tasks:
            kwargs["split"] = resolve_split(split, self.name)
        return self._make(kwargs)

    def _make(self, kwargs: dict[str, Any]) -> Environment:
        if isinstance(self.env_id, str):
            module, colon, _ = self.env_id.partition(":")
            if colon:  # gymnasium imports it too, and does not look into the current folder
                import_own(module)
            # The passive checker costs a third of a text step and checks nothing that `check_text_env` does not.
            return gym.make(self.env_id, disable_env_checker=True, **kwargs)
        return self.env_id(**kwargs)

    @cached_property
    def _probe(self) -> Environment:
        return self._make(dict(self.env_kwargs))

    @cached_property
    def enumerates_tasks(self) -> bool:
        """Whether the environment follows this suite's contract: `task_ids` and ``options={"task_id": ...}``."""
        return callable(getattr(self._probe.unwrapped, "task_ids", None))

    def task_ids(self, split: str) -> Sequence[str]:
        """The tasks of a split, in a fixed order.

        Raises:
            ValueError: Unknown split.
        """
        split = resolve_split(split, self.name)
        if not self.enumerates_tasks:
            return SeedTasks(split)
        tasks: Sequence[str] = self._probe.unwrapped.task_ids(split)  # type: ignore[attr-defined]
        return tasks

    def require_task(self, task_id: str) -> None:
        """Refuse a task that the environment cannot begin; in a rollout it would count as a broken environment.

        Raises:
            ValueError: The environment's own reason.
        """
        reset_to(self._probe, task_id, self.enumerates_tasks)

    def task_type(self, task_id: str) -> str:
        """The type of a task, as its environment states it after a reset; ``""`` where it states none.

        Raises:
            ValueError: There is no such task.
        """
        observation, info = reset_to(self._probe, task_id, self.enumerates_tasks)
        return split_info(str(observation), info)[0].task_type

    @cached_property
    def options(self) -> frozenset[str]:
        """The keyword arguments that the environment's constructor names."""
        return frozenset(inspect.signature(type(self._probe.unwrapped)).parameters)

    @cached_property
    def world_version(self) -> str:
        """The environment's own version of everything that moves a score; ``"unknown"`` where it states none."""
        return str(getattr(self._probe.unwrapped, "world_version", "unknown"))

    def cluster_of(self, task_id: str) -> str:
        """The cluster of a task for intervals, such as its layout, where the environment names one; else the task."""
        if task_id not in self._clusters:
            own = getattr(self._probe.unwrapped, "cluster_of", None)
            self._clusters[task_id] = str(own(task_id)) if callable(own) else task_id
        return self._clusters[task_id]

    @cached_property
    def _clusters(self) -> dict[str, str]:
        return {}

    @property
    def has_privileged(self) -> bool:
        """Whether `info` has privileged fields at reset."""
        return isinstance(self._first_info.get("privileged"), Mapping)

    @property
    def privileged_keys(self) -> tuple[str, ...]:
        """The keys of the privileged fields; empty where there are none."""
        privileged = self._first_info.get("privileged")
        return tuple(privileged) if isinstance(privileged, Mapping) else ()

    @property
    def baselines(self) -> tuple[str, ...]:
        """The agents without a model that can play it: the expert needs a plan, the random agent a list of actions."""
        privileged = self._first_info.get("privileged")
        plan = isinstance(privileged, Mapping) and privileged.get("next_action")
        listed = self._first_info.get("admissible_actions")
        return (*(("expert",) if plan else ()), *(("random",) if listed else ()))

    @cached_property
    def _first_info(self) -> Mapping[str, Any]:
        return reset_to(self._probe, self.task_ids("train")[0], self.enumerates_tasks)[1]

    @property
    def threshold(self) -> float:
        """The return from which an episode counts as success when `info` has no ``"success"``."""
        if self.success_threshold is not None:
            return self.success_threshold
        spec = self._probe.spec
        return 1.0 if spec is None or spec.reward_threshold is None else float(spec.reward_threshold)

    @property
    def skill_bank(self) -> Any:
        """The environment's skill bank, from which wrong and random skills are taken; None where it has none."""
        return getattr(self._probe.unwrapped, "skill_bank", None)

    def close(self) -> None:
        """Close the environment that was made to answer questions about tasks and keys."""
        if "_probe" in self.__dict__:
            self._probe.close()


def reset_to(env: Environment, task_id: str, enumerates_tasks: bool) -> tuple[Any, dict[str, Any]]:
    """Reset to a task: by option where tasks are enumerated, else by seed.

    Raises:
        ValueError: There is no such task.
    """
    if enumerates_tasks:
        return env.reset(options={"task_id": task_id})
    if not task_id.isdecimal():
        raise ValueError(f"task of an environment without task ids: expected a reset seed, got {task_id!r}")
    return env.reset(seed=int(task_id))
