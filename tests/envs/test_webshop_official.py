"""Official files: read whole and streamed, in memory and on disk, with the original's goals, splits and prices."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import webshop_official
from page_reader import read_page

from sdar_envs.webshop import official
from sdar_envs.webshop.env import WebShopEnv
from sdar_envs.webshop.export import export_official
from sdar_envs.webshop.generator import generate
from sdar_envs.webshop.goals import SHUFFLE_SEED, draw_bound, index_splits, shuffled
from sdar_envs.webshop.json_stream import DataFileError
from sdar_envs.webshop.official_tasks import OfficialTasks


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return webshop_official.write(tmp_path)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported")
    export_official(generate("full", "train", num_products=200), folder)
    return folder


# Round trip.


def test_an_exported_store_reads_back_as_it_was(exported: Path):
    made = generate("full", "train", num_products=200)
    data = official.load(official.find_files(exported))
    assert list(data.catalog) == list(made.catalog)
    assert not data.trouble
    queries = [request.query for some in made.requests.values() for request in some]
    assert [data.index.search(query) for query in queries] == [made.store.index.search(query) for query in queries]


@pytest.mark.parametrize("goals", ["human", "synthetic"])
def test_the_expert_scores_one_on_every_exported_goal(exported: Path, goals: str):
    env = WebShopEnv(data_dir=str(exported), goals=goals, split="train")
    assert len(env.task_ids()) > 100
    for task_id in env.task_ids()[:120]:
        _, info = env.reset(options={"task_id": task_id})
        over = False
        while not over:
            _, _, terminated, truncated, info = env.step(info["privileged"]["next_action"])
            over = terminated or truncated
        assert info["success"], info["instruction"]


def store_of(tmp_path: Path, items: list[dict[str, Any]], **more: Any) -> WebShopEnv:
    """A store of these records; the last one is wanted."""
    wanted = {"attributes": ["soft"], "instruction": "find it", "instruction_attributes": ["soft"]}
    asked = {
        "instruction": "find it",
        "instruction_attributes": ["soft"],
        "instruction_options": more.pop("options", []),
    }
    (tmp_path / "items_shuffle.json").write_text(json.dumps(items), encoding="utf-8")
    (tmp_path / "items_ins_v2.json").write_text(json.dumps({items[-1]["asin"]: wanted}), encoding="utf-8")
    (tmp_path / "items_human_ins.json").write_text(json.dumps({items[-1]["asin"]: [asked]}), encoding="utf-8")
    return WebShopEnv(data_dir=str(tmp_path), **more)


def follow(env: WebShopEnv) -> dict[str, Any]:
    """Follow the plan, whose every step must be understood."""
    info = env.reset(seed=0)[1]
    for _ in range(len(info["privileged"]["plan"])):
        info = env.step(info["privileged"]["next_action"])[4]
        assert info["is_action_valid"]
    return info


@pytest.mark.parametrize("strict", [True, False])
def test_a_plan_chooses_options_that_a_click_can_choose(tmp_path: Path, strict: bool):
    """Of a value in two groups the later group's is chosen, and an option called like a button is the button."""
    names = {"fit": ("large", "x"), "size": ("large", "description"), "extra": ("description", "buy now")}
    options = {group: [{"value": value} for value in values] for group, values in names.items()}
    items = [{"asin": "B1", "name": "soft hat", "customization_options": options}]
    env = store_of(tmp_path, items, options=["large"], strict_options=strict)
    assert follow(env)["success"]
    env = store_of(tmp_path, items, options=["large"], strict_options=strict, goals="synthetic")
    facts = env.reset(seed=0)[1]["privileged"]["facts"]
    assert not {"description", "buy now"} & set(facts["options"].values())


