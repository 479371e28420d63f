"""Episodes that are being played: what is known of each before its next action, and how it ends.

Shared by both ways to collect (`collect` in lockstep, `asynchronous`). What `info` has under ``"privileged"`` goes
sealed into `Rollout.privileged`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from agents.base import Action, Episode, StopReason, Turn
from sdar_envs.privileged import Privileged, StudentView, split_info
from sdar_envs.wrong_actions import UNKNOWN, WrongActions

from .faults import Fault, fault_of
from .replies import WRONG_ACTIONS, FaultKind, Reply


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

    `failure` says why the environment broke, and `fault` what kind of fault it was; None where it did not. `detail`
    holds the environment's own words on it, which may be privileged. Of a game of several roles, `moves` says of each
    turn which of the game's it was, all seats counted; it is empty elsewhere. `written` is what the teacher is told by
    privileges that the policy writes itself (`reflecting`), by their names.
    """

    episode: Episode
    task: TaskDraw
    privileged: list[Privileged | None] = field(default_factory=list)
    failure: str | None = None
    fault: FaultKind | None = None
    detail: str = ""
    moves: list[int] = field(default_factory=list)
    written: dict[str, Privileged] = field(default_factory=dict)


@dataclass(slots=True)
class Running:
    """An episode in a slot: the present view, with the privileged fields and the `info` that came with it."""

    rollout: Rollout
    view: StudentView
    known: Privileged | None
    info: Mapping[str, Any]


class RunningEpisodes:
    """The episodes in the slots of a `BatchEnv`.

    Args:
        name: The environment's.
        success_threshold: The return from which an episode without ``info["success"]`` counts as success.
        read_once: Whether privileged fields that came with the reset hold for all turns.
        max_turns: Turns after which an episode is stopped; None leaves that to the environment.
        seal_info: Seal the whole `info` for the teacher and not its ``"privileged"`` part.
        tasks: Episodes that there are to play.
        advance: Told how many episodes have ended, and of how many, each time that one has.
    """

    def __init__(
        self,
        name: str,
        success_threshold: float,
        *,
        read_once: bool,
        max_turns: int | None,
        seal_info: bool,
        tasks: int,
        advance: Callable[[int, int], None] | None,
    ) -> None:
        self.name = name
        self.success_threshold = success_threshold
        self.by_slot: dict[int, Running] = {}
        self._read_once = read_once
        self._max_turns = max_turns
        self._seal_info = seal_info
        self._tasks = tasks
        self._ended = 0
        self._advance = advance

    def begin(self, slot: int, task: TaskDraw, reply: Reply) -> Rollout:
        """An episode's first state has come; one whose environment broke has ended already."""
        view = StudentView(reply.observation, slot=slot, draw=task.draw)
        known: Privileged | None = None
        if reply.failure is None:
            try:
                view, known = self._observe(reply, slot, 0, task.draw)
            except Exception as error:
                reply = self._invalid(f"{self.name}, task {task.task_id}, reset", error)
        episode = Episode(self.name, task.task_id, view.task_type, task.draw)
        rollout = Rollout(episode, task, failure=reply.failure, fault=reply.fault, detail=reply.detail)
        self.by_slot[slot] = Running(rollout, view, known, reply.info)
        if reply.failure is not None:
            self.finish(slot, StopReason.FAILED)
        return rollout

    def advance(self, slot: int, action: Action, reply: Reply) -> bool:
        """A step was answered: note the turn with what was known before it, and move on; returns whether it goes on."""
        state = self.by_slot[slot]
        turn = state.view.turn + 1
        view, known = state.view, state.known
        if reply.failure is None:
            try:
                view, known = self._observe(reply, slot, turn, state.view.draw)
            except Exception as error:
                reply = self._invalid(f"{self.name}, task {state.rollout.task.task_id}, step {turn}", error)
        if reply.failure is not None:
            state.rollout.failure, state.rollout.fault = reply.failure, reply.fault
            state.rollout.detail = reply.detail
            self.finish(slot, StopReason.FAILED)
            return False
        state.rollout.episode.turns.append(Turn(state.view, action, reply.reward, view.is_action_valid))
        state.rollout.privileged.append(state.known)
        state.view, state.info = view, reply.info
        state.known = state.known if self._read_once else known
        if reply.terminated:
            self.finish(slot, StopReason.TERMINATED)
        elif reply.truncated or (self._max_turns is not None and turn >= self._max_turns):
            self.finish(slot, StopReason.HORIZON)
        return slot in self.by_slot

    def finish(self, slot: int, reason: StopReason) -> None:
        """An episode has ended: its verdict is the environment's own, else a return of at least the threshold."""
        state = self.by_slot.pop(slot)
        episode = state.rollout.episode
        stated = state.info.get("success")
        reached = episode.return_ >= self.success_threshold
        episode.success = bool(reached if stated is None else stated) and reason is not StopReason.FAILED
        score = state.info.get("score")
        episode.score = float(episode.success if score is None else score)
        if reason is StopReason.TERMINATED and episode.success:
            reason = StopReason.SUCCESS
        episode.stop_reason = reason
        if reason is not StopReason.FAILED:
            note_wrong_actions(episode, wrong_actions_of(state.info))
        self._ended += 1
        if self._advance is not None:
            self._advance(self._ended, self._tasks)

    def _observe(
        self, reply: Reply, slot: int, turn: int, draw: tuple[int | str, ...]
    ) -> tuple[StudentView, Privileged | None]:
        view, known = split_info(reply.observation, reply.info, slot=slot, turn=turn, draw=draw)
        return view, Privileged(reply.info) if self._seal_info else known

    def _invalid(self, where: str, error: Exception) -> Reply:
        """`info` that cannot be read or copied fails the episode."""
        fault = Fault(FaultKind.INVALID, f"info cannot be read or copied: {fault_of(error).what}")
        return Reply(failure=f"{where}: {fault}", fault=fault.kind, detail=fault_of(error).text)


def wrong_actions_of(info: Mapping[str, Any]) -> WrongActions:
    """What the last `info` of an episode says of its wrong actions, see `making.advance`; else nothing is known.

    An environment of somebody else's may say it itself, under the same key.
    """
    said = info.get(WRONG_ACTIONS)
    if not isinstance(said, Mapping):
        return UNKNOWN
    detour, loss = (turn if type(turn) is int else None for turn in (said.get("detour"), said.get("loss")))
    return WrongActions(detour, loss)


def note_wrong_actions(episode: Episode, wrong: WrongActions) -> None:
    """Put them into an episode that is over."""
    episode.first_detour, episode.first_wrong_turn = wrong
