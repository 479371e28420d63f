"""Trips: what scripted players reach, what knowing the regularities is worth, and how fast calls are answered.

    python -m benchmarks.trip [--json] [--sizes full small] [--tasks 200] [--split valid] [--speed]

`random` makes admissible calls at random; `cheapest` and `first hit` book what stands first in lists sorted by price
and as they are listed. The booker asks its one question and reads calendar, policy and old bookings: without
statements, with statements that are wrong about a part of the keys, with true ones, and with the facts. `expert`
follows the plan. `--speed` times calls instead: random ones, each task played eight times in a row as a training step
does, and once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from typing import Any

from benchmarks.measure import emit, parser, table
from sdar_envs.trip.bookers import Booker, NaiveBooker, known_facts
from sdar_envs.trip.draws import Draws
from sdar_envs.trip.env import TripEnv
from sdar_envs.trip.tables import SIZES

STALE = 0.3
GROUP = 8

Info = dict[str, Any]
Play = Callable[[TripEnv, str], Info]


def played(env: TripEnv, task_id: str, script: Callable[[Info], Generator[str, str, None]]) -> Info:
    """One episode of a scripted player; the last info."""
    _, info = env.reset(options={"task_id": task_id})
    player, said, over = script(info), None, False
    while not over:
        action = next(player) if said is None else player.send(said)
        said, _, terminated, truncated, info = env.step(action)
        over = terminated or truncated
    return info


def follow_the_plan(env: TripEnv, task_id: str) -> Info:
    """The plan to its end."""
    _, info = env.reset(options={"task_id": task_id})
    while info["privileged"]["next_action"]:
        *_, info = env.step(info["privileged"]["next_action"])
    return info


def at_random(env: TripEnv, task_id: str, round_number: int = 0) -> Info:
    """Admissible calls, drawn evenly."""
    draws = Draws("random booker", task_id, round_number)
    _, info = env.reset(options={"task_id": task_id})
    while not info["breakdown"]["over"]:
        *_, info = env.step(draws.choice(info["admissible_actions"]))
    return info


def players(size: str, split: str) -> dict[str, Play]:
    """All of them by name."""
    stale = TripEnv(size=size, split=split, stale=STALE)

    def booker(told: str) -> Play:
        def play(env: TripEnv, task_id: str) -> Info:
            def script(info: Info) -> Generator[str, str, None]:
                privileged = info["privileged"]
                lines = () if told in ("nothing", "facts") else privileged["skills"]["compact_lines"]
                facts = known_facts(privileged["facts"]) if told == "facts" else None
                return Booker(size, lines, (task_id,), facts=facts, calls=env.horizon).play(info["instruction"])

            return played(stale if told == "stale" else env, task_id, script)

        return play

    def naive(sort: str) -> Play:
        return lambda env, task_id: played(env, task_id, lambda info: NaiveBooker(sort).play(info["instruction"]))

    return {
        "random": at_random,
        "cheapest": naive("price"),
        "first hit": naive("listed"),
        "booker": booker("nothing"),
        f"booker, statements {STALE:.0%} stale": booker("stale"),
        "booker, true statements": booker("statements"),
        "booker, the facts": booker("facts"),
        "expert": follow_the_plan,
    }


def speed(size: str, *, privileged: bool, repeats: int, tasks: int) -> float:
    """Calls per CPU second of random episodes, resets included; each task is played `repeats` times in a row."""
    env = TripEnv(size=size, expose_privileged=privileged)
    # Tasks that nothing else here plays, so that none is remembered.
    first = 50_000 + 10_000 * privileged + 1_000 * repeats
    calls, began = 0, time.process_time()
    for number in range(first, first + tasks):
        for repeat in range(repeats):
            at_random(env, f"train:{number:06d}", repeat)
            calls += env.steps
    return calls / (time.process_time() - began)


def main() -> None:
    """Print a table per size, or one JSON object."""
    options = parser("trip", "Scripted players in the world of trips, and the speed of calls.")
    options.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES))
    options.add_argument("--tasks", type=int, default=200)
    options.add_argument("--split", default="valid")
    options.add_argument("--speed", action="store_true")
    arguments = options.parse_args()
    figures: dict[str, Any] = {"split": arguments.split, "tasks": arguments.tasks}
    tables = []
    for size in arguments.sizes:
        rows: list[list[Any]] = []
        if arguments.speed:
            figures[size] = {}
            for privileged in (False, True):
                rates = {
                    n: speed(size, privileged=privileged, repeats=n, tasks=arguments.tasks // n) for n in (GROUP, 1)
                }
                figures[size]["privileged" if privileged else "plain"] = rates
                rows.append(["with privileged" if privileged else "without", *(round(rate) for rate in rates.values())])
            tables.append(table([size, "calls/s, groups of 8", "calls/s, each task once"], rows))
            continue
        env = TripEnv(size=size, split=arguments.split)
        figures[size] = {"horizon": env.horizon}
        for name, play in players(size, arguments.split).items():
            ends = [play(env, task_id) for task_id in env.task_ids()[: arguments.tasks]]
            means = {
                "success": sum(info["success"] for info in ends) / len(ends),
                "score": sum(info["score"] for info in ends) / len(ends),
                "calls": sum(info["breakdown"]["calls"] for info in ends) / len(ends),
                "unsafe": sum(info["unsafe_acts"] for info in ends) / len(ends),
            }
            figures[size][name] = means
            rows.append([name, 100 * means["success"], *(round(means[key], 2) for key in ("score", "calls", "unsafe"))])
        tables.append(table([f"{size}, {env.horizon} calls", "success, %", "score", "calls", "unsafe acts"], rows))
    emit("trip", figures, tables, as_json=arguments.json)


if __name__ == "__main__":
    main()
