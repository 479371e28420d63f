"""How many tasks of validation and test are games of training, counted by content over all task ids.

    python -m benchmarks.household_splits [--json] [--sizes small] [--world-seeds 0] [--runs 0 1 2 ... --old]

Two tasks are one game when room, goal and placement are the same, whatever the order in which their objects were drawn
and however their sentence is put. ``--old`` counts the tasks as they were when only
the digest of the order of drawing kept the splits apart. ``--runs`` counts the training tasks of study runs instead: of
each seed's 30 iterations of 16 tasks in its own house, how many are games of validation, and how many of the 200 that
its curve is measured on.
"""

from __future__ import annotations

import argparse
from typing import Any

from sdar_envs.household import tables
from sdar_envs.household.generator import generate, task_ids
from sdar_envs.randomness import counted_generator

from .measure import emit, table


def contents(split: str, size: str, instruction: str, world_seed: int, *, apart: bool) -> list[int]:
    """The content of every task of a split, in the order of the ids."""
    return [
        generate(task_id, size=size, instruction=instruction, world_seed=world_seed, apart=apart).draft.content()
        for task_id in task_ids(split)
    ]


def shared(size: str, instruction: str, world_seed: int, *, apart: bool) -> dict[str, Any]:
    """How many tasks of each split are games of training, and how many of training are games of validation."""
    by_split = {
        split: contents(split, size, instruction, world_seed, apart=apart) for split in ("train", "valid", "test")
    }
    train, valid = set(by_split["train"]), set(by_split["valid"])
    return {
        "size": size,
        "instruction": instruction,
        "world_seed": world_seed,
        "valid": sum(content in train for content in by_split["valid"]),
        "test": sum(content in train for content in by_split["test"]),
        "train": sum(content in valid for content in by_split["train"]),
    }


def of_run(seed: int, size: str, *, iterations: int, tasks: int, curve: int, apart: bool) -> dict[str, Any]:
    """Of the training tasks of one run, how many are games of validation; the walk is that of `trainers.tasks`."""
    valid = contents("valid", size, "named", seed, apart=apart)
    ids = task_ids("train")
    order = counted_generator("tasks", seed, 0).permutation(len(ids))[: iterations * tasks]
    played = [generate(ids[int(i)], size=size, world_seed=seed, apart=apart).draft.content() for i in order]
    return {
        "seed": seed,
        "tasks": len(played),
        "games of valid": sum(content in set(valid) for content in played),
        "of its curve": sum(content in set(valid[:curve]) for content in played),
        "tasks of the curve": sum(content in set(played) for content in valid[:curve]),
    }


def main() -> None:
    """Print tables, or one JSON object."""
    options = argparse.ArgumentParser(prog="python -m benchmarks.household_splits", description=__doc__)
    options.formatter_class = argparse.RawDescriptionHelpFormatter
    options.add_argument("--sizes", nargs="+", default=list(reversed(tables.SIZES)), choices=tables.SIZES)
    options.add_argument("--world-seeds", nargs="+", type=int, default=[0])
    options.add_argument("--runs", nargs="+", type=int, default=[], help="seeds of study runs")
    options.add_argument("--old", action="store_true", help="tasks as they were when only a digest kept splits apart")
    options.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
    arguments = options.parse_args()
    apart = not arguments.old
    if arguments.runs:
        rows = [
            of_run(seed, size, iterations=30, tasks=16, curve=200, apart=apart)
            for size in arguments.sizes
            for seed in arguments.runs
        ]
    else:
        rows = [
            shared(size, instruction, seed, apart=apart)
            for size in arguments.sizes
            for instruction in tables.INSTRUCTIONS
            for seed in arguments.world_seeds
        ]
    shown = table(list(rows[0]), [list(row.values()) for row in rows])
    emit("household_splits", {"rows": rows, "apart": apart}, [shown], as_json=arguments.json)


if __name__ == "__main__":
    main()
