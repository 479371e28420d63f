"""Environments that break in ways that end or hold up a process; workers import them from here."""

from __future__ import annotations

import ctypes
import os
import sys
import time
from typing import Any

import numpy as np
from scripted_agents import EchoEnv


class ObjectEnv(EchoEnv):
    """Its `info` holds what cannot be sent to another process."""

    def _ask(self) -> str:
        return super()._ask()

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        observation, _ = super().reset(seed=seed)
        return observation, {"engine": object()}


class ArrayEnv(EchoEnv):
    """Its `info` holds arrays, tuples and sets."""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        observation, _ = super().reset(seed=seed)
        return observation, {"grid": np.arange(6).reshape(2, 3), "at": (1, 2), 3: {"b", "a"}, "x": np.float32(0.5)}


class SlowToMakeEnv(EchoEnv):
    """Making it takes for ever."""

    def __init__(self, turns: int = 3) -> None:
        time.sleep(1000)
        super().__init__(turns)


class HungryEnv(EchoEnv):
    """Takes 256 MiB when it is made."""

    def __init__(self) -> None:
        super().__init__()
        self.room = bytearray(2**28)


class GoneEnv(EchoEnv):
    """Making it ends the process."""

    def __init__(self, turns: int = 3) -> None:
        os._exit(7)


class SleepingEnv(EchoEnv):
    """A step never ends: asleep, in a loop, or in code outside Python that no signal interrupts."""

    def __init__(self, how: str = "sleep", turns: int = 3) -> None:
        super().__init__(turns)
        self.how = how

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        if self.how == "sleep":
            time.sleep(1000)
        while self.how == "loop":
            pass
        if self.how == "foreign":
            libc, lock = ctypes.CDLL(None), ctypes.create_string_buffer(128)
            libc.pthread_mutex_lock(lock)
            libc.pthread_mutex_lock(lock)
        return super().step(action)


class LeavingEnv(EchoEnv):
    """`sys.exit(0)` at the first step."""

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        sys.exit(0)


class TellingEnv(EchoEnv):
    """Says what process it is in."""

    def _ask(self) -> str:
        return f"{super()._ask()} pid={os.getpid()}"
