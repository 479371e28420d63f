"""Whether those who are given one task get one task: members of a group, who are compared with each other."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from .scores import oracle_walk, won
from .subject import Subject, failure, promise, require_same
from .walks import ConformanceError, Skipped, Walk, act, actions_of, begin, is_over

_LONGEST = 40  # actions of an episode that members repeat
_MEMBERS = 3  # at least: two with one seed, and one with a seed of its own
_OTHER_SEED = 1_000_003
_MORE = 6  # further seeds, by whose tasks a small world, in which two tasks may well be alike, is told from one task
# Shares of the time by which members are opened, as far as that can be foreseen, and have been played.
_OPENING, _TURNS = 0.35, 0.65


def check_group_shares_task(subject: Subject) -> dict[str, Any]:
    """Sessions that reset to one task id play one task to its end, whoever plays between; another id is another task.

    `sessions` asks the same of seeds, and `task_replay` asks of a single session how a task begins.
    """
    walks = [walk[: _LONGEST + 1] for walk in _one_a_task(subject.walks)]
    if not walks:
        raise Skipped("info has no task_id; of sessions that share a seed `sessions` tells")
    wanted = max(1, min(len(walks), subject.sessions // _MEMBERS))
    played, turns = _groups(subject, walks[:wanted], max(_MEMBERS, subject.sessions // wanted))
    walks, members = walks[: len(played)], len(played[0])
    short = f"{turns} actions of each at most" if any(len(w) > turns + 1 for w in walks) else ""
    few = f"{len(walks)} of {wanted} tasks" if len(walks) < wanted else ""
    cut = ", ".join(filter(None, (few, short)))
    walks = [walk[: turns + 1] for walk in walks]
    for group in played:
        for one, other in pairwise(group[:-1]):
            _require_member(one, other, "which share a seed", members * len(walks))
    for walk, group in zip(walks, played, strict=True):
        try:
            _require_member(group[0], group[-1], "one of which has another seed", members * len(walks))
            _require_member(group[0], walk, "one of which drew it by its seed", members * len(walks))
        except ConformanceError as error:  # elsewhere dice may be the seed's and not the task's
            raise promise(error.what, "Make the episode a function of the task id, whatever the seed") from error
    subject.budget.judged = True
    subject.budget.looked_at = ", ".join(filter(None, (cut, "not at whether tasks are told apart")))
    apart = _told_apart(subject, [group[0] for group in played])
    subject.budget.looked_at = cut
    return {"tasks": len(walks), "members": members, "told apart": apart}


def _one_a_task(walks: Sequence[Walk]) -> list[Walk]:
    """The first walk of each task that has a name."""
    named: dict[str, Walk] = {}
    for walk in walks:
        task_id = walk[0].snapshot.get("task_id")
        if isinstance(task_id, str) and task_id:
            named.setdefault(task_id, walk)
    return list(named.values())


def _task_of(walk: Walk) -> str:
    return str(walk[0].snapshot["task_id"])


def _groups(subject: Subject, walks: Sequence[Walk], members: int) -> tuple[list[list[Walk]], int]:
    """Each task's members, all with the actions of its walk; every session takes its step before any takes the next.

    The last member of a group has a seed of its own. Members of one group are no neighbours. Where the first session
    says that not all can be opened in time, there are fewer members, and fewer tasks.

    Returns:
        The groups, and how many actions every session had time for.
    """
    budget = subject.budget
    with contextlib.ExitStack() as stack:

        def opened(walk: Walk, seed: int) -> tuple[Any, Walk, list[str | None]]:
            env = stack.enter_context(contextlib.closing(subject.build()))
            return env, [begin(env, seed=seed, task_id=_task_of(walk))], actions_of(walk)

        began = budget.spent
        played = [opened(walks[0], subject.seed)]
        each = budget.spent - began
        if each * len(walks) * members > _OPENING * budget.seconds:
            members = _MEMBERS
            walks = walks[: max(1, int(_OPENING * budget.seconds / (each * members)))]
        for number in range(1, members * len(walks)):
            last = number >= (members - 1) * len(walks)
            played.append(opened(walks[number % len(walks)], subject.seed + (_OTHER_SEED if last else 0)))
        turns = max(len(walk) for walk in walks) - 1
        for at in range(1, turns + 1):
            if not budget.has(_TURNS):
                turns = at - 1
                break
            for env, moments, script in played:
                if at < len(script) and not is_over(moments[-1]):
                    moments.append(act(env, str(script[at])))
    return [[moments for _, moments, _ in played[first :: len(walks)]] for first in range(len(walks))], turns


def _require_member(one: Walk, other: Walk, which: str, sessions: int) -> None:
    require_same(
        one,
        other,
        f"two of {sessions} sessions, both with the task {_task_of(one)!r}, {which}",
        "Make the task afresh from its id at every reset, and keep in the instance what an episode changes",
    )


def _told_apart(subject: Subject, walks: Sequence[Walk]) -> int:
    """How many tasks are seen to be another than the next, which is played with the same actions.

    Raises:
        ConformanceError: Several ids are one task: not even what wins one of them does anything else in the next.
    """
    if len(walks) < 2:
        return 0
    others = [_task_of(walk) for walk in [*walks[1:], walks[0]]]
    apart = _differing(subject, walks, others)
    if apart:
        return apart
    try:
        winning = [oracle_walk(subject, subject.seed, task_id=_task_of(walk)) for walk in walks]
    except Skipped:
        return 0
    apart = _differing(subject, winning, others)
    if apart or any(won(walk) <= 0.0 for walk in winning):
        return apart
    more = _further_tasks(subject, {_task_of(walk) for walk in walks})
    apart = _differing(subject, [winning[0]] * len(more), more)
    if not apart:
        raise failure(
            f"expected another task under another id, got the same episode under {len(walks) + len(more)} ids, also "
            f"with the actions that win: {', '.join(map(repr, [*map(_task_of, walks), *more][:3]))}",
            "Make the task from its id, or give one task one id",
        )
    return apart


def _further_tasks(subject: Subject, known: set[str]) -> list[str]:
    """Ids that further seeds draw, without those that are known."""
    drawn: list[str] = []
    with contextlib.closing(subject.build()) as env:
        for number in range(1, _MORE + 1):
            task_id = begin(env, seed=subject.seed + _OTHER_SEED + number).snapshot.get("task_id")
            if isinstance(task_id, str) and task_id and task_id not in known and task_id not in drawn:
                drawn.append(task_id)
    return drawn


def _differing(subject: Subject, walks: Sequence[Walk], task_ids: Sequence[str]) -> int:
    """How many walks go another way where another task, one for each, is played with their actions."""
    count = 0
    with contextlib.closing(subject.build()) as env:
        for walk, task_id in zip(walks, task_ids, strict=True):
            moments = [begin(env, seed=subject.seed, task_id=task_id)]
            for action in actions_of(walk)[1:]:
                if is_over(moments[-1]):
                    break
                moments.append(act(env, str(action)))
            count += _nameless(walk) != _nameless(moments)
    return count


def _nameless(walk: Walk) -> list[str]:
    """What was played, without the task's name, which may be shown anywhere."""
    return [repr(moment.comparable()).replace(_task_of(walk), "") for moment in walk]
