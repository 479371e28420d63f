"""One episode behind a server: what the agent's side may ask of it, and what the teacher's side may.

It knows no web framework. Nothing privileged is in what `reset` and `step` return or raise; the teacher's side is asked
for by `teacher_view`, with the number of steps, so that it can be told when teacher and student are a step apart.
"""

from __future__ import annotations

import contextlib
import copy
import itertools
import secrets
import sys
import threading
import traceback
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium as gym

from ..choices import unknown_choice
from ..core import TextEnv, resolve_split
from ..text_only import require_text

Environment = gym.Env[Any, Any]

_PUBLIC_TEXT = ("task_id", "task_type", "instruction")
_faults = itertools.count(1)


class RefusedError(ValueError):
    """A mistake of the client, in words that may reach an agent."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What the agent's side gets from one call; the fields of an OpenEnv observation."""

    text: str
    reward: float
    terminated: bool
    truncated: bool
    task_id: str
    task_type: str
    instruction: str
    admissible_actions: list[str]
    is_action_valid: bool
    success: bool
    score: float


class Registry:
    """The sessions that have an episode, by its id."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sessions: weakref.WeakValueDictionary[str, Session] = weakref.WeakValueDictionary()

    def claim(self, episode_id: str | None, session: Session) -> str:
        """Give a session an episode's id, a drawn one where none is asked for.

        Raises:
            RefusedError: Another session has it: its teacher would answer for this one.
        """
        with self._lock:
            chosen = episode_id if episode_id is not None else secrets.token_hex(16)
            holder = self._sessions.get(chosen)
            if holder is not None and holder is not session:
                raise RefusedError(f"episode_id {chosen[:80]!r} is another session's: choose one that nobody has")
            for held in [key for key, value in self._sessions.items() if value is session and key != chosen]:
                del self._sessions[held]
            self._sessions[chosen] = session
            return chosen

    def release(self, session: Session) -> None:
        """Forget a session's episode."""
        with self._lock:
            for held in [key for key, value in self._sessions.items() if value is session]:
                del self._sessions[held]

    def find(self, episode_id: str) -> Session | None:
        """The session of an episode; None where there is none."""
        with self._lock:
            return self._sessions.get(episode_id)


class Worlds:
    """Makes the environments of all sessions, and answers questions about their tasks."""

    def __init__(self, make: Callable[..., Environment]) -> None:
        self.make = make
        self._lock = threading.Lock()
        self._probe: Environment | None = None

    @property
    def probe(self) -> Environment:
        """An environment that is asked about tasks and never played."""
        with self._lock:
            if self._probe is None:
                self._probe = self.make().unwrapped
            return self._probe

    @property
    def enumerates(self) -> bool:
        """Whether there are tasks by name."""
        return callable(getattr(self.probe, "task_ids", None))

    @property
    def version(self) -> str:
        """The version of the world."""
        return str(getattr(self.probe, "world_version", "unknown"))

    def tasks(self, split: str) -> Sequence[str]:
        """The tasks of a split.

        Raises:
            RefusedError: There is no such split, or tasks have no names here.
        """
        if not self.enumerates:
            raise RefusedError("this environment does not enumerate tasks: reset it with a seed")
        try:
            tasks: Sequence[str] = self.probe.task_ids(resolve_split(split, "reset"))  # type: ignore[attr-defined]
        except ValueError as error:
            raise RefusedError(str(error)) from None
        return tasks


