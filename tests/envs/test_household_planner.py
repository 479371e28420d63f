"""The planner is exact: against breadth-first search, by hand-made cases, and by a proof step at every state."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path

import household_games
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sdar_envs.household.engine import NativeGame, household_rules
from sdar_envs.household.games import read_game
from sdar_envs.household.generator import generate
from sdar_envs.household.goals import make_goal, read_goal
from sdar_envs.household.pddl import read_condition, read_expression
from sdar_envs.household.planner import NoPlanError, Planner
from sdar_envs.household.problem import Fact, Problem
from sdar_envs.household.tables import AFFORDANCES, APPLIANCES, LAMPS, OPENABLE, TASK_TYPES
from sdar_envs.randomness import counted_generator

# Commands that only look, and so never are part of a shortest way.
LOOKING = ("look", "inventory", "help", "examine")


def world(
    task_type: str,
    target: str,
    destination: str,
    receptacles: dict[str, str],
    objects: dict[str, str],
    extra: Iterable[Fact] = (),
) -> NativeGame:
    """A small game: receptacle id -> location, object id -> receptacle id or "" for nowhere; all can hold all."""
    kinds = {name: name.rpartition("_")[0] for name in (*receptacles, *objects)}
    declared = {"agent_1": "agent", "start": "location"}
    declared |= dict.fromkeys(receptacles.values(), "location") | dict.fromkeys(receptacles, "receptacle")
    declared |= dict.fromkeys(objects, "object")
    declared |= {f"{kinds[name]}type": "rtype" for name in receptacles}
    declared |= dict.fromkeys(("fridgetype", "microwavetype", "sinkbasintype"), "rtype")
    declared |= {f"{kinds[name]}type": "otype" for name in objects}
    declared |= dict.fromkeys(("knifetype", "butterknifetype"), "otype")
    facts: list[Fact] = [("atlocation", "agent_1", "start")]
    for name, place in receptacles.items():
        facts += [("receptacleatlocation", name, place), ("receptacletype", name, f"{kinds[name]}type")]
        facts += [("openable", name)] * (kinds[name] in OPENABLE)
    for name, place in objects.items():
        facts.append(("objecttype", name, f"{kinds[name]}type"))
        facts += [("inreceptacle", name, place)] * bool(place)
        facts += [(predicate, name) for predicate, kind in AFFORDANCES.items() if kinds[name] in kind]
        facts += [("pickupable", name)] * (kinds[name] not in LAMPS)
    for receptacle_type in sorted({kinds[name] for name in receptacles}):
        for object_type in sorted({kinds[name] for name in objects}):
            facts.append(("cancontain", f"{receptacle_type}type", f"{object_type}type"))
    goal = make_goal(task_type, f"{target}type", f"{destination}type")
    problem = Problem("case", "household", declared, tuple(dict.fromkeys([*facts, *extra])), goal)
    game = NativeGame(*household_rules(), problem)
    game.reset()
    return game


def play(game: NativeGame, *commands: str) -> None:
    for command in commands:
        assert game.step(command)[1], command


def shortest_by_search(game: NativeGame, most: int) -> int | None:
    """Length of the shortest way by breadth-first search; None beyond `most`."""
    start = game.snapshot()
    if game.won:
        return 0

    def essence(snapshot: frozenset[Fact]) -> frozenset[Fact]:
        return frozenset(f for f in snapshot if not f[0].startswith("not_") and f[0] not in ("checked", "ison"))

    seen = {essence(start)}
    frontier = [start]
    try:
        for depth in range(1, most + 1):
            reached = []
            for state in frontier:
                game.restore(state)
                for command in game.admissible():
                    if command.startswith(LOOKING):
                        continue
                    game.restore(state)
                    game.step(command)
                    if game.won:
                        return depth
                    after = game.snapshot()
                    if (key := essence(after)) not in seen:
                        seen.add(key)
                        reached.append(after)
            frontier = reached
        return None
    finally:
        game.restore(start)


def random_world(rng: np.random.Generator, task_type: str, in_several: bool) -> NativeGame:
    """A few receptacles, some at one location, some closed; objects anywhere, some of them nowhere.

    With `in_several`, targets and lamp may be in up to three receptacles at once.
    """
    destination = str(rng.choice(["shelf", "drawer", "fridge", "sinkbasin"]))
    target = {"light": "book", "two": "egg", "place": "mug"}.get(task_type, "apple")
    receptacle_types = [destination, str(rng.choice(["cabinet", "shelf"]))]
    if task_type in APPLIANCES:
        receptacle_types.append(APPLIANCES[task_type])
    receptacle_types += [destination] * int(rng.integers(2))
    numbers: dict[str, int] = {}
    receptacles = {}
    for receptacle_type in receptacle_types:
        numbers[receptacle_type] = numbers.get(receptacle_type, 0) + 1
        place = f"place_{rng.integers(len(receptacle_types))}"
        receptacles[f"{receptacle_type}_{numbers[receptacle_type]}"] = place
    names = list(receptacles)
    lamps = ["desklamp_1"] if task_type == "light" else []
    objects = {f"{target}_1": str(rng.choice(names)), f"{target}_2": str(rng.choice([*names, ""]))}
    objects |= {"pen_1": str(rng.choice([*names, ""]))} | {lamp: str(rng.choice(names)) for lamp in lamps}
    if task_type == "two":
        objects[f"{target}_2"] = str(rng.choice(names))
        objects[f"{target}_3"] = str(rng.choice([*names, ""]))
    # As in half of the official games, an object may be in several receptacles at once; the lamp too.
    more: list[Fact] = []
    if in_several:
        for name in (f"{target}_1", f"{target}_2", *lamps):
            more += [("inreceptacle", name, str(where)) for where in rng.choice(names, size=int(rng.integers(3)))]
    return world(task_type, target, lamps[0][:-2] if lamps else destination, receptacles, objects, more)


def wander(game: NativeGame, rng: np.random.Generator, steps: int) -> None:
    """Random commands, mostly those that change more than the place."""
    for _ in range(steps):
        commands = [c for c in game.admissible() if not c.startswith(LOOKING)]
        acting = [c for c in commands if not c.startswith("go to")]
        pool = acting if acting and rng.random() < 0.6 else commands
        game.step(pool[int(rng.integers(len(pool)))])


def check_against_search(seed: int, task_type: str, in_several: bool) -> None:
    rng = counted_generator("planner test", seed, task_type)
    game = random_world(rng, task_type, in_several)
    wander(game, rng, int(rng.integers(12)))
    plan = Planner(game).plan()
    assert shortest_by_search(game, len(plan)) == len(plan), (game.problem.to_pddl(), sorted(game.snapshot()), plan)
    play(game, *plan)
    assert game.won


@pytest.mark.parametrize("task_type", TASK_TYPES)
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), in_several=st.booleans())
def test_plans_are_as_short_as_breadth_first_search_finds(task_type: str, seed: int, in_several: bool) -> None:
    check_against_search(seed, task_type, in_several)


@pytest.mark.slow
@pytest.mark.parametrize("task_type", TASK_TYPES)
def test_plans_are_as_short_as_breadth_first_search_finds_in_many_worlds(task_type: str) -> None:
    for seed in range(1_000):
        check_against_search(seed, task_type, in_several=False)
        check_against_search(seed, task_type, in_several=True)


# Sizes and instructions of generated games.
HOUSES = [("small", "named"), ("full", "named"), ("small", "habit"), ("medium", "habit")]


def generated(task_id: str, size: str, instruction: str = "named") -> NativeGame:
    return NativeGame(*household_rules(), generate(task_id, size=size, instruction=instruction).problem)


def plan_and_length(planner: Planner) -> tuple[list[str], float]:
    """The plan and its length; infinity where there is none."""
    try:
        plan = planner.plan()
    except NoPlanError:
        return [], float("inf")
    return plan, len(plan)


def check_one_step_consistency(game: NativeGame, seed: int, walk: int) -> None:
    """No command shortens the way by more than one, and the plan's head does by one.

    With an empty plan exactly at the goal this makes the plan's length the true distance, state by state. Where nothing
    wins any more, no command helps either.
    """
    game.reset()
    planner = Planner(game)
    wander(game, counted_generator("consistency", seed), walk)
    state = game.snapshot()
    plan, distance = plan_and_length(planner)
    assert (distance == 0) == game.won
    for command in game.admissible():
        game.restore(state)
        game.step(command)
        _, after = plan_and_length(planner)
        assert after >= distance - 1, (game.problem.name, command, plan)
        if plan and command == plan[0]:
            assert after == distance - 1
    game.restore(state)
    play(game, *plan)
    assert game.won or distance == float("inf")


@pytest.mark.parametrize(("size", "instruction"), HOUSES)
def test_no_command_in_a_generated_house_beats_the_plan(size: str, instruction: str) -> None:
    for number in range(48):
        game = generated(f"valid:{number:06d}", size, instruction)
        check_one_step_consistency(game, number, walk=(number % 4) * 5)


@pytest.mark.slow
@pytest.mark.parametrize(("size", "instruction"), HOUSES)
def test_no_command_in_many_generated_houses_beats_the_plan(size: str, instruction: str) -> None:
    for number in range(1_200):
        check_one_step_consistency(generated(f"train:{number:06d}", size, instruction), number, walk=number % 23)


def test_no_command_in_games_of_the_official_format_beats_the_plan(tmp_path: Path) -> None:
    for number in range(12):
        written = household_games.write_official(tmp_path, f"train:{number:06d}", seed=number)
        game = household_games.from_file(read_game(written.path))
        for walk in (0, 9):
            check_one_step_consistency(game, number, walk)


KITCHEN = {"fridge_1": "a", "microwave_1": "b", "sinkbasin_1": "c", "shelf_1": "d", "cabinet_1": "e"}


def test_a_known_way_is_walked_straight() -> None:
    game = world("heat", "apple", "shelf", KITCHEN, {"apple_1": "cabinet_1"})
    assert Planner(game).plan() == [
        "go to cabinet 1",
        "open cabinet 1",
        "take apple 1 from cabinet 1",
        "go to microwave 1",
        "heat apple 1 with microwave 1",
        "go to shelf 1",
        "move apple 1 to shelf 1",
    ]


def test_what_is_heated_already_goes_straight_to_its_destination() -> None:
    game = world("heat", "apple", "shelf", KITCHEN, {"apple_1": "cabinet_1"})
    play(game, *Planner(game).plan()[:5], "go to sinkbasin 1")
    assert Planner(game).plan() == ["go to shelf 1", "move apple 1 to shelf 1"]


def test_cooling_undoes_heating() -> None:
    game = world("heat", "apple", "shelf", KITCHEN, {"apple_1": "cabinet_1"})
    play(game, *Planner(game).plan()[:5], "go to fridge 1", "cool apple 1 with fridge 1")
    assert Planner(game).plan()[:2] == ["go to microwave 1", "heat apple 1 with microwave 1"]


def test_a_full_hand_is_emptied_behind_the_door_that_must_be_opened_anyway() -> None:
    game = world("place", "apple", "shelf", KITCHEN, {"apple_1": "cabinet_1", "pen_1": "sinkbasin_1"})
    play(game, "go to sinkbasin 1", "take pen 1 from sinkbasin 1", "go to microwave 1")
    assert Planner(game).plan() == [
        "go to cabinet 1",
        "open cabinet 1",
        "move pen 1 to cabinet 1",
        "take apple 1 from cabinet 1",
        "go to shelf 1",
        "move apple 1 to shelf 1",
    ]


def test_a_hot_apple_laid_aside_beats_the_cold_one_in_the_hand() -> None:
    rooms = {**KITCHEN, "shelf_1": KITCHEN["sinkbasin_1"]}
    game = world("heat", "apple", "shelf", rooms, {"apple_1": "sinkbasin_1", "apple_2": "sinkbasin_1"})
    play(game, "go to sinkbasin 1", "take apple 1 from sinkbasin 1", "go to microwave 1")
    play(game, "heat apple 1 with microwave 1", "go to sinkbasin 1", "move apple 1 to sinkbasin 1")
    play(game, "take apple 2 from sinkbasin 1")
    plan = Planner(game).plan()
    assert plan[0] in ("move apple 2 to sinkbasin 1", "move apple 2 to shelf 1")
    assert plan[1:] == ["take apple 1 from sinkbasin 1", "move apple 1 to shelf 1"]


def test_receptacles_at_one_location_need_no_walk_between_them() -> None:
    rooms = {"cabinet_1": "a", "shelf_1": "a", "shelf_2": "b"}
    game = world("place", "apple", "shelf", rooms, {"apple_1": "cabinet_1"})
    plan = Planner(game).plan()
    assert plan[1:] == ["open cabinet 1", "take apple 1 from cabinet 1", "move apple 1 to shelf 1"]


def test_a_door_that_is_open_is_not_opened_and_the_open_destination_is_preferred() -> None:
    rooms = {"shelf_1": "a", "drawer_1": "b", "drawer_2": "c"}
    game = world("place", "pen", "drawer", rooms, {"pen_1": "shelf_1"})
    play(game, "go to drawer 2", "open drawer 2")
    assert Planner(game).plan()[-2:] == ["go to drawer 2", "move pen 1 to drawer 2"]


def test_two_objects_end_in_one_receptacle_using_the_one_that_is_there() -> None:
    rooms = {"shelf_1": "a", "drawer_1": "b", "drawer_2": "c"}
    game = world("two", "pen", "drawer", rooms, {"pen_1": "shelf_1", "pen_2": "drawer_2", "pen_3": "drawer_1"})
    assert not game.won, "two pens in two drawers are not two pens in one"
    plan = Planner(game).plan()
    assert len(plan) == 5  # fetch the one on the shelf, which has no door, and open one drawer
    play(game, *plan)
    assert game.won


def test_the_lamp_may_be_on_already_and_stays_where_it_is() -> None:
    rooms = {"desk_1": "a", "shelf_1": "b"}
    game = world("light", "book", "desklamp", rooms, {"book_1": "shelf_1", "desklamp_1": "desk_1"})
    assert Planner(game).plan()[-2:] == ["go to desk 1", "use desklamp 1"]
    play(game, "go to desk 1", "use desklamp 1")
    assert Planner(game).plan() == ["go to shelf 1", "take book 1 from shelf 1", "go to desk 1"]


def test_a_target_that_is_nowhere_has_no_plan() -> None:
    game = world("place", "apple", "shelf", KITCHEN, {"apple_1": ""})
    with pytest.raises(NoPlanError, match="appletype"):
        Planner(game).plan()


def test_objects_in_no_receptacle_are_left_out_of_account() -> None:
    game = world("place", "apple", "shelf", KITCHEN, {"apple_1": "", "apple_2": "sinkbasin_1"})
    assert Planner(game).plan()[1] == "take apple 2 from sinkbasin 1"


def test_what_is_in_something_that_stands_nowhere_cannot_be_fetched_and_still_counts_for_the_goal() -> None:
    game = world("place", "apple", "shelf", KITCHEN, {"apple_1": "lostbox_1", "apple_2": "sinkbasin_1"})
    assert Planner(game).plan()[1] == "take apple 2 from sinkbasin 1"
    game = world("place", "apple", "shelf", KITCHEN, {"apple_1": "lostbox_1"})
    with pytest.raises(NoPlanError):
        Planner(game).plan()
    problem = dataclasses.replace(
        game.problem,
        objects={**game.problem.objects, "lostbox_1": "receptacle"},
        init=(*game.problem.init, ("receptacletype", "lostbox_1", "shelftype")),
    )
    game = NativeGame(*household_rules(), problem)
    game.reset()
    assert game.won and Planner(game).plan() == []


OFFICIAL_GOALS = {
    "place": """(and (exists (?r - receptacle) (exists (?o - object) (and (inReceptacle ?o ?r)
        (objectType ?o MugType) (receptacleType ?r ShelfType)))))""",
    "cool": """(and (exists (?r - receptacle) (exists (?o - object) (and (coolable ?o) (objectType ?o MugType)
        (receptacleType ?r ShelfType) (isCool ?o) (inReceptacle ?o ?r)))))""",
    "two": """(and (exists (?r - receptacle) (exists (?o1 - object) (and (objectType ?o1 MugType)
        (receptacleType ?r ShelfType) (inReceptacle ?o1 ?r) (exists (?o2 - object) (and (not (= ?o1 ?o2))
        (objectType ?o2 MugType) (receptacleType ?r ShelfType) (inReceptacle ?o2 ?r)))))))""",
    "light": """(and (exists (?ot - object ?r - receptacle ?a - agent ?l - location) (and (objectType ?ot ShelfType)
        (toggleable ?ot) (isToggled ?ot) (receptacleAtLocation ?r ?l) (atLocation ?a ?l) (inReceptacle ?ot ?r)))
        (exists (?o - object ?a - agent) (and (objectType ?o MugType) (holds ?a ?o))))""",
}


@pytest.mark.parametrize("task_type", OFFICIAL_GOALS)
def test_goals_as_the_published_games_nest_them_are_recognised(task_type: str) -> None:
    goal = read_goal(read_condition(read_expression(OFFICIAL_GOALS[task_type], "goal"), "goal"))
    assert dataclasses.astuple(goal) == (task_type, "mugtype", "shelftype")


@pytest.mark.parametrize("task_type", TASK_TYPES)
def test_goals_that_are_built_are_recognised(task_type: str) -> None:
    goal = read_goal(make_goal(task_type, "mugtype", "shelftype"))
    assert dataclasses.astuple(goal) == (task_type, "mugtype", "shelftype")


@pytest.mark.parametrize(
    "text",
    [
        "(exists (?o - object) (isSliced ?o))",
        "(or (isHot mug_1) (isCool mug_1))",
        """(exists (?o - object ?r - receptacle) (and (objectType ?o MugType) (receptacleType ?r ShelfType)
        (inReceptacle ?o ?r) (isSliced ?o)))""",
        """(exists (?o - object ?r - receptacle) (and (objectType ?o MugType) (receptacleType ?r ShelfType)
        (not (inReceptacle ?o ?r))))""",
    ],
)
def test_other_goals_are_refused_by_name(text: str) -> None:
    with pytest.raises(ValueError, match="expected the goal of one of the tasks place, two"):
        read_goal(read_condition(read_expression(text, "goal"), "goal"))
