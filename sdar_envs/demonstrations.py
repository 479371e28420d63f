"""Imperfect demonstrations: scripted episodes from many other worlds, for the warm start of a model from nothing.

Each world has a script that plays it, its demonstrator. It reads what a student reads and, in a hinted demonstration,
the skill lines as well; it searches, errs now and then, and follows hints. Each demonstration is played in a world of
its own (a `world_seed` of its own), so that no regularity of the world that is trained on leaks into the warm start.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from . import WORLDS
from .choices import unknown_choice
from .core import TextEnv
from .privileged import Privileged, RetrievedSkills, StudentView, split_info
from .randomness import Key, counted_generator


@dataclass(frozen=True, slots=True)
class Demonstration:
    """One scripted episode; `views`, `privileged` and `actions` run parallel, a turn each."""

    views: tuple[StudentView, ...]
    privileged: tuple[Privileged | None, ...]
    actions: tuple[str, ...]
    hinted: bool
    success: bool


class Demonstrator(Protocol):
    """A world's script. One instance plays one episode."""

    def act(self, view: StudentView) -> str:
        """The next action."""
        ...


@dataclass(frozen=True, slots=True)
class Script:
    """What a world offers for demonstrations.

    `make_env` builds an environment in the world of a seed; `make_demonstrator` takes the retrieved skills (None when
    the demonstration is not hinted) and a generator; `texts` lists wording that a tokenizer should know, in a
    `vocabulary` of at least that many tokens.
    """

    make_env: Callable[[Mapping[str, Any], int], TextEnv]
    make_demonstrator: Callable[[RetrievedSkills | None, np.random.Generator], Demonstrator]
    texts: Callable[[], Sequence[str]]
    vocabulary: int = 0


# Worlds that demonstrations come from: so many that learning the regularities of one does not pay, few enough to be
# built once.
DEMONSTRATION_WORLDS = range(1_000_000, 1_000_048)

# Environment id -> its script, as ``module:name``.
SCRIPTS: dict[str, str] = {entry.env_id: entry.demonstrator for entry in WORLDS.values() if entry.demonstrator}


def script_of(env_id: str) -> Script:
    """The script of an environment.

    Raises:
        ValueError: The environment has none, so a model from nothing cannot be warmed up on it.
    """
    if env_id not in SCRIPTS:
        raise unknown_choice("environment with demonstrations", env_id, SCRIPTS, "the warm start from nothing")
    module, _, name = SCRIPTS[env_id].partition(":")
    script = getattr(importlib.import_module(module), name)
    assert isinstance(script, Script)
    return script


def demonstrate(script: Script, env_kwargs: Mapping[str, Any], *, key: tuple[Key, ...], hinted: bool) -> Demonstration:
    """Play one demonstration; the same key gives the same one."""
    rng = counted_generator("demonstration", *key)
    env = script.make_env(env_kwargs, DEMONSTRATION_WORLDS[int(rng.integers(len(DEMONSTRATION_WORLDS)))])
    tasks = env.task_ids("train")
    observation, info = env.reset(options={"task_id": tasks[int(rng.integers(len(tasks)))]})
    skills: RetrievedSkills | None = info["privileged"]["skills"] if hinted else None
    demonstrator = script.make_demonstrator(skills, rng)
    views: list[StudentView] = []
    privileged: list[Privileged | None] = []
    actions: list[str] = []
    over = False
    while not over:
        view, teacher_side = split_info(observation, info, turn=len(views))
        action = demonstrator.act(view)
        views.append(view)
        privileged.append(teacher_side)
        actions.append(action)
        observation, _, terminated, truncated, info = env.step(action)
        over = terminated or truncated
    return Demonstration(tuple(views), tuple(privileged), tuple(actions), hinted, bool(info["success"]))
