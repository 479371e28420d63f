"""Dynamic sampling (DAPO, arXiv 2503.14476): groups that siblings can not learn from give way to further tasks.

A group whose usable episodes all have the same return has advantages of 0. Such groups are played again with other
tasks, up to a number of times per iteration; what is still flat then stays. Which task stands in for which group is
counted (`tasks.TaskPlan.replacements`), so a resumed run plays the same. No loss sees the episodes that gave way; their
tokens count as sampled. Methods with a teacher learn from flat groups, too: replacing them then changes what is
compared, not only how fast.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .collect import Rollout, TaskDraw
from .tasks import TaskPlan

Play = Callable[[Sequence[TaskDraw]], list[Rollout]]


@dataclass(frozen=True, slots=True)
class Resampled:
    """The episodes of an iteration, group by group, and those that gave way to others."""

    rollouts: list[Rollout]
    replaced: list[Rollout]

    def metrics(self, group_size: int) -> dict[str, float]:
        """For the log, where anything could be replaced."""
        sampled = sum(
            len(turn.action.tokens.completion_ids)
            for rollout in self.replaced
            for turn in rollout.episode.turns
            if turn.action.tokens
        )
        return {"groups/replaced": len(self.replaced) / group_size, "tokens/replaced": float(sampled)}


def flat_groups(rollouts: Sequence[Rollout]) -> list[int]:
    """The groups, in order, without two usable episodes of different return."""
    returns: dict[int, set[float]] = {}
    for rollout in rollouts:
        own = returns.setdefault(rollout.task.group, set())
        if not rollout.episode.failed:
            own.add(rollout.episode.return_)
    return sorted(group for group, own in returns.items() if len(own) < 2)


def replace_flat_groups(rollouts: Sequence[Rollout], play: Play, plan: TaskPlan, *, step: int, tries: int) -> Resampled:
    """Play further tasks in the place of flat groups, `tries` times at most; the order of groups stays.

    Args:
        rollouts: The episodes of iteration `step` in the order of ``plan.draws``.
        play: Plays episodes, returned in the order of their draws.
        plan: Says which tasks stand in.
        step: Iteration, from 0.
        tries: 0 plays nothing and returns the episodes as they are.
    """
    kept, replaced = list(rollouts), []
    for attempt in range(tries):
        flat = flat_groups(kept)
        if not flat:
            break
        fresh = iter(play(plan.replacements(step, attempt, flat)))
        for index, rollout in enumerate(kept):
            if rollout.task.group in flat:
                replaced.append(rollout)
                kept[index] = next(fresh)
    return Resampled(kept, replaced)
