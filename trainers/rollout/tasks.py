"""Which tasks an iteration plays: counted shuffles of the training split, the same on any machine."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from sdar_envs.randomness import counted_generator

from ..options import Options
from .collect import TaskDraw


def group_key(draw: tuple[int | str, ...]) -> tuple[int | str, ...] | None:
    """The key of a training group: its episodes' draws without the number in the group; None for any other draw."""
    return (*draw[:4], *draw[5:]) if draw[:1] == ("train",) else None


class TaskPlan:
    """Tasks in a shuffled order, every task once per pass; the order is a function of the run's seed and the pass.

    Tasks that replace others (`dynamic_sampling`) come from a shuffle of their own, so that what an iteration plays
    never depends on how many were replaced before it.

    Args:
        task_ids: The training split.
        options: Seed, tasks per iteration, episodes per task.

    Raises:
        ValueError: The split is empty.
    """

    def __init__(self, task_ids: Sequence[str], options: Options) -> None:
        if not len(task_ids):
            raise ValueError("the training split has no tasks: expected at least one")
        self.task_ids = task_ids
        self.options = options
        self._passes: dict[int, NDArray[np.int64]] = {}

    def tasks(self, step: int) -> list[str]:
        """The tasks of iteration `step`, one per group."""
        count = self.options.tasks_per_step
        return [self._task(step * count + group) for group in range(count)]

    def draws(self, step: int) -> list[TaskDraw]:
        """The episodes of iteration `step`, group by group, each with the key of its own randomness."""
        seed = self.options.seed
        return [
            TaskDraw(task, ("train", seed, step, group, member), group, member)
            for group, task in enumerate(self.tasks(step))
            for member in range(self.options.num_generations)
        ]

    def replacements(self, step: int, attempt: int, groups: Sequence[int]) -> list[TaskDraw]:
        """The episodes of further tasks that replace `groups` of iteration `step`.

        Args:
            step: Iteration, from 0.
            attempt: Which of the ``dynamic_sampling`` tries of that iteration, from 0.
            groups: The groups whose tasks are replaced; what one group gets does not depend on the others.
        """
        options = self.options
        first = (step * options.dynamic_sampling + attempt) * options.tasks_per_step
        order = self._replacement_order
        return [
            TaskDraw(
                self.task_ids[int(order[(first + group) % len(order)])],
                ("train", options.seed, step, group, member, "again", attempt),
                group,
                member,
            )
            for group in groups
            for member in range(options.num_generations)
        ]

    @cached_property
    def _replacement_order(self) -> NDArray[np.int64]:
        return counted_generator("tasks", self.options.seed, "again").permutation(len(self.task_ids))

    def _task(self, position: int) -> str:
        """The task at a position of all passes in turn; the orders of the last two passes are kept."""
        number, index = divmod(position, len(self.task_ids))
        if number not in self._passes:
            order = counted_generator("tasks", self.options.seed, number).permutation(len(self.task_ids))
            self._passes = {n: kept for n, kept in self._passes.items() if n == number - 1} | {number: order}
        return self.task_ids[int(self._passes[number][index])]
