"""`python -m sdar_envs serve` by another environment's Python, since OpenEnv 0.10 and verifiers cannot share one."""

from __future__ import annotations

import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PYTHON = "SDAR_OPENENV_PYTHON"  # names the interpreter; `tox -e verifiers` makes its environment
_START_SECONDS = 300.0  # it imports gradio and pandas: 6 s where nothing else runs, a minute where much does
_TRIES = 3  # somebody else may take the port that was free a moment before


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=30) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


@contextmanager
def served(python: str, environment: str, *words: str, log: Path) -> Iterator[str]:
    """The address of an environment's server, while the block runs.

    Raises:
        RuntimeError: It ended before it answered, or did not answer; the message has what it wrote.
    """
    # The checkout on the path would be imported instead of what is installed over there.
    clean = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    for _ in range(_TRIES):
        port = _free_port()
        url = f"http://127.0.0.1:{port}"
        command = [python, "-m", "sdar_envs", "serve", environment, *words, "--port", str(port)]
        with log.open("w", encoding="utf-8") as written:
            server = subprocess.Popen(command, env=clean, cwd=log.parent, stdout=written, stderr=subprocess.STDOUT)
        try:
            deadline = time.monotonic() + _START_SECONDS
            while server.poll() is None and time.monotonic() < deadline:
                if _answers(url):
                    yield url
                    return
                time.sleep(0.2)
        finally:
            server.terminate()
            server.wait(60)
        if "address already in use" not in log.read_text(encoding="utf-8"):
            break
    raise RuntimeError(f"expected a server of {environment}, got: {log.read_text(encoding='utf-8')[-2000:]}")
