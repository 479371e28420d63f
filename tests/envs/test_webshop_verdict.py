"""What a purchase missed, where it is said, and that the original's page stays what it is."""

from __future__ import annotations

import dataclasses
from typing import Any

import gymnasium as gym
import pytest
from page_reader import read_page
from test_webshop_reward import SHIRT, WANTED

import sdar_envs
from sdar_envs.webshop.catalog import Product
from sdar_envs.webshop.env import WebShopEnv
from sdar_envs.webshop.goals import NO_BOUND
from sdar_envs.webshop.reward import judge
from sdar_envs.webshop.verdict import verdict

gym.register_envs(sdar_envs)


def test_every_part_of_the_score_has_a_line_that_names_what_was_missed():
    goal = dataclasses.replace(WANTED, attributes=("long sleeve", "machine wash"), options=(("color", "navy"), "large"))
    assert verdict(judge(SHIRT, 40.0, {"size": "large"}, goal), goal) == (
        "Kind of thing: what was wanted",
        "Attributes: 1 of 2; missed: machine wash",
        "Options: 1 of 2; missed: color: navy",
        "Price: within the bound of 40.00 dollars",
    )
    assert (
        verdict(judge(SHIRT, 40.5, {"size": "large"}, WANTED), WANTED)[3] == "Price: above the bound of 40.00 dollars"
    )


def test_a_whole_purchase_misses_nothing_and_what_was_not_asked_for_is_not_missed():
    goal = dataclasses.replace(WANTED, options=(), price_upper=NO_BOUND)
    assert verdict(judge(SHIRT, 40.0, {}, goal), goal) == (
        "Kind of thing: what was wanted",
        "Attributes: 2 of 2",
        "Options: none was asked for",
        "Price: within no bound",
    )


@pytest.mark.parametrize(
    ("shared", "said"), [(0, "so nothing else counts"), (1, "a tenth"), (2, "a half"), (5, "wanted")]
)
def test_another_kind_of_thing_says_what_it_costs(shared: int, said: str):
    goal = dataclasses.replace(WANTED, name=" ".join(f"noun{'abcdefghijklmnopqrst'[n]}" for n in range(20)))
    bought = judge(Product("B1", " ".join(goal.name.split()[:shared]), query="other"), 1.0, {}, goal)
    assert verdict(bought, goal)[0].endswith(said)


def bought_without_options(**kwargs: Any) -> tuple[str, WebShopEnv, dict[str, Any]]:
    env: Any = gym.make("sdar/WebShop-v0", size="small", **kwargs).unwrapped
    _, info = env.reset(options={"task_id": "train:000001"})
    assert env.verdict == () and env.purchase is None
    plan = info["privileged"]["plan"]
    assert len(plan) == 4
    for action in (*plan[:2], plan[-1]):
        shown, _, over, _, info = env.step(action)
    assert over
    return shown, env, info


@pytest.mark.parametrize("mode", ["text", "text_rich", "html", "url"])
def test_the_page_says_it_where_it_is_asked_to_and_is_the_originals_otherwise(mode: str):
    plain, env, info = bought_without_options(observation_mode=mode)
    told, explained, same = bought_without_options(observation_mode=mode, done_page="explained")
    assert info == same and env.verdict == explained.verdict and len(env.verdict) == 4
    assert env.verdict[2].startswith("Options: 0 of 1; missed: ")
    assert env.purchase is not None and env.purchase.parts()["r_option"] == 0.0
    for line in env.verdict:
        assert line not in plain and (line in told) == (mode != "url")
    if mode == "text":
        assert told == " [SEP] ".join((plain, *env.verdict))
    if mode == "text_rich":
        assert told == plain + "".join(f"{line}\n" for line in env.verdict)
    if mode == "html":
        assert read_page(told).text == explained.session.page.text("")
        assert read_page(plain).text == env.session.page.text("")


def test_before_the_purchase_nothing_is_said_and_the_next_episode_begins_anew():
    told, env, _ = bought_without_options(done_page="explained")
    assert "missed" in told
    first, _ = env.reset(seed=1)
    assert "missed" not in first and env.verdict == () and env.purchase is None


def test_an_unknown_done_page_is_refused():
    with pytest.raises(ValueError, match=r"done_page.*explained"):
        WebShopEnv(done_page="explain")
