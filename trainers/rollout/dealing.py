"""Episodes dealt to the processes of a run: each plays the groups that it owns, and all get all episodes.

Who plays a task depends on its group alone, never on timing, and draws are counted, so the episodes of an iteration are
the same for any number of processes, up to rounding in the forward passes of differently composed batches.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..engine.base import Ranks, owns
from .collect import Rollout, TaskDraw

Play = Callable[[Sequence[TaskDraw]], list[Rollout]]


def play_dealt(play: Play, tasks: Sequence[TaskDraw], ranks: Ranks | None) -> list[Rollout]:
    """Play the tasks over all processes; every process gets all episodes, in the order of the tasks.

    Args:
        play: Plays tasks in this process, and returns the episodes in their order.
        tasks: All tasks, the same in every process.
        ranks: The processes; None plays everything here.
    """
    if ranks is None or ranks.world_size == 1:
        return play(tasks)
    own = [place for place, task in enumerate(tasks) if owns(ranks, task.group)]
    played = play([tasks[place] for place in own]) if own else []
    found: dict[int, Rollout] = {}
    for of_rank in ranks.gather(dict(zip(own, played, strict=True))):
        found |= of_rank
    return [found[place] for place in range(len(tasks))]
