"""The planner and the engine on ALFWorld's own games: plans are as short as a search finds, and win."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import pytest
from household_search import Model, TooLargeError, is_within
from official_data import official_folder
from test_household_planner import LOOKING, check_one_step_consistency, wander

from sdar_envs.household.alfworld import ALFWorldEnv
from sdar_envs.household.engine import NativeGame
from sdar_envs.household.games import GameFile, read_game
from sdar_envs.household.planner import NoPlanError, Planner
from sdar_envs.randomness import counted_generator

pytestmark = pytest.mark.official

# More situations than any search below meets at the start of a game.
BUDGET = 100_000


@lru_cache(maxsize=1)
def games() -> tuple[GameFile, ...]:
    files = sorted(official_folder("alfworld").glob("*/*/*/game.tw-pddl"))
    assert len(files) == 100
    return tuple(read_game(file) for file in files)


def native(file: GameFile) -> NativeGame:
    game = NativeGame(file.domain, file.grammar, file.problem, task=file.task)
    game.reset()
    return game


def name_of(file: GameFile) -> str:
    return "/".join(file.path.parts[-4:-2])


def check_plan(game: NativeGame, file: GameFile, budget: int) -> str:
    """Whether the plan from here is as short as the search says and wins as it says; "too large" where it is that."""
    start = game.snapshot()
    model = Model(game)
    here = model.situation(game)
    try:
        plan = Planner(game).plan()
    except NoPlanError:
        plan = []
        assert not is_within(model, here, 6, budget), name_of(file)
        return "no way"
    for command in plan:
        assert not game.won, (name_of(file), plan)
        assert game.step(command)[1], (name_of(file), command)
    assert game.won, (name_of(file), plan)
    game.restore(start)
    try:
        assert not plan or not is_within(model, here, len(plan) - 1, budget), (name_of(file), plan)
    except TooLargeError:
        return "too large"
    return "proved"


def check_all(walks: int, steps: int, budget: int) -> dict[str, int]:
    """All games from their start, and after so many walks of up to so many random commands."""
    counts: dict[str, int] = {}
    for file in games():
        game = native(file)
        beginning = game.snapshot()
        for walk in range(walks + 1):
            game.restore(beginning)
            rng = counted_generator("official", name_of(file), walk)
            wander(game, rng, int(rng.integers(1, steps)) if walk else 0)
            outcome = check_plan(game, file, budget)
            key = f"{outcome}, {'after a walk' if walk else 'at the start'}"
            counts[key] = counts.get(key, 0) + 1
    return counts


def test_plans_are_as_short_as_breadth_first_search_finds(held: Callable[[str], None]) -> None:
    counts = check_all(walks=2, steps=20, budget=BUDGET)
    held(f"100 official games, plans against breadth-first search: {counts}")
    assert counts["proved, at the start"] == 100
    assert counts["proved, after a walk"] >= 190


@pytest.mark.slow
def test_plans_are_as_short_as_breadth_first_search_finds_after_many_walks(held: Callable[[str], None]) -> None:
    counts = check_all(walks=30, steps=60, budget=3 * BUDGET)
    held(f"100 official games, plans against breadth-first search: {counts}")
    assert counts["proved, after a walk"] >= 2_800


def test_no_plan_is_longer_than_the_walkthrough_of_the_file(held: Callable[[str], None]) -> None:
    played = shorter = 0
    for file in games():
        if "valid_seen" not in file.path.parts:
            continue  # the others have no walkthrough, or one that names raw objects
        game = native(file)
        plan = Planner(game).plan()
        steps = 0
        for command in file.walkthrough or ():
            game.step(command)
            steps += 1
            if game.won:
                break
        assert game.won, name_of(file)
        assert len(plan) <= steps, (name_of(file), plan)
        played += 1
        shorter += len(plan) < steps
    held(f"{played} of 30 games of valid_seen: no plan longer than the walkthrough, {shorter} shorter")
    assert played == 30


def test_no_command_in_official_games_beats_the_plan(held: Callable[[str], None]) -> None:
    """Every command of the engine is tried, those too that the search leaves out."""
    chosen = games()[::5]
    for number, file in enumerate(chosen):
        check_one_step_consistency(native(file), number, walk=(0, 5, 12)[number % 3])
    held(f"{len(chosen)} official games: no command of the engine beats the plan")


@pytest.mark.slow
def test_no_command_in_any_official_game_beats_the_plan() -> None:
    for number, file in enumerate(games()):
        for walk in (0, 3, 9, 20):
            check_one_step_consistency(native(file), number, walk)


def test_the_search_goes_where_the_engine_goes() -> None:
    """Every step of the search is one of the engine's, and what the search leaves out is what its page says."""
    for number, file in enumerate(games()[2::10]):
        game = native(file)
        wander(game, counted_generator("search", number), 3 * (number % 5))
        model, state = Model(game), game.snapshot()
        here = model.situation(game)
        expected = model.successors(here)
        reached = set()
        for command in game.admissible():
            if command.startswith(LOOKING):
                continue
            game.restore(state)
            game.step(command)
            after = model.situation(game)
            reached.add(after)
            if after not in expected and after != here:
                left_out = command.startswith(("close", "slice", "use", "heat", "cool", "clean"))
                assert left_out or (command.startswith("take") and after.held not in model.targets), command
        assert expected <= reached, name_of(file)


@pytest.mark.parametrize(
    ("folder", "steps"),
    [
        ("pick_cool_then_place_in_recep-Mug-None-CoffeeMachine-16", 4),
        ("pick_cool_then_place_in_recep-Pan-None-StoveBurner-23", 4),
    ],
)
def test_what_stays_where_it_has_to_go_is_only_cooled(folder: str, steps: int) -> None:
    data = official_folder("alfworld")
    env = ALFWorldEnv(split="valid", data_dir=data)
    task_id = next(name for name in env.task_ids() if Path(name).parts[1] == folder)
    _, info = env.reset(options={"task_id": task_id})
    privileged = info["privileged"]
    assert len(privileged["plan"]) == steps
    assert privileged["plan"][-1].startswith("cool ")
    both = [where for where in privileged["facts"]["target_receptacles"] if " and " in where]
    assert both, "an object in two receptacles is said to be in both"
    assert any(" and the " in hint for hint in privileged["hints"])
    for command in privileged["plan"][:2]:
        *_, info = env.step(command)
    assert any("which is also in or on the" in hint for hint in info["privileged"]["hints"])
    for command in privileged["plan"][2:]:
        _, reward, terminated, _, info = env.step(command)
    assert terminated and reward == 1 and info["success"]
