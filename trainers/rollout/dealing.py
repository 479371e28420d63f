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


def play_games_dealt(
    play: Play, tasks: Sequence[TaskDraw], ranks: Ranks | None = None, *, seats: int = 1
) -> list[Rollout]:
    """Play games over all processes; every process gets the episodes of all seats, ordered by group and member.

    A game is dealt whole, by the group of its task: its seats play against each other.

    Args:
        play: Plays games in this process, and returns the episodes of the seats that acted.
        tasks: All games, the same in every process.
        ranks: The processes; None plays everything here.
        seats: The groups of a task, one per recorded seat.
    """
    if ranks is None or ranks.world_size == 1:
        return play(tasks)
    own = [task for task in tasks if owns(ranks, task.group)]
    found = [rollout for of_rank in ranks.gather(play(own) if own else []) for rollout in of_rank]
    # Each process has numbered its own games; here they get the numbers that one process gives them.
    numbers = {(task.group, task.member): number for number, task in enumerate(tasks)}
    for rollout in found:
        rollout.episode.game = numbers[rollout.task.group // seats, rollout.task.member]
    return sorted(found, key=lambda rollout: (rollout.task.group, rollout.task.member))
