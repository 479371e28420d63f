"""Any text environment as an OpenEnv server (openenv 0.10): sessions over WebSocket, seeds, splits, the task API.

The agent's side is one application, the teacher's another one on a port of its own: whoever has the first address
cannot even ask for the second. Episodes live in a WebSocket session; OpenEnv's stateless HTTP routes make an
environment per request, so that a step over them is refused.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, NamedTuple

from ..distribution import with_extra
from .sessions import Environment, RefusedError, Registry, Session, Worlds

try:
    from fastapi import FastAPI, Header, HTTPException
    from openenv.core.env_server import create_fastapi_app
    from openenv.core.env_server.interfaces import Environment as ServerEnvironment
    from openenv.core.env_server.types import Action, ConcurrencyConfig, EnvironmentMetadata, Observation, State
    from pydantic import Field
except ImportError as missing:
    raise ImportError(
        f"serving an environment needs OpenEnv, and there is no {missing.name}: {with_extra('openenv')}"
    ) from missing

LISTED_TASKS = 1000  # more are counted and not listed
SPLIT_TYPES = {"train": "train", "valid": "validation", "test": "test"}  # in OpenEnv's words
PROTOCOL = 1  # of the teacher's channel: docs/teacher-channel.md
LONGEST_ACTION = 65_536  # characters


class TextAction(Action):
    """What the agent says."""

    text: str = Field(max_length=LONGEST_ACTION, description="The action, as text")


class TextObservation(Observation):
    """What the agent sees."""

    text: str = Field(description="The observation")
    instruction: str = Field(default="", description="The task, in words")
    task_id: str = Field(default="", description="Name of the task")
    task_type: str = Field(default="", description="Kind of the task")
    admissible_actions: list[str] = Field(default_factory=list, description="Actions that are understood now")
    is_action_valid: bool = Field(default=True, description="Whether the last action was understood")
    truncated: bool = Field(default=False, description="Whether the episode ended at its horizon")
    success: bool = Field(default=False, description="Whether the task is solved")
    score: float = Field(default=0.0, description="Share of the task that is solved, 0 to 1")


class Apps(NamedTuple):
    """The agent's application, and the teacher's, which is None without a token."""

    agent: FastAPI
    teacher: FastAPI | None
    registry: Registry


def build(
    make: Callable[..., Environment],
    name: str,
    *,
    description: str = "",
    token: str | None = None,
    max_sessions: int = 64,
    idle_seconds: float = 3600.0,
) -> Apps:
    """The applications that serve an environment.

    Args:
        make: Makes it; takes the contract's `split` where the environment has splits.
        name: Its name, without ``/``.
        description: One sentence.
        token: What the teacher's side has to show; without one there is no teacher's side.
        max_sessions: Clients at one time.
        idle_seconds: After which a session without a connection ends.
    """
    worlds, registry = Worlds(make), Registry()

    class Served(ServerEnvironment[TextAction, TextObservation, State]):
        """One session."""

        SUPPORTS_CONCURRENT_SESSIONS = True

        def __init__(self) -> None:
            super().__init__()
            self._session = Session(worlds, registry)

        def reset(self, seed: int | None = None, episode_id: str | None = None, **options: Any) -> TextObservation:
            return _observation(self._session.reset(seed=seed, episode_id=episode_id, **options))

        def step(self, action: TextAction, timeout_s: float | None = None, **options: Any) -> TextObservation:
            return _observation(self._session.step(action.text))

        @property
        def state(self) -> State:
            return State(episode_id=self._session.episode_id, step_count=self._session.steps)

        def get_metadata(self) -> EnvironmentMetadata:
            return EnvironmentMetadata(name=name, description=description or name, version=worlds.version)

        def close(self) -> None:
            self._session.close()

        # The task API.

        def list_splits(self) -> list[dict[str, str]]:
            return [{"name": name, "type": kind} for name, kind in SPLIT_TYPES.items()] if worlds.enumerates else []

        def num_tasks(self, split: str) -> int:
            return len(worlds.tasks(split))

        def list_tasks(self, split: str) -> list[dict[str, Any]]:
            return self.get_task_range(split, 0, LISTED_TASKS)

        def get_task(self, split: str, index: int) -> dict[str, Any]:
            tasks = worlds.tasks(split)
            if not 0 <= index < len(tasks):
                raise IndexError(f"index: expected 0 to {len(tasks) - 1} in split {split}, got {index}")
            return {"id": tasks[index], "index": index, "split": split}

        def get_task_range(self, split: str, start: int | None = None, stop: int | None = None) -> list[dict[str, Any]]:
            tasks = worlds.tasks(split)
            places = range(*slice(start, stop).indices(len(tasks)))[:LISTED_TASKS]
            return [{"id": tasks[place], "index": place, "split": split} for place in places]

    limits = ConcurrencyConfig(max_concurrent_envs=max_sessions, session_timeout=idle_seconds)
    agent = create_fastapi_app(Served, TextAction, TextObservation, concurrency_config=limits, env_name=name)
    return Apps(agent, None if token is None else teacher_app(registry, token), registry)


def _observation(seen: Any) -> TextObservation:
    fields = asdict(seen)
    done = fields.pop("terminated") or fields["truncated"]
    return TextObservation(done=done, **fields)


def teacher_app(registry: Registry, token: str) -> FastAPI:
    """The teacher's channel: what a teacher may know of an episode now, for whoever has the token.

    Raises:
        ValueError: The token is too short to be a secret.
    """
    if len(token) < 16:
        raise ValueError(f"the teacher's token: expected at least 16 characters, got {len(token)}")
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    expected = f"Bearer {token}".encode()

    @app.get("/privileged/{episode_id}")
    def privileged(episode_id: str, authorization: str = Header(default="")) -> dict[str, Any]:
        if not hmac.compare_digest(authorization.encode("utf-8", "replace"), expected):
            raise HTTPException(401, "the teacher's token is expected: Authorization: Bearer TOKEN")
        session = registry.find(episode_id)
        if session is None:
            raise HTTPException(404, "no session has an episode of that id")
        steps, known = session.teacher_view()
        return {"protocol": PROTOCOL, "episode_id": episode_id, "step_count": steps, "privileged": known}

    return app


__all__ = ["Apps", "RefusedError", "TextAction", "TextObservation", "build", "teacher_app"]
