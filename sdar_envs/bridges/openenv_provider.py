"""Starts an OpenEnv package as a process of this machine, so that OpenEnv's runtime checks need no Docker.

OpenEnv's own provider builds an image and starts a container of it. This one starts the program that `openenv.yaml`
names with the interpreter that runs the checks. What it cannot do it says: nothing bounds the process's network, memory
or processor, so that the checks of those are skipped (it does not have the capabilities that they ask for).
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

try:
    import yaml
    from openenv.validation.providers import StartupError, UnsupportedCapability
    from openenv.validation.runner import source_digest
    from openenv.validation.types import ProviderCapability
except ImportError as missing:
    raise ImportError(
        f'validating an OpenEnv package needs OpenEnv, and there is no {missing.name}: pip install "sdar-envs[openenv]"'
    ) from missing

NOT_ENFORCED = "started as a process of this machine: its network, memory and processor are not bounded"
# Of the caller's environment, all that a process gets: what an interpreter needs to find packages and its files.
_INHERITED = ("PATH", "PYTHONPATH", "HOME", "LANG", "TMPDIR", "XDG_CACHE_HOME", "OMP_NUM_THREADS", "VIRTUAL_ENV")
_STOP_SECONDS = 10.0
_DEFAULT_APP = "server.app:app"


class LocalProcess:
    """A running server.

    Attributes:
        base_url: Its address.
    """

    def __init__(self, process: subprocess.Popen[bytes], base_url: str, output: Any) -> None:
        self.base_url = base_url
        self._process = process
        self._output = output

    def inspect(self) -> dict[str, Any]:
        """What is known of it; goes into OpenEnv's reproduction bundle."""
        return {"provider": LocalProvider.name, "python": sys.version.split()[0], "enforced": []}

    def logs(self, max_bytes: int = 65536) -> str:
        """The end of what it printed."""
        self._output.seek(0, os.SEEK_END)
        self._output.seek(max(0, self._output.tell() - max_bytes))
        return str(self._output.read().decode("utf-8", "replace"))

    def exec(self, argv: list[str], timeout_s: float) -> Any:
        """Refused: there is no sandbox to run a command in.

        Raises:
            UnsupportedCapability: Always.
        """
        raise UnsupportedCapability(f"expected a sandbox to run {argv[:1]} in, and this provider has none")

    def stop(self) -> None:
        """End it, and wait for that."""
        self._process.terminate()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(_STOP_SECONDS)
        self._output.close()


class LocalProvider:
    """OpenEnv's `ValidationProvider` without a container."""

    name = "local-process"
    capabilities = frozenset({ProviderCapability.IMAGE_BUILD})
    # Read and not enforced: `NETWORK_POLICY` is not among the capabilities, so that no check takes it for enforced.
    supported_network_modes = frozenset({"public", "no-network", "allowlist"})

    def __init__(self) -> None:
        self._root = Path()

    def build(self, root: Path, execution: Any) -> str:
        """Nothing is built; what stands for an image is the digest of the files."""
        self._root = root
        return f"sha256:{source_digest(root)}"

    def start(self, spec: Any) -> LocalProcess:
        """Start the package's program and wait until it answers.

        Raises:
            StartupError: It ended, or did not answer in the time of `spec`; the message has the end of its output.
        """
        port = free_port()
        environment = {key: os.environ[key] for key in _INHERITED if key in os.environ}
        environment |= {"PYTHONDONTWRITEBYTECODE": "1", **spec.env_vars}
        words = ["-m", "uvicorn", app_of(self._root), "--host", "127.0.0.1", "--port", str(port)]
        output = tempfile.TemporaryFile()  # noqa: SIM115  # the running server's, closed by its `stop`
        process = subprocess.Popen(
            [sys.executable, *words, "--log-level", "warning"],
            cwd=self._root,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        running = LocalProcess(process, f"http://127.0.0.1:{port}", output)
        deadline = time.monotonic() + spec.startup_timeout_s
        while not _answers(f"{running.base_url}/health"):
            ended = process.poll() is not None
            if ended or time.monotonic() > deadline:
                said = running.logs(2000).strip().splitlines()
                running.stop()
                how = f"it ended with status {process.returncode}" if ended else "it did not answer in time"
                raise StartupError(f"expected {app_of(self._root)} to serve /health: {how}: {' | '.join(said[-3:])}")
            time.sleep(0.05)
        return running


def app_of(root: Path) -> str:
    """The program that a package's `openenv.yaml` names."""
    declared = yaml.safe_load((root / "openenv.yaml").read_text(encoding="utf-8"))
    app = declared.get("app") if isinstance(declared, dict) else None
    return str(app or _DEFAULT_APP)


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(address: str) -> bool:
    with (
        contextlib.suppress(OSError, urllib.error.URLError),
        urllib.request.urlopen(address, timeout=2) as answer,  # this machine's own address
    ):
        return int(answer.status) == 200
    return False
