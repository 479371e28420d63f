"""Games for the engine tests: generated ones, and files in the layout of ALFWorld's own.

The official domain and grammar are read from an installed `alfworld` and never stored here. What such files have and
generated ones have not is put in on purpose: mangled ids, several receptacles at one location, objects in no
receptacle, objects that are only the name of a type, distances, a start that a receptacle can be reached from.
"""

from __future__ import annotations

import importlib.util
import json
import random
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from sdar_envs.household.engine import NativeGame, household_rules
from sdar_envs.household.games import GameFile
from sdar_envs.household.generator import generate
from sdar_envs.household.planner import NoPlanError, Planner
from sdar_envs.household.problem import Problem

TASK_NAMES = {
    "place": "pick_and_place_simple",
    "two": "pick_two_obj_and_place",
    "light": "look_at_obj_in_light",
    "clean": "pick_clean_then_place_in_recep",
    "heat": "pick_heat_then_place_in_recep",
    "cool": "pick_cool_then_place_in_recep",
}


def require_textworld() -> None:
    """Skip where TextWorld's PDDL engine is not installed."""
    for name in ("textworld", "fast_downward"):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f'{name} is not installed: pip install "sdar-gym[reference]"')


def alfworld_folder() -> Path:
    """The installed `alfworld` package, found without importing it (which would make folders in the home)."""
    spec = importlib.util.find_spec("alfworld")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip('alfworld is not installed: pip install "sdar-gym[reference]"')
    return Path(next(iter(spec.submodule_search_locations)))


