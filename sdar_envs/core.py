"""TextEnv: the contract of every world in this suite, in one file.

Actions and observations are text. What an agent may read is in the observation and in the public keys of `info`; what
only a teacher may read is under ``info["privileged"]``. `info` is built afresh at every reset and step, always with the
same keys, from plain JSON values. Text that a world does not understand is an ordinary step with ``is_action_valid``
False; only an action that is not a `str` raises.
"""

from __future__ import annotations

import abc
import sys
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, Self, TypedDict

import gymnasium as gym

from .choices import require_bool, require_choice, require_number, unknown_choice
from .privileged import PrivilegedFields
from .spaces import FreeText
from .wrong_actions import UNKNOWN, WrongActions

SPLITS = ("train", "valid", "test")

# Aliases by which the published sources name the same splits.
SPLIT_ALIASES = {
    "valid_seen": "valid",
    "eval_in_distribution": "valid",
    "dev": "valid",
    "valid_unseen": "test",
    "eval_out_of_distribution": "test",
    "eval": "test",
}

_CUT_MARK = " [cut]"


class Transition(NamedTuple):
    """What a world returns for one action."""

    observation: str
    reward: float
    terminated: bool
    is_action_valid: bool


class PublicFields(TypedDict):
    """The part of `info` that a world fills and anyone may read."""

    task_type: str
    skill_keys: list[str]
    instruction: str
    admissible_actions: list[str]
    success: bool
    score: float


INFO_KEYS = frozenset({"task_id", "is_action_valid", *PublicFields.__annotations__})


def clean_action(action: object, limit: int) -> str:
    """Reduce arbitrary agent text to one line of bounded length that UTF-8 can encode.

    The length is cut before any other work, so the cost is bounded for text of any size. Control characters, line
    breaks, lone surrogates and format characters become a replacement mark, never white space: one action cannot become
    two commands, and text that no world understands cannot become a legal action.

    Raises:
        TypeError: `action` is not a `str`.
    """
    if not isinstance(action, str):
        raise TypeError(f"an action is expected to be a str, got {type(action).__name__}: pass the agent's text itself")
    if len(action) > limit:
        # The mark also keeps a text whose beginning is legal from being obeyed.
        return _one_line(action[:limit]) + "\N{REPLACEMENT CHARACTER}"
    return _one_line(action.strip(" \t\r\n"))


