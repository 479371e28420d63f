"""Environments in slots: one per running episode, replaced and replayed when one breaks.

Not here: who acts (`collect`), and where environments come from (`environments`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from sdar_envs.privileged import split_info

from .environments import Environment, EnvironmentSource, reset_to

logger = logging.getLogger(__name__)

# When environments fill in the privileged part of `info`, which may take a planner's work: at every turn, once per
# episode, or never.
PRIVILEGED_TURNS = ("every", "first", "never")


@dataclass(frozen=True, slots=True)
class Reply:
    """What one slot's environment returned; `failure` says why it could not, and then no other field counts."""

    observation: str = ""
    reward: float = 0.0
    terminated: bool = False
    truncated: bool = False
    info: Mapping[str, Any] = field(default_factory=dict)
    failure: str | None = None

    def same_as(self, other: Reply) -> bool:
        """Whether a replay gave the same step; of `info` only what the student may read is compared."""
        if (self.observation, self.reward, self.terminated, self.truncated) != (
            other.observation,
            other.reward,
            other.terminated,
            other.truncated,
        ):
            return False
        return split_info("", self.info)[0] == split_info("", other.info)[0]


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


class NotTextError(TypeError):
    """The environment's observations are not text. It is not broken, but no language model can act in it."""


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
            `PRIVILEGED_TURNS`. Their observations are byte-identical either way.
        success_threshold: The return from which an episode without ``info["success"]`` counts as success.
        replays: Times that a new environment replays an episode before it counts as failed.
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
        self._state: dict[int, _Slot] = {}
        self._exposes: bool | None = None  # whether the environments can switch their privileged part; None: not known
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

    def close(self) -> None:
        """Close every environment."""
        for state in self._state.values():
            if state.env is not None:
                state.env.close()
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
                prepare([env for env, _ in own], [action for _, action in own])
            except Exception:  # it occurs again in the step of the slot that causes it, and fails only that slot
                logger.debug("%s: preparing a step failed", self.name, exc_info=True)

    # One slot.

    def _guarded(self, state: _Slot, action: str | None) -> Reply:
        """One reset (`action` None) or step; when the environment raises, again in a new one after a replay."""
        self._clock += 1
        state.used = self._clock
        # Ends with a reply, or with a failure when no replay is left.
        while True:
            try:
                env = self._environment_for(state)
                reply = self._advance(env, state.task_id, action, len(state.replies))
                break
            except NotTextError:
                raise
            except Exception as error:
                self._discard(state)
                where = f"reset of task {state.task_id}" if action is None else f"step {len(state.replies)}"
                failure = f"{self.name}, task {state.task_id}, {where}: {type(error).__name__}: {error}"
                if state.replays_left == 0:
                    logger.warning("episode counts as failed after %d replays: %s", self._replays, failure)
                    return Reply(failure=failure)
                state.replays_left -= 1
                self.replayed += 1
        if action is not None:
            state.actions.append(action)
        state.replies.append(reply)
        broken = reply.info.get("environment_failure")
        if broken:  # the environment reports itself that the episode ended through no action of the agent
            return Reply(failure=f"{self.name}, task {state.task_id}, step {len(state.actions)}: {broken}")
        return reply

    def _environment_for(self, state: _Slot) -> Environment:
        """An environment in the present state of this slot's episode, by a replay where there is none."""
        if state.env is None:
            state.env = self._acquire()
            for index, expected in enumerate(state.replies):
                action = state.actions[index - 1] if index else None
                if not self._advance(state.env, state.task_id, action, index).same_as(expected):
                    raise RuntimeError(f"the replay differs from the episode at step {index}: not deterministic")
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
                env.close()
            except Exception:  # it is broken already and gets replaced
                logger.debug("%s: closing a broken environment failed", self.name, exc_info=True)

    def _advance(self, env: Environment, task_id: str, action: str | None, turn: int) -> Reply:
        """Reset to `task_id` (`action` None) or step, with the privileged part switched on where it is wanted."""
        reward, terminated, truncated = 0.0, False, False
        exposes = self.privileged_turns == "every" or (self.privileged_turns == "first" and turn == 0)
        if self._exposes is None:
            self._exposes = bool(getattr(env.unwrapped, "expose_privileged", False))
        if self._exposes:
            env.unwrapped.expose_privileged = exposes  # type: ignore[attr-defined]
        if action is None:
            observation, info = reset_to(env, task_id, self._enumerates_tasks)
        else:
            observation, value, terminated, truncated, info = env.step(action)
            reward = float(value)
        if not isinstance(observation, str):
            raise NotTextError(
                f"{self.name}: expected observations of type str, got {type(observation).__name__}: this trainer is "
                "for environments with text in and text out; wrap it with gymnasium.wrappers.TransformObservation"
            )
        return Reply(observation, reward, bool(terminated), bool(truncated), info)