def alfworld_module(name: str) -> Any:
    """One file of `alfworld` as a module of its own, e.g. ``gen/goal_library.py``."""
    path = alfworld_folder() / name
    spec = importlib.util.spec_from_file_location(f"official_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Written(NamedTuple):
    """An official-format game file, and the generated task it is about."""

    path: Path
    task_type: str
    sentence: str


def native_game(task_id: str, **kwargs: Any) -> NativeGame:
    """A generated game on the native engine."""
    task = generate(task_id, **kwargs)
    return NativeGame(*household_rules(), task.problem, task=task.draft.sentence.removesuffix("."))


def from_file(game: GameFile, make: Callable[..., Any] = NativeGame) -> Any:
    """A game of either engine from a file."""
    return make(game.domain, game.grammar, game.problem, task=game.task)


# How the official files spell kinds that the generator writes in lower case.
def _camel(kind: str, spelled: dict[str, str]) -> str:
    return spelled.get(kind, kind.capitalize())


def _mangle(text: str) -> str:
    for plain, mangled in (("|", "_bar_"), ("+", "_plus_"), ("-", "_minus_"), (".", "_dot_"), (",", "_comma_")):
        text = text.replace(plain, mangled)
    return text


def official_problem(problem: Problem, task_type: str, seed: int) -> str:
    """A generated problem in the official layout."""
    rng = random.Random(seed)
    constants = alfworld_module("gen/constants.py")
    spelled = {name.lower(): name for name in constants.OBJECTS}
    ids: dict[str, str] = {}
    for item, kind in problem.objects.items():
        if kind in ("receptacle", "object"):
            name = _camel(item.rpartition("_")[0], spelled)
            head, tail = (name[: -len("Basin")], f"|{name}") if name.endswith("Basin") else (name, "")
            at = "|".join(f"{rng.uniform(-4, 4):+06.2f}" for _ in range(3))
            ids[item] = _mangle(f"{head}|{at}{tail}")
    # Every third receptacle shares the place of the one before it; the agent starts at a place of its own.
    places: dict[str, str] = {}
    points = [
        _mangle(f"loc|{rng.randint(-9, 9)}|{i}|{rng.randint(0, 3)}|{rng.choice((-30, 0, 45))}") for i in range(99)
    ]
    located = [fact for fact in problem.init if fact[0] == "receptacleatlocation"]
    for number, fact in enumerate(located):
        places[fact[2]] = points[number - 1] if number % 3 == 2 else points[number]
    start = places[located[0][2]] if seed % 2 else points[98]
    facts = [("atLocation", "agent1", start)]
    dropped = [fact for fact in problem.init if fact[0] == "inreceptacle" and not _is_needed(fact[1], problem)][:2]
    official = {name.lower(): name for name in _PREDICATES.split()}
    for fact in problem.init:
        if fact[0] != "atlocation" and fact not in dropped:
            arguments = [places.get(a, ids.get(a, _camel_type(a, spelled))) for a in fact[1:]]
            facts.append((official[fact[0]], *arguments))
    types = {item: kind for item, kind in problem.objects.items() if kind in ("otype", "rtype")}
    objects = ["agent1 - agent"]
    objects += [f"{_camel(item.removesuffix('type'), spelled)} - object" for item, k in types.items() if k == "otype"]
    objects += [f"{_camel_type(item, spelled)} - {kind}" for item, kind in types.items()]
    objects += [f"{ids[item]} - {problem.objects[item]}" for item in ids]
    objects += [f"{place} - location" for place in sorted({*places.values(), start})]
    lines = ["(define (problem plan_fixture)", "(:domain alfred)", "(:metric minimize (total-cost))", "(:objects"]
    lines += [*objects, ")", "(:init", "(= (total-cost) 0)", f"(= (distance {start} {points[0]}) 7)"]
    lines += [f"({' '.join(fact)})" for fact in facts] + [")"]
    return "\n".join(lines) + "\n" + _official_goal(problem, task_type, spelled)


_PREDICATES = (
    "atLocation receptacleAtLocation receptacleType objectType canContain inReceptacle openable opened pickupable "
    "isReceptacleObject cleanable heatable coolable toggleable sliceable"
)


def _camel_type(item: str, spelled: dict[str, str]) -> str:
    return f"{_camel(item.removesuffix('type'), spelled)}Type" if item.endswith("type") else item


def _is_needed(item: str, problem: Problem) -> bool:
    """Whether a goal may be about an object: only others are left lying in no receptacle."""
    kind = next(fact[2] for fact in problem.init if fact[:2] == ("objecttype", item))
    return kind in repr(problem.goal)


def _official_goal(problem: Problem, task_type: str, spelled: dict[str, str]) -> str:
    from sdar_envs.household.goals import read_goal

    goal = read_goal(problem.goal)
    text = alfworld_module("gen/goal_library.py").gdict[TASK_NAMES[task_type]]["pddl"]
    destination = _camel(goal.destination.removesuffix("type"), spelled)
    target = _camel(goal.target.removesuffix("type"), spelled)
    return str(text.format(obj=target, recep=destination, toggle=destination).replace("#", "-"))


def write_official(folder: Path, task_id: str, *, seed: int = 0, solvable: bool = True, **kwargs: Any) -> Written:
    """Write a generated task as an official game: its folder, ``game.tw-pddl`` and ``traj_data.json``."""
    data = alfworld_folder() / "data"
    task = generate(task_id, **kwargs)
    draft = task.draft
    sentence = draft.sentence.removesuffix(".")
    place = folder / f"{TASK_NAMES[draft.task_type]}-{draft.target}-None-{draft.destination}-{seed}" / f"trial_{seed}"
    place.mkdir(parents=True)
    game = {
        "pddl_domain": (data / "alfred.pddl").read_text(),
        "grammar": (data / "alfred.twl2").read_text().replace("UNKNOWN GOAL", sentence),
        "pddl_problem": official_problem(task.problem, draft.task_type, seed),
        "solvable": solvable,
        "walkthrough": ["look"],
    }
    (place / "game.tw-pddl").write_text(json.dumps(game))
    (place / "traj_data.json").write_text(json.dumps({"task_type": TASK_NAMES[draft.task_type], "scene": {}}))
    return Written(place / "game.tw-pddl", draft.task_type, sentence)


class Difference(NamedTuple):
    """A step at which two engines did not say the same."""

    step: int
    command: str
    what: str
    native: Any
    reference: Any


def differences(native: Any, reference: Any, *, steps: int, seed: int, plan_share: float = 0.4) -> list[Difference]:
    """Walk two engines through one game and compare everything they say at every step.

    Commands come in turn from the planner and at random from the admissible ones, with one that is not admissible now
    and then; the walk goes on after the game is won.
    """
    rng = random.Random(seed)
    found: list[Difference] = []

    def compare(step: int, command: str, what: str, one: Any, other: Any) -> None:
        if one != other:
            found.append(Difference(step, command, what, one, other))

    compare(0, "", "introduction", native.reset(), reference.reset())
    planner = Planner(native)
    for step in range(1, steps + 1):
        commands = native.admissible()
        compare(step, "", "admissible commands", commands, reference.admissible())
        compare(step, "", "won", native.won, reference.won)
        command = rng.choice(commands) if rng.random() > 0.05 else "take the moon from the sky"
        if rng.random() < plan_share:
            command = next(iter(_plan(planner)), command)
        compare(step, command, "feedback", native.step(command), reference.step(command))
    compare(steps, "", "won", native.won, reference.won)
    compare(steps, "", "admissible commands", native.admissible(), reference.admissible())
    return found


def _plan(planner: Planner) -> Iterable[str]:
    try:
        return planner.plan()
    except NoPlanError:
        return ()
