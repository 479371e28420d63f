"""An environment that breaks on purpose, at chosen steps of chosen tasks, a chosen number of times.

It wraps any environment. How often a fault has happened is kept in files, because the process in which it happens often
does not live to tell.
"""

from __future__ import annotations

import ctypes
import hashlib
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from ..rollout.making import Recipe, make
from ..rollout.replies import MAX_OBSERVATION

Step = tuple[Any, Any, Any, Any, Any]

_FOR_EVER = 10**6  # seconds


class OddError(Exception):
    """An exception that cannot even be shown."""

    def __str__(self) -> str:
        raise RuntimeError("and this one's text raises, too")


def _raise() -> None:
    raise RuntimeError("a fault on purpose, with what may be privileged text: the apple is in the fridge")


def _odd() -> None:
    raise OddError


def _interrupt() -> None:
    raise KeyboardInterrupt


def _spin() -> None:
    while True:
        pass


def _segv() -> None:
    ctypes.string_at(0)


def _memory() -> None:
    held = []
    while True:  # until the limit of the process ends it; without one this must not be asked for
        held.append(np.empty(64 * 2**20, np.uint8))  # address space alone: filling it takes seconds


def _fork() -> None:
    os.fork()  # and both go on


def _children() -> None:
    subprocess.Popen(["sleep", str(_FOR_EVER)])


def _print() -> None:
    print("some words of the engine")
    print("\x00\x01 not a message", flush=True)


# What ends or holds up a call, by name.
ACTS: Mapping[str, Callable[[], None]] = {
    "raise": _raise,
    "odd": _odd,
    "interrupt": _interrupt,
    "exit": lambda: sys.exit(0),
    "os_exit": lambda: os._exit(0),
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "segv": _segv,
    "stop": lambda: os.kill(os.getpid(), signal.SIGSTOP),
    "hang": lambda: time.sleep(_FOR_EVER),
    "spin": _spin,
    "memory": _memory,
    "close_files": lambda: os.closerange(3, 1024),
    "lie": lambda: os.kill(os.getpid(), signal.SIGKILL),  # and the replay differs
}
# What is returned in the place of a step.
ANSWERS: Mapping[str, Callable[[Step], Any]] = {
    "nan": lambda step: (step[0], math.nan, *step[2:]),
    "text_reward": lambda step: (step[0], "1.0", *step[2:]),
    "none_info": lambda step: (*step[:4], None),
    "list_info": lambda step: (*step[:4], [step[4]]),
    "no_tuple": lambda step: None,
    "no_text": lambda step: (None, *step[1:]),
    "long": lambda step: ("x" * (MAX_OBSERVATION + 1), *step[1:]),
    "surrogate": lambda step: ("\ud800", *step[1:]),
    "object": lambda step: (*step[:4], {**step[4], "engine": object()}),
    "success": lambda step: (*step[:4], {**step[4], "success": "False"}),
    "actions": lambda step: (*step[:4], {**step[4], "admissible_actions": 7}),
}
# What must cost nothing at all.
HARMLESS: Mapping[str, Callable[[], None]] = {"fork": _fork, "children": _children, "print": _print}
KINDS = (*ACTS, *ANSWERS, *HARMLESS)
# The kind that a fault is named by when it comes more often than an episode is replayed.
NAMED = {
    **dict.fromkeys(("raise", "odd", "interrupt", "memory"), ("raised",)),
    **dict.fromkeys(("exit", "os_exit", "close_files"), ("exited",)),
    **dict.fromkeys(("kill", "segv"), ("killed",)),
    **dict.fromkeys(("stop", "hang", "spin"), ("hung",)),
    **dict.fromkeys(ANSWERS, ("invalid",)),
    "object": ("unsendable",),
    "lie": ("diverged", "killed"),
}


class FaultyEnv(gym.Wrapper[Any, Any, Any, Any]):
    """An environment that breaks as planned.

    Args:
        env: The environment that it wraps.
        plan: Task -> (step, kind of `KINDS`, times): the fault comes at that step (0 is the reset), so many times.
        folder: Where it is kept how often a fault has come.
    """

    def __init__(self, env: gym.Env[Any, Any], plan: Mapping[str, tuple[int, str, int]], folder: str) -> None:
        super().__init__(env)
        self._plan = plan
        self._folder = Path(folder)
        self._task = ""
        self._steps = 0
        self._lies = False

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """Reset, or break."""
        self._task = str((options or {}).get("task_id", seed))
        self._steps = 0
        self._lies = False
        # A reset has the same shape but for the middle of a step.
        observation, info = self.env.reset(seed=seed, options=options)
        broken = self._broken((self._lied(observation), 0.0, False, False, info))
        return (broken[0], broken[4]) if isinstance(broken, tuple) else broken

    def step(self, action: Any) -> Any:
        """Step, or break."""
        self._steps += 1
        observation, *rest = self.env.step(action)
        return self._broken((self._lied(observation), *rest))

    def _broken(self, step: Any) -> Any:
        """What this step returns; often it does not come to that."""
        at, kind, times = self._plan.get(self._task, (-1, "", 0))
        if at != self._steps or not self._comes(times):
            return step
        if kind in ANSWERS:
            return ANSWERS[kind](step)
        (ACTS.get(kind) or HARMLESS[kind])()
        return step

    def _lied(self, observation: Any) -> Any:
        """After a lying fault, the first replays tell another story, and go on with it."""
        _, kind, times = self._plan.get(self._task, (-1, "", 0))
        if kind == "lie" and self._steps == 0:
            self._lies = 0 < self._count() < times and self._comes(times)
        return f"{observation} Or was it?" if self._lies else observation

    def _count(self) -> int:
        return len(list(self._folder.glob(f"{self._key()}-*")))

    def _comes(self, times: int) -> bool:
        """Whether the fault comes once more; it is noted before it happens."""
        for number in range(times):
            try:
                os.close(os.open(self._folder / f"{self._key()}-{number}", os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                continue
            return True
        return False

    def _key(self) -> str:
        return hashlib.blake2b(self._task.encode(), digest_size=12).hexdigest()


def make_faulty(
    *, recipe: Mapping[str, Any], plan: Mapping[str, Any], folder: str, split: str | None = None
) -> gym.Env[Any, Any]:
    """A faulty environment from plain values, for workers.

    Args:
        recipe: The fields of the `Recipe` of the environment that it wraps.
        plan: As for `FaultyEnv`.
        folder: As for `FaultyEnv`.
        split: Passed on to an environment that has splits.
    """
    return FaultyEnv(make(Recipe(**recipe), split), {task: tuple(each) for task, each in plan.items()}, folder)
