"""verifiers' own `openenv` taskset against our server: its OpenEnv client is older than the server by six releases."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import gymnasium as gym
import pytest
from expert_endpoint import serving
from test_verifiers_tasksets import plan_of, run

pytestmark = pytest.mark.verifiers
pytest.importorskip("openenv")

SERVER = os.environ.get("SDAR_OPENENV_PYTHON", "")


@contextmanager
def server_of(env_id: str) -> Iterator[str]:
    """A running server, by the Python of an environment that has openenv 0.10."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen([SERVER, "-m", "sdar_envs", "serve", env_id, "--port", str(port)])
    try:
        deadline = time.monotonic() + 90
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5):
                    break
            except OSError:
                assert process.poll() is None and time.monotonic() < deadline
                time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=20)


@pytest.mark.skipif(not SERVER, reason="SDAR_OPENENV_PYTHON names no Python with openenv 0.10: tox -e verifiers")
def test_two_resets_by_verifiers_own_taskset_are_solved_by_the_experts_words(tmp_path: Path) -> None:
    env = gym.make("sdar/Household-v0")
    ids = env.unwrapped.task_ids("valid")  # type: ignore[attr-defined]
    # It sends observations as JSON, in which an instruction stands as it is.
    plans = dict(plan_of(env, ids[place]) for place in range(2))
    resets = json.dumps([{"split": "valid", "index": place} for place in range(2)])
    with server_of("sdar/Household-v0") as address, serving(plans) as endpoint:
        words = ["--env.taskset.base-url", address, "--env.taskset.resets", resets]
        words += ["--env.player.harness.id", "null", "--env.player.runtime.type", "subprocess"]
        words += ["--model", "expert", "--client.base-url", endpoint.url]
        run("vf-eval", "openenv", "--no-push", *words, folder=tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "run" / "traces.jsonl").read_text("utf-8").splitlines()]
    assert [line["ok"] for line in lines] == [True, True]
    assert [line["traces"][0]["rewards"]["openenv_reward"]["score"] for line in lines] == [1.0, 1.0]
    assert len(endpoint.bodies) == sum(map(len, plans.values()))
    assert not any('"privileged"' in body for body in endpoint.bodies)
