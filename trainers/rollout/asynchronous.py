"""Episodes from many environments without waiting: each goes on as soon as its own environment has answered.

A slow environment or a long completion holds up nobody, and a slot whose episode has ended is filled at once. Which
task is played with which draws does not depend on timing; which episodes share a batch of the sampler does, and with it
the rounding of its sums, so that in low precision a token may come out otherwise in another run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from agents.base import Action, Agent, StopReason
from agents.streaming import stream_of

from .batch_env import AsynchronousBatchEnv
from .running import Rollout, RunningEpisodes, TaskDraw


def collect_asynchronously(
    agent: Agent,
    batch_env: AsynchronousBatchEnv,
    tasks: Sequence[TaskDraw],
    *,
    max_turns: int | None = None,
    seal_info: bool = False,
    advance: Callable[[int, int], None] | None = None,
) -> list[Rollout]:
    """Play `tasks` over the slots of `batch_env`; rollouts come back in the order of the tasks.

    Arguments are those of `collect.collect`.
    """
    rollouts: list[Rollout | None] = [None] * len(tasks)
    episodes = RunningEpisodes(
        batch_env.name,
        batch_env.success_threshold,
        read_once=batch_env.privileged_turns == "first",
        max_turns=max_turns,
        seal_info=seal_info,
        tasks=len(tasks),
        advance=advance,
    )
    stream = stream_of(agent)
    release = getattr(agent, "release", None)
    beginning: dict[int, int] = {}  # slot -> index of the task whose reset is awaited
    acting: dict[int, Action] = {}  # slot -> the action that its environment plays
    waiting = 0  # index of the first task that has not begun

    def begin(slot: int) -> None:
        """Give a free slot the next task, where there is one."""
        nonlocal waiting
        if waiting < len(tasks):
            beginning[slot] = waiting
            batch_env.begin(slot, tasks[waiting].task_id)
            waiting += 1

    def act(slot: int) -> None:
        state = episodes.by_slot[slot]
        stream.submit(state.view, state.known if agent.reads_privileged else None)

    def ended(slot: int) -> None:
        if release is not None:
            release([slot])
        begin(slot)

    for slot in range(min(batch_env.slots, len(tasks))):
        begin(slot)
    while beginning or acting or stream.pending:
        # What environments have answered; without anything to sample there is nothing to do but wait for one.
        for slot, reply in batch_env.poll(0.0 if stream.pending else None):
            if slot in beginning:
                index = beginning.pop(slot)
                rollouts[index] = episodes.begin(slot, tasks[index], reply)
                goes_on = slot in episodes.by_slot
            else:
                goes_on = episodes.advance(slot, acting.pop(slot), reply)
            if goes_on:
                act(slot)
            else:
                ended(slot)
        # What the agent has answered; its environments work while the next completions are sampled.
        for slot, action in stream.advance():
            if action.context_full:
                episodes.finish(slot, StopReason.CONTEXT_FULL)
                ended(slot)
            else:
                acting[slot] = action
                batch_env.send(slot, action.text)
    return [rollout for rollout in rollouts if rollout is not None]
