"""Episodes of random actions, recorded call by call, for the conformance checks to compare."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium as gym

from ..randomness import counted_generator

NONSENSE = "xyzzy the frobnicator"
# What of `info` is scored; everything else is shown.
SCORE_KEYS = ("success", "score")

# A walk gives up after so many steps when neither end nor truncation comes.
LONGEST_WALK = 2_000
# And no earlier than after so many, however slow the environment is.
_SHORTEST_WALK = 5


class ConformanceError(AssertionError):
    """An environment broke the contract.

    Attributes:
        check: Name of the check.
        what: What was expected, what was got, where.
        remedy: What to do.
    """

    def __init__(self, check: str, what: str, remedy: str) -> None:
        super().__init__(f"[{check}] {what}. {remedy}")
        self.check = check
        self.what = what
        self.remedy = remedy
        self.report: Any = None  # a `ConformanceReport` with what the other checks found, where all were run

    def __reduce__(self) -> tuple[type[ConformanceError], tuple[str, str, str]]:
        # An exception is otherwise rebuilt from its message alone, which fails in the process that receives it.
        return type(self), (self.check, self.what, self.remedy)


class PromiseError(ConformanceError):
    """An environment broke a promise that only this suite's contract makes: elsewhere a warning, and no failure."""


class Skipped(Exception):
    """The environment has nothing that the check could look at."""


@dataclass(frozen=True, slots=True)
class Moment:
    """What one call returned: `action` is None for the reset. `info` is the object itself, `snapshot` a copy of it."""

    action: str | None
    observation: Any
    reward: Any
    terminated: Any
    truncated: Any
    info: Any
    snapshot: Any

    def comparable(self) -> tuple[Any, ...]:
        """All that must repeat."""
        return (self.action, self.observation, self.reward, self.terminated, self.truncated, self.snapshot)

    def public(self) -> tuple[Any, ...]:
        """All that must repeat, without the privileged side."""
        info = {key: value for key, value in self.snapshot.items() if key != "privileged"}
        return (self.action, self.observation, self.reward, self.terminated, self.truncated, info)

    def shown(self) -> tuple[Any, ...]:
        """All that must repeat but for what is scored."""
        info = {key: value for key, value in self.snapshot.items() if key not in SCORE_KEYS}
        return (self.action, self.observation, None, self.terminated, self.truncated, info)

    def scored(self) -> tuple[Any, ...]:
        """What the call was worth."""
        return (self.reward, *(self.snapshot.get(key) for key in SCORE_KEYS))

    def where(self) -> str:
        """The call, for messages."""
        return "at reset" if self.action is None else f"after action {self.action!r:.80}"


Walk = list[Moment]


def begin(env: gym.Env[Any, Any], *, seed: int | None = None, task_id: str | None = None) -> Moment:
    """Reset and record."""
    options = None if task_id is None else {"task_id": task_id}
    observation, info = env.reset(seed=seed, options=options)
    return Moment(None, observation, 0.0, False, False, info, copy.deepcopy(info))


def act(env: gym.Env[Any, Any], action: str) -> Moment:
    """Step and record."""
    observation, reward, terminated, truncated, info = env.step(action)
    return Moment(action, observation, reward, terminated, truncated, info, copy.deepcopy(info))


def is_over(moment: Moment) -> bool:
    """Whether the episode ended here."""
    return bool(moment.terminated or moment.truncated)


def legal_actions(moment: Moment) -> list[str]:
    """The complete admissible actions that `info` names; templates such as ``search[<query>]`` are not complete."""
    actions = moment.snapshot.get("admissible_actions") or []
    return [action for action in actions if isinstance(action, str) and "<" not in action]


def random_walk(
    env: gym.Env[Any, Any], seed: int, *, walk_seed: int = 0, ends: Callable[[], bool] = lambda: False
) -> Walk:
    """Play one episode of random legal actions and, one time in five, nonsense; it is left off where `ends` says so."""
    generator = counted_generator("conformance walk", walk_seed, seed)
    env.action_space.seed(seed)
    walk = [begin(env, seed=seed)]
    while not is_over(walk[-1]) and len(walk) <= LONGEST_WALK and (len(walk) <= _SHORTEST_WALK or not ends()):
        legal = legal_actions(walk[-1])
        if generator.random() < 0.2:
            action = NONSENSE
        elif legal:
            action = legal[int(generator.integers(len(legal)))]
        else:
            action = env.action_space.sample()
        walk.append(act(env, action))
    return walk


def replay(env: gym.Env[Any, Any], seed: int, actions: Sequence[str | None]) -> Walk:
    """Play the recorded `actions` of a walk from the same seed, as far as the episode goes."""
    walk = [begin(env, seed=seed)]
    for action in actions[1:]:
        if is_over(walk[-1]) or action is None:
            break
        walk.append(act(env, action))
    return walk


def actions_of(walk: Walk) -> list[str | None]:
    """The script of a walk; its first entry stands for the reset."""
    return [moment.action for moment in walk]
