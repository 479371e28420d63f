"""Dynamic sampling (DAPO, arXiv 2503.14476): zero-variance groups are replaced by groups of further tasks.

A group whose usable episodes all have the same return has advantages of 0. Such groups are replaced, up to a number of
times per iteration; those that still have zero variance then stay. Which task replaces which group is counted
(`tasks.TaskPlan.replacements`), so a resumed run plays the same. No loss sees the replaced episodes; their tokens count
as sampled. Methods with a teacher learn from zero-variance groups too: replacing these changes what such a method
learns from, not only how fast it learns.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .collect import Rollout, TaskDraw
from .tasks import TaskPlan

Play = Callable[[Sequence[TaskDraw]], list[Rollout]]


@dataclass(frozen=True, slots=True)
class Resampled:
    """The episodes of an iteration, group by group, and those that were replaced."""

    rollouts: list[Rollout]
    replaced: list[Rollout]

    def metrics(self, group_size: int) -> dict[str, float]:
        """Replaced groups, and sampled tokens of their episodes."""
        sampled = sum(
            len(turn.action.tokens.completion_ids)
            for rollout in self.replaced
            for turn in rollout.episode.turns
            if turn.action.tokens
        )
        return {"groups/replaced": len(self.replaced) / group_size, "tokens/replaced": float(sampled)}


def flat_groups(rollouts: Sequence[Rollout], seats: int = 1) -> list[int]:
    """The tasks whose groups all have zero variance, in order: no two usable episodes of different return.

    Args:
        rollouts: Episodes; groups are numbered by task and, within a task, by seat.
        seats: Groups of a task: the seats of a game that learn. What one seat can learn is not thrown away because the
            other's returns are equal.
    """
    returns: dict[int, set[float]] = {}
    for rollout in rollouts:
        own = returns.setdefault(rollout.task.group, set())
        if not rollout.episode.failed:
            own.add(rollout.episode.return_)
    tasks = {group // seats for group in returns}
    return sorted(task for task in tasks if all(len(returns.get(task * seats + n, ())) < 2 for n in range(seats)))


def replace_flat_groups(
    rollouts: Sequence[Rollout], play: Play, plan: TaskPlan, *, step: int, tries: int, seats: int = 1
) -> Resampled:
    """Play further tasks in the place of zero-variance groups, `tries` times at most; the order of groups stays.

    Args:
        rollouts: The episodes of iteration `step` in the order of ``plan.draws``.
        play: Plays episodes and returns them in the order of their draws.
        plan: Names the tasks that replace others.
        step: Iteration, from 0.
        tries: 0 plays nothing and returns the episodes as they are.
        seats: Groups of a task, as in `flat_groups`.
    """
    kept, replaced = list(rollouts), []
    for attempt in range(tries):
        zero_variance = flat_groups(kept, seats)
        if not zero_variance:
            break
        further = play(plan.replacements(step, attempt, zero_variance))
        replaced += [rollout for rollout in kept if rollout.task.group // seats in zero_variance]
        kept = [rollout for rollout in kept if rollout.task.group // seats not in zero_variance]
        # A seat that never acted gives no episode, so those that come may be more or fewer than those that go.
        kept = sorted([*kept, *further], key=lambda rollout: rollout.task.group)
    return Resampled(kept, replaced)
