"""Options that ``text_rich`` marks as clicked: the chosen ones, or those that the original's rule finds."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
import webshop_official
from official_store import store_folder
from page_reader import read_page

import sdar_envs
from sdar_envs.webshop.catalog import Product
from sdar_envs.webshop.html import page_html
from sdar_envs.webshop.pages import item_page

gym.register_envs(sdar_envs)

SIZES = Product(
    "B0",
    "frame",
    options={"size": ('20"x20"', "8\\9", "caf\u00e9", "large"), "fit": ("large", "size", "fit", "loose")},
)


def marked(chosen: dict[str, str], address: str | None = None) -> list[str]:
    shown = item_page(SIZES).rich_text("a frame", chosen, (), address)
    clicked = re.findall(r"^  \[clicked button\] (.*) \[clicked button_\]$", shown, re.MULTILINE)
    assert shown.splitlines()[: len(clicked)] == [f"You have clicked {value}." for value in reversed(clicked)]
    return clicked


@pytest.mark.parametrize(
    ("chosen", "found"),
    [
        ({"size": '20"x20"'}, ["size"]),  # the group is called so, and stands in the address
        ({"size": "8\\9"}, ["size"]),
        ({"size": "caf\u00e9"}, ["size"]),
        ({"fit": "loose"}, ["fit", "loose"]),
        ({"fit": "large"}, ["large", "large", "fit"]),
        ({}, []),
    ],
)
def test_the_original_looks_for_a_value_in_quotes_in_the_address(chosen: dict[str, str], found: list[str]):
    assert marked(chosen) == list(chosen.values())
    assert marked(chosen, f"http://x/item_page/{json.dumps(chosen)}") == found


def test_both_ways_are_reached_from_gym_make_and_the_originals_is_that_of_its_html(tmp_path: Path):
    folder = str(webshop_official.write(tmp_path))
    for how, groups in (("chosen", 0), ("original", 2)):
        env: Any = gym.make(
            "sdar/WebShop-v0", data_dir=folder, goals="synthetic", observation_mode="text_rich", clicked_marks=how
        ).unwrapped
        env.reset(seed=0)
        for action in ("search[conditioner]", "click[b0aaaaaa06]", "click[mint]"):
            shown, *_, info = env.step(action)
        # "color", an option of both groups, stands in the address as the group of the chosen one.
        assert shown.count("You have clicked") == 1 + groups
        assert ("You have clicked color.\n" in shown) == bool(groups)
        session = env.session
        read = read_page(page_html(session, info["instruction"]).replace(" checked", ""), session.url(info["task_id"]))
        if how == "original":
            assert read.chosen == {"scent": "color", "color": "mint"}
    with pytest.raises(ValueError, match=r"clicked_marks.*original"):
        gym.make("sdar/WebShop-v0", clicked_marks="orginal")


@pytest.mark.official
def test_of_real_options_exactly_those_that_json_escapes_are_marked_in_one_way_only():
    env: Any = gym.make(
        "sdar/WebShop-v0", data_dir=str(store_folder()), observation_mode="text_rich", clicked_marks="original"
    ).unwrapped
    env.reset(seed=0)
    session, held, differ = env.session, 0, 0
    for product in env.source.store.catalog:
        page = item_page(product)
        for group, values in product.options.items():
            for value in values:
                chosen = {group: value}
                session.kind, session.asin, session.chosen, session.query = "item", product.asin, chosen, "x"
                address = f"http://127.0.0.1:3000/item_page/s/{product.asin}/x/1/{json.dumps(chosen)}"
                line = f"You have clicked {value}.\n"
                assert line in page.rich_text("", chosen)
                theirs = line in page.rich_text("", chosen, (), address)
                assert theirs == (json.dumps(value) == f'"{value}"')
                held, differ = held + 1, differ + (not theirs)
    assert held > 1_000 and 0 < differ < 0.05 * held


@pytest.mark.official
def test_a_size_in_inches_of_a_real_product_is_marked_in_our_way_and_not_in_the_originals():
    shown = {}
    for how in ("chosen", "original"):
        env: Any = gym.make(
            "sdar/WebShop-v0", data_dir=str(store_folder()), observation_mode="text_rich", clicked_marks=how
        ).unwrapped
        if "B08K7LDM7Q" not in env.source.store.catalog.asins:
            pytest.skip("the product is not among the files at hand")
        env.reset(seed=0)
        env.step(f"search[{env.source.store.product('B08K7LDM7Q').title.lower()}]")
        env.step("click[b08k7ldm7q]")
        shown[how] = env.step('click[20"x20"]')[0]
        assert '20"x20"' in env.session.chosen.values()
    assert 'You have clicked 20"x20".' in shown["chosen"] and "You have clicked" not in shown["original"]
