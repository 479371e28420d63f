"""What knowledge of the house is worth at a horizon: scripted searchers with and without the skill statements.

    python -m benchmarks.household_searchers [--json] [--tasks 600] [--worlds 3] [--sizes small full]

For every size and instruction, tasks of the `valid` split in several houses are played to the end by six searchers:
one that is told nothing; one that reads a skill bank a quarter of whose keys is corrupted; one that reads the true
statements; *generic*, which is told nothing and knows what anyone knows of houses; *1,500 seen*, the same with the
frequencies of 1,500 training tasks; and the generic one with the true statements. One game gives the rate at every
horizon, since a searcher does not look at it. Rates are means over the six task types. The default horizons of
`sdar_envs/household/tables.py` were chosen with these tables.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any, NamedTuple

from sdar_envs.household import tables
from sdar_envs.household.env import HouseholdEnv
from sdar_envs.household.searchers import GENERIC, search_steps, seen_frequencies

from .measure import emit, table


class Player(NamedTuple):
    """The corrupted share of the bank that a searcher reads (None: it reads none), and what it knows besides."""

    stale: float | None = None
    generic: bool = False
    seen: int = 0


SEARCHERS: dict[str, Player] = {
    "nothing": Player(),
    "generic": Player(generic=True),
    "1,500 seen": Player(generic=True, seen=1_500),
    "a quarter corrupted": Player(stale=0.25),
    "true": Player(stale=0.0),
    "generic + true": Player(stale=0.0, generic=True),
}
# Longer than any search takes.
_PATIENCE = 400


def solved_after(size: str, instruction: str, player: Player, *, worlds: int, tasks: int) -> dict[str, list[int]]:
    """Task type -> the number of steps each of its tasks took; `_PATIENCE` and more where it was given up."""
    steps: dict[str, list[int]] = {task_type: [] for task_type in tables.TASK_TYPES}
    for seed in range(worlds):
        env = HouseholdEnv(
            split="valid",
            size=size,
            instruction=instruction,
            world_seed=seed,
            stale=player.stale or 0.0,
            stale_seed=seed,
            horizon=_PATIENCE,
            expose_privileged=False,
        )
        statements = [] if player.stale is None else [line.compact_line() for line in env.skill_bank.statements]
        if player.generic and player.stale is None:
            statements = list(GENERIC)
        frequencies = None
        if player.seen:
            frequencies = seen_frequencies(player.seen, size=size, instruction=instruction, world_seed=seed)
        for number, task_id in enumerate(env.task_ids()[:tasks]):
            taken = search_steps(env, task_id, statements, sensible=player.generic, frequencies=frequencies)
            steps[tables.TASK_TYPES[number % len(tables.TASK_TYPES)]].append(_PATIENCE + 1 if taken is None else taken)
    return steps


def rates(steps: dict[str, list[int]], horizon: int) -> dict[str, float]:
    """Task type -> the share of its tasks that was solved within a horizon, and their mean as ``all``."""
    by_type = {name: sum(taken <= horizon for taken in row) / len(row) for name, row in steps.items()}
    return {**by_type, "all": sum(by_type.values()) / len(by_type)}


def around(horizon: int) -> list[int]:
    """The horizons worth a line: the default one and some on either side."""
    return [horizon - 4, horizon - 2, horizon, horizon + 2, horizon + 6] if horizon < 40 else [20, 30, horizon]


def measure(sizes: Sequence[str], *, worlds: int, tasks: int) -> dict[str, Any]:
    """All figures."""
    results: list[dict[str, Any]] = []
    for size in sizes:
        for instruction in tables.INSTRUCTIONS:
            default = tables.horizon(size, instruction)
            played = {
                name: solved_after(size, instruction, player, worlds=worlds, tasks=tasks)
                for name, player in SEARCHERS.items()
            }
            by_horizon = {
                str(horizon): {name: rates(steps, horizon) for name, steps in played.items()}
                for horizon in around(default)
            }
            results.append(
                {"size": size, "instruction": instruction, "default_horizon": default, "by_horizon": by_horizon}
            )
    return {"worlds": worlds, "tasks": tasks, "results": results}


def main() -> None:
    """Print tables, or one JSON object."""
    options = argparse.ArgumentParser(prog="python -m benchmarks.household_searchers", description=__doc__)
    options.formatter_class = argparse.RawDescriptionHelpFormatter
    options.add_argument("--tasks", type=int, default=600, help="of each house, task types in turn")
    options.add_argument("--worlds", type=int, default=3, help="houses, of world seeds 0, 1, ...")
    options.add_argument("--sizes", nargs="+", default=list(reversed(tables.SIZES)), choices=tables.SIZES)
    options.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
    arguments = options.parse_args()
    figures = measure(arguments.sizes, worlds=arguments.worlds, tasks=arguments.tasks)
    rows: list[list[object]] = []
    kinds: list[list[object]] = []
    for result in figures["results"]:
        for horizon, told in result["by_horizon"].items():
            mark = " (default)" if int(horizon) == result["default_horizon"] else ""
            shares = [f"{told[name]['all']:.2f}" for name in SEARCHERS]
            rows.append([result["size"], result["instruction"], horizon + mark, *shares])
        told = result["by_horizon"][str(result["default_horizon"])]
        pairs = [f"{told['generic'][kind]:.2f} / {told['generic + true'][kind]:.2f}" for kind in tables.TASK_TYPES]
        kinds.append([result["size"], result["instruction"], *pairs])
    shown = [
        f"share of valid tasks solved; {figures['worlds']} houses, {figures['tasks']} tasks in each",
        table(["size", "instruction", "horizon", *SEARCHERS], rows),
        "at the default horizon, by task type: generic / generic + true",
        table(["size", "instruction", *tables.TASK_TYPES], kinds),
    ]
    emit("household_searchers", figures, shown, as_json=arguments.json)


if __name__ == "__main__":
    main()
