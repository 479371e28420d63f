"""Text worlds as environments of TRL's trainers (`environment_factory`), and their tasks as a dataset.

TRL makes a tool of every public function of such an environment's class. So the class has `act` alone beside `reset`
and `get_reward`, which are TRL's own names, and wraps the world instead of inheriting from it: the policy can call
nothing else. What a teacher may know is kept sealed in `episode`, an attribute, and never in a text that is returned.
"""

from __future__ import annotations

import functools
import json
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import gymnasium as gym

from ..core import resolve_split
from ..privileged import Privileged, StudentView
from ..randomness import counted_generator
from .sessions import Environment, RefusedError, Registry, Seen, Session, Worlds
from .wording import ending, opening, with_actions

if TYPE_CHECKING:
    from datasets import Dataset

SYSTEM = (
    "You act in a world made of text. You do so by calling the tool act with one action, and are told what you observe "
    "then. Go on, one call at a time, until you are told that the episode is over."
)
STOP = "Answer without a tool call."
ONCE_OVER = f"The episode is over, and this call did nothing. {STOP}"
FAILED = f"The environment failed, and the episode is over. {STOP}"


@dataclass(frozen=True, slots=True)
class Decision:
    """A state in which the policy chooses: what it may know of it, and what a teacher may (None where nothing)."""

    view: StudentView
    privileged: Privileged | None


@dataclass(frozen=True, slots=True)
class Reply:
    """What one call of `act` returned: its text, and whether the action was understood.

    `decision` is the number of the state after it, None where the episode is over.
    """

    text: str
    decision: int | None
    understood: bool


@dataclass(slots=True)
class PlayedEpisode:
    """An episode as a trainer needs it: its states, what each call returned, and what came of it.

    `failed` marks one that the environment ended by an exception; it has no reward.
    """

    decisions: list[Decision] = field(default_factory=list)
    replies: list[Reply] = field(default_factory=list)
    return_: float = 0.0
    success: bool = False
    failed: bool = False


class TextEnvironment:
    """One environment of TRL's pool; it plays an episode after another. Made by `environment_for`."""

    worlds: ClassVar[Worlds]
    list_actions: ClassVar[bool]
    teacher: ClassVar[bool]
    _made: ClassVar[int] = 0

    def __init__(self) -> None:
        self._session = Session(self.worlds, Registry())
        # Which environment of the pool this is, and its how-manyeth episode: the key of what is read once an episode.
        TextEnvironment._made += 1
        self._slot, self._played = TextEnvironment._made, 0
        self.episode = PlayedEpisode()

    def reset(self, task_id: str | None = None, env_seed: int | None = None, **row: Any) -> str:
        """Begin the episode of a row of the dataset; all members of a group are given the same row.

        Args:
            task_id: The task.
            env_seed: Draws the task, where tasks have no names.
            **row: Other columns, which no world reads.

        Returns:
            The first observation, which TRL appends to the prompt.

        Raises:
            ValueError: The row names no task, or one that there is not.
            RuntimeError: The environment failed; what it said is on the standard error alone.
        """
        if task_id is None and env_seed is None:
            raise ValueError(
                "expected the dataset to have a column task_id (or env_seed), since all members of a group must play "
                f"one task; got the columns {sorted(row)}: task_dataset makes such a dataset"
            )
        self._played += 1
        self.episode = PlayedEpisode()
        seen = self._session.reset(seed=env_seed, task_id=task_id)
        self._decide(seen)
        return "\n\n" + opening(seen, list_actions=self.list_actions)

    def act(self, action: str) -> str:
        """Do one action of this world.

        Args:
            action: The action, worded as the world asks.

        Returns:
            What is observed then.
        """
        text, decision, understood = ONCE_OVER, None, False
        if not self._session.over and not self.episode.failed:
            # TRL would show the text of any exception to the policy.
            try:
                # A model may write another JSON value in the place of a text.
                seen = self._session.step(action if isinstance(action, str) else json.dumps(action))
                text, decision = self._after(seen)
                understood = seen.is_action_valid
            except (RefusedError, RuntimeError):  # the session has told standard error what happened
                self.episode.failed, text = True, FAILED
            except Exception:  # what a teacher may know could not be found out
                traceback.print_exc()
                self.episode.failed, text = True, FAILED
        self.episode.replies.append(Reply(text, decision, understood))
        return text

    def get_reward(self) -> float | None:
        """The return of the episode; None, which TRL leaves out of its group, where the environment failed."""
        return None if self.episode.failed else self.episode.return_

    def _after(self, seen: Seen) -> tuple[str, int | None]:
        """The text of an observation, and the number of the state that it is of."""
        self.episode.return_ += seen.reward
        self.episode.success = seen.success
        if seen.terminated or seen.truncated:
            return f"{seen.text}\n\n{ending(seen)} {STOP}", None
        self._decide(seen)
        return with_actions(seen.text, seen) if self.list_actions else seen.text, len(self.episode.decisions) - 1

    def _decide(self, seen: Seen) -> None:
        known = None
        if self.teacher:
            _, fields = self._session.teacher_view()
            known = None if fields is None else Privileged(fields)
        view = StudentView(
            observation=seen.text,
            instruction=seen.instruction,
            task_id=seen.task_id,
            task_type=seen.task_type,
            admissible_actions=tuple(seen.admissible_actions),
            is_action_valid=seen.is_action_valid,
            slot=self._slot,
            turn=len(self.episode.decisions),
            draw=(self._played,),
        )
        self.episode.decisions.append(Decision(view, known))


