"""Collecting 64 episodes whose environments take 1 to 200 ms per step: in lockstep, without waiting, by TRL's loop.

    python -m benchmarks.async_collection [--trl-python PATH]

Wall time counts here, because it is waiting that is saved. The *device* is a clock: a decoding step takes 5 ms whatever
the number of rows, as on a GPU, and a completion has 4 to 64 tokens; so no model and no other work on the machine
decides the figures. The bound is that of any collector: the slowest episode, if it never waited for another one. With
``--model`` the tokens are also sampled for real, from a random model of 0.2 million parameters in this process.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from agents.base import Action, Agent
from sdar_envs.privileged import Privileged, StudentView
from trainers.rollout.asynchronous import collect_asynchronously
from trainers.rollout.collect import TaskDraw, collect
from trainers.rollout.environments import EnvironmentSource
from trainers.rollout.opening import open_batch_env
from trainers.rollout.running import Rollout

from .late_env import AT_ONCE, VALID, LateEnv
from .late_world import EPISODES, STEP_SECONDS, TURNS, chain, delay, length
from .measure import emit, parser, table


class DeviceAgent:
    """An agent whose completions take the device's time: one clock step per token, for all rows together.

    `steps` and `seconds` count what the clock took, since a busy machine lengthens every sleep.
    """

    reads_privileged = False

    def __init__(self) -> None:
        self.steps, self.seconds = 0, 0.0

    def tick(self) -> None:
        """One step of the device."""
        start = time.perf_counter()
        time.sleep(STEP_SECONDS)
        self.steps += 1
        self.seconds += time.perf_counter() - start

    def bound(self) -> float:
        """Seconds of the slowest episode if it never waited for another one, with steps as long as they were."""
        step = self.seconds / max(self.steps, 1)
        return max(
            sum(delay(episode, turn) + length(episode, turn) * step for turn in range(TURNS))
            for episode in range(EPISODES)
        )

    def act(self, views: Sequence[StudentView], privileged: Sequence[Privileged | None] | None = None) -> list[Action]:
        """A batch takes as long as its longest completion."""
        for _ in range(max(_tokens(view) for view in views) if views else 0):
            self.tick()
        return [Action("east", "east") for _ in views]

    def stream(self) -> DeviceStream:
        """The same device, taking requests between steps."""
        return DeviceStream(self)


class DeviceStream:
    """An `ActionStream`: a step of the device per `advance`."""

    def __init__(self, agent: DeviceAgent) -> None:
        self._agent = agent
        self._left: dict[int, int] = {}

    @property
    def pending(self) -> int:
        """Completions that go on."""
        return len(self._left)

    def submit(self, view: StudentView, privileged: Privileged | None = None) -> None:
        """A completion joins."""
        self._left[view.slot] = _tokens(view)

    def advance(self) -> list[tuple[int, Action]]:
        """One token for every completion."""
        if not self._left:
            return []
        self._agent.tick()
        self._left = {slot: left - 1 for slot, left in self._left.items()}
        ready = [slot for slot, left in self._left.items() if left <= 0]
        for slot in ready:
            del self._left[slot]
        return [(slot, Action("east", "east")) for slot in ready]


def _tokens(view: StudentView) -> int:
    return length(int(view.draw[1]), view.turn)


def sampling_agent() -> Agent:
    """A chat agent over a random model of 0.2 million parameters; every 16th id ends a completion."""
    from agents.chat import ChatAgent
    from trainers.warm_start.tiny_model import TinyModelConfig, build_model, build_tokenizer

    tokenizer = build_tokenizer(["Turn 0123456789. east west system user assistant"] * 8, 320)
    model = build_model(tokenizer, TinyModelConfig(), seed=0)
    model.generation_config.eos_token_id = list(range(5, len(tokenizer), 16))
    return ChatAgent(
        model,
        tokenizer,
        style="compact",
        list_actions=False,
        context="window",
        max_completion_length=64,
        max_prompt_length=900,
    )


def run(
    environments: EnvironmentSource, agent: Agent, play: Callable[..., list[Rollout]], *, late: bool = True
) -> float:
    """Seconds of collecting all episodes; workers that the source has are started before."""
    batch_env = open_batch_env(environments, "valid", EPISODES)
    first = VALID if late else VALID + AT_ONCE
    draws = [TaskDraw(str(first + episode), ("late", episode), episode) for episode in range(EPISODES)]
    batch_env.reset(range(EPISODES), [draw.task_id for draw in draws])
    start = time.perf_counter()
    rollouts = play(agent, batch_env, draws)
    seconds = time.perf_counter() - start
    if any(rollout.episode.failed or len(rollout.episode.turns) != TURNS for rollout in rollouts):
        raise RuntimeError(f"expected {TURNS} turns in every episode: {[r.failure for r in rollouts if r.failure][:1]}")
    batch_env.close()
    return seconds


def measure(repeats: int, *, model: bool, trl_python: str | None) -> dict[str, Any]:
    """Medians over repeats, rivals in turns."""
    late, here = EnvironmentSource(LateEnv, workers=EPISODES), EnvironmentSource(LateEnv, workers=0)
    over_bound: list[float] = []

    def asynchronous() -> float:
        agent = DeviceAgent()
        seconds = run(late, agent, collect_asynchronously)
        over_bound.append(seconds / agent.bound())
        return seconds

    works: dict[str, Callable[[], float]] = {
        "asynchronous, workers": asynchronous,
        "lockstep, workers": lambda: run(late, DeviceAgent(), collect),
        "lockstep, one process": lambda: run(here, DeviceAgent(), collect),
    }
    if model:
        agent = sampling_agent()
        works["asynchronous, workers, model"] = lambda: run(late, agent, collect_asynchronously)
        works["lockstep, workers, model"] = lambda: run(late, agent, collect)
        works["asynchronous, no delays, model"] = lambda: run(late, agent, collect_asynchronously, late=False)
    if trl_python:
        works["TRL's loop"] = lambda: _trl(trl_python)
    seconds: dict[str, list[float]] = {name: [] for name in works}
    try:
        for repeat in range(repeats):
            for name in list(works) if repeat % 2 == 0 else list(works)[::-1]:
                seconds[name].append(works[name]())
    finally:
        late.close()
        here.close()
    medians = {name: statistics.median(each) for name, each in seconds.items()}
    figures: dict[str, Any] = {
        "seconds": medians,
        "fastest": {name: min(each) for name, each in seconds.items()},
        "slowest_chain": max(chain(episode) for episode in range(EPISODES)),
        "over_bound": over_bound,
        "lockstep_over_asynchronous": medians["lockstep, workers"] / medians["asynchronous, workers"],
    }
    if model:
        delays = max(sum(delay(episode, turn) for turn in range(TURNS)) for episode in range(EPISODES))
        bound = max(medians["asynchronous, no delays, model"], delays)
        figures["model_over_bound"] = medians["asynchronous, workers, model"] / bound
        figures["model_lockstep_over_asynchronous"] = (
            medians["lockstep, workers, model"] / medians["asynchronous, workers, model"]
        )
    return figures


def _trl(python: str) -> float:
    """TRL's program under its own interpreter."""
    program = Path(__file__).with_name("peer_trl_collection.py")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run([python, str(program)], capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise RuntimeError(f"TRL's program failed: {done.stderr[-2000:]}")
    return float(json.loads(done.stdout.splitlines()[-1])["seconds"])


def main() -> None:
    """Measure and print."""
    options = parser("async_collection", str(__doc__).partition("\n")[0], repeats=3)
    options.add_argument("--model", action="store_true", help="also sample from a real model in this process")
    options.add_argument("--trl-python", metavar="PATH", help="an interpreter that has TRL, to run its loop too")
    chosen = options.parse_args()
    if chosen.model:
        import torch

        torch.set_num_threads(chosen.threads)
    figures = measure(chosen.repeats, model=chosen.model, trl_python=chosen.trl_python)
    base = figures["seconds"]["asynchronous, workers"]
    rows = [[name, median, figures["fastest"][name], median / base] for name, median in figures["seconds"].items()]
    shown = [f"{name}: {value}" for name, value in figures.items() if name not in ("seconds", "fastest")]
    tables = [table(["collector", "seconds", "fastest", "over asynchronous"], rows), "\n".join(shown)]
    emit("async_collection", figures, tables, as_json=chosen.json)


if __name__ == "__main__":
    main()
