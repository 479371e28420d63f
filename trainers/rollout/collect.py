"""Episodes from many environments in lockstep: all that run act together, then all step.

A finished episode leaves the batch at once and costs nothing more; one whose environment broke beyond replay is marked
FAILED. What is privileged reaches no agent, unless the agent declares `reads_privileged`. Which episodes act together
depends on the tasks and the number of slots alone, so that a run can be resumed exactly. Not here: the same without
waiting for the slowest (`asynchronous`), tokens (`rows`), success rates (`evaluation.evaluate`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from agents.base import Action, Agent, StopReason

from .batch_env import BatchEnv
from .running import Rollout as Rollout
from .running import RunningEpisodes
from .running import TaskDraw as TaskDraw


def collect(
    agent: Agent,
    batch_env: BatchEnv,
    tasks: Sequence[TaskDraw],
    *,
    max_turns: int | None = None,
    seal_info: bool = False,
    advance: Callable[[int, int], None] | None = None,
) -> list[Rollout]:
    """Play `tasks` over the slots of `batch_env`; rollouts come back in the order of the tasks.

    Free slots are filled again when half of them are free, so that the prefill of new prompts is shared. Which episodes
    act together depends on the tasks and the number of slots alone.

    Args:
        agent: Acts for all running slots at once. Its ``release(slots)``, where it has one, is called for slots whose
            episodes have ended.
        batch_env: The environments.
        tasks: The episodes to play.
        max_turns: Turns after which an episode is stopped; None leaves that to the environment.
        seal_info: Seal the whole `info` for the teacher and not its ``"privileged"`` part (for a user's own
            ``teacher_context``, which is a function of `info`).
        advance: Told how many episodes have ended, and of how many, each time that one has.
    """
    rollouts: list[Rollout | None] = [None] * len(tasks)
    free = list(range(min(batch_env.slots, len(tasks))))
    episodes = RunningEpisodes(
        batch_env.name,
        batch_env.success_threshold,
        read_once=getattr(batch_env, "privileged_turns", "every") == "first",
        max_turns=max_turns,
        seal_info=seal_info,
        tasks=len(tasks),
        advance=advance,
    )
    running = episodes.by_slot
    waiting = 0  # index of the first task that has not begun

    while running or waiting < len(tasks):
        # Begin further tasks once half of the slots are free.
        if waiting < len(tasks) and 2 * len(free) >= len(free) + len(running):
            free.sort()
            batch = tasks[waiting : waiting + len(free)]
            slots, free = free[: len(batch)], free[len(batch) :]
            replies = batch_env.reset(slots, [task.task_id for task in batch])
            for slot, task, reply in zip(slots, batch, replies, strict=True):
                rollouts[waiting] = episodes.begin(slot, task, reply)
                waiting += 1
                if slot not in running:
                    free.append(slot)
            continue

        # One action for every running episode; in the order of slots, so that a batch does not depend on what ended.
        slots = sorted(running)
        views = [running[slot].view for slot in slots]
        actions = agent.act(views, [running[s].known for s in slots]) if agent.reads_privileged else agent.act(views)
        playing: list[tuple[int, Action]] = []
        ended: list[int] = []
        for slot, action in zip(slots, actions, strict=True):
            if action.context_full:
                episodes.finish(slot, StopReason.CONTEXT_FULL)
                ended.append(slot)
            else:
                playing.append((slot, action))

        # Step the environments.
        replies = batch_env.step([slot for slot, _ in playing], [action.text for _, action in playing])
        for (slot, action), reply in zip(playing, replies, strict=True):
            if not episodes.advance(slot, action, reply):
                ended.append(slot)
        free += ended

        # Agents with a memory forget the episodes that have ended.
        release = getattr(agent, "release", None)
        if ended and release is not None:
            release(ended)
    assert all(rollout is not None for rollout in rollouts)
    return [rollout for rollout in rollouts if rollout is not None]
