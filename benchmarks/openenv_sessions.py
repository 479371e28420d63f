"""Many sessions of an environment's OpenEnv server at once: how long a step takes, and what it costs the server.

    python -m benchmarks.openenv_sessions [--json] [--env sdar/Household-v0] [--sessions 256] [--think 1.0]

`python -m sdar_envs serve` runs in a process of its own, on one core where the system can bind it; the clients run in
this process on the others. Every session has a WebSocket and plays by the first admissible action. Between two steps
it waits, as an agent does whose model is writing: `--think` seconds on average, drawn evenly from half to one and a
half of it, so that steps do not come in rounds. Latency is wall time from a client's request to its answer, with the
client's own part; the server's cost is its CPU time over all steps. With ``--think 0`` nobody waits, and the number of
steps a second is the most that the server gives.

The sessions play `--tasks` different tasks: making one is the work of a reset, which is not what is measured here.
Latencies depend on what else the machine does: its load stands beside them. With ``--realtime`` (root, Linux) stepping
has real-time priority on both sides, so that other work of the machine is waited for as little as on a quiet one.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from benchmarks.measure import emit, parser, table
from sdar_envs.randomness import counted_generator

_TICK = os.sysconf("SC_CLK_TCK")
_START_SECONDS = 120.0


@dataclass
class Tally:
    """What the sessions of a run came to; times in seconds."""

    latencies: list[float] = field(default_factory=list)
    resets: int = 0
    failures: list[str] = field(default_factory=list)

    def at(self, share: float) -> float:
        """The latency that so many of the steps stayed within, in milliseconds."""
        ordered = sorted(self.latencies)
        return 1000.0 * ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def cpu_seconds(pid: int) -> float:
    """CPU time of another process so far, all its threads."""
    with open(f"/proc/{pid}/stat", encoding="utf-8") as stat:
        fields = stat.read().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICK


@contextlib.contextmanager
def server(env_id: str, env_kwargs: list[str], sessions: int) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """The process and its address, with the first of this process's cores to itself."""
    from sdar_envs.bridges.openenv_provider import free_port

    port = free_port()
    words = ["serve", env_id, "--port", str(port), "--max-sessions", str(sessions)]
    words += ["--env-kwargs", *env_kwargs] if env_kwargs else []
    process = subprocess.Popen([sys.executable, "-m", "sdar_envs", *words], stdout=subprocess.DEVNULL)
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) > 1:
        os.sched_setaffinity(process.pid, cores[:1])
        os.sched_setaffinity(0, cores[1:])
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + _START_SECONDS
        while not _healthy(url):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{env_id}: expected a server within {_START_SECONDS:g} s, and there is none")
            time.sleep(0.1)
        yield process, url
    finally:
        os.sched_setaffinity(0, cores)
        process.terminate()
        process.wait(30)


def _healthy(url: str) -> bool:
    with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/health", timeout=5) as answer:
        return int(answer.status) == 200
    return False


def real_time(pid: int) -> None:
    """Give every thread of a process real-time priority.

    Raises:
        PermissionError: Only root may.
    """
    for thread in os.listdir(f"/proc/{pid}/task"):
        os.sched_setscheduler(int(thread), os.SCHED_FIFO, os.sched_param(10))


