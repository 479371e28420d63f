"""vLLM as a process: started with the flags that a run needs, killed, and started again on the same port."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

# Everything that vLLM on a CPU needs to serve a run; docs/vllm.md says what each is for.
VARIABLES = {
    "VLLM_SERVER_DEV_MODE": "1",
    "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_NO_USAGE_STATS": "1",
    "HF_HUB_OFFLINE": "1",
}
FLAGS = [
    *("--served-model-name", "sdar", "--dtype", "float32", "--enforce-eager", "--max-model-len", "1024"),
    *("--max-num-seqs", "32", "--no-enable-chunked-prefill", "--logprobs-mode", "processed_logprobs"),
]
START_S = 600.0  # compiled kernels are not there at the first start


class VllmProcess:
    """A server of a model's folder.

    Args:
        environment: Made by `make_environment.sh`.
        model: Its folder.
        log: Where it writes what it says.
        flags: Further flags.
    """

    def __init__(self, environment: Path, model: Path, log: Path, flags: list[str]) -> None:
        self.environment, self.model, self.log, self.flags = environment, model, log, flags
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *, wait: bool = True) -> VllmProcess:
        """Start it; with `wait` it answers afterwards."""
        command = [str(self.environment / "bin" / "vllm"), "serve", str(self.model), "--port", str(self.port)]
        variables = {**os.environ, **VARIABLES, "PATH": f"{self.environment / 'bin'}:{os.environ['PATH']}"}
        variables.pop("PYTHONPATH", None)
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                [*command, "--host", "127.0.0.1", *FLAGS, *self.flags],
                env=variables,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        if wait:
            self.await_answer()
        return self

    def await_answer(self) -> None:
        """Wait until it answers."""
        end = time.monotonic() + START_S
        while time.monotonic() < end:
            assert self.process is not None and self.process.poll() is None, f"vLLM has ended: {self.log}"
            try:
                with urllib.request.urlopen(f"{self.url}/health", timeout=5):
                    return
            except OSError:
                time.sleep(1.0)
        raise TimeoutError(f"vLLM did not answer within {START_S:g} s: {self.log}")

    def kill(self) -> None:
        """End it and its workers at once, as a machine that is lost does."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None

    def stop(self) -> None:
        """Have it end by itself."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout=60)
            except subprocess.TimeoutExpired:
                self.kill()
