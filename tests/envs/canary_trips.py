"""Worlds of trips with a secret in their teacher's side, for servers: one that keeps it, one that tells it."""

from __future__ import annotations

from typing import Any

from sdar_envs.core import Transition
from sdar_envs.trip.env import TripEnv

CANARY = "xyzzy-4711"


class Kept(TripEnv):
    """Everything that a teacher would be told holds the canary."""

    def _privileged(self) -> Any:
        known = super()._privileged()
        return {**known, "plan": [f"{call} {CANARY}" for call in known["plan"]], "hints": [CANARY]}


class Careless(Kept):
    """What a service answers is followed by the teacher's hints."""

    def _act(self, action: str) -> Transition:
        transition = super()._act(action)
        return transition._replace(observation=f"{transition.observation} {self._privileged()['hints'][0]}")


class Failing(Kept):
    """It fails on its first call, and its error has a secret in it."""

    def _act(self, action: str) -> Transition:
        print(CANARY)  # a world that prints: the protocol's stream is not for it
        raise RuntimeError(f"broken, {CANARY}")
