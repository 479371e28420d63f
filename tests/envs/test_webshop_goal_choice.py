"""Which official goals are played where the user does not say, what is said of it, and which products splits share."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import gymnasium as gym
import pytest
import webshop_official
from official_store import real_tasks, store_folder

import sdar_envs
from sdar_envs.webshop import official_tasks
from sdar_envs.webshop.goals import index_splits
from sdar_envs.webshop.official_tasks import OfficialTasks

gym.register_envs(sdar_envs)
SPLITS = ("train", "valid", "test")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return webshop_official.write(tmp_path)


def test_without_a_word_the_more_numerous_goals_are_played_and_the_others_named(
    folder: Path, caplog: pytest.LogCaptureFixture
):
    env = gym.make("sdar/WebShop-v0", data_dir=str(folder)).unwrapped
    assert (env.goals, env.goal_counts) == ("synthetic", {"human": 4, "synthetic": 70})
    assert len(env.task_ids("train")) == 56
    (line,) = [record.getMessage() for record in caplog.records if "goals are played" in record.getMessage()]
    assert "70 synthetic goals" in line and "56 of train" in line and "also 4 human ones: goals='human'" in line


def test_what_the_user_chose_is_not_said_aloud(folder: Path, caplog: pytest.LogCaptureFixture):
    for goals, count in (("human", 4), ("synthetic", 70)):
        with caplog.at_level(logging.WARNING):
            env = gym.make("sdar/WebShop-v0", data_dir=str(folder), goals=goals).unwrapped
        assert env.goals == goals and env.goal_counts == {goals: count}
    assert not [record for record in caplog.records if "goals are played" in record.getMessage()]


def test_the_chosen_goals_are_those_of_the_explicit_choice(folder: Path):
    chosen, explicit = OfficialTasks(folder), OfficialTasks(folder, goals="synthetic")
    assert [chosen.goal(n) for n in range(70)] == [explicit.goal(n) for n in range(70)]
    assert dict(chosen.store.prices) == dict(explicit.store.prices)


def test_human_goals_are_played_where_they_are_more_or_enough(folder: Path, monkeypatch: pytest.MonkeyPatch):
    asked = webshop_official.human()["B0AAAAAA07"] * 71
    (folder / webshop_official.HUMAN_FILE).write_text(json.dumps({"B0AAAAAA07": asked}), encoding="utf-8")
    tasks = OfficialTasks(folder)
    assert (tasks.goals, tasks.goal_counts) == ("human", {"human": 71, "synthetic": 70})
    webshop_official.write(folder)
    monkeypatch.setattr(official_tasks, "ENOUGH_GOALS", 4)
    tasks = OfficialTasks(folder)
    assert (tasks.goals, tasks.goal_counts) == ("human", {"human": 4})


def test_without_the_file_of_human_goals_there_is_no_choice(folder: Path, caplog: pytest.LogCaptureFixture):
    (folder / webshop_official.HUMAN_FILE).unlink()
    tasks = OfficialTasks(folder)
    assert (tasks.goals, tasks.goal_counts) == ("synthetic", {"synthetic": 70})
    assert not caplog.records or "goals are played" not in caplog.text


def test_a_generated_store_has_no_kinds_of_goals():
    env = gym.make("sdar/WebShop-v0", size="small").unwrapped
    assert (env.goals, env.goal_counts) == (None, {})


@pytest.mark.official
def test_the_real_small_files_are_played_with_their_synthetic_goals(caplog: pytest.LogCaptureFixture):
    tasks = OfficialTasks(store_folder())
    assert tasks.goals == "synthetic" and tasks.goal_counts["human"] < 20 < 1_000 < tasks.goal_counts["synthetic"]
    assert len(tasks) == tasks.goal_counts["synthetic"]
    assert {split: len(tasks.ids(split)) for split in SPLITS} == {
        split: len(numbers) for split, numbers in index_splits(len(tasks)).items()
    }
    assert f"also {tasks.goal_counts['human']} human ones" in caplog.text


@pytest.mark.official
def test_by_index_products_of_test_are_trained_on_and_by_product_none_is():
    def shared(split_by: str, split: str) -> tuple[int, int]:
        tasks = real_tasks("synthetic", split_by)
        products = {name: {tasks.task(task_id).cluster for task_id in tasks.ids(name)} for name in SPLITS}
        return len(products[split] & products["train"]), len(products[split])

    for split in ("valid", "test"):
        in_train, of = shared("index", split)
        assert in_train > 0.8 * of > 0
        in_train, of = shared("product", split)
        assert in_train == 0 < of
