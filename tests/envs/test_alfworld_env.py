"""sdar/ALFWorld-v0: which official files are played, what is cached, and what is said when there are none.

The files are written here, in the official layout with our own domain and grammar; where `alfworld` is installed, with
its own domain and grammar too.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import gymnasium as gym
import household_games
import pytest
from game_writer import with_mangled_ids, write_game

import sdar_envs
from sdar_envs.cache import cache_folder
from sdar_envs.conformance import check_text_env
from sdar_envs.conformance.catalogue import ASKS_FOR_A_FUNCTION
from sdar_envs.household import official
from sdar_envs.household.alfworld import ALFWorldEnv
from sdar_envs.household.engine import household_rules
from sdar_envs.household.games import GameFileError
from sdar_envs.household.generator import generate
from sdar_envs.household.official import NoGamesError, find_root, official_games

gym.register_envs(sdar_envs)

OFFICIAL_NAMES = {ours: name for name, ours in official.TASK_TYPES.items()}


def add_game(root: Path, folder: str, number: int, **changes: Any) -> Path:
    """One game of task type ``number % 6``, with a trajectory file as ALFWorld's loader wants it."""
    task = generate(f"train:{number:06d}", size="small")
    draft = task.draft
    name = f"{OFFICIAL_NAMES[draft.task_type]}-{draft.target}-None-{draft.destination}-{number}"
    place = root / folder / changes.pop("name", name) / f"trial_T{number}"
    path = place / "game.tw-pddl"
    sentence = draft.sentence.removesuffix(".")
    solvable = changes.pop("solvable", True)
    write_game(path, *household_rules(), with_mangled_ids(task.problem), task=sentence, solvable=solvable)
    trajectory = {"task_type": changes.pop("task_type", OFFICIAL_NAMES[draft.task_type]), "scene": {}}
    (place / "traj_data.json").write_text(json.dumps(trajectory))
    assert not changes
    return path


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("ALFWORLD_DATA", raising=False)
    return tmp_path / "cache" / "sdar-gym"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Twelve games in three splits, below a folder as `alfworld-download` leaves it."""
    root = tmp_path / "alfworld" / "json_2.1.1"
    for number in range(6):
        add_game(root, "train", number)
    for number in range(6, 9):
        add_game(root, "valid_seen", number)
    for number in range(9, 12):
        add_game(root, "valid_unseen", number)
    return tmp_path / "alfworld"


def test_every_official_game_is_won_by_following_the_plan(data: Path):
    env = gym.make("sdar/ALFWorld-v0", data_dir=data)
    seen = set()
    for task_id in env.unwrapped.task_ids("train"):
        observation, info = env.reset(options={"task_id": task_id})
        assert observation.endswith("Your task is to: " + info["instruction"])
        assert info["skill_keys"][0] == info["task_type"]
        assert info["privileged"]["facts"]["scene"] == task_id.split("/")[1].rpartition("-")[2]
        seen.add(info["task_type"])
        terminated = False
        while not terminated:
            _, reward, terminated, _, info = env.step(info["privileged"]["next_action"])
        assert info["success"] and reward == 1.0 and info["privileged"]["plan"] == []
    assert len(seen) == 6


def test_splits_are_the_official_folders_and_task_ids_are_relative_paths(data: Path):
    env = ALFWorldEnv(split="valid_seen", data_dir=data)
    assert [len(env.task_ids(split)) for split in ("train", "valid", "test")] == [6, 3, 3]
    assert all(task_id.startswith("valid_seen/") for task_id in env.task_ids())
    assert list(env.task_ids()) == sorted(env.task_ids())
    assert (env.root / env.task_ids()[0]).is_file()
    assert env.task_ids("eval_out_of_distribution") == env.task_ids("test")


def test_the_data_folder_is_found_from_above_from_itself_and_from_the_environment(data: Path, monkeypatch):
    root = data / "json_2.1.1"
    assert find_root(data) == root == find_root(str(root))
    monkeypatch.setenv("ALFWORLD_DATA", str(data))
    assert ALFWorldEnv().root == root


def test_a_task_type_restricts_the_tasks(data: Path):
    env = ALFWorldEnv(data_dir=data, task_type="heat")
    assert len(env.task_ids()) == 1
    assert env.reset(seed=0)[1]["task_type"] == "heat"
    with pytest.raises(ValueError, match=r"'valid' in .* has no game of type heat"):
        ALFWorldEnv(split="valid", data_dir=data, task_type="heat")
    with pytest.raises(ValueError, match='nearest is "heat"'):
        ALFWorldEnv(data_dir=data, task_type="heats")


def test_selection_follows_the_official_rules(data: Path):
    root = data / "json_2.1.1"
    add_game(root, "train", 12, name="pick_and_place_with_movable_recep-Apple-Bowl-Fridge-1")
    add_game(root, "train", 13, name="pick_clean_then_place_in_recep-AppleSliced-None-Fridge-1")
    add_game(root, "train", 14, task_type="pick_and_place_with_movable_recep")
    add_game(root, "train", 15, solvable=False)
    (add_game(root, "train", 16).parent / "traj_data.json").unlink()
    add_game(root, "train", 17).unlink()
    path = add_game(root, "train", 18)
    content = json.loads(path.read_text())
    del content["solvable"]
    path.write_text(json.dumps(content))
    for _ in range(2):  # found anew, and read from the kept index
        with pytest.warns(UserWarning, match=r"^1 of 9 official games have no key 'solvable'.*first: train"):
            assert len(official_games(root, "train")) == 6


def test_a_split_without_any_mark_says_so(data: Path):
    root = data / "json_2.1.1"
    for game in official_games(root, "test"):
        content = json.loads((root / game.path).read_text())
        del content["solvable"]
        (root / game.path).write_text(json.dumps(content))
    with (
        pytest.warns(UserWarning, match="3 of 3 official games have no key 'solvable'"),
        pytest.raises(NoGamesError, match=r"has no game that is played .*3 of 3 official games have no key 'solvable'"),
    ):
        official_games(root, "test")


@pytest.mark.parametrize(
    "task_id", ["", "train/nowhere/game.tw-pddl", "../../etc/passwd", "train/../../x", "valid_seen", "train:000001"]
)
def test_only_indexed_games_are_opened(data: Path, task_id: str):
    env = ALFWorldEnv(data_dir=data)
    with pytest.raises(ValueError, match="expects the relative path of one of the"):
        env.reset(options={"task_id": task_id})


def test_an_unknown_game_is_refused_with_the_nearest(data: Path):
    env = ALFWorldEnv(data_dir=data)
    meant = env.task_ids("test")[1]
    with pytest.raises(ValueError, match=r"one of the 3 games of its split") as caught:
        env.reset(options={"task_id": meant.replace("game.tw-pddl", "game.json")})
    assert str(caught.value).endswith(f"the nearest is {meant!r}")


# The index.


def count_openings(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    opened: list[Path] = []
    load = official.load_json

    def counted(path: Path) -> dict[str, Any]:
        if not path.name.startswith("alfworld-"):  # the index in the cache
            opened.append(path)
        return load(path)

    monkeypatch.setattr(official, "load_json", counted)
    return opened


def test_a_second_start_opens_no_game(data: Path, cache: Path, monkeypatch):
    opened = count_openings(monkeypatch)
    root = data / "json_2.1.1"
    first = official_games(root, "train")
    assert len(opened) == 12
    assert len(list(cache.iterdir())) == 1
    assert official_games(root, "train") == first
    assert len(opened) == 12


def test_a_changed_file_makes_a_new_index(data: Path):
    root = data / "json_2.1.1"
    before = official_games(root, "train")
    path = root / before[0].path
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "solvable": False}))
    assert official_games(root, "train") == before[1:]


@pytest.mark.parametrize(
    "damage",
    ["", "[[1]]", "{", '[["a", "place"]]', '{"games": [["a", "unknown"]], "left_out": []}', '{"games": []}', "null"],
)
def test_a_damaged_index_is_made_anew(data: Path, cache: Path, damage: str):
    root = data / "json_2.1.1"
    games = official_games(root, "test")
    (index,) = cache.iterdir()
    index.write_text(damage)
    assert official_games(root, "test") == games
    held = {"games": [[game.path, game.task_type] for game in games], "left_out": []}
    assert json.loads(index.read_text()) == held


def test_a_home_that_cannot_be_written_costs_only_the_cache(data: Path, tmp_path: Path, monkeypatch):
    blocked = tmp_path / "a file"
    blocked.write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(blocked))
    assert len(official_games(data / "json_2.1.1", "train")) == 6


def test_without_a_home_the_cache_is_in_the_temporary_folder(monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME")

    def no_home() -> Path:
        raise RuntimeError("no home")

    monkeypatch.setattr(Path, "home", no_home)
    assert cache_folder().name == "sdar-gym"


# What is wrong, and what to do.


def test_without_data_the_error_says_what_to_download(tmp_path: Path, data: Path):
    with pytest.raises(NoGamesError, match=r"neither data_dir= nor \$ALFWORLD_DATA.*alfworld-download"):
        ALFWorldEnv()
    with pytest.raises(NoGamesError, match=r"no such folder.*alfworld-download"):
        ALFWorldEnv(data_dir=tmp_path / "nowhere")
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(NoGamesError, match=r"there is none.*alfworld-download"):
        ALFWorldEnv(data_dir=empty)
    (empty / "json_2.1.1" / "train").mkdir(parents=True)
    with pytest.raises(NoGamesError, match=r"missing or empty.*alfworld-download"):
        ALFWorldEnv(data_dir=empty)
    assert issubclass(NoGamesError, FileNotFoundError)


def test_broken_files_are_left_out_with_a_warning_that_names_one(data: Path):
    path = add_game(data / "json_2.1.1", "train", 19)
    path.write_text(path.read_text()[:500])
    with pytest.warns(UserWarning, match=r"1 of 7 official games are broken.*trial_T19"):
        env = ALFWorldEnv(data_dir=data)
    assert len(env.task_ids()) == 6


def test_a_game_that_breaks_after_it_was_indexed_is_named(data: Path):
    env = ALFWorldEnv(data_dir=data)
    task_id = env.task_ids()[0]
    (env.root / task_id).write_text('{"pddl_domain": "')
    with pytest.raises(GameFileError, match="trial_T"):
        env.reset(options={"task_id": task_id})
    os.unlink(env.root / task_id)
    with pytest.raises(GameFileError, match="cannot be read"):
        env.reset(options={"task_id": task_id})


def test_a_goal_that_is_none_of_the_six_is_named(data: Path):
    env = ALFWorldEnv(data_dir=data)
    task_id = env.task_ids()[0]
    content = json.loads((env.root / task_id).read_text())
    head, _, _ = content["pddl_problem"].partition("(:goal")
    content["pddl_problem"] = head + "(:goal (opened fridge_1)))"
    (env.root / task_id).write_text(json.dumps(content))
    with pytest.raises(GameFileError, match=r"trial_T.*expected the goal of one of the tasks"):
        env.reset(options={"task_id": task_id})


def rewritten(data: Path, *edits: tuple[str, str, str], **kwargs: Any) -> ALFWorldEnv:
    """The official environment after all its training games were changed: (key, old text, new text)."""
    for path in sorted((data / "json_2.1.1" / "train").rglob("game.tw-pddl")):
        content = json.loads(path.read_text())
        for key, old, new in edits:
            assert old in content[key]
            content[key] = content[key].replace(old, new)
        path.write_text(json.dumps(content))
    return ALFWorldEnv(data_dir=data, **kwargs)


def test_the_wording_of_the_oldest_releases_is_read_from_the_files(data: Path):
    """They put things in/on others, and say so in command and feedback; the plan speaks their language."""
    env = rewritten(
        data,
        ("grammar", "move {o} to {r}", "put {o} in/on {r}"),
        ("grammar", "You move the {o.name} to the {r.name}.", "You put the {o.name} in/on the {r.name}."),
    )
    puts = 0
    for task_id in env.task_ids():
        _, info = env.reset(options={"task_id": task_id})
        for action in info["privileged"]["plan"]:
            assert action in info["admissible_actions"] and not action.startswith("move ")
            observation, _, _, _, info = env.step(action)
            if action.startswith("put "):
                assert observation == "You put the {} in/on the {}.".format(*action[4:].split(" in/on "))
                puts += 1
        assert info["success"]
    assert puts >= 5


IN_PLAY = {
    "an action without a text": ("grammar", "action GotoLocation", "action WalkToLocation", "gotolocation"),
    "a command about nobody": ("grammar", "go to {r}", "go to {who}", "who"),
    "an introduction without a rule": ("grammar", "#surroundings#", "#nowhere#", "#nowhere#"),
    "a rule that derives itself": ("grammar", "#surroundings#", "#intro#", "nests more than"),
    "a feedback without a rule": (
        "grammar",
        "You arrive at {r.name}. #receptacle#",
        "You arrive. #nothing#",
        "#nothing#",
    ),
    "a feedback about nobody": ("grammar", "You arrive at {r.name}.", "You arrive at {who.name}.", "'who'"),
}


@pytest.mark.parametrize("kind", IN_PLAY)
@pytest.mark.parametrize("expose", [True, False])
def test_what_only_play_brings_to_light_names_the_file_too(data: Path, kind: str, expose: bool):
    *edit, complaint = IN_PLAY[kind]
    env = rewritten(data, tuple(edit), expose_privileged=expose)
    with pytest.raises(GameFileError, match=rf"trial_T.*game.tw-pddl: .*{complaint}"):
        _, info = env.reset(seed=0)
        env.step(next(action for action in info["admissible_actions"] if action.startswith("go to")))


# The suite's contract.


def test_official_games_keep_the_suites_contract(data: Path, monkeypatch):
    monkeypatch.setenv("ALFWORLD_DATA", str(data))
    report = check_text_env("sdar/ALFWorld-v0", episodes=4, hostile_actions=120, sessions=6, split_tasks=20)
    assert {result.name for result in report.results if result.skipped} == ASKS_FOR_A_FUNCTION


def test_alfworlds_own_domain_and_grammar_are_played_to_the_win(tmp_path: Path):
    root = tmp_path / "json_2.1.1"
    written = [
        household_games.write_official(root / "valid_unseen", f"train:{number:06d}", seed=number) for number in range(6)
    ]
    env = ALFWorldEnv(split="test", data_dir=root)
    assert len(env.task_ids()) == 6
    for game in written:
        _, info = env.reset(options={"task_id": game.path.relative_to(root).as_posix()})
        assert (info["task_type"], info["instruction"]) == (game.task_type, f"{game.sentence}.")
        plan = info["privileged"]["plan"]
        for action in plan:
            assert action in info["admissible_actions"]
            _, _, terminated, _, info = env.step(action)
        assert terminated and info["success"]
