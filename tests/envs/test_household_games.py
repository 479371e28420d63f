"""Game files: written and read back, refused in one line when they are broken, and loaded by TextWorld."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import household_games
import pytest
from game_writer import with_mangled_ids, write_game
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sdar_envs.household.engine import NativeGame, household_rules
from sdar_envs.household.games import GameFileError, read_game
from sdar_envs.household.generator import generate
from sdar_envs.household.pddl import PDDLError
from sdar_envs.household.planner import Planner
from sdar_envs.household.problem import Problem


def written(folder: Path, task_id: str = "train:000003", **kwargs: Any) -> Path:
    task = generate(task_id, size="small")
    sentence = task.draft.sentence.removesuffix(".")
    return write_game(folder / "game.tw-pddl", *household_rules(), task.problem, task=sentence, **kwargs)


def changed(folder: Path, change: Any) -> Path:
    path = written(folder)
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))
    return path


def test_a_written_game_is_the_game(tmp_path: Path):
    native = household_games.native_game("train:000003", size="small")
    read = household_games.from_file(read_game(written(tmp_path, walkthrough=["look"])))
    assert read.reset() == native.reset()
    for command in Planner(native).plan():
        assert read.admissible() == native.admissible()
        assert read.step(command) == native.step(command)
    assert read.won
    game = read_game(tmp_path / "game.tw-pddl")
    assert (game.solvable, game.walkthrough) == (True, ("look",))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["game.tw-pddl"]


def test_games_with_the_same_rules_share_what_is_compiled(tmp_path: Path):
    first = read_game(written(tmp_path / "a", "train:000003"))
    second = read_game(written(tmp_path / "b", "train:000004"))
    assert first.task != second.task
    assert first.grammar is second.grammar
    assert first.domain is second.domain is household_rules()[0]


def test_mangled_ids_keep_every_name_and_win_by_the_same_plan():
    for number in range(12):
        task = generate(f"train:{number:06d}", size="small")
        rules = household_rules()
        plain = NativeGame(*rules, task.problem, task="x")
        mangled = NativeGame(*rules, with_mangled_ids(task.problem), task="x")
        plain.reset(), mangled.reset()
        assert mangled.admissible() == plain.admissible()
        for command in Planner(plain).plan():
            plain.step(command)
            assert mangled.step(command)[1]
            assert mangled.admissible() == plain.admissible()
        assert mangled.won


def test_ids_that_are_not_numbered_from_one_cannot_be_mangled():
    problem = Problem("p", "household", {"cabinet_2": "receptacle"}, (), generate("train:000000").problem.goal)
    with pytest.raises(PDDLError, match="cabinet_2"):
        with_mangled_ids(problem)


def test_an_exported_game_is_loaded_by_textworld_and_named_by_alfworlds_rule(tmp_path: Path):
    household_games.require_textworld()
    import textworld

    task = generate("train:000003", size="small")
    path = write_game(
        tmp_path / "game.tw-pddl", *household_rules(), with_mangled_ids(task.problem), task="put it there"
    )
    infos = textworld.EnvInfos(won=True, admissible_commands=True)
    environment = textworld.start(str(path), infos)
    state = environment.reset()
    assert state.feedback.endswith("Your task is to: put it there.")
    assert len(state.admissible_commands) == len(household_games.from_file(read_game(path)).admissible())


BROKEN = {
    "truncated": lambda text: text[: len(text) // 2],
    "empty": lambda text: "",
    "not an object": lambda text: "[1, 2]",
    "deeply nested": lambda text: "[" * 100_000,
    "not json": lambda text: "game",
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_file_that_is_no_json_object_is_named_in_one_line(tmp_path: Path, kind: str):
    path = written(tmp_path)
    path.write_text(BROKEN[kind](path.read_text()))
    assert_one_line(path, "JSON")


def test_a_file_that_is_not_text_or_not_there_is_named_in_one_line(tmp_path: Path):
    path = tmp_path / "game.tw-pddl"
    assert_one_line(path, "cannot be read")
    path.write_bytes(b"\xff\xfe\x00")
    assert_one_line(path, "JSON")
    path.unlink()
    path.mkdir()
    assert_one_line(path, "")


def assert_one_line(path: Path, complaint: str) -> None:
    with pytest.raises(GameFileError) as caught:
        read_game(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert complaint in message
    assert "\n" not in message


def replace(key: str, old: str, new: str) -> Any:
    def change(data: dict[str, Any]) -> None:
        assert old in data[key]
        data[key] = data[key].replace(old, new, 1)

    return change


MALFORMED = {
    "no domain": (lambda data: data.pop("pddl_domain"), "'pddl_domain'"),
    "no grammar": (lambda data: data.pop("grammar"), "'grammar'"),
    "no problem": (lambda data: data.pop("pddl_problem"), "'pddl_problem'"),
    "a problem that is a number": (lambda data: data.update(pddl_problem=3), "a int"),
    "an unknown section": (replace("pddl_domain", "(:functions", "(:derived (q) ()) (:functions"), ":derived"),
    "a quantified effect": (
        replace("pddl_domain", ":effect (checked ?l)", ":effect (forall (?x) (checked ?x))"),
        "forall",
    ),
    "a universal condition": (
        replace("pddl_problem", "(:goal ", "(:goal (forall (?x - object) (opened ?x))) (:goal "),
        "forall",
    ),
    "another domain": (replace("pddl_problem", "(:domain household)", "(:domain alfred)"), "'alfred'"),
    "an unknown type": (replace("pddl_problem", "- receptacle", "- cupboard"), "'cupboard'"),
    "an unknown object": (replace("pddl_problem", "(:init", "(:init (opened ghost_1)"), "'ghost_1'"),
    "a fact that is too long": (replace("pddl_problem", "(:init", "(:init (opened agent_1 agent_1)"), "1 arguments"),
    "code in a text": (
        replace("grammar", "{r.indefinite}", "{__import__('os').getcwd()}"),
        "expressions are",
    ),
    "a grammar cut short": (lambda data: data.update(grammar=data["grammar"][:2000]), ""),
    "missing parentheses": (lambda data: data.update(pddl_domain=data["pddl_domain"][:900]), "missing at the end"),
}


@pytest.mark.parametrize("kind", MALFORMED)
def test_a_malformed_game_is_named_in_one_line_with_what_is_wrong(tmp_path: Path, kind: str):
    change, complaint = MALFORMED[kind]
    assert_one_line(changed(tmp_path, change), complaint)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_file_with_random_damage_is_read_or_named(tmp_path: Path, data: st.DataObject):
    path = tmp_path / "good" / "game.tw-pddl"
    if not path.exists():
        written(tmp_path / "good")
    content = path.read_bytes()
    at = data.draw(st.integers(0, len(content) - 1))
    damage = data.draw(st.binary(max_size=6))
    length = data.draw(st.integers(0, 40))
    bad = tmp_path / "bad.tw-pddl"
    bad.write_bytes(content[:at] + damage + content[at + length :])
    try:
        game = read_game(bad)
        native = household_games.from_file(game)
    except ValueError as error:
        assert "\n" not in str(error)
        return
    native.admissible()


def test_an_existing_file_survives_a_write_that_fails(tmp_path: Path):
    path = written(tmp_path)
    before = path.read_bytes()
    with pytest.raises(ValueError):
        write_game(path, *household_rules(), generate("train:000001").problem, task="no; way")
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["game.tw-pddl"]