def _maker(env_id: str | Callable[..., Environment], kwargs: dict[str, Any]) -> Callable[..., Environment]:
    return (
        functools.partial(gym.make, env_id, **kwargs)
        if isinstance(env_id, str)
        else functools.partial(env_id, **kwargs)
    )


def environment_for(
    env_id: str | Callable[..., Environment], *, list_actions: bool = True, teacher: bool = False, **kwargs: Any
) -> type[TextEnvironment]:
    """The class to hand to TRL as `environment_factory`; the policy's one tool is `act`.

    Set `max_tool_calling_iterations` to the world's horizon plus 1, so that the policy is told the end.

    Args:
        env_id: A registered text environment, or what makes one. ``sdar/OpenEnv-v0`` plays on a remote server.
        list_actions: Observations are followed by the actions that are possible.
        teacher: Keep what a teacher may know of every state, for `trainers.bridges.trl.PrivilegedGRPOTrainer`. No text
            that the policy reads differs.
        **kwargs: The environment's arguments.

    Returns:
        A class without arguments; its name, the world's, is the name of TRL's reward column.
    """
    whole = env_id if isinstance(env_id, str) else getattr(env_id, "__name__", "")
    name = whole.rpartition("/")[2].partition("-v")[0]
    fields = {"worlds": Worlds(_maker(env_id, kwargs)), "list_actions": list_actions, "teacher": teacher}
    return type(name if name.isidentifier() else "TextEnvironment", (TextEnvironment,), fields)


def task_dataset(
    env_id: str | Callable[..., Environment],
    split: str = "train",
    n: int = 1000,
    seed: int = 0,
    *,
    system: str = SYSTEM,
    **kwargs: Any,
) -> Dataset:
    """Tasks of a split as a dataset for TRL: a prompt without the task, and the task's name.

    The task itself is told by the environment's `reset`. Where an environment does not enumerate tasks there is a
    column `env_seed` in the place of `task_id`.

    Args:
        env_id: As for `environment_for`.
        split: ``train``, ``valid`` or ``test``.
        n: How many tasks, different ones.
        seed: Draws them.
        system: The system message.
        **kwargs: The environment's arguments.

    Returns:
        `n` rows with the columns ``prompt`` and ``task_id``; ``info.description`` is JSON that names environment,
        arguments, split, seed and version of the world.

    Raises:
        ImportError: datasets is not installed.
        ValueError: There is no such split, or it has fewer tasks.
    """
    try:
        from datasets import Dataset, DatasetInfo
    except ImportError as missing:
        raise ImportError(
            f'tasks for TRL are a dataset of datasets, and there is no {missing.name}: pip install "sdar-gym[trl]"'
        ) from missing
    worlds = Worlds(_maker(env_id, kwargs))
    name = env_id if isinstance(env_id, str) else getattr(env_id, "__qualname__", repr(env_id))
    split = resolve_split(split, "task_dataset")
    draws = counted_generator("task_dataset", name, split, seed)
    prompt = [{"role": "system", "content": system}, {"role": "user", "content": ""}]
    columns: dict[str, Any] = {"prompt": [prompt] * n}
    if worlds.enumerates:
        tasks = worlds.tasks(split)
        if n > len(tasks):
            raise ValueError(
                f"task_dataset: expected at most the {len(tasks)} tasks of split {split} of {name}, got n={n}"
            )
        columns["task_id"] = [str(tasks[int(place)]) for place in draws.choice(len(tasks), size=n, replace=False)]
    else:
        columns["env_seed"] = [int(drawn) for drawn in draws.integers(2**31, size=n)]
    about = {"env_id": name, "env_kwargs": kwargs, "split": split, "seed": seed, "world_version": worlds.version}
    return Dataset.from_dict(columns, info=DatasetInfo(description=json.dumps(about, sort_keys=True, default=str)))


__all__ = ["Decision", "PlayedEpisode", "Reply", "TextEnvironment", "environment_for", "task_dataset"]
