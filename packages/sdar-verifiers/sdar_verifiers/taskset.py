"""One implementation for every world: its tasks, what a solved one is worth, and how an episode is played.

The world plays the user: the model's reply is an action, what the world answers is the next message. What a teacher may
know is in a task's data where `hint` asks for it, and in no message.
"""

from __future__ import annotations

import asyncio
import functools
import json
import os
from collections.abc import Iterator
from typing import Any, ClassVar, Literal

import gymnasium as gym
import prime_runs
import verifiers.v1 as vf
from pydantic import Field

from sdar_envs.bridges.replies import SYSTEM, action_in
from sdar_envs.bridges.sessions import Registry, Session, Worlds
from sdar_envs.bridges.wording import opening, with_actions
from sdar_envs.core import TextEnv

from .demonstration import Hint, demonstration

OUTCOME = "sdar"  # the key of `trace.info` that says how an episode stands
NOTHING = {"return": 0.0, "success": 0.0, "score": 0.0, "steps": 0.0, "not_understood": 0.0}


class WorldConfig(vf.TasksetConfig):
    """Which tasks of a world, and what its teacher is told."""

    split: Literal["train", "valid", "test"] = "train"
    """Tasks of which split."""
    env_kwargs: dict[str, Any] = Field(default_factory=dict)
    """What the environment is made with, such as ``{"size": "small"}``."""
    hint: Hint = "none"
    """What `TaskData.demonstration` holds: the plan, the hints or the skill prose, as they are at the start. It rests
    in `traces.jsonl` in the clear, so that uploading is switched off where it is set (PRIME_RUNS_MODE)."""


class WorldData(vf.TaskData):
    """A task by its name; `id` is the world's own task id."""

    env_id: str
    env_kwargs: dict[str, Any]
    world_version: str
    demonstration: str | None = None
    """For the teacher alone."""

    def session(self) -> Session:
        """An episode's environment, which is made when it is reset."""
        return Session(Worlds(functools.partial(gym.make, self.env_id, **self.env_kwargs)), Registry())


class WorldTask(vf.Task[WorldData]):
    """What is asked of a finished episode, and how it is checked that a task can be solved."""

    @property
    def key(self) -> str:
        """A name that does not change with what a teacher is told, as a hash of all data would."""
        data = self.data
        return f"{data.env_id}|{json.dumps(data.env_kwargs, sort_keys=True)}|{data.id}|{data.world_version}"

    @vf.reward
    async def world_return(self, trace: vf.Trace) -> float:
        """The sum of the world's rewards; 0 for an episode that never began."""
        return _outcome(trace)["return"]

    @vf.metric
    async def outcome(self, trace: vf.Trace) -> dict[str, float]:
        """Whether the task is solved, to what share, and in how many steps of which how many were not understood."""
        return {name: value for name, value in _outcome(trace).items() if name != "return"}

    async def validate(self, runtime: vf.Runtime) -> bool:
        """Whether the plan solves the task, followed to its end."""
        return await asyncio.to_thread(_expert_solves, self.data)


class WorldEnvConfig(vf.EnvConfig):
    """One seat. It needs no sandbox, since a reply is only ever an action."""

    player: vf.AgentConfig = vf.AgentConfig(runtime=vf.SubprocessConfig())


class WorldEnv(vf.Env[WorldEnvConfig]):
    """An episode: the world's turn, the player's turn, until the world ends it."""

    async def run(self, task: vf.Task[Any], agents: vf.Agents) -> None:
        """Play a task. The outcome is written while the seat is open, because rewards are computed as it closes."""
        session = task.data.session()
        try:
            seen = await asyncio.to_thread(session.reset, task_id=task.data.id)
            async with agents.player.interaction(task) as interaction:
                outcome = interaction.trace.info[OUTCOME] = dict(NOTHING)
                segment = await interaction.turn(opening(seen, list_actions=True))
                while not segment.terminated:
                    seen = await asyncio.to_thread(session.step, action_in(segment.last_reply))
                    outcome["return"] += seen.reward
                    outcome["success"], outcome["score"] = float(seen.success), seen.score
                    outcome["steps"] += 1
                    outcome["not_understood"] += not seen.is_action_valid
                    if seen.terminated or seen.truncated:
                        break
                    segment = await interaction.turn(with_actions(seen.text, seen))
        finally:
            session.close()


class WorldTaskset(vf.Taskset[WorldTask, WorldConfig]):
    """The tasks of a split, in the world's order. No task is begun to list it unless a hint is asked for."""

    ENV_ID: ClassVar[str]

    def __init__(self, config: WorldConfig) -> None:
        super().__init__(config)
        if config.hint != "none":
            # `vf-eval` uploads traces unless it is told not to.
            os.environ.setdefault(prime_runs.MODE_ENV, "disabled")

    def load(self) -> Iterator[WorldTask]:
        """One task after the other."""
        kwargs, hint = dict(self.config.env_kwargs), self.config.hint
        env = gym.make(self.ENV_ID, **kwargs, expose_privileged=False)
        world = env.unwrapped
        assert isinstance(world, TextEnv)
        try:
            for task_id in world.task_ids(self.config.split):
                told = None
                if hint != "none":
                    world.reset(options={"task_id": task_id})
                    told = demonstration(hint, world.teacher_view())
                data = WorldData(
                    id=task_id,
                    name=task_id,
                    system_prompt=SYSTEM,
                    env_id=self.ENV_ID,
                    env_kwargs=kwargs,
                    world_version=world.world_version,
                    demonstration=told,
                )
                yield WorldTask(data, self.config.task)
        finally:
            env.close()


def _outcome(trace: vf.Trace) -> dict[str, float]:
    return {**NOTHING, **trace.info.get(OUTCOME, {})}


def _expert_solves(data: WorldData) -> bool:
    session = data.session()
    try:
        seen = session.reset(task_id=data.id)
        while not session.over and (action := session.teacher_view()[1]["next_action"]):
            seen = session.step(action)
        return seen.success
    finally:
        session.close()