def test_an_empty_option_counts_as_in_the_original_and_is_nowhere_to_be_seen(tmp_path: Path):
    options = {"fit": [{"value": ""}, {"value": "loose"}]}
    items = [{"asin": "B1", "name": "soft hat", "customization_options": options}]
    env = store_of(tmp_path, items, goals="synthetic", observation_mode="html")
    assert [goal.options for goal in env.source._goals] == [(("fit", ""),), (("fit", "loose"),)]
    for task_id in env.task_ids():
        env.reset(options={"task_id": task_id})
        env.step("search[hat]")
        html, *_, info = env.step("click[b1]")
        read = read_page(html)
        assert read.text == env.session.page.text(info["instruction"])
        assert read.clickables == list(env.session.page.clickables) and "" not in read.clickables
        assert "" not in info["privileged"]["facts"]["options"].values()


@pytest.mark.parametrize(
    "title", [" ".join(f"word{n}" for n in range(150)), "soft\u200bly red\u00a0h\u00adat\u2028", "y" * 900], ids=len
)
def test_a_plan_searches_with_what_an_action_can_carry(tmp_path: Path, title: str):
    lures = [{"asin": f"A{n}", "name": "soft find"} for n in range(60)]
    env = store_of(tmp_path, [*lures, {"asin": "B1", "name": title}])
    plan = env.reset(seed=0)[1]["privileged"]["plan"]
    assert all(len(action) <= env.max_action_length and action.isprintable() for action in plan)
    if " " in title:
        assert "click[b1]" in plan
        assert env.step(plan[0])[4]["privileged"]["plan"] == plan[1:]


def test_what_no_known_search_lists_is_not_called_done(tmp_path: Path):
    env = store_of(tmp_path, [{"asin": f"A{n:02d}", "name": "soft hat"} for n in range(60)])
    privileged = env.reset(seed=0)[1]["privileged"]
    assert privileged["plan"] == [] and privileged["next_action"] == ""
    said = " ".join(privileged["hints"])
    assert "A59" in said and "Nothing is left" not in said and "next action" not in said and "search" not in said


@pytest.mark.parametrize(("kind", "other"), [("human", "synthetic"), ("synthetic", "human")])
def test_a_store_without_goals_says_what_was_read_and_what_to_try(tmp_path: Path, kind: str, other: str):
    with pytest.raises(DataFileError, match=f"one {kind} goal .* got none about the 0 .* goals='{other}'"):
        store_of(tmp_path, [{"asin": "B1", "name": "soft hat"}], num_products=0, goals=kind)
    with pytest.raises(DataFileError, match=f"one {kind} goal .* got none about the 1 .* goals='{other}'"):
        store_of(tmp_path, [{"asin": "B1", "name": "hat"}, {"asin": "B2", "name": "cap"}], num_products=1, goals=kind)


def test_ids_that_differ_in_case_alone_stay_apart(tmp_path: Path):
    env = store_of(tmp_path, [{"asin": "B0A", "name": "soft hat"}, {"asin": "b0a", "name": "soft shoe"}])
    env.reset(seed=0)
    for query, asin in (("hat", "B0A"), ("shoe", "b0a")):
        env.step(f"search[{query}]")
        env.step("click[b0a]")
        assert env.session.asin == asin


# On disk.


def test_a_catalogue_on_disk_is_the_one_in_memory(folder: Path, exported: Path):
    for where in (folder, exported):
        files = official.find_files(where)
        memory, disk = official.load(files), official.load(files, in_memory=0)
        assert list(disk.catalog) == list(memory.catalog) and len(disk.catalog) == len(memory.catalog)
        assert list(disk.catalog.asins) == list(memory.catalog.asins)
        assert dict(disk.synthetic) == dict(memory.synthetic)
        assert all(disk.catalog.product(asin) == memory.catalog.product(asin) for asin in memory.catalog.asins)
        for query in ("cotton shirt", "red", "tea of the"):
            assert disk.index.scored(query) == memory.index.scored(query)
        with pytest.raises(KeyError):
            disk.catalog.product("nothing")


