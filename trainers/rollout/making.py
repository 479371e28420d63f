"""How an environment is made, from plain values that can be sent to another process, and what it states about itself.

Not here: tasks and splits (`environments`), stepping (`batch_env`, `workers`).
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import gymnasium as gym

from sdar_envs import WORLDS
from sdar_envs.core import TextEnv
from sdar_envs.text_only import not_text
from sdar_envs.wrong_actions import UNKNOWN

from .replies import WRONG_ACTIONS, InvalidReplyError, Reply, read_reset, read_step

Environment = gym.Env[Any, Any]

# What a registration is made of; wrappers that it adds are code, which cannot be sent.
_SPEC_FIELDS = ("reward_threshold", "nondeterministic", "max_episode_steps", "order_enforce", "kwargs")


class CannotSendError(ValueError):
    """An environment cannot be made in another process; the message says why and what would help."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to make an environment, in plain values.

    Attributes:
        env_id: The id that `gymnasium.make` takes; empty where `factory` makes it.
        factory: ``module:qualified name`` of a function or class; for an id, of its entry point where that was
            registered as an object.
        kwargs: Keyword arguments.
        spec: The registration's fields, for an id that importing a module does not register.
    """

    env_id: str = ""
    factory: str = ""
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    spec: Mapping[str, Any] | None = None


def is_own_world(env_id: str | Callable[..., Any]) -> bool:
    """Whether an id is one of this suite's, whose worlds are pure, bounded and tested not to raise."""
    return isinstance(env_id, str) and env_id.rpartition(":")[2] in WORLDS


def recipe_of(env_id: str | Callable[..., Any], kwargs: Mapping[str, Any]) -> Recipe:
    """The recipe of an environment.

    Raises:
        CannotSendError: It is made by something that another process cannot import: a lambda, a function inside a
            function, a method of an object, or something of the program that was started.
    """
    if not isinstance(env_id, str):
        return Recipe(factory=reference_to(env_id), kwargs=kwargs)
    if is_own_world(env_id):
        return Recipe(env_id=env_id, kwargs=kwargs)
    registered = gym.registry.get(env_id)
    if ":" in env_id or registered is None:
        return Recipe(env_id=env_id, kwargs=kwargs)  # its module registers it, or making it says what is wrong
    if registered.additional_wrappers:
        raise CannotSendError(f"{env_id} is registered with wrappers of its own")
    point = registered.entry_point
    factory = point if isinstance(point, str) else reference_to(point)
    spec = {name: getattr(registered, name) for name in _SPEC_FIELDS}
    return Recipe(env_id=env_id, factory=str(factory), kwargs=kwargs, spec=spec)


def reference_to(made: Callable[..., Any] | None) -> str:
    """``module:qualified name`` of a function or class that another process can import.

    Raises:
        CannotSendError: There is no such name.
    """
    module, name = getattr(made, "__module__", None), getattr(made, "__qualname__", None)
    if not module or not name:
        raise CannotSendError(f"it is made by a {type(made).__name__}, which has no name that another process knows")
    if module == "__main__":
        raise CannotSendError(f"{name} is defined in the program that was started: move it to a module of its own")
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    if found is not made:
        raise CannotSendError(f"no other process finds {name} by its name: define it at the top of its module")
    return f"{module}:{name}"


def make(recipe: Recipe, split: str | None = None) -> Environment:
    """Make an environment by its recipe; `split` is passed on as a keyword argument where it is given."""
    kwargs = dict(recipe.kwargs) if split is None else {**recipe.kwargs, "split": split}
    if not recipe.env_id:
        made: Environment = resolve(recipe.factory)(**kwargs)
        return made
    module, colon, _ = recipe.env_id.partition(":")
    if colon:
        importlib.import_module(module)
    elif recipe.spec is not None and recipe.env_id not in gym.registry:
        importlib.import_module(recipe.factory.partition(":")[0])  # which may register it itself
        if recipe.env_id not in gym.registry:
            gym.register(recipe.env_id, entry_point=resolve(recipe.factory), **recipe.spec)
    # The passive checker costs a third of a text step and checks nothing that `check_text_env` does not.
    return gym.make(recipe.env_id, disable_env_checker=True, **kwargs)


def resolve(reference: str) -> Any:
    """The object that ``module:qualified name`` refers to."""
    module, _, name = reference.partition(":")
    found: Any = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    return found


def reset_to(env: Environment, task_id: str, enumerates_tasks: bool) -> tuple[Any, dict[str, Any]]:
    """Reset to a task: by option where tasks are enumerated, else by seed.

    Raises:
        ValueError: There is no such task.
    """
    if enumerates_tasks:
        return env.reset(options={"task_id": task_id})
    if not task_id.isdecimal():
        raise ValueError(f"task of an environment without task ids: expected a reset seed, got {task_id!r}")
    return env.reset(seed=int(task_id))


def has_switch(env: Environment) -> bool:
    """Whether the privileged part of an environment's `info` can be switched on and off (`expose_privileged`)."""
    return bool(getattr(env.unwrapped, "expose_privileged", False))


