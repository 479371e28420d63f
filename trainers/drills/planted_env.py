"""An environment whose privileged side carries a secret in every text, and which breaks on one task with another."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gymnasium as gym

from sdar_envs.bounded_files import load_json

from ..rollout.making import Recipe, make

_PUBLIC = ("task_type", "claim_ids", "stale")  # what logs may hold: ids, and whether a statement is wrong


class PlantedEnv(gym.Wrapper[Any, Any, Any, Any]):
    """An environment with secrets.

    Args:
        env: The environment that it wraps.
        secret: Stands in every privileged text.
        told: Stands in the text of the exception that one task raises at its second step.
        mark: A file in which it is kept which task that is.
    """

    def __init__(self, env: gym.Env[Any, Any], secret: str, told: str, mark: Path) -> None:
        super().__init__(env)
        self._secret, self._told, self._mark = secret, told, mark
        self._task, self._steps = "", 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """Reset, with the secret planted."""
        self._task, self._steps = str((options or {}).get("task_id", seed)), 0
        observation, info = self.env.reset(seed=seed, options=options)
        return observation, self._planted(info)

    def step(self, action: Any) -> Any:
        """Step, with the secret planted; or break."""
        self._steps += 1
        if self._steps == 2 and self._breaks():
            raise RuntimeError(f"the plan was: {self._told}")
        *rest, info = self.env.step(action)
        return (*rest, self._planted(info))

    def _breaks(self) -> bool:
        """Whether this is the first task of all, in whatever process, that came so far."""
        with contextlib.suppress(FileExistsError), self._mark.open("x", encoding="utf-8") as file:
            file.write(self._task)
        return self._mark.read_text(encoding="utf-8") == self._task

    def _planted(self, info: Mapping[str, Any]) -> dict[str, Any]:
        if "privileged" not in info:
            return dict(info)
        return {**info, "privileged": marked(info["privileged"], self._secret)}


def marked(value: Any, secret: str) -> Any:
    """A value with the secret behind every text in it, but for what may be public."""
    if isinstance(value, str):
        return f"{value} {secret}"
    if isinstance(value, list):
        return [marked(each, secret) for each in value]
    if isinstance(value, dict):
        return {key: each if key in _PUBLIC else marked(each, secret) for key, each in value.items()}
    return value


def make_planted(*, recipe: Mapping[str, Any], secrets: str, split: str | None = None) -> gym.Env[Any, Any]:
    """A planted environment from plain values, for workers.

    Args:
        recipe: The fields of the `Recipe` of the environment that it wraps.
        secrets: A JSON file with `secret` and `told`, since the arguments themselves are in a run's configuration.
        split: Passed on to an environment that has splits.
    """
    planted = load_json(secrets)
    return PlantedEnv(make(Recipe(**recipe), split), planted["secret"], planted["told"], Path(f"{secrets}.task"))