async def session(
    number: int, url: str, tasks: int, think: float, ready: asyncio.Barrier, until: list[float], tally: Tally
) -> None:
    """One client: reset, wait for the others, then step until time is up; a new episode where one ends."""
    from websockets.asyncio.client import connect

    generator = counted_generator("openenv sessions", number)
    seed = number % tasks

    async def ask(socket: Any, message: dict[str, Any]) -> dict[str, Any]:
        await socket.send(json.dumps(message))
        answer: dict[str, Any] = json.loads(await socket.recv())
        if answer.get("type") == "error":
            raise RuntimeError(str(answer)[:200])
        return answer["data"]

    try:
        async with connect(f"{url.replace('http', 'ws')}/ws", ping_interval=None, open_timeout=120) as socket:
            seen = await ask(socket, {"type": "reset", "data": {"seed": seed}})
            await ready.wait()
            await asyncio.sleep(think * generator.random())
            while time.monotonic() < until[0]:
                if seen["done"]:
                    seed = (seed + 1) % tasks
                    tally.resets += 1
                    seen = await ask(socket, {"type": "reset", "data": {"seed": seed}})
                actions = seen["observation"]["admissible_actions"] or ["look"]
                action = next((text for text in actions if "<" not in text), "look")
                began = time.perf_counter()
                seen = await ask(socket, {"type": "step", "data": {"text": action}})
                tally.latencies.append(time.perf_counter() - began)
                await asyncio.sleep(think * (0.5 + generator.random()))
    except Exception as error:
        tally.failures.append(f"{type(error).__name__}: {error!s:.100}")
        raise


async def play(url: str, pid: int, options: Any) -> tuple[Tally, float, float]:
    """All sessions; their tally, the server's CPU seconds and the wall seconds from the first step on."""
    tally, until = Tally(), [0.0]
    ready = asyncio.Barrier(options.sessions + 1)
    tasks = [
        asyncio.create_task(session(number, url, options.tasks, options.think, ready, until, tally))
        for number in range(options.sessions)
    ]
    until[0] = time.monotonic() + 3600.0
    while ready.n_waiting < options.sessions:
        await asyncio.sleep(0.05)
        if tally.failures:
            raise RuntimeError(f"expected every session to begin, got {tally.failures[0]}")
    if options.realtime:
        real_time(pid)
        real_time(os.getpid())
    await ready.wait()
    began, before = time.monotonic(), cpu_seconds(pid)
    until[0] = began + options.seconds
    await asyncio.gather(*tasks)
    return tally, cpu_seconds(pid) - before, time.monotonic() - began


def measured(options: Any) -> dict[str, Any]:
    """One run as plain values."""
    load = os.getloadavg()[0]
    with server(options.env, options.env_kwargs, options.sessions) as (process, url):
        tally, cpu, wall = asyncio.run(play(url, process.pid, options))
    steps = len(tally.latencies)
    return {
        "env": " ".join([options.env, *options.env_kwargs]),
        "sessions": options.sessions,
        "tasks": options.tasks,
        "realtime": options.realtime,
        "think_seconds": options.think,
        "steps": steps,
        "resets": tally.resets,
        "failures": len(tally.failures),
        "steps_per_second": steps / wall,
        "server_ms_per_step": 1000.0 * cpu / max(steps, 1),
        "p50_ms": tally.at(0.50),
        "p99_ms": tally.at(0.99),
        "load": [round(load, 1), round(os.getloadavg()[0], 1)],
    }


def main() -> None:
    """Measure and print."""
    own = parser("openenv_sessions", __doc__.partition("\n")[0], repeats=1)
    own.add_argument("--env", default="sdar/Household-v0", help="the environment")
    own.add_argument("--env-kwargs", nargs="*", default=[], metavar="KEY=VALUE", help="its arguments")
    own.add_argument("--sessions", type=int, default=256, help="clients at once")
    own.add_argument("--seconds", type=float, default=30.0, help="of stepping")
    own.add_argument("--think", type=float, default=1.0, help="seconds between a session's steps, on average")
    own.add_argument("--tasks", type=int, default=32, help="different tasks that they play")
    own.add_argument("--realtime", action="store_true", help="step at real-time priority (root)")
    options = own.parse_args()
    runs = [measured(options) for _ in range(options.repeats)]
    keys = ["steps", "steps_per_second", "server_ms_per_step", "p50_ms", "p99_ms", "resets", "failures"]
    rows = [[run["env"], run["sessions"], *(run[key] for key in keys), str(run["load"])] for run in runs]
    figures = {"runs": runs}
    emit("openenv_sessions", figures, [table(["world", "sessions", *keys, "load"], rows)], as_json=options.json)


if __name__ == "__main__":
    main()
