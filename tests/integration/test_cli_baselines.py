"""Players that an environment cannot have are refused before anything is played, so that no result is lost."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import gymnasium as gym
import pytest
from scripted_agents import EchoEnv

from trainers.cli import main

PLAYED: list[str] = []


class Listed(EchoEnv):
    """Lists its actions, and has what `privileged` says on the teacher's side."""

    privileged: ClassVar[dict[str, Any] | None] = None

    def reset(self, **kwargs: Any) -> Any:
        observation, info = super().reset(**kwargs)
        return observation, self._more(info)

    def step(self, action: str) -> Any:
        PLAYED.append(action)
        *rest, info = super().step(action)
        return (*rest, self._more(info))

    def _more(self, info: dict[str, Any]) -> dict[str, Any]:
        own = {} if self.privileged is None else {"privileged": dict(self.privileged)}
        return {**info, "admissible_actions": ["red", "blue"], **own}


class Hinting(Listed):
    privileged: ClassVar[dict[str, Any] | None] = {"hints": ["it is red"]}


class Planning(Listed):
    privileged: ClassVar[dict[str, Any] | None] = {"next_action": "red"}


@pytest.fixture(autouse=True)
def _registered() -> Iterator[None]:
    kinds = (Listed, Hinting, Planning)
    for kind in kinds:
        gym.register(f"toy/{kind.__name__}-v0", entry_point=kind)
    PLAYED.clear()
    yield
    for kind in kinds:
        del gym.registry[f"toy/{kind.__name__}-v0"]


def refused(env_id: str, capsys: pytest.CaptureFixture[str], *words: str, command: str = "eval") -> str:
    start = [command, "--env", env_id, *words]
    assert main(start) == 2
    said = capsys.readouterr()
    assert PLAYED == []
    return said.err


@pytest.mark.parametrize("kind", ["Listed", "Hinting"])
def test_an_expert_that_there_is_not_is_refused_before_the_random_agent_has_played(
    capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    env_id = f"toy/{kind}-v0"
    words = ["--agent", "random", "--agent", "expert", "--episodes", "2", "--env-workers", "0"]
    said = refused(env_id, capsys, *words)
    assert f"{env_id} has no expert" in said and "leave out --agent expert, or take --agent random" in said
    lacks = {"Listed": "its info has no 'privileged'", "Hinting": "its info['privileged'] has hints alone"}[kind]
    assert lacks in said
    said = refused(env_id, capsys, "--agent", "expert", command="play")
    assert f"{env_id} has no expert" in said and lacks in said


def test_a_plan_under_next_action_is_all_that_an_expert_needs(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--agent", "random", "--agent", "expert", "--episodes", "2", "--env-workers", "0"]
    assert main(["eval", "--env", "toy/Planning-v0", *words]) == 0
    assert "expert" in capsys.readouterr().out


def test_other_players_that_there_are_not_are_refused_as_early(capsys: pytest.CaptureFixture[str]) -> None:
    said = refused("toy/Listed-v0", capsys, "--agent", "random", "--agent", "generic", "--episodes", "2")
    assert "toy/Listed-v0 has no scripted players, got 'generic'" in said
