"""Played episodes of any text environment as demonstrations, by a demonstrator or by random legal actions.

A demonstrator is any callable from observation and `info` to an action. Half of the demonstrations stand under the
privileged prompt; in the others the demonstrator gets the public part of `info` alone, so that it acts like somebody
who does not know, and a model that clones it learns to read its privileged context and not to guess what it cannot see.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from sdar_envs.core import INFO_KEYS
from sdar_envs.demonstrations import Demonstration
from sdar_envs.privileged import Privileged, StudentView, split_info
from sdar_envs.randomness import Key, counted_generator
from sdar_envs.references import load_object

from ..rollout.environments import EnvironmentSource
from ..rollout.making import Environment, advance_or_say

Demonstrator = Callable[..., str]  # of observation and info, and of a generator where it has a parameter `rng`

# What a demonstrator gets of `info` where the prompt has no privileged context: all that a student could be shown.
PUBLIC_KEYS = INFO_KEYS | {"role"}
# Reset seeds of demonstrations, for environments that enumerate no tasks: those of no split.
DEMONSTRATION_SEEDS = range(3_000_000, 3_100_000)


class DemonstratorError(ValueError):
    """A demonstrator raised, or returned what is no action; the message says where, and what it had been given."""


def load_demonstrator(reference: str) -> Demonstrator:
    """A user's own demonstrator by ``module:function``.

    Raises:
        ValueError: There is no such function.
    """
    found = load_object(reference, "demonstrator")
    if not callable(found):
        raise ValueError(
            f"demonstrator {reference!r}: expected a function of observation and info, got a {type(found).__name__}"
        )
    loaded: Demonstrator = found
    return loaded


def takes_generator(demonstrator: Demonstrator) -> bool:
    """Whether a demonstrator has a parameter `rng`; one whose signature cannot be read has none."""
    try:
        return "rng" in inspect.signature(demonstrator).parameters
    except (TypeError, ValueError):
        return False


class PlayedEpisodes:
    """Episodes of an environment, played in this process: a source of demonstrations.

    Args:
        source: The environment.
        demonstrator: Chooses actions from observation and `info`; one with a parameter `rng` gets the counted generator
            of the demonstration too. None chooses among the listed ones by chance, and types text of the action space
            where none is listed.
        max_turns: Turns after which an episode is stopped.
        seal_info: Seal the whole `info` for the teacher and not its ``"privileged"`` part (for a user's own
            ``teacher_context``, which is a function of `info`).
    """

    vocabulary = 0

    def __init__(
        self,
        source: EnvironmentSource,
        demonstrator: Demonstrator | None,
        *,
        max_turns: int,
        seal_info: bool = False,
    ) -> None:
        self.source = source
        self.name = source.name
        self.demonstrator = demonstrator
        self.max_turns = max_turns
        self.seal_info = seal_info
        self._draws = demonstrator is not None and takes_generator(demonstrator)
        self._env: Environment | None = None

    def texts(self) -> Sequence[str]:
        """None: all that is known of an environment's words is what was played."""
        return ()

    def play(self, key: tuple[Key, ...], *, hinted: bool) -> Demonstration:
        """One episode of a task that the key draws.

        Raises:
            DemonstratorError: The demonstrator failed.
            NotTextError: The environment gives an observation that is no text.
            ValueError: Something else that it gives cannot be used.
        """
        rng = counted_generator("demonstration", self.name, *key)
        if self._env is None:
            self._env = self.source.make("train")
        env, enumerates = self._env, self.source.enumerates_tasks
        tasks: Sequence[object] = self.source.task_ids("train") if enumerates else DEMONSTRATION_SEEDS
        task = str(tasks[int(rng.integers(len(tasks)))])
        reply = advance_or_say(env, self.name, task, enumerates=enumerates)
        views: list[StudentView] = []
        privileged: list[Privileged | None] = []
        actions: list[str] = []
        total = 0.0
        over = False
        while not over and len(views) < self.max_turns:
            view, known = split_info(reply.observation, reply.info, turn=len(views))
            if self.seal_info:
                known = Privileged(reply.info)
            action = self._action(view, reply.info, rng, hinted=hinted)
            views.append(view)
            privileged.append(known)
            actions.append(action)
            reply = advance_or_say(env, self.name, task, action, step=len(actions), enumerates=enumerates)
            total += reply.reward
            over = reply.terminated or reply.truncated
        success = bool(reply.info.get("success", total >= self.source.threshold))
        return Demonstration(tuple(views), tuple(privileged), tuple(actions), hinted, success)

    def close(self) -> None:
        """Close the environment."""
        if self._env is not None:
            self._env.close()
            self._env = None

    def _action(self, view: StudentView, info: Mapping[str, Any], rng: np.random.Generator, *, hinted: bool) -> str:
        if self.demonstrator is None:
            listed = [action for action in view.admissible_actions if "<" not in action]
            return listed[int(rng.integers(len(listed)))] if listed else self._typed(rng)
        shown = dict(info) if hinted else {key: value for key, value in info.items() if key in PUBLIC_KEYS}
        where = f"{self.name}, task {view.task_id or 'by seed'}, turn {view.turn + 1}"
        given = "the whole info" if hinted else "the public part of info alone, as in every demonstration without hints"
        try:
            extra = {"rng": rng} if self._draws else {}
            action: object = self.demonstrator(view.observation, shown, **extra)
        except Exception as error:
            raise DemonstratorError(
                f"{where}: the demonstrator raised {type(error).__name__}: {error}. It was given {given}; what only a "
                "teacher reads is to be read with info.get(...), or in all demonstrations with hinted_share=1"
            ) from error
        if not isinstance(action, str):
            raise DemonstratorError(
                f"{where}: expected the demonstrator to return an action as a str, got {type(action).__name__}"
            )
        return action

    def _typed(self, rng: np.random.Generator) -> str:
        """A text of the action space, drawn by the demonstration's own key."""
        assert self._env is not None
        self._env.action_space.seed(int(rng.integers(2**31)))
        return str(self._env.action_space.sample())
