"""Which `BatchEnv` a source's episodes are played in: one in this process, or one in worker processes."""

from __future__ import annotations

from .batch_env import AsynchronousBatchEnv, LoopBatchEnv
from .environments import EnvironmentSource
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
        pool, slots, split=split, privileged_turns=privileged_turns, success_threshold=source.threshold
    )
