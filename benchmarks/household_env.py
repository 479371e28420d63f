"""Speed of the generated household, one process: steps, resets of fresh tasks, and plans.

    python -m benchmarks.household_env [--json] [--size full|small] [--steps 6000]

Actions are drawn uniformly from the admissible ones and episodes run to the horizon, so states are mostly off the
shortest way. CPU seconds of this process, single thread.
"""

from __future__ import annotations

import time
from typing import Any

import gymnasium as gym

import sdar_envs
from benchmarks.measure import emit, parser, table
from sdar_envs.household.planner import Planner
from sdar_envs.household.tables import SIZES
from sdar_envs.randomness import counted_generator

gym.register_envs(sdar_envs)


def measure_steps(size: str, privileged: bool, steps: int, task_type: str | None) -> dict[str, float]:
    """Steps per CPU second without the resets, and CPU milliseconds per reset of a task not seen before."""
    env = gym.make(
        "sdar/Household-v0", size=size, expose_privileged=privileged, task_type=task_type, disable_env_checker=True
    ).unwrapped
    tasks = env.task_ids()
    env.reset(options={"task_id": tasks[0]})  # rules and layouts are compiled once per process
    rng = counted_generator("benchmark", size)
    resets: list[float] = []
    stepping = 0.0
    taken = 0
    while taken < steps:
        begun = time.process_time()
        _, info = env.reset(options={"task_id": tasks[len(resets) + 1]})
        resets.append(time.process_time() - begun)
        over = False
        while not over and taken < steps:
            actions = info["admissible_actions"]
            action = actions[int(rng.integers(len(actions)))]
            begun = time.process_time()
            _, _, terminated, truncated, info = env.step(action)
            stepping += time.process_time() - begun
            over = terminated or truncated
            taken += 1
    return {"steps_per_second": taken / stepping, "reset_ms": 1e3 * sum(resets) / len(resets)}


def measure_plans(size: str, steps: int) -> dict[str, float]:
    """Microseconds per plan in kitchens, over states of random walks."""
    env = gym.make("sdar/Household-v0", size=size, expose_privileged=False, disable_env_checker=True).unwrapped
    rng = counted_generator("benchmark", "plans", size)
    times: list[float] = []
    index = 0
    while len(times) < steps:
        _, info = env.reset(options={"task_id": f"train:{index:06d}"})
        index += 1
        episode = env._episode
        if episode.about["room_kind"] != "kitchen":
            continue
        planner = Planner(episode.game, episode.statics)
        over = False
        while not over:
            begun = time.process_time()
            planner.plan()
            times.append(time.process_time() - begun)
            actions = info["admissible_actions"]
            _, _, terminated, truncated, info = env.step(actions[int(rng.integers(len(actions)))])
            over = terminated or truncated
    times.sort()
    return {
        "mean_us": 1e6 * sum(times) / len(times),
        "median_us": 1e6 * times[len(times) // 2],
        "p99_us": 1e6 * times[int(0.99 * len(times))],
    }


def main() -> None:
    """Print a table, or one JSON object."""
    options = parser("household_env", "Steps, resets of fresh tasks, and plans of the generated household.")
    options.add_argument("--size", choices=SIZES, default="full")
    options.add_argument("--steps", type=int, default=6_000, help="steps (and plans) per figure")
    arguments = options.parse_args()
    rows: list[tuple[str, float, float]] = []
    figures: dict[str, Any] = {"size": arguments.size}
    # Heating happens in kitchens only, which are the largest rooms.
    for rooms, task_type in (("all rooms", None), ("kitchens", "heat")):
        for privileged in (True, False):
            found = measure_steps(arguments.size, privileged, arguments.steps, task_type)
            name = f"{rooms}, {'with' if privileged else 'without'} privileged"
            figures[name] = found
            rows.append((name, found["steps_per_second"], found["reset_ms"]))
    plans = figures["plans in kitchens"] = measure_plans(arguments.size, arguments.steps)
    tables = [
        table([f"{arguments.size} house, native engine", "steps/s", "reset, ms"], rows),
        table(["plans in kitchens, us", "mean", "median", "99th percentile"], [("", *plans.values())]),
    ]
    emit("household_env", figures, tables, as_json=arguments.json)


if __name__ == "__main__":
    main()
