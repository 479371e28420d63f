"""sdar/WebShop-v0 as a user meets it: episodes, rewards, modes, options."""

from __future__ import annotations

import warnings
from typing import Any

import gymnasium as gym
import pytest
from gymnasium.utils.env_checker import check_env
from page_reader import read_page

import sdar_envs
from sdar_envs.randomness import counted_generator
from sdar_envs.webshop.env import SEARCH_TEMPLATE, WebShopEnv
from sdar_envs.webshop.html import page_html
from sdar_envs.webshop.instructions import PHRASINGS
from sdar_envs.webshop.shoppers import read_request, read_results
from sdar_envs.webshop.taxonomy import SIZES

gym.register_envs(sdar_envs)
SPLITS = ("train", "valid", "test")


def begin(env: WebShopEnv, task_id: str) -> tuple[str, dict[str, Any]]:
    return env.reset(options={"task_id": task_id})


def follow_plan(env: WebShopEnv, task_id: str) -> int:
    """Follow the plan to the end; the number of steps it took."""
    _, info = begin(env, task_id)
    expected = len(info["privileged"]["plan"])
    for step in range(1, expected + 1):
        _, reward, terminated, truncated, info = env.step(info["privileged"]["next_action"])
        assert info["is_action_valid"] and not truncated
        assert terminated == (step == expected) == info["success"] == bool(reward)
    assert info["score"] == reward == 1.0
    return expected


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("split", SPLITS)
def test_following_the_plan_scores_one_on_every_split(size: str, split: str):
    env = WebShopEnv(split=split, size=size)
    # Every request once.
    for task_id in env.task_ids()[:140]:
        assert follow_plan(env, task_id) <= min(env.horizon, 15)


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("split", SPLITS)
def test_following_the_plan_scores_one_in_other_stores(size: str, split: str):
    for seed in range(5):
        env = WebShopEnv(split=split, size=size, world_seed=seed, strict_options=seed % 2 == 0)
        for task_id in env.task_ids():
            assert follow_plan(env, task_id) <= min(env.horizon, 15)


@pytest.mark.parametrize("size", SIZES)
def test_gymnasiums_own_checker_passes_without_a_warning(size: str):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(gym.make("sdar/WebShop-v0", size=size, render_mode="ansi").unwrapped)


def test_an_episode_goes_from_the_search_page_to_the_purchase():
    env = WebShopEnv(size="small")
    observation, info = begin(env, "train:000001")
    instruction = info["instruction"]
    assert observation == f"WebShop [SEP] Instruction: [SEP] {instruction} [SEP] Search"
    assert info["admissible_actions"] == ["search[<query>]"]
    wanted = read_request(instruction)
    results, *_, info = env.step(f"search[{wanted.use} {wanted.kind}]")
    head = f"Instruction: [SEP] {instruction} [SEP] Back to Search [SEP] Page 1 (Total results: "
    assert results.startswith(head) and len(read_results(results)) == 3
    listed = [one.asin for one in read_results(results)]
    assert info["admissible_actions"] == [
        f"click[{name}]" for name in ("back to search", "next >", *map(str.lower, listed))
    ]
    item, *_, info = env.step(f"click[{listed[0].lower()}]")
    assert item.endswith("Description [SEP] Features [SEP] Reviews [SEP] Buy Now")
    assert info["admissible_actions"][:6] == [
        f"click[{name}]" for name in ("back to search", "< prev", "description", "features", "reviews", "buy now")
    ]
    features, *_ = env.step("click[features]")
    assert features.startswith(f"Instruction: [SEP] {instruction} [SEP] Back to Search [SEP] < Prev [SEP] ")
    assert env.step("click[< prev]")[0] == item
    assert env.step("click[< prev]")[0] == results
    assert env.step("click[next >]")[0].startswith(head.replace("Page 1", "Page 2"))
    env.step(f"search[{wanted.kind}]")
    env.step(f"click[{read_results(env._last_observation)[0].asin}]")  # upper case is understood too
    done, reward, terminated, _, info = env.step("click[buy now]")
    assert terminated and 0 < reward < 1 and reward == info["score"] and not info["success"]
    assert done.startswith("Thank you for shopping with us!") and f"[SEP] {reward} [SEP]" in done
    assert info["admissible_actions"] == []