class Session:
    """One client's environment, made when its first episode begins.

    Args:
        worlds: Makes it.
        registry: Where the teacher's side finds it.
    """

    def __init__(self, worlds: Worlds, registry: Registry) -> None:
        self._worlds = worlds
        self._registry = registry
        self._lock = threading.Lock()  # the teacher's side asks from another thread
        self._env: Environment | None = None
        self._split: str | None = None  # that the client asked for; the environment's own where it asked for none
        self._privileged: Any = None
        self.episode_id: str | None = None
        self.steps = 0
        self.over = True

    def reset(
        self,
        seed: int | None = None,
        episode_id: str | None = None,
        split: str | None = None,
        index: int | None = None,
        task_id: str | None = None,
        **unknown: Any,
    ) -> Seen:
        """Begin an episode: of a task by its id, of the task at an index of a split, or drawn by the seed.

        Raises:
            RefusedError: An unknown option, split, index or task.
            RuntimeError: The environment failed; what it said is on the server's standard error alone.
        """
        if unknown:
            names = ["seed", "episode_id", "split", "index", "task_id"]
            raise RefusedError(str(unknown_choice("reset option", next(iter(unknown)), names, "reset")))
        chosen = self._task(split, index, task_id)
        with self._lock:
            wanted = None if split is None else self._resolved(split)
            own = self._registry.claim(episode_id, self)
            self.episode_id, self.steps, self.over = own, 0, True
            observation, info = self._guarded(lambda: self._spoken(self._begin(seed, wanted, chosen)), reset=True)
            self.over = False
            return self._seen(observation, 0.0, False, False, info)

    def step(self, text: str) -> Seen:
        """Play one action.

        Raises:
            RefusedError: No episode is running.
            RuntimeError: As `reset`.
        """
        with self._lock:
            if self._env is None or self.over:
                raise RefusedError("no episode is running: reset first")
            env = self._env
            observation, reward, terminated, truncated, info = self._guarded(lambda: self._spoken(env.step(text)))
            self.steps += 1
            self.over = bool(terminated or truncated)
            return self._seen(observation, float(reward), bool(terminated), bool(truncated), info)

    @property
    def horizon(self) -> int | None:
        """After how many steps an episode is cut; None before the first one, and where the environment does not say."""
        horizon = getattr(None if self._env is None else self._env.unwrapped, "horizon", None)
        return horizon if isinstance(horizon, int) else None

    def teacher_view(self) -> tuple[int, Any]:
        """How many steps were taken, and what a teacher may know now; None where the environment has no such side."""
        with self._lock:
            env = None if self._env is None else self._env.unwrapped
            if isinstance(env, TextEnv):
                return self.steps, env.teacher_view()
            return self.steps, copy.deepcopy(self._privileged)

    def close(self) -> None:
        """End it; the teacher's side finds it no more."""
        self._registry.release(self)
        with self._lock:
            self.over = True
            if self._env is not None:
                env, self._env = self._env, None
                with contextlib.suppress(RuntimeError):  # what closing said is in the log
                    self._guarded(env.close)

    def _task(self, split: str | None, index: int | None, task_id: str | None) -> str | None:
        if task_id is not None and index is not None:
            raise RefusedError("expected a task_id or an index, got both")
        if index is None:
            return task_id
        if split is None:
            raise RefusedError("expected a split with the index, and there is none")
        tasks = self._worlds.tasks(split)
        if not 0 <= index < len(tasks):
            raise RefusedError(f"index: expected 0 to {len(tasks) - 1} in split {split}, got {index}")
        return tasks[index]

    def _resolved(self, split: str) -> str:
        try:
            return resolve_split(split, "reset")
        except ValueError as error:
            raise RefusedError(str(error)) from None

    def _begin(self, seed: int | None, split: str | None, task_id: str | None) -> tuple[Any, dict[str, Any]]:
        if self._env is None or split != self._split:
            if self._env is not None:
                self._env.close()
            self._env = self._worlds.make(**({} if split is None else {"split": split}))
            self._split = split
            if isinstance(self._env.unwrapped, TextEnv):
                self._env.unwrapped.expose_privileged = False  # computed when the teacher's side asks for it
        return self._env.reset(seed=seed, options=None if task_id is None else {"task_id": task_id})

    def _guarded(self, call: Callable[[], Any], *, reset: bool = False) -> Any:
        """What the environment returns; its exceptions may hold anything, so that their text stays here."""
        try:
            return call()
        except Exception as error:
            own = self._env is not None and isinstance(self._env.unwrapped, TextEnv)
            if reset and own and isinstance(error, ValueError):
                raise RefusedError(str(error)) from None  # this suite's worlds name options and task ids there
            number = next(_faults)
            print(f"environment failed (error {number}):", file=sys.stderr)
            traceback.print_exception(error, file=sys.stderr)
            self.over = True
        raise RuntimeError(f"the environment failed (error {number}): the server's log says how; reset begins anew")

    def _spoken(self, returned: Any) -> Any:
        """What a reset or step returned, once its observation is known to be text."""
        require_text(returned[0], f"after {self.steps} steps")
        return returned

    def _seen(
        self, observation: Any, reward: float, terminated: bool, truncated: bool, info: Mapping[str, Any]
    ) -> Seen:
        public = {key: value for key, value in info.items() if key != "privileged"}
        self._privileged = info.get("privileged")
        texts = {key: str(public.get(key, "")) for key in _PUBLIC_TEXT}
        actions = public.get("admissible_actions")
        return Seen(
            text=observation,
            reward=reward,
            terminated=terminated,
            truncated=truncated,
            admissible_actions=[str(action) for action in actions] if isinstance(actions, list | tuple) else [],
            is_action_valid=public.get("is_action_valid") is not False,
            success=public.get("success") is True,
            score=_number(public.get("score")),
            **texts,
        )


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
