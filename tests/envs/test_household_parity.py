"""The native engine and TextWorld's say the same: introduction, feedback, admissible commands, and who has won."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import household_games
import pytest

from sdar_envs.household.engine import NativeGame, household_rules
from sdar_envs.household.games import read_game
from sdar_envs.household.generator import generate
from sdar_envs.household.tables import TASK_TYPES

# (task id, size, steps): all six task types, and one full-size room, where TextWorld does a dozen steps a second.
PUSHED = [
    ("train:000000", "small", 40),
    ("train:000007", "small", 40),
    ("valid:000002", "small", 40),
    ("valid:000009", "small", 40),
    ("test:000004", "small", 40),
    ("test:000005", "full", 25),
]
SLOW = [
    (f"{split}:{number:06d}", size, 60)
    for number, (split, size) in zip(
        range(12, 32), itertools.cycle([("train", "small"), ("valid", "full"), ("test", "small")]), strict=False
    )
]


@pytest.fixture
def textworld_game() -> Iterator[Any]:
    household_games.require_textworld()
    from sdar_envs.household.textworld_engine import TextWorldGame

    games: list[TextWorldGame] = []

    def make(*args: Any, **kwargs: Any) -> TextWorldGame:
        games.append(TextWorldGame(*args, **kwargs))
        return games[-1]

    yield make
    for game in games:
        game.close()


def generated_differences(
    make: Any, task_id: str, size: str, steps: int, instruction: str = "named"
) -> list[household_games.Difference]:
    task = generate(task_id, size=size, instruction=instruction)
    rules, sentence = household_rules(), task.draft.sentence.removesuffix(".")
    native = NativeGame(*rules, task.problem, task=sentence)
    reference = make(*rules, task.problem, task=sentence)
    return household_games.differences(native, reference, steps=steps, seed=steps)


def test_the_pushed_walks_cover_every_task_type():
    assert {TASK_TYPES[int(task_id[-6:]) % 6] for task_id, _, _ in PUSHED} == set(TASK_TYPES)
    assert {TASK_TYPES[int(task_id[-6:]) % 6] for task_id, _, _ in SLOW} == set(TASK_TYPES)


@pytest.mark.parametrize(("task_id", "size", "steps"), PUSHED)
def test_both_engines_say_the_same_of_a_generated_game(textworld_game, task_id, size, steps):
    assert generated_differences(textworld_game, task_id, size, steps) == []


@pytest.mark.slow
@pytest.mark.parametrize(("task_id", "size", "steps"), SLOW)
def test_both_engines_say_the_same_on_long_walks(textworld_game, task_id, size, steps):
    assert generated_differences(textworld_game, task_id, size, steps) == []


@pytest.mark.slow
@pytest.mark.parametrize("number", range(12))
def test_both_engines_say_the_same_in_longer_rooms_and_hidden_places(textworld_game, number: int):
    size, instruction = ("medium", "small")[number % 2], ("habit", "named")[number // 6]
    task_id = f"{('train', 'valid', 'test')[number % 3]}:{600 + number:06d}"
    assert generated_differences(textworld_game, task_id, size, 50, instruction) == []


@pytest.mark.parametrize(("task_id", "seed"), [("train:000001", 0), ("train:000008", 1)])
def test_both_engines_say_the_same_of_an_official_game(textworld_game, tmp_path: Path, task_id, seed):
    game = read_game(household_games.write_official(tmp_path, task_id, seed=seed, size="small").path)
    native, reference = household_games.from_file(game), household_games.from_file(game, textworld_game)
    assert household_games.differences(native, reference, steps=40, seed=seed) == []


@pytest.mark.slow
@pytest.mark.parametrize("number", range(12))
def test_both_engines_say_the_same_of_official_games_of_every_kind(textworld_game, tmp_path: Path, number: int):
    size = "full" if number % 2 else "small"
    written = household_games.write_official(tmp_path, f"train:{number:06d}", seed=number, size=size)
    game = read_game(written.path)
    native, reference = household_games.from_file(game), household_games.from_file(game, textworld_game)
    assert household_games.differences(native, reference, steps=60, seed=number) == []


def test_the_walk_notices_an_engine_that_differs(textworld_game):
    """The comparison can fail: a native game of another grammar word is caught."""
    task = generate("train:000000", size="small")
    domain, grammar = household_rules()
    from sdar_envs.household.grammar import read_grammar

    other = read_grammar(grammar.source.replace("You pick up the", "You take the"))
    native = NativeGame(domain, other, task.problem, task="do it")
    reference = textworld_game(domain, grammar, task.problem, task="do it")
    found = household_games.differences(native, reference, steps=20, seed=1, plan_share=1.0)
    assert {difference.what for difference in found} == {"feedback"}


def test_displayed_names_are_those_of_alfworlds_own_loader(tmp_path: Path):
    household_games.require_textworld()
    household_games.alfworld_folder()
    from types import SimpleNamespace

    game = read_game(household_games.write_official(tmp_path, "train:000003", size="full").path)
    native = household_games.from_file(game)
    mentioned = {item for fact in game.problem.init for item in fact[1:]}
    demangler = demangler_class()(game_infos={item: SimpleNamespace(id=item) for item in mentioned})
    for item, kind in game.problem.objects.items():
        if kind in ("receptacle", "object") and item in mentioned:
            assert native.display(item) == demangler.demangle_alfred_name(item)


def demangler_class() -> Any:
    """ALFWorld's class, executed from its source without importing the package around it."""
    import ast
    from collections import Counter

    source = (household_games.alfworld_folder() / "agents" / "utils" / "misc.py").read_text()
    node = next(n for n in ast.parse(source).body if isinstance(n, ast.ClassDef) and n.name == "Demangler")
    scope: dict[str, Any] = {"Counter": Counter}
    exec(compile(ast.Module([node], []), "misc.py", "exec"), scope)
    return scope["Demangler"]