def test_a_search_is_accepted_on_every_page_and_pages_past_the_end_are_empty():
    env = WebShopEnv(size="small", horizon=40)
    begin(env, "train:000000")
    env.step("search[shirt]")
    for number in range(2, 20):
        text, *_, info = env.step("click[next >]")
        assert f"Page {number} (Total results: " in text
    assert info["admissible_actions"] == ["click[back to search]", "click[< prev]", "click[next >]"]
    text, *_, info = env.step("search[no such thing anywhere]")
    assert "Page 1 (Total results: 0)" in text and info["is_action_valid"]


@pytest.mark.parametrize(
    "action",
    [
        "",
        "look",
        "search[]",
        "search",
        "search shirt",
        "click[]",
        "click[search]",
        "click[buy now]",
        "click[b000000000]",
        "Search[shirt]",
        " ]click[",
        "buy now",
        "search [shirt]",
    ],
)
def test_what_is_not_understood_changes_nothing(action: str):
    env = WebShopEnv(size="small")
    before, _ = begin(env, "train:000003")
    after, reward, terminated, truncated, info = env.step(action)
    assert (after, reward, terminated, truncated, info["is_action_valid"]) == (before, 0.0, False, False, False)


@pytest.mark.parametrize("query", ["<r>", "<a> cotton", "<c> fashion", "<q> shirt", "%s{}[0]", "]", "a" * 400])
def test_the_originals_magic_queries_are_ordinary_text(query: str):
    env = WebShopEnv(size="small")
    begin(env, "train:000003")
    text, *_, info = env.step(f"search[{query}]")
    assert "Total results" in text and info["is_action_valid"]


def test_searching_for_the_targets_id_finds_nothing():
    env = WebShopEnv(size="small")
    _, info = begin(env, "train:000003")
    assert "Total results: 0" in env.step(f"search[{info['privileged']['facts']['target']}]")[0]


def test_sparse_reward_pays_ten_for_a_whole_purchase_and_nothing_else():
    env = WebShopEnv(size="small", reward="sparse10")
    _, info = begin(env, "train:000001")
    plan = info["privileged"]["plan"]
    assert [env.step(action)[1] for action in plan] == [0.0] * (len(plan) - 1) + [10.0]
    begin(env, "train:000001")
    for action in [*plan[:2], "click[buy now]"]:
        _, reward, terminated, _, info = env.step(action)
    assert terminated and reward == 0.0 and 0 < info["score"] < 1


def test_the_horizon_truncates_and_a_purchase_in_the_last_step_counts():
    env = WebShopEnv(size="small", horizon=4)
    _, info = begin(env, "train:000001")
    assert len(info["privileged"]["plan"]) == 4
    for action in info["privileged"]["plan"]:
        _, _, terminated, truncated, info = env.step(action)
    assert terminated and not truncated and info["success"]
    begin(env, "train:000001")
    for _ in range(4):
        _, _, terminated, truncated, _ = env.step("look")
    assert truncated and not terminated
    with pytest.raises(gym.error.ResetNeeded):
        env.step("look")


@pytest.mark.parametrize("mode", ["text_rich", "html", "url"])
def test_modes_show_the_same_walk_in_another_form(mode: str):
    plain, other = (WebShopEnv(size="small", observation_mode=name) for name in ("text", mode))
    _, info = begin(plain, "test:000005")
    begin(other, "test:000005")
    for action in [
        *info["privileged"]["plan"][:2],
        "click[features]",
        "click[< prev]",
        *info["privileged"]["plan"][2:],
    ]:
        text, reward, *_ = plain.step(action)
        shown, other_reward, _, _, other_info = other.step(action)
        assert reward == other_reward
        if mode == "html":
            assert read_page(shown).text == text
        elif mode == "url":
            assert shown.startswith("http://127.0.0.1:3000/") and "test:000005" in shown
        else:
            session = other.session
            assert shown == session.page.rich_text(other_info["instruction"], session.chosen, session.visited)