def advance(
    env: Environment, task_id: str, action: str | None, *, enumerates: bool, exposes: bool | None = None
) -> Reply:
    """Begin a task (`action` None) or play one action, and check what comes back.

    Args:
        env: The environment.
        task_id: The episode's.
        action: What to play.
        enumerates: Whether the environment has task ids.
        exposes: Whether `info` gets its privileged part; None for an environment that cannot switch it.

    Raises:
        InvalidReplyError: What came back cannot be used.
    """
    if exposes is not None:
        env.unwrapped.expose_privileged = exposes  # type: ignore[attr-defined]
    if action is None:
        return read_reset(reset_to(env, task_id, enumerates))
    reply = read_step(env.step(action))
    if reply.terminated or reply.truncated:
        return _with_wrong_actions(reply, env)
    return reply


def _with_wrong_actions(reply: Reply, env: Environment) -> Reply:
    """The last reply of an episode, with what the world says of its wrong actions in `info` where it says anything.

    It is added here and not by the world: agents act on what worlds return, and this is for logs alone.
    """
    own = env.unwrapped
    wrong = own.wrong_actions() if isinstance(own, TextEnv) else UNKNOWN
    if wrong == UNKNOWN:
        return reply
    return dataclasses.replace(reply, info={**reply.info, WRONG_ACTIONS: wrong._asdict()})


def advance_or_say(
    env: Environment, name: str, task_id: str, action: str | None = None, *, step: int = 0, enumerates: bool
) -> Reply:
    """`advance` outside a rollout, where one bad reply is the end: the error says environment, task and step.

    Args:
        env: The environment.
        name: What a command calls it.
        task_id: The episode's.
        action: What to play; None begins the task.
        step: The number of the action.
        enumerates: Whether the environment has task ids.

    Raises:
        NotTextError: The observation is no text.
        ValueError: Something else that came back cannot be used, or there is no such task.
    """
    try:
        return advance(env, task_id, action, enumerates=enumerates)
    except InvalidReplyError as error:
        where = f"{name}, task {task_id}, " + ("reset" if action is None else f"step {step}")
        if error.observed:
            raise not_text(error.observed, where, name) from None
        raise ValueError(f"{where}: {error}. `sdar check {name}` looks at all that it returns") from None


def enumerates_tasks(env: Environment) -> bool:
    """Whether an environment follows this suite's contract: `task_ids` and ``options={"task_id": ...}``."""
    return callable(getattr(env.unwrapped, "task_ids", None))


def constructor_names(env: Environment) -> frozenset[str]:
    """The keyword arguments that the environment's constructor names."""
    return frozenset(inspect.signature(type(env.unwrapped)).parameters)


@dataclass(frozen=True, slots=True)
class Statement:
    """What an environment states about itself, in plain values.

    Attributes:
        enumerates: Whether it has task ids.
        tasks: Split -> its task ids; empty for one without.
        parameters: Names of its constructor's arguments.
        world_version: Its own, or ``"unknown"``.
        reward_threshold: Of its registration.
        has_objects: Whether it has a skill bank or tools, or names clusters of tasks, which only its own process can
            ask.
        first_info: `info` of its first task; empty where that cannot be begun.
    """

    enumerates: bool
    tasks: Mapping[str, Sequence[str]]
    parameters: Sequence[str]
    world_version: str
    reward_threshold: float | None
    has_objects: bool
    first_info: Mapping[str, Any]


def statement_of(env: Environment, splits: Sequence[str], seeds: Sequence[str]) -> Statement:
    """Ask an environment about itself.

    Args:
        env: The environment.
        splits: The splits whose tasks are asked for.
        seeds: The first tasks of an environment without task ids.
    """
    own = env.unwrapped
    has_tasks = enumerates_tasks(env)
    tasks = {split: [str(task) for task in own.task_ids(split)] for split in splits} if has_tasks else {}  # type: ignore[attr-defined]
    first: Mapping[str, Any] = {}
    for task in [*tasks.get(splits[0], ()), *seeds][:3]:  # one task that is broken is no broken environment
        try:
            info = reset_to(env, task, has_tasks)[1]
        except Exception:
            continue
        first = info if isinstance(info, Mapping) else {}
        break
    return Statement(
        has_tasks,
        tasks,
        sorted(constructor_names(env)),
        world_version_of(env),
        reward_threshold_of(env),
        getattr(own, "skill_bank", None) is not None
        or any(callable(getattr(own, name, None)) for name in ("cluster_of", "tool_set")),
        dict(first),
    )


def world_version_of(env: Environment) -> str:
    """The environment's own version of everything that moves a score; ``"unknown"`` where it states none."""
    return str(getattr(env.unwrapped, "world_version", "unknown"))


def reward_threshold_of(env: Environment) -> float | None:
    """The return of its registration that counts as success."""
    spec = env.spec
    return None if spec is None or spec.reward_threshold is None else float(spec.reward_threshold)