def test_a_catalogue_on_disk_is_built_once_and_anew_when_a_file_changes(folder: Path, monkeypatch: pytest.MonkeyPatch):
    files = official.find_files(folder)
    official.load(files, in_memory=0)
    built: list[Path] = []
    build = official.build
    monkeypatch.setattr(official, "build", lambda where, *rest: (built.append(where), build(where, *rest)))
    official.load(files, in_memory=0)
    assert built == []
    official.load(files, in_memory=0, num_products=5)
    content = json.loads(files.items.read_text("utf-8"))
    content[0]["name"] = "Another name"
    files.items.write_text(json.dumps(content), encoding="utf-8")
    assert official.load(files, in_memory=0).catalog.product("B0AAAAAA01").title == "Another name"
    assert len(set(built)) == 2


def test_an_interrupted_build_leaves_nothing(folder: Path):
    files = official.find_files(folder)
    text = files.items.read_text("utf-8")
    files.items.write_text(text[: len(text) // 2], encoding="utf-8")
    with pytest.raises(DataFileError, match="ends within the record"):
        official.load(files, in_memory=0)
    assert [p.name for p in official.kept_folder(files, None).parent.iterdir()] == ["digests.json"]
    files.items.write_text(text, encoding="utf-8")
    assert len(official.load(files, in_memory=0).catalog) == 22


def test_two_processes_that_build_at_once_end_with_one_catalogue(folder: Path, monkeypatch: pytest.MonkeyPatch):
    files, replace = official.find_files(folder), os.replace

    def meanwhile(partial: Path, where: Path) -> None:
        if Path(where).suffix != ".json":
            shutil.copytree(partial, where)  # the other one is quicker
        replace(partial, where)

    monkeypatch.setattr("sdar_envs.files.os.replace", meanwhile)
    assert len(official.load(files, in_memory=0).catalog) == 22
    assert not list(official.kept_folder(files, None).parent.glob(".partial-*"))


# Goals and splits.


def test_the_shuffle_is_the_originals_for_any_number_of_goals():
    for count in (0, 1, 10, 6910):
        goals = list(range(count))
        random.Random(SHUFFLE_SEED).shuffle(goals)
        assert shuffled(count) == goals


def test_splits_are_the_originals_ranges_and_tenths_where_these_would_leave_nothing():
    assert index_splits(12_087) == {"test": range(500), "valid": range(500, 1500), "train": range(1500, 12_087)}
    assert index_splits(100) == {"test": range(10), "valid": range(10, 20), "train": range(20, 100)}
    assert [len(numbers) for numbers in index_splits(4).values()] == [0, 0, 4]


def test_bounds_are_the_second_third_or_fourth_ten_above_the_price():
    rng = random.Random(0)
    for price, tens in ((14.5, (30, 40, 50)), (20.0, (40, 50, 60)), (971.0, (990,)), (9.99, (20, 30, 40))):
        drawn = Counter(draw_bound(price, rng)[0] for _ in range(600))
        assert set(drawn) == set(map(float, tens))
        if len(tens) == 3:
            # One, two and three of the six pairs.
            assert [round(drawn[ten] / 100) for ten in tens] == pytest.approx([1, 2, 3], abs=0.5)
    assert draw_bound(980.0, rng) == (1_000_000.0, "")
    assert draw_bound(10.0, rng)[1].startswith(", and price lower than ")


def test_all_environments_number_goals_alike_and_splits_share_none(folder: Path):
    one, other = (OfficialTasks(folder, goals="synthetic") for _ in range(2))
    assert [one.goal(n) for n in range(len(one))] == [other.goal(n) for n in range(len(one))]
    ids = {split: set(one.ids(split)) for split in ("train", "valid", "test")}
    assert sum(map(len, ids.values())) == len(one) == 70
    by_product = OfficialTasks(folder, goals="synthetic", split_by="product")
    asins = {s: {by_product.task(t).cluster for t in by_product.ids(s)} for s in ("train", "valid", "test")}
    assert not asins["train"] & asins["valid"] and not asins["train"] & asins["test"]
    assert sum(len(by_product.ids(split)) for split in asins) == 70


def test_another_price_seed_moves_prices_and_bounds_and_not_the_order(folder: Path):
    one, other = (OfficialTasks(folder, goals="synthetic", price_seed=seed) for seed in (0, 1))
    assert [one.goal(n).asin for n in range(70)] == [other.goal(n).asin for n in range(70)]
    assert [one.goal(n).price_upper for n in range(70)] != [other.goal(n).price_upper for n in range(70)]
    assert 39.0 <= one.store.prices["B0AAAAAA02"] <= 59.5 != other.store.prices["B0AAAAAA02"]


@pytest.mark.parametrize("count", [1, 2, 7])
def test_any_number_of_records_from_the_front_of_the_file_is_a_store(folder: Path, count: int):
    env = WebShopEnv(data_dir=str(folder), goals="synthetic", num_products=count, split="train")
    front = list(dict.fromkeys(item["asin"] for item in webshop_official.items()[:count]))
    assert {env.source.task(task_id).goal.asin for task_id in env.task_ids()} <= set(front)
    assert list(env.source.store.catalog.asins) == [asin for asin in front if asin != "nan" and len(asin) <= 10]
    _, info = env.reset(seed=0)
    while info["privileged"]["plan"]:
        info = env.step(info["privileged"]["next_action"])[4]
    assert info["success"]


def test_departments_come_from_the_category_and_in_fashion_from_words(folder: Path):
    source = OfficialTasks(folder, goals="synthetic")
    found = {source.goal(n).asin: source.task(f"train:{n:06d}").task_type for n in range(14, 70)}
    assert found["B0AAAAAA02"] == "footwear" and found["B0AAAAAA05"] == "beauty_health"
    assert found["B0AAAAAA07"] == "other" and found["B0BBBBBB01"] == "apparel"
    shoes = source.ids("train", "footwear")
    assert len(shoes) > 2 and all(source.task(task_id).task_type == "footwear" for task_id in shoes)


def test_skills_of_official_goods_are_prose_without_the_generated_regularities(folder: Path):
    env = WebShopEnv(data_dir=str(folder), goals="synthetic")
    _, info = env.reset(seed=0)
    skills = info["privileged"]["skills"]
    assert skills["lines"] == [] and len(skills["general"].split()) > 150 and len(skills["task"].split()) > 80


# Choices.


def test_missing_files_and_unknown_choices_are_named(folder: Path, tmp_path_factory: pytest.TempPathFactory):
    empty = tmp_path_factory.mktemp("empty")
    with pytest.raises(ValueError, match="items_shuffle"):
        WebShopEnv(data_dir=str(empty))
    with pytest.raises(ValueError, match="items_shuffle"):
        WebShopEnv(data_dir=str(folder), data_variant="full")
    with pytest.raises(ValueError, match="synthetic"):
        WebShopEnv(data_dir=str(folder), goals="synthetc")
    with pytest.raises(ValueError, match="product"):
        WebShopEnv(data_dir=str(folder), split_by="products")
    for kwargs in ({"size": "small"}, {"regularity": 0.5}, {"stale": 0.3}):
        with pytest.raises(ValueError, match=f"{next(iter(kwargs))} only of generated"):
            WebShopEnv(data_dir=str(folder), **kwargs)
    for kwargs in ({"goals": "synthetic"}, {"data_variant": "1000"}, {"split_by": "product"}, {"price_seed": 1}):
        with pytest.raises(ValueError, match=f"{next(iter(kwargs))} only of official files.*data_dir"):
            WebShopEnv(**kwargs)
    with pytest.raises(ValueError, match="path of a folder, got 5"):
        WebShopEnv(data_dir=5)
    (folder / webshop_official.HUMAN_FILE).unlink()
    with pytest.raises(ValueError, match="human"):
        WebShopEnv(data_dir=str(folder), goals="human")
    (folder / webshop_official.ATTRIBUTES_FILE).unlink()
    with pytest.raises(ValueError, match="items_ins_v2_1000"):
        WebShopEnv(data_dir=str(folder), goals="synthetic")


def test_an_unknown_goal_number_is_refused_with_the_range(folder: Path):
    env = WebShopEnv(data_dir=str(folder), goals="synthetic", split="test")
    with pytest.raises(ValueError, match="0 to 69"):
        env.reset(options={"task_id": "test:000007"})
    with pytest.raises(ValueError, match="train:000123"):
        env.reset(options={"task_id": "goal 7"})