@pytest.mark.parametrize(("size", "enough"), [("small", 600), ("full", 500)])
def test_html_and_direct_rendering_agree_on_a_thousand_random_steps(size: str, enough: int):
    steps = 0
    env = WebShopEnv(size=size, split="test", horizon=25, show_attributes=True, expose_privileged=False)
    rng = counted_generator("test", "pages")
    for task_id in env.task_ids():
        _, info = begin(env, task_id)
        wanted, over = read_request(info["instruction"]), False
        while not over:
            actions = info["admissible_actions"]
            action = actions[int(rng.integers(len(actions)))]
            if action == SEARCH_TEMPLATE or rng.random() < 0.1:
                action = f"search[{(wanted.use, wanted.material, wanted.style)[int(rng.integers(3))]} {wanted.kind}]"
            text, _, terminated, truncated, info = env.step(action)
            session, over = env.session, terminated or truncated
            read = read_page(page_html(session, info["instruction"]))
            assert read.text == text
            assert read.rich_text == session.page.rich_text(info["instruction"], session.chosen, session.visited)
            assert read.clickables == list(session.page.clickables)
            assert read.has_search_bar == session.page.has_search_bar
            steps += 1
        if steps >= enough:
            return
    raise AssertionError(f"only {steps} steps")


# Options.


@pytest.mark.parametrize(
    ("kwargs", "said"),
    [
        ({"split": "trian"}, "train"),
        ({"size": "smal"}, "small"),
        ({"task_type": "shoes"}, "footwear"),
        ({"observation_mode": "rich"}, "text_rich"),
        ({"reward": "dense"}, "score"),
        ({"num_products": -1}, "num_products"),
        ({"num_products": 2.5}, "num_products"),
        ({"regularity": 1.5}, "regularity"),
        ({"world_seed": "7"}, "world_seed"),
        ({"stale": 2}, "stale"),
        ({"retrieval": "al"}, "all"),
        ({"strict_options": "no"}, "strict_options"),
        ({"show_attributes": 1}, "show_attributes"),
        ({"horizon": 0}, "horizon"),
    ],
)
def test_wrong_options_are_refused_by_name(kwargs: dict[str, Any], said: str):
    with pytest.raises(ValueError, match=said):
        WebShopEnv(**kwargs)


def test_a_department_alone_can_be_played_and_an_unknown_task_is_refused():
    env = WebShopEnv(size="small", task_type="footwear")
    assert {begin(env, task_id)[1]["task_type"] for task_id in env.task_ids()[:20]} == {"footwear"}
    with pytest.raises(ValueError, match="numbered from 0"):
        begin(env, "train:999999")


def test_a_store_without_products_has_no_tasks_and_says_so():
    env = WebShopEnv(size="small", num_products=0)
    assert len(env.task_ids()) == 0
    with pytest.raises(ValueError, match="at least one task"):
        env.reset(seed=0)


def test_environments_of_one_kind_share_one_store():
    one, other = (WebShopEnv(size="small", split="valid") for _ in range(2))
    assert one.source is other.source
    begin(one, "valid:000000"), begin(other, "valid:000001")
    assert one.session.shelves is other.session.shelves


def test_attributes_have_a_page_of_their_own_where_that_is_asked_for():
    env = WebShopEnv(size="small", show_attributes=True)
    _, info = begin(env, "train:000001")
    for action in info["privileged"]["plan"][:2]:
        info = env.step(action)[4]
    assert "click[attributes]" in info["admissible_actions"]
    text = env.step("click[attributes]")[0]
    assert all(f"[SEP] {attribute}" in text for attribute in info["privileged"]["facts"]["attributes"])


def test_every_phrasing_is_met():
    env = WebShopEnv(size="small")
    starts = {begin(env, task_id)[1]["instruction"].split()[0] for task_id in env.task_ids()[: 7 * 16 * 7]}
    assert len(starts) >= len({phrasing.split()[0] for phrasing in PHRASINGS})