def _one_line(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


class ClosedError(gym.error.ResetNeeded, gym.error.ClosedEnvironmentError):
    """A step in an environment that is closed; it is both of Gymnasium's errors that could be meant."""


def resolve_split(split: str, where: str) -> str:
    """Map a split or one of its published aliases to ``train``, ``valid`` or ``test``.

    Raises:
        ValueError: Unknown split; the message lists the choices and the nearest.
    """
    # Looked up as text, because what is no text need not be hashable either.
    return require_choice("split", SPLIT_ALIASES.get(str(split), split), SPLITS, where)


class TextEnv(gym.Env[str, str], abc.ABC):
    """Base class of text worlds.

    A subclass implements `task_ids`, `_begin`, `_act`, `_public` and `_privileged`, and stays free of Gymnasium's
    bookkeeping. The horizon is counted here (and not by `TimeLimit`), because it belongs to the world's size: an
    episode that reaches it without an end is truncated.

    Args:
        split: ``train``, ``valid`` or ``test``, or a published alias.
        horizon: Steps until truncation.
        expose_privileged: Whether `info` has ``"privileged"``. Observations are byte-identical either way.
        render_mode: ``"ansi"`` returns the last exchange as text, ``"human"`` prints it.
        max_observation_length: Bound of the observation space, in characters; a longer text is cut with a visible mark.
    """

    # Gymnasium declares `metadata` per instance and uses it per class.
    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["ansi", "human"], "render_fps": 4}  # type: ignore[misc]
    env_id: ClassVar[str] = "sdar/TextEnv"
    # Changes with any change of world tables, wording, skills or reward: scores across versions do not compare.
    world_version: ClassVar[str] = "0"
    max_action_length: ClassVar[int] = 512
    # Whether a world reads the first line of an action and ignores the others, as a published world does whose agents
    # talk on; otherwise a text of several lines is never a legal action. A world that sets this cuts the text itself.
    reads_first_line: ClassVar[bool] = False
    # Attributes that a pickle leaves out, because they are large or cannot be pickled. An environment that names some
    # is built anew from its constructor's arguments, gets its other attributes back, and then `_resume`s its episode.
    rebuilt: ClassVar[frozenset[str]] = frozenset()
    _arguments: tuple[tuple[Any, ...], dict[str, Any]]

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Keep the arguments, where a pickle needs them."""
        env = super().__new__(cls)
        if cls.rebuilt:
            env._arguments = (args, kwargs)
        return env

    def __init__(
        self,
        *,
        split: str = "train",
        horizon: int,
        expose_privileged: bool = True,
        render_mode: str | None = None,
        max_observation_length: int = 16_384,
    ) -> None:
        require_number("horizon", horizon, self.env_id, low=1, whole=True)
        length = max_observation_length
        require_number("max_observation_length", length, self.env_id, low=len(_CUT_MARK), whole=True)
        require_bool("expose_privileged", expose_privileged, self.env_id)
        if render_mode is not None:
            require_choice("render_mode", render_mode, self.metadata["render_modes"], self.env_id)
        self.split = resolve_split(split, self.env_id)
        self.horizon = horizon
        self.expose_privileged = expose_privileged
        self.render_mode = render_mode
        self.observation_space = FreeText(max_observation_length)
        self.action_space = FreeText(self.max_action_length)
        self._task_id: str | None = None
        self._steps = 0
        self._over = True
        self._closed = False
        self._played: list[str] = []  # the cleaned actions of this episode
        self._last_action: str | None = None
        self._last_observation = ""

    # What a world implements.

    @abc.abstractmethod
    def task_ids(self, split: str | None = None) -> Sequence[str]:
        """The enumerable tasks of a split (this environment's own by default), in a fixed order."""

    @abc.abstractmethod
    def _begin(self, task_id: str) -> str:
        """Load a task and return the first observation.

        Raises:
            ValueError: There is no such task; the message says what a task id looks like.
        """

    @abc.abstractmethod
    def _act(self, action: str) -> Transition:
        """Play one cleaned action. Never raises on text."""

    @abc.abstractmethod
    def _public(self) -> PublicFields:
        """The public fields of the present state, built afresh."""

    @abc.abstractmethod
    def _privileged(self) -> PrivilegedFields:
        """The teacher's fields of the present state, built afresh."""

    # Gymnasium's side.

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Begin an episode: of ``options["task_id"]``, or of a task drawn from the split.

        A closed environment is opened again.

        Raises:
            TypeError: The options are not a mapping.
            ValueError: An unknown option or task id, or a split without tasks.
        """
        if options is not None and not isinstance(options, Mapping):
            raise TypeError(
                f'{self.env_id} expects reset options as a mapping such as {{"task_id": ...}}, got a '
                f"{type(options).__name__}: {repr(options)[:100]}"
            )
        super().reset(seed=seed)
        chosen = dict(options or {})
        task_id = chosen.pop("task_id", None)
        if chosen:
            raise unknown_choice("reset option", next(iter(chosen)), ["task_id"], self.env_id)
        if task_id is None:
            tasks = self.task_ids()
            if not tasks:
                raise ValueError(f"{self.env_id} expects at least one task in split {self.split!r}, got none")
            task_id = tasks[int(self.np_random.integers(len(tasks)))]
        self._over = True  # stays so when the task cannot be loaded
        observation = self._bounded(self._begin(str(task_id)))
        self._task_id = str(task_id)
        self._steps = 0
        self._played = []
        self._over = self._closed = False
        self._last_action, self._last_observation = None, observation
        if self.render_mode == "human":
            self.render()
        return observation, self._info(is_action_valid=True)

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Play one action.

        Raises:
            TypeError: `action` is not a `str`.
            ClosedError: The environment is closed.
            gymnasium.error.ResetNeeded: No episode is running.
        """
        text = clean_action(action, self.max_action_length)
        if self._closed:
            raise ClosedError(f"{self.env_id} is closed, and cannot step: reset() opens it again")
        if self._over:
            raise gym.error.ResetNeeded(f"{self.env_id} expects reset() before step(): no episode is running")
        transition = self._act(text)
        self._played.append(text)
        self._steps += 1
        observation = self._bounded(transition.observation)
        terminated = transition.terminated
        truncated = not terminated and self._steps >= self.horizon
        self._over = terminated or truncated
        self._last_action, self._last_observation = text, observation
        if self.render_mode == "human":
            self.render()
        info = self._info(is_action_valid=transition.is_action_valid)
        return observation, float(transition.reward), terminated, truncated, info

    def render(self) -> str | None:
        """The last exchange: returned in ``"ansi"`` mode, printed in ``"human"`` mode."""
        if self.render_mode is None:
            gym.logger.warn(f'{self.env_id}.render() needs render_mode="ansi" or "human" at gym.make')
            return None
        lines = [] if self._last_action is None else [f"> {self._last_action}"]
        frame = "\n".join([*lines, self._last_observation])
        if self.render_mode == "ansi":
            return frame
        sys.stdout.write(frame + "\n")
        return None

    def close(self) -> None:
        """End the episode; what a world holds for it is released. A second call does nothing."""
        self._over = self._closed = True

    # Pickling, in mid-episode too.

    def __reduce_ex__(self, protocol: Any) -> Any:
        """As any object, or by the constructor's arguments where a world has attributes that are `rebuilt`."""
        if not self.rebuilt:
            return super().__reduce_ex__(protocol)
        state = {name: value for name, value in self.__dict__.items() if name not in self.rebuilt}
        return _built_from, (type(self), *state.pop("_arguments")), state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take over the attributes of another environment of the same arguments, and its episode."""
        self.__dict__.update(state)
        if self.rebuilt and self._task_id is not None and not self._closed:
            self._resume()

    def _resume(self) -> None:
        """Bring the world to where the episode stood, by playing its actions again."""
        assert self._task_id is not None
        self._begin(self._task_id)
        taken, self._steps = self._steps, 0
        for action in self._played:
            self._act(action)
            self._steps += 1
        self._steps = taken

    def teacher_view(self) -> PrivilegedFields:
        """What a teacher may know of the present state, whether or not `info` exposes it; built afresh.

        Raises:
            gymnasium.error.ResetNeeded: No episode has begun.
        """
        if self._task_id is None or self._closed:
            raise gym.error.ResetNeeded(f"{self.env_id} expects reset() before teacher_view(): no episode has begun")
        return self._privileged()

    def wrong_actions(self) -> WrongActions:
        """The first wrong actions of the episode that is over; worked out when it is asked for, and never before.

        Raises:
            gymnasium.error.ResetNeeded: No episode has begun, or the environment is closed.
            RuntimeError: The episode is still running: nobody who acts in it may know.
        """
        if self._task_id is None or self._closed:
            raise gym.error.ResetNeeded(f"{self.env_id} expects reset() before wrong_actions(): no episode has begun")
        if not self._over:
            raise RuntimeError(f"{self.env_id} tells wrong_actions() of an episode that is over: this one is running")
        return self._wrong_actions()

    def _wrong_actions(self) -> WrongActions:
        """The first wrong actions; a world with a planner overrides this. It leaves the episode as it is."""
        return UNKNOWN

    @property
    def steps(self) -> int:
        """Steps taken in this episode."""
        return self._steps

    def _bounded(self, observation: str) -> str:
        limit = self.observation_space.max_length  # type: ignore[attr-defined]  # always FreeText here
        if len(observation) <= limit:
            return observation
        return observation[: limit - len(_CUT_MARK)] + _CUT_MARK

    def _info(self, *, is_action_valid: bool) -> dict[str, Any]:
        info: dict[str, Any] = {"task_id": self._task_id, "is_action_valid": is_action_valid, **self._public()}
        if self.expose_privileged:
            info["privileged"] = self._privileged()
        return info


def _built_from(cls: type[TextEnv], args: tuple[Any, ...], kwargs: dict[str, Any]) -> TextEnv:
    """An environment of the same arguments: what a pickle begins with."""
    return cls(*args, **kwargs)
