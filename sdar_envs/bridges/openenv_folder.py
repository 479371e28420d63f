"""The folder from which OpenEnv builds an image of an environment, and by which it checks it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gymnasium as gym

from .. import __version__
from ..core import SPLITS, TextEnv

_ACTIONS = 3  # that OpenEnv's runtime checks play


def write_folder(folder: Path, env_id: str, kwargs: Mapping[str, Any], *, max_sessions: int = 64) -> list[Path]:
    """Write openenv.yaml, Dockerfile, the server's program and what validation plays.

    Args:
        folder: Does not exist, or is empty.
        env_id: An environment of this suite.
        kwargs: Its arguments.
        max_sessions: Clients at one time.

    Returns:
        The files.

    Raises:
        ValueError: The folder has something in it, or the environment is not a world of this suite.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"{folder}: expected a folder that does not exist or is empty: choose another")
    env = gym.make(env_id, **kwargs).unwrapped
    if not isinstance(env, TextEnv):
        raise ValueError(
            f"{env_id}: expected a world of this suite, got a {type(env).__name__}: serve it with serve-env"
        )
    _, info = env.reset(seed=0)
    name = env_id.partition("/")[2].partition("-v")[0].lower()
    counts = {split: len(env.task_ids(split)) for split in SPLITS}
    actions = [{"text": action} for action in info["admissible_actions"][:_ACTIONS] or ["look"]]
    plan = {"plan_schema_version": "1", "reset": {"episode_id": "validation", "seed": 0}, "actions": actions}
    arguments = " ".join(f"{key}={json.dumps(value)}" for key, value in kwargs.items())
    files = {
        "openenv.yaml": _manifest(name, env.world_version, counts),
        "server/Dockerfile": _DOCKERFILE.format(version=__version__),
        "server/app.py": _APP.format(env_id=env_id, kwargs=dict(kwargs), name=name, max_sessions=max_sessions),
        "validation/runtime.json": json.dumps(plan, indent=2) + "\n",
        "validation/oracle.py": _ORACLE.format(env_id=env_id, kwargs=dict(kwargs)),
        "pyproject.toml": _PYPROJECT.format(name=name, version=__version__),
        "README.md": _README.format(name=name, env_id=env_id, arguments=arguments),
    }
    written = []
    for place, text in files.items():
        path = folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        written.append(path)
    env.close()
    return written


def _manifest(name: str, version: str, counts: Mapping[str, int]) -> str:
    rows = "\n".join(f"      {split}: {count}" for split, count in counts.items())
    return _YAML.format(name=name, version=json.dumps(version), package=json.dumps(__version__), counts=rows)


_YAML = """spec_version: 1
name: sdar-{name}
version: {package}
type: space
runtime: fastapi
app: server.app:app
port: 8000
validation:
  reward:
    range: [0.0, 1.0]
    oracle_tolerance: 0.0
    floor_margin: 0.1
  resources:
    cpu: 1.0
    memory_mb: 2048
    disk_mb: 1024
    episode_timeout_s: 600
  network:
    mode: no-network
  task_distribution:
    generator_seed: 0
    dataset_version: {version}
  execution:
    kind: openenv_ws
    probe_path: validation/runtime.json
    dockerfile: server/Dockerfile
    context: .
    agent_boundary: api
  capabilities:
    verifier:
      kind: reward_channel
    oracle:
      form: script
      location: validation/oracle.py
    task_api: true
    declared_task_count:
{counts}
  types:
    tags: [text, agentic]
"""

_DOCKERFILE = """FROM python:3.11-slim
RUN pip install --no-cache-dir "sdar-envs[openenv]=={version}"
COPY server /app/server
WORKDIR /app
CMD ["uvicorn", "server.app:app", "--host", "0.0.0.0", "--port", "8000"]
"""

_APP = '''"""The server's application; it has no teacher's side."""

import functools

import gymnasium as gym

import sdar_envs  # noqa: F401  # registers the environments
from sdar_envs.bridges.openenv_server import build

app = build(
    functools.partial(gym.make, {env_id!r}, **{kwargs!r}),
    "sdar-{name}",
    max_sessions={max_sessions},
).agent
'''

_ORACLE = '''"""Plays the teacher's plan to the end and prints the return: the most that the task gives."""

import gymnasium as gym

import sdar_envs  # noqa: F401  # registers the environments

env = gym.make({env_id!r}, **{kwargs!r})
_, info = env.reset(seed=0)
total, over = 0.0, False
while not over:
    _, reward, terminated, truncated, info = env.step(info["privileged"]["next_action"])
    total, over = total + reward, terminated or truncated
print(total)
'''

_PYPROJECT = """[project]
name = "sdar-{name}-openenv"
version = "{version}"
requires-python = ">=3.11"
dependencies = ["sdar-envs[openenv]=={version}"]
"""

_README = """# sdar-{name}

`{env_id}` {arguments} as an OpenEnv environment. Actions and observations are text; episodes are played over WebSocket
sessions. Nothing that only a teacher may know is served here: `python -m sdar_envs serve` opens the teacher's channel.

    docker build -f server/Dockerfile -t sdar-{name} .
    docker run -p 8000:8000 sdar-{name}
"""
