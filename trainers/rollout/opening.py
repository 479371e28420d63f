"""How a run's episodes are played: in this process or in workers, in lockstep or asynchronously."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from agents.sampling.base import Sampler

from ..options import RolloutOptions
from ..options.option import AUTO
from .batch_env import AsynchronousBatchEnv, LoopBatchEnv
from .environments import EnvironmentSource
from .making import Environment
from .workers.pool import WorkerLimits
from .workers.slots import WorkerBatchEnv


def open_batch_env(
    source: EnvironmentSource,
    split: str,
    slots: int,
    *,
    environments: int | None = None,
    privileged_turns: str = "every",
) -> AsynchronousBatchEnv:
    """The slots of a source's split, in its workers where it has some.

    Args:
        source: The environment.
        split: The split.
        slots: Episodes that can run at once.
        environments: Live environments at most, in this process; workers have one per slot.
        privileged_turns: When `info` gets its privileged part (`replies.PRIVILEGED_TURNS`).
    """
    pool = source.pool
    if pool is None:
        return LoopBatchEnv.of(
            source,
            split,
            slots,
            environments=environments,
            privileged_turns=privileged_turns,
            step_timeout=source.limits.step_timeout,
            reset_timeout=source.limits.reset_timeout,
        )
    return WorkerBatchEnv(
        pool,
        slots,
        split=split,
        enumerates=source.enumerates_tasks,
        privileged_turns=privileged_turns,
        success_threshold=source.threshold,
    )


def source_of(
    env_id: str | Callable[..., Environment], env_kwargs: Mapping[str, Any], options: RolloutOptions
) -> EnvironmentSource:
    """An environment, in the workers and with the limits that the options ask for."""
    memory = 0 if options.env_memory_gb is None else int(options.env_memory_gb * 2**30)
    return EnvironmentSource(
        env_id,
        env_kwargs,
        options.success_threshold,
        options.env_workers,
        WorkerLimits(options.step_timeout, options.reset_timeout, memory),
    )


def collects_asynchronously(options: RolloutOptions, sampler: Sampler, *, on_gpu: bool) -> bool:
    """Whether episodes are collected asynchronously.

    Args:
        options: ``collection`` and ``deterministic``.
        sampler: One that honours no counted draws makes no run that could be repeated, so nothing is kept for it.
        on_gpu: Whether the model computes on a GPU, whose sums are not repeated to the bit anyway.
    """
    if options.collection != AUTO:
        return options.collection == "asynchronous"
    if options.deterministic != AUTO:
        return not options.deterministic
    return on_gpu or not sampler.exact_draws
