"""Environments in slots: one per running episode, replaced and replayed when one breaks.

`LoopBatchEnv` steps them in this process; `workers.slots` has those in worker processes. Not here: who acts
(`collect`), and where environments come from (`environments`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from sdar_envs.privileged import split_info
from sdar_envs.text_only import not_text

from .environments import EnvironmentSource
from .faults import FAILED_EPISODES, FAULT_TEXTS, EnvironmentHungError, Fault, fault_of
from .making import Environment, advance, has_switch
from .replies import FaultKind, InvalidReplyError, Reply, reported_failure
from .stopping import StoppedWaitingError
from .watchdog import WATCHDOG

logger = logging.getLogger(__name__)


class BatchEnv(Protocol):
    """Environments in slots. A slot whose reply has a `failure` is usable again after its next reset."""

    slots: int
    name: str
    success_threshold: float

    def reset(self, slots: Sequence[int], task_ids: Sequence[str]) -> list[Reply]:
        """Begin one task per slot."""
        ...

    def step(self, slots: Sequence[int], actions: Sequence[str]) -> list[Reply]:
        """Play one action per slot."""
        ...

    def close(self) -> None:
        """Close every environment."""
        ...


@runtime_checkable
class AsynchronousBatchEnv(BatchEnv, Protocol):
    """The same, answered slot by slot as environments get ready.

    `privileged_turns` is when `info` gets its privileged part, one of `replies.PRIVILEGED_TURNS`; it may be changed
    between episodes. `replayed` counts replays.
    """

    privileged_turns: str
    replayed: int

    def begin(self, slot: int, task_id: str) -> None:
        """Ask for the reset of a task."""
        ...

    def send(self, slot: int, action: str) -> None:
        """Ask for a step."""
        ...

    def poll(self, timeout: float | None = 0.0) -> list[tuple[int, Reply]]:
        """The replies that have come; none where nothing was asked for.

        Args:
            timeout: Seconds to wait for the first at most; None for as long as it takes.
        """
        ...


@dataclass(slots=True)
class _Slot:
    """An episode so far, and the environment that stands at its present state, if one does."""

    task_id: str
    actions: list[str] = field(default_factory=list)
    replies: list[Reply] = field(default_factory=list)  # one more than actions: the first is the reset's
    env: Environment | None = None
    replays_left: int = 0
    used: int = 0  # when it was last stepped, by the clock of the batch


class LoopBatchEnv:
    """One environment per slot, stepped one after another in this process.

    With fewer `environments` than slots, an environment that serves several slots is brought to each one's state by
    replaying its actions. That is slower, and gives the same replies to the last byte, which is checked. An exception
    from an environment closes it; a new one replays the episode, at most `replays` times per episode.

    Args:
        make_env: Makes one environment.
        slots: Episodes that can run at once.
        name: The environment's id, for episodes and messages.
        enumerates_tasks: Reset by ``options={"task_id": ...}``; else by ``seed=int(task_id)``.
        environments: Live environments at most; None for one per slot. They are made when first needed.
        privileged_turns: When to let environments of this suite fill ``info["privileged"]``: one of
            `replies.PRIVILEGED_TURNS`. Their observations are byte-identical either way.
        success_threshold: The return from which an episode without ``info["success"]`` counts as success.
        replays: Times that a new environment replays an episode before it counts as failed.
        step_timeout: Seconds that a step may take; a longer one is named, and ended where that is possible.
        reset_timeout: The same of making an environment and resetting it.
    """

    def __init__(
        self,
        make_env: Callable[[], Environment],
        slots: int,
        *,
        name: str = "environment",
        enumerates_tasks: bool = True,
        environments: int | None = None,
        privileged_turns: str = "every",
        success_threshold: float = 1.0,
        replays: int = 2,
        step_timeout: float = 60.0,
        reset_timeout: float = 300.0,
    ) -> None:
        if slots < 1 or (environments is not None and environments < 1):
            raise ValueError(f"{name}: expected at least 1 slot and 1 environment, got {slots} and {environments}")
        self.slots = slots
        self.name = name
        self.success_threshold = success_threshold
        self.privileged_turns = privileged_turns
        self.replayed = 0
        self._make_env = make_env
        self._enumerates_tasks = enumerates_tasks
        self._limit = slots if environments is None else environments
        self._replays = replays
        self._step_timeout, self._reset_timeout = step_timeout, reset_timeout
        self._seen_text = False
        self._finished: list[tuple[int, Reply]] = []  # asked for one by one
        self._state: dict[int, _Slot] = {}
        self._switch: bool | None = None  # whether the environments can switch their privileged part; None: not known
        self._live = 0  # environments that exist now
        self._clock = 0  # resets and steps so far

    @classmethod
    def of(
        cls,
        source: EnvironmentSource,
        split: str,
        slots: int,
        *,
        environments: int | None = None,
        privileged_turns: str = "every",
        step_timeout: float = 60.0,
        reset_timeout: float = 300.0,
    ) -> LoopBatchEnv:
        """The slots of a source's split."""
        return cls(
            lambda: source.make(split),
            slots,
            name=source.name,
            enumerates_tasks=source.enumerates_tasks,
            environments=environments,
            privileged_turns=privileged_turns,
            success_threshold=source.threshold,
            step_timeout=step_timeout,
            reset_timeout=reset_timeout,
        )

    def reset(self, slots: Sequence[int], task_ids: Sequence[str]) -> list[Reply]:
        """Begin one task per slot."""
        replies = []
        for slot, task_id in zip(slots, task_ids, strict=True):
            before = self._state.get(slot)
            state = _Slot(task_id, env=before.env if before else None, replays_left=self._replays)
            self._state[slot] = state
            replies.append(self._guarded(state, None))
        return replies

    def step(self, slots: Sequence[int], actions: Sequence[str]) -> list[Reply]:
        """Play one action per slot; what environments can prepare for all of them, such as a search, is done once."""
        self._prepare([self._state[slot].env for slot in slots], actions)
        return [self._guarded(self._state[slot], action) for slot, action in zip(slots, actions, strict=True)]

    def begin(self, slot: int, task_id: str) -> None:
        """Begin a task; `poll` returns the reply."""
        self._finished.append((slot, self.reset([slot], [task_id])[0]))

    def send(self, slot: int, action: str) -> None:
        """Play an action; `poll` returns the reply."""
        self._finished.append((slot, self.step([slot], [action])[0]))

    def poll(self, timeout: float | None = 0.0) -> list[tuple[int, Reply]]:
        """The replies since the last call: in this process they are there at once, and nothing is waited for."""
        found, self._finished = self._finished, []
        return found

    def close(self) -> None:
        """Close every environment; what one raises at that is of no consequence."""
        for state in self._state.values():
            self._discard(state)
        self._state.clear()
        self._live = 0

    def _prepare(self, envs: Sequence[Environment | None], actions: Sequence[str]) -> None:
        """Let each type of environment that has ``prepare_steps`` do the common work of its steps at once."""
        playing = [(env.unwrapped, action) for env, action in zip(envs, actions, strict=True) if env is not None]
        for kind in dict.fromkeys(type(env) for env, _ in playing):
            prepare = getattr(kind, "prepare_steps", None)
            if prepare is None:
                continue
            own = [(env, action) for env, action in playing if type(env) is kind]
            try:
                with WATCHDOG.call(f"{self.name}: preparing a step of {len(own)} episodes", self._step_timeout):
                    prepare([env for env, _ in own], [action for _, action in own])
            except (
                Exception,
                EnvironmentHungError,
            ):  # it occurs again in the step of its slot, and fails only that
                logger.debug("%s: preparing a step failed", self.name, exc_info=True)

    # One slot.

    def _guarded(self, state: _Slot, action: str | None) -> Reply:
        """One reset (`action` None) or step; when the environment breaks, again in a new one after a replay."""
        self._clock += 1
        state.used = self._clock
        where = f"{self.name}, task {state.task_id}, " + ("reset" if action is None else f"step {len(state.replies)}")
        # Ends with a reply, or with a failure when no replay is left.
        while True:
            try:
                env = self._environment_for(state, where)
                reply = self._advance(env, state.task_id, action, len(state.replies), where)
                break
            except StoppedWaitingError:
                raise
            except (Exception, SystemExit, EnvironmentHungError) as error:
                self._discard(state)
                if isinstance(error, InvalidReplyError) and error.observed and not self._seen_text:
                    raise not_text(error.observed, where, self.name) from None
                fault = error.fault if isinstance(error, _DivergedError) else fault_of(error)
                FAULT_TEXTS.say(self.name, fault)
                if state.replays_left == 0:
                    failure = f"{where}: {fault}"
                    FAILED_EPISODES.warn(self.name, failure, fault, self._replays)
                    return Reply(failure=failure, fault=fault.kind, detail=fault.text)
                state.replays_left -= 1
                self.replayed += 1
        self._seen_text = True
        if action is not None:
            state.actions.append(action)
        state.replies.append(reply)
        return reported_failure(reply, f"{self.name}, task {state.task_id}, step {len(state.actions)}")

    def _environment_for(self, state: _Slot, where: str) -> Environment:
        """An environment in the present state of this slot's episode, by a replay where there is none."""
        if state.env is None:
            with WATCHDOG.call(f"{where}: making the environment", self._reset_timeout):
                state.env = self._acquire()
            for index, expected in enumerate(state.replies):
                action = state.actions[index - 1] if index else None
                if not _same(self._advance(state.env, state.task_id, action, index, where), expected):
                    raise _DivergedError(index)
        return state.env

    def _acquire(self) -> Environment:
        """A new environment, or at the limit that of the slot which was stepped least recently."""
        if self._live < self._limit:
            env = self._make_env()
            self._live += 1
            return env
        oldest = min((s for s in self._state.values() if s.env is not None), key=lambda s: s.used)
        taken, oldest.env = oldest.env, None
        assert taken is not None
        return taken

    def _discard(self, state: _Slot) -> None:
        """Close a slot's environment and count it out."""
        if state.env is not None:
            env, state.env = state.env, None
            self._live -= 1
            try:
                with WATCHDOG.call(f"{self.name}: closing an environment", self._step_timeout):
                    env.close()
            except StoppedWaitingError:
                raise
            except (Exception, SystemExit, EnvironmentHungError):  # nothing is asked of it any more
                logger.debug("%s: closing an environment failed", self.name, exc_info=True)

    def _advance(self, env: Environment, task_id: str, action: str | None, turn: int, where: str) -> Reply:
        """Reset to `task_id` (`action` None) or step, with the privileged part switched on where it is wanted."""
        if self._switch is None:
            self._switch = has_switch(env)
        exposes = self.privileged_turns == "every" or (self.privileged_turns == "first" and turn == 0)
        with WATCHDOG.call(where, self._reset_timeout if action is None else self._step_timeout):
            return advance(
                env, task_id, action, enumerates=self._enumerates_tasks, exposes=exposes if self._switch else None
            )


class _DivergedError(Exception):
    """A replay gave another episode."""

    def __init__(self, turn: int) -> None:
        self.fault = Fault(FaultKind.DIVERGED, f"the replay differs from the episode at step {turn}: not deterministic")


def _same(got: Reply, recorded: Reply) -> bool:
    """Whether a replay gave the same step; of `info` what rollouts read is compared, on both sides of the barrier."""
    if (got.observation, got.reward, got.terminated, got.truncated) != (
        recorded.observation,
        recorded.reward,
        recorded.terminated,
        recorded.truncated,
    ):
        return False
    if any(got.info.get(key) != recorded.info.get(key) for key in ("success", "score", "environment_failure")):
        return False
    return split_info("", got.info) == split_info("", recorded.info)
