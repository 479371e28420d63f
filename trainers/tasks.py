"""Which tasks an iteration plays: a counted walk through the training split, the same on any machine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sdar_envs.randomness import counted_generator

from .rollout import TaskDraw

if TYPE_CHECKING:
    from .config import SDARConfig


class TaskPlan:
    """Tasks in a shuffled order, every task once per pass; the order is a function of the run's seed and the pass.

    Args:
        task_ids: The training split.
        config: Seed, tasks per iteration, episodes per task.

    Raises:
        ValueError: The split is empty.
    """

    def __init__(self, task_ids: Sequence[str], config: SDARConfig) -> None:
        if not len(task_ids):
            raise ValueError("the training split has no tasks: expected at least one")
        self.task_ids = task_ids
        self.config = config
        self._passes: dict[int, NDArray[np.int64]] = {}

    def tasks(self, step: int) -> list[str]:
        """The tasks of iteration `step`, one per group."""
        count = self.config.tasks_per_step
        return [self._task(step * count + group) for group in range(count)]

    def draws(self, step: int) -> list[TaskDraw]:
        """The episodes of iteration `step`, group by group, each with the key of its own randomness."""
        seed = self.config.seed
        return [
            TaskDraw(task, ("train", seed, step, group, member), group, member)
            for group, task in enumerate(self.tasks(step))
            for member in range(self.config.num_generations)
        ]

    def _task(self, position: int) -> str:
        number, index = divmod(position, len(self.task_ids))
        if number not in self._passes:
            order = counted_generator("tasks", self.config.seed, number).permutation(len(self.task_ids))
            self._passes = {n: kept for n, kept in self._passes.items() if n == number - 1} | {number: order}
        return self.task_ids[int(self._passes[number][index])]
