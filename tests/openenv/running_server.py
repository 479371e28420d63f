"""An environment served on free ports of this machine, the teacher's side as well."""

from __future__ import annotations

import json
import threading
import time
import urllib.request
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import uvicorn

TOKEN = "a-token-of-a-teacher-0123"


class Running:
    """An agents' and a teacher's server on free ports of this machine."""

    def __init__(self, make: Callable[..., gym.Env], *, token: str | None = TOKEN, max_sessions: int = 64) -> None:
        from sdar_envs.bridges.openenv_server import build

        self.apps = build(make, "world", token=token, max_sessions=max_sessions)
        self.servers = [self._start(app) for app in (self.apps.agent, self.apps.teacher) if app is not None]
        self.url, *rest = [
            f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}" for server in self.servers
        ]
        self.teacher = rest[0] if rest else ""

    def _start(self, app: Any) -> Any:
        server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error"))
        threading.Thread(target=server.run, daemon=True).start()
        deadline = time.monotonic() + 60
        while not server.started:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        return server

    def client(self) -> Any:
        from openenv.core import GenericEnvClient

        return GenericEnvClient(base_url=self.url).sync()

    def known(self, episode: str, token: str = TOKEN) -> dict[str, Any]:
        request = urllib.request.Request(
            f"{self.teacher}/privileged/{episode}", headers={"Authorization": f"Bearer {token}"}
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read())

    def stop(self) -> None:
        for server in self.servers:
            server.should_exit = True
