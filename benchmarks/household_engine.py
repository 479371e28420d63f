"""The two engines on the same games in one run: steps, resets, and how many times faster the native one is.

    python -m benchmarks.household_engine [--json] [--games 6] [--steps 2000] [--reference-steps 20]

Games are generated kitchens of official size (27 to 38 receptacles, about 40 objects) and, where `alfworld` is
installed, the same rooms with its own domain and grammar. A step is a random admissible command, the list of the
admissible commands after it, and the test of the goal. A reset is everything from the problem at hand to the first
observation and list: making the game for the native engine, `load` and `reset` for TextWorld's first one, `reset` for
its later ones. CPU seconds of this process, one thread. Without TextWorld's PDDL engine the native figures stand alone.
"""

from __future__ import annotations

import argparse
import importlib.util
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from sdar_envs.household.domain import Domain, load_domain
from sdar_envs.household.engine import NativeGame, household_rules
from sdar_envs.household.generator import GeneratedTask, generate
from sdar_envs.household.grammar import Grammar, load_grammar
from sdar_envs.randomness import counted_generator

from .measure import emit, table

Rules = tuple[Domain, Grammar]
Maker = Callable[..., Any]


def kitchens(count: int) -> Iterator[GeneratedTask]:
    """Generated games of official size, in order of their task ids."""
    index = 0
    while count:
        task = generate(f"train:{index:06d}")
        index += 1
        receptacles = sum(kind == "receptacle" for kind in task.problem.objects.values())
        if task.draft.layout.kind == "kitchen" and 27 <= receptacles <= 38:
            count -= 1
            yield task


def official_rules() -> Rules | None:
    """The domain and grammar of an installed `alfworld`; its package is not imported. None without one."""
    spec = importlib.util.find_spec("alfworld")
    if spec is None or not spec.submodule_search_locations:
        return None
    data = Path(next(iter(spec.submodule_search_locations))) / "data"
    # The official domain has another name, which a problem has to agree with.
    domain = (data / "alfred.pddl").read_text().replace("(domain alfred)", "(domain household)")
    return load_domain(domain), load_grammar((data / "alfred.twl2").read_text())


def measure_native(rules: Rules, tasks: list[GeneratedTask], steps: int) -> dict[str, float]:
    """Every game is made anew each time it is begun; 50 steps to an episode."""
    rng = counted_generator("benchmark", "native")
    NativeGame(*rules, tasks[0].problem, task="x").reset()  # rules are compiled once per process
    resetting = stepping = 0.0
    resets = taken = 0
    while taken < steps:
        task = tasks[resets % len(tasks)]
        begun = time.process_time()
        game = NativeGame(*rules, task.problem, task="x")
        game.reset()
        commands = game.admissible()
        resetting += time.process_time() - begun
        resets += 1
        for _ in range(50):
            command = commands[int(rng.integers(len(commands)))]
            begun = time.process_time()
            game.step(command)
            commands = game.admissible()
            _ = game.won
            stepping += time.process_time() - begun
            taken += 1
    return {
        "steps_per_second": taken / stepping,
        "reset_ms": 1e3 * resetting / resets,
        "steps": float(taken),
        "resets": float(resets),
        "cpu_seconds": resetting + stepping,
    }


def measure_reference(make: Maker, rules: Rules, tasks: list[GeneratedTask], steps: int) -> dict[str, float]:
    """The same on TextWorld's engine, `steps` in each game."""
    rng = counted_generator("benchmark", "reference")
    first = again = stepping = 0.0
    for task in tasks:
        begun = time.process_time()
        game = make(*rules, task.problem, task="x")
        game.reset()
        first += time.process_time() - begun
        begun = time.process_time()
        game.reset()
        commands = game.admissible()
        again += time.process_time() - begun
        for _ in range(steps):
            command = commands[int(rng.integers(len(commands)))]
            begun = time.process_time()
            game.step(command)
            commands = game.admissible()
            _ = game.won
            stepping += time.process_time() - begun
        game.close()
    return {
        "steps_per_second": len(tasks) * steps / stepping,
        "reset_ms": 1e3 * again / len(tasks),
        "first_reset_ms": 1e3 * first / len(tasks),
        "steps": float(len(tasks) * steps),
        "cpu_seconds": first + again + stepping,
    }


def measure(games: int, steps: int, reference_steps: int) -> dict[str, Any]:
    """All figures."""
    tasks = list(kitchens(games))
    sizes = [[sum(k == kind for k in t.problem.objects.values()) for kind in ("receptacle", "object")] for t in tasks]
    rules: dict[str, Rules] = {"own rules": household_rules()}
    official = official_rules()
    if official is not None:
        rules["official rules"] = official
    make: Maker | None = None
    if importlib.util.find_spec("fast_downward") is not None:
        from sdar_envs.household.textworld_engine import TextWorldGame as make

        make(*household_rules(), generate("train:000000", size="small").problem, task="x").close()  # imports
    results: dict[str, Any] = {}
    for name, pair in rules.items():
        native = measure_native(pair, tasks, steps)
        results[name] = {"native": native}
        if make is not None:
            reference = measure_reference(make, pair, tasks, reference_steps)
            results[name]["textworld"] = reference
            results[name]["ratio"] = {
                "step": native["steps_per_second"] / reference["steps_per_second"],
                "reset": reference["reset_ms"] / native["reset_ms"],
                "first_reset": reference["first_reset_ms"] / native["reset_ms"],
            }
    return {"games": len(tasks), "receptacles_and_objects": sizes, "results": results}


def main() -> None:
    """Print tables, or one JSON object."""
    options = argparse.ArgumentParser(prog="python -m benchmarks.household_engine", description=__doc__)
    options.formatter_class = argparse.RawDescriptionHelpFormatter
    options.add_argument("--games", type=int, default=6)
    options.add_argument("--steps", type=int, default=2_000, help="on the native engine, over all games")
    options.add_argument("--reference-steps", type=int, default=20, help="on TextWorld's engine, in each game")
    options.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
    arguments = options.parse_args()
    figures = measure(arguments.games, arguments.steps, arguments.reference_steps)
    rows: list[list[object]] = []
    for name, engines in figures["results"].items():
        for engine in ("native", "textworld"):
            if engine in engines:
                row = engines[engine]
                first = row.get("first_reset_ms", row["reset_ms"])
                rows.append([f"{name}, {engine}", row["steps_per_second"], row["reset_ms"], first, row["cpu_seconds"]])
        if "ratio" in engines:
            ratio = engines["ratio"]
            rows.append([f"{name}, native faster by", ratio["step"], ratio["reset"], ratio["first_reset"], ""])
    shown = ", ".join(f"{receptacles}/{objects}" for receptacles, objects in figures["receptacles_and_objects"])
    tables = [
        f"{figures['games']} kitchens with receptacles/objects {shown}; CPU seconds, one thread",
        table(["engine", "steps/s", "reset, ms", "first reset, ms", "CPU s"], rows),
    ]
    if all("textworld" not in engines for engines in figures["results"].values()):
        tables.append(
            'TextWorld\'s PDDL engine is not installed, so there is no ratio: pip install "sdar-gym[reference]"'
        )
    emit("household_engine", figures, tables, as_json=arguments.json)


if __name__ == "__main__":
    main()
