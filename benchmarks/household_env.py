"""Speed of the generated household, one process: steps, resets of fresh tasks, and plans.

    python -m benchmarks.household_env [--json] [--size full|small] [--steps 6000]

Actions are drawn uniformly from the admissible ones and episodes run to the horizon, so states are mostly off the
shortest way. CPU seconds of this process, single thread.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from typing import Any

import gymnasium as gym

import sdar_envs
from sdar_envs.household.planner import Planner
from sdar_envs.randomness import counted_generator


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
            begun = time.perf_counter()
            planner.plan()
            times.append(time.perf_counter() - begun)
            actions = info["admissible_actions"]
            _, _, terminated, truncated, info = env.step(actions[int(rng.integers(len(actions)))])
            over = terminated or truncated
    times.sort()
    return {
        "mean_us": 1e6 * sum(times) / len(times),
        "median_us": 1e6 * times[len(times) // 2],
        "p99_us": 1e6 * times[int(0.99 * len(times))],
    }


def measure(size: str, steps: int) -> dict[str, Any]:
    """All figures of one size."""
    return {
        "size": size,
        "version": sdar_envs.__version__,
        "python": platform.python_version(),
        "all_rooms": {
            "with_privileged": measure_steps(size, True, steps, None),
            "without_privileged": measure_steps(size, False, steps, None),
        },
        # Heating happens in kitchens only, which are the largest rooms.
        "kitchens": {
            "with_privileged": measure_steps(size, True, steps, "heat"),
            "without_privileged": measure_steps(size, False, steps, "heat"),
        },
        "plan_in_kitchens": measure_plans(size, steps),
    }


def main() -> None:
    """Print a table, or one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=["full", "small"], default="full")
    parser.add_argument("--steps", type=int, default=6_000)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    result = measure(arguments.size, arguments.steps)
    if arguments.json:
        print(json.dumps(result))
        return
    print(f"sdar/Household-v0, size {arguments.size}, native engine, one thread")
    print(f"{'':36}{'steps/s':>10}{'reset, ms':>12}")
    for rooms in ("all_rooms", "kitchens"):
        for mode, figures in result[rooms].items():
            label = f"{rooms.replace('_', ' ')}, {mode.replace('_', ' ')}"
            print(f"{label:36}{figures['steps_per_second']:10.0f}{figures['reset_ms']:12.2f}")
    plans = result["plan_in_kitchens"]
    print(
        f"a plan in kitchens: {plans['mean_us']:.0f} us (median {plans['median_us']:.0f}, "
        f"99th percentile {plans['p99_us']:.0f})"
    )


if __name__ == "__main__":
    main()
