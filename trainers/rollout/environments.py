"""Where episodes come from: an environment id (or a factory), its tasks per split, and what it states about itself.

Environments of this suite enumerate their tasks and give privileged information. Any other Gymnasium environment with
text in and text out can be trained on too: its reset seeds are the task ids, and what its `info` lacks has a neutral
value. Not here: stepping environments (`batch_env`).
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from agents.offered import offered_privileges
from sdar_envs.core import SPLITS, resolve_split
from sdar_envs.privileged import split_info
from sdar_envs.references import import_own
from sdar_envs.tool_sets import ANY_ACTION, ToolSet, tool_set_of

from .faults import FAULT_TEXTS, Fault
from .making import (
    CannotSendError,
    Environment,
    Recipe,
    Statement,
    advance_or_say,
    constructor_names,
    enumerates_tasks,
    is_own_world,
    make,
    recipe_of,
    reward_threshold_of,
    world_version_of,
)
from .replies import FaultKind
from .watchdog import WATCHDOG
from .workers.packing import PackingError, dumps
from .workers.pool import WorkerLimits, WorkerPool
from .workers.slots import describe

logger = logging.getLogger(__name__)

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


class EnvironmentStartError(RuntimeError):
    """An environment hangs, or ends the process that makes it, before anything is played."""


def default_workers() -> int:
    """Worker processes for an environment of other people where nobody says how many."""
    return max(4, os.cpu_count() or 1)


@dataclass(frozen=True)
class EnvironmentSource:
    """An environment id or a function that makes one, with its keyword arguments.

    Args:
        env_id: A registered Gymnasium id, or a callable that returns an environment for `env_kwargs`.
        env_kwargs: Passed to every environment made here; `make` adds ``split``.
        success_threshold: The return from which an episode counts as success when `info` has no ``"success"``; None
            means the registration's ``reward_threshold``, else 1.
        workers: Worker processes that episodes are played in; 0 is this process, None is this process for worlds of
            this suite and some workers for everything else.
        limits: Time and memory of an environment.
    """

    env_id: str | Callable[..., Environment]
    env_kwargs: Mapping[str, Any] = field(default_factory=dict)
    success_threshold: float | None = None
    workers: int | None = None
    limits: WorkerLimits = field(default_factory=WorkerLimits)

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
            return make(Recipe(env_id=self.env_id, kwargs=kwargs))
        return self.env_id(**kwargs)

    # Where it is played.

    @cached_property
    def pool(self) -> WorkerPool | None:
        """The workers that its episodes are played in; None where they are played in this process.

        An environment that cannot be made in another process, or whose `info` cannot be sent from one, stays in this
        one, where only a watchdog looks after it; a warning says so.

        Raises:
            EnvironmentStartError: It hangs, or ends its process, before it could state anything about itself.
        """
        return None if self._hosted is None else self._hosted[0]

    @cached_property
    def _hosted(self) -> tuple[WorkerPool, Statement | None] | None:
        """The workers, and what an environment of other people stated in one of them."""
        count = (0 if is_own_world(self.env_id) else default_workers()) if self.workers is None else self.workers
        if count == 0:
            return None
        if isinstance(self.env_id, str) and ":" in self.env_id:  # a module of the current folder is found, too
            import_own(self.env_id.partition(":")[0])
        try:
            recipe = recipe_of(self.env_id, self.env_kwargs)
            dumps(dict(recipe.kwargs))
        except (CannotSendError, PackingError) as error:
            self._stays(str(error))
            return None
        pool = WorkerPool(recipe, count, name=self.name, limits=self.limits)
        if is_own_world(self.env_id):  # what it states needs no other process
            return pool, None
        stated = describe(pool, SPLITS, SeedTasks("train")[:3])
        if not isinstance(stated, Fault):
            return pool, Statement(**stated)
        pool.close()
        FAULT_TEXTS.say(self.name, stated)
        if stated.kind in (FaultKind.HUNG, FaultKind.KILLED, FaultKind.EXITED):
            raise EnvironmentStartError(f"{self.name} cannot be made: {stated}")
        if stated.out_of_memory and self.limits.memory:
            raise EnvironmentStartError(
                f"{self.name} cannot be made within {self.limits.memory / 2**30:.3g} GiB of address space: raise "
                "env_memory_gb, or leave it out"
            )
        _ = self._probe  # what is wrong with its arguments or data is raised here as it is
        self._stays(f"it cannot be played in a worker process ({stated})")
        return None

    def _stays(self, why: str) -> None:
        logger.warning(
            "%s is played in this process and not in workers: %s; one that hangs is named, and one that dies takes the "
            "run along",
            self.name,
            why,
        )

    @property
    def _stated(self) -> Statement | None:
        """What it stated in a worker; None where this process asks it itself."""
        return None if self._hosted is None else self._hosted[1]

    # What it states about itself.

    @cached_property
    def _probe(self) -> Environment:
        with WATCHDOG.call(f"{self.name}: making the environment", self.limits.reset_timeout):
            return self._make(dict(self.env_kwargs))

    @cached_property
    def enumerates_tasks(self) -> bool:
        """Whether the environment follows this suite's contract: `task_ids` and ``options={"task_id": ...}``."""
        return self._stated.enumerates if self._stated else enumerates_tasks(self._probe)

    def task_ids(self, split: str) -> Sequence[str]:
        """The tasks of a split, in a fixed order.

        Raises:
            ValueError: Unknown split.
        """
        split = resolve_split(split, self.name)
        if not self.enumerates_tasks:
            return SeedTasks(split)
        if self._stated:
            return self._stated.tasks[split]
        tasks: Sequence[str] = self._probe.unwrapped.task_ids(split)  # type: ignore[attr-defined]
        return tasks

    def require_task(self, task_id: str) -> None:
        """Refuse a task that the environment cannot begin; in a rollout it would count as a broken environment.

        Raises:
            ValueError: The environment's own reason.
        """
        self._begin(task_id)

    def _begin(self, task_id: str) -> Mapping[str, Any]:
        """`info` of a task's first state, in the environment that answers questions in this process.

        Raises:
            NotTextError: Its observations are not text.
            ValueError: There is no such task, or what came back cannot be used.
        """
        with WATCHDOG.call(f"{self.name}, task {task_id}, reset", self.limits.reset_timeout):
            return advance_or_say(self._probe, self.name, task_id, enumerates=self.enumerates_tasks).info

    def task_type(self, task_id: str) -> str:
        """The type of a task, as its environment states it after a reset; ``""`` where it states none.

        Raises:
            ValueError: There is no such task.
        """
        return split_info("", self._begin(task_id))[0].task_type

    @cached_property
    def options(self) -> frozenset[str]:
        """The keyword arguments that the environment's constructor names."""
        return frozenset(self._stated.parameters) if self._stated else constructor_names(self._probe)

    @cached_property
    def world_version(self) -> str:
        """The environment's own version of everything that moves a score; ``"unknown"`` where it states none."""
        return self._stated.world_version if self._stated else world_version_of(self._probe)

    def cluster_of(self, task_id: str) -> str:
        """The cluster of a task for intervals, such as its layout, where the environment names one; else the task."""
        if task_id not in self._clusters:
            asks = self._stated is None or self._stated.has_objects
            own = getattr(self._probe.unwrapped, "cluster_of", None) if asks else None
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
    def offered_privileges(self) -> tuple[str, ...]:
        """The privileges for which the first state of its first task holds something."""
        privileged = self._first_info.get("privileged")
        return offered_privileges(privileged) if isinstance(privileged, Mapping) else ()

    @property
    def baselines(self) -> tuple[str, ...]:
        """The agents without a model that can play it: the expert needs a plan, the random agent a list of actions."""
        privileged = self._first_info.get("privileged")
        plan = isinstance(privileged, Mapping) and privileged.get("next_action")
        listed = self._first_info.get("admissible_actions")
        return (*(("expert",) if plan else ()), *(("random",) if listed else ()))

    @cached_property
    def _first_info(self) -> Mapping[str, Any]:
        return self._stated.first_info if self._stated else self._begin(self.task_ids("train")[0])

    @property
    def threshold(self) -> float:
        """The return from which an episode counts as success when `info` has no ``"success"``."""
        if self.success_threshold is not None:
            return self.success_threshold
        stated = self._stated.reward_threshold if self._stated else reward_threshold_of(self._probe)
        return 1.0 if stated is None else stated

    @property
    def skill_bank(self) -> Any:
        """The environment's skill bank, from which wrong and random skills are taken; None where it has none."""
        if self._stated is not None and not self._stated.has_objects:
            return None
        return getattr(self._probe.unwrapped, "skill_bank", None)

    @property
    def tool_set(self) -> ToolSet:
        """The environment's tools; one that takes any action where it has none of its own."""
        if self._stated is not None and not self._stated.has_objects:
            return ANY_ACTION
        return tool_set_of(self._probe.unwrapped)

    def close(self) -> None:
        """End the workers, and close the environment that was made to answer questions; both can be used again."""
        hosted = self.__dict__.get("_hosted")
        if hosted is not None:
            hosted[0].close()
        if "_probe" in self.__dict__:
            self._probe.close()
