"""Episodes from many environments at once: actions, replies, and the privileged information before each action.

`collect` plays tasks over a fixed number of slots. A finished episode leaves the batch at once and costs nothing more;
one whose environment broke beyond replay (`batch_env`) is marked FAILED. What `info` has under ``"privileged"`` goes
sealed into `Rollout.privileged` and reaches no agent, unless the agent declares `reads_privileged`. Not here: tokens
(`rows`), success rates (`evaluation.evaluate`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from agents.base import Action, Agent, Episode, StopReason, Turn
from sdar_envs.privileged import Privileged, StudentView, split_info

from .batch_env import BatchEnv, Reply


@dataclass(frozen=True, slots=True)
class TaskDraw:
    """One episode to play: its task, the key of its draws, its group, and its number in the group."""

    task_id: str
    draw: tuple[int | str, ...]
    group: int = 0
    member: int = 0


@dataclass(slots=True)
class Rollout:
    """An episode and, parallel to its turns, the sealed privileged fields before each action.

    `failure` says why the environment broke; None where it did not.
    """

    episode: Episode
    task: TaskDraw
    privileged: list[Privileged | None] = field(default_factory=list)
    failure: str | None = None


@dataclass(slots=True)
class _Running:
    """An episode in a slot: the present view, with the privileged fields and the `info` that came with it."""

    rollout: Rollout
    view: StudentView
    known: Privileged | None
    info: Mapping[str, Any]


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
    running: dict[int, _Running] = {}  # by slot
    free = list(range(min(batch_env.slots, len(tasks))))
    # Privileged fields that are read once per episode hold for all its turns.
    read_once = getattr(batch_env, "privileged_turns", "every") == "first"
    waiting = 0  # index of the first task that has not begun

    def observe(reply: Reply, slot: int, turn: int, draw: tuple[int | str, ...]) -> tuple[StudentView, Any]:
        view, known = split_info(reply.observation, reply.info, slot=slot, turn=turn, draw=draw)
        return view, Privileged(reply.info) if seal_info else known

    def finish(slot: int, reason: StopReason) -> None:
        state = running.pop(slot)
        episode = state.rollout.episode
        # The environment's own verdict, else a return of at least the threshold.
        stated = state.info.get("success")
        reached = episode.return_ >= batch_env.success_threshold
        episode.success = bool(reached if stated is None else stated) and reason is not StopReason.FAILED
        episode.score = float(state.info.get("score", episode.success))
        if reason is StopReason.TERMINATED and episode.success:
            reason = StopReason.SUCCESS
        episode.stop_reason = reason
        free.append(slot)
        if advance is not None:
            advance(waiting - len(running), len(tasks))

    while running or waiting < len(tasks):
        # Begin further tasks once half of the slots are free.
        if waiting < len(tasks) and 2 * len(free) >= len(free) + len(running):
            free.sort()
            batch = tasks[waiting : waiting + len(free)]
            slots, free = free[: len(batch)], free[len(batch) :]
            replies = batch_env.reset(slots, [task.task_id for task in batch])
            for slot, task, reply in zip(slots, batch, replies, strict=True):
                view, known = observe(reply, slot, 0, task.draw)
                episode = Episode(batch_env.name, task.task_id, view.task_type, task.draw)
                rollout = Rollout(episode, task, failure=reply.failure)
                rollouts[waiting] = rollout
                waiting += 1
                running[slot] = _Running(rollout, view, known, reply.info)
                if reply.failure is not None:
                    finish(slot, StopReason.FAILED)
            continue

        # One action for every running episode; in the order of slots, so that a batch does not depend on what ended.
        slots = sorted(running)
        views = [running[slot].view for slot in slots]
        actions = agent.act(views, [running[s].known for s in slots]) if agent.reads_privileged else agent.act(views)
        playing: list[tuple[int, Action]] = []
        ended: list[int] = []
        for slot, action in zip(slots, actions, strict=True):
            if action.context_full:
                finish(slot, StopReason.CONTEXT_FULL)
                ended.append(slot)
            else:
                playing.append((slot, action))

        # Step the environments. A turn is noted with what was known before its action; then the view moves on.
        replies = batch_env.step([slot for slot, _ in playing], [action.text for _, action in playing])
        for (slot, action), reply in zip(playing, replies, strict=True):
            state = running[slot]
            reason = None
            if reply.failure is not None:
                state.rollout.failure = reply.failure
                reason = StopReason.FAILED
            else:
                turn = state.view.turn + 1
                view, known = observe(reply, slot, turn, state.view.draw)
                state.rollout.episode.turns.append(Turn(state.view, action, reply.reward, view.is_action_valid))
                state.rollout.privileged.append(state.known)
                state.view, state.info = view, reply.info
                state.known = state.known if read_once else known
                if reply.terminated:
                    reason = StopReason.TERMINATED
                elif reply.truncated or (max_turns is not None and turn >= max_turns):
                    reason = StopReason.HORIZON
            if reason is not None:
                finish(slot, reason)
                ended.append(slot)

        # Agents with a memory forget the episodes that have ended.
        release = getattr(agent, "release", None)
        if ended and release is not None:
            release(ended)
    assert all(rollout is not None for rollout in rollouts)
    return [rollout for rollout in rollouts if rollout is not None]
