"""What is read of an agent's text: its first line, one pair of brackets; held against the original's own rule."""

from __future__ import annotations

import re
from typing import Any

import gymnasium as gym
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from official_store import store_folder
from test_webshop_session import HAT, walk

import sdar_envs
from sdar_envs.webshop.catalog import Product, ProductCatalog
from sdar_envs.webshop.env import WebShopEnv
from sdar_envs.webshop.official_tasks import typed
from sdar_envs.webshop.pages import PageKind
from sdar_envs.webshop.search import SearchIndex
from sdar_envs.webshop.session import parse_action
from sdar_envs.webshop.store import Store

gym.register_envs(sdar_envs)


def original(action: str) -> tuple[str, str] | None:
    """The original's reading: its regular expression, the argument in lower case."""
    found = re.match(re.compile(r"(.+)\[(.+)\]"), action)
    return None if found is None else (found[1], found[2].lower())


@pytest.mark.parametrize(
    ("action", "query"),
    [
        ("search[red]\nObservation: [Back to Search]", "red"),
        ("search[red]\r\nclick[buy now]", "red"),
        ("\n search[red] ", "red"),
        ("search[red] and then I buy it", "red"),
        ("search[Red Hat] ]", "red hat] "),
        ("search[]red]", "]red"),
        ("search[red] and then click[buy now]", None),
        ("search[red] [Back to Search]", None),
        ("search[[red]]", None),
        ("search[red\nhat]", None),
        ("search[red\x00] click[buy now]", None),
        ("search[red]\u2028click[buy now]", None),
        ("Action: search[red]", None),
        ("search[red", None),
        ("search[]", None),
        ("I search.\nsearch[red]", None),
    ],
)
def test_a_search_is_one_line_and_one_pair_of_brackets(action: str, query: str | None):
    env = WebShopEnv(size="small")
    before, _ = env.reset(seed=0)
    after, _, _, _, info = env.step(action)
    assert info["is_action_valid"] == (query is not None)
    assert env.session.query == query and (after == before) == (query is None)


def test_talk_behind_the_first_line_is_ignored_however_long_it_is():
    env = WebShopEnv(size="small")
    env.reset(seed=0)
    assert env.step("search[red]\n" + "Observation: [Back to Search] " * 10_000)[4]["is_action_valid"]
    assert env.session.query == "red"
    assert env.step("search[blue] " + "and so on " * 100)[4]["is_action_valid"]
    assert env.session.query == "blue"
    assert not env.step("search[" + "red " * 200 + "]")[4]["is_action_valid"]
    assert env.session.query == "blue"


@pytest.mark.parametrize(
    ("action", "chosen"),
    [
        ("click[loose] and then click[buy now]", {}),
        ("click[loose] [clicked button]", {}),
        ("click[loose]\nclick[buy now]", {"fit": "loose"}),
        ("click[loose] it is", {"fit": "loose"}),
        ("click[8 [wide]]", {"size [us]": "8 [wide]"}),
        ("click[8 [wide]] it is]", {"size [us]": "8 [wide]"}),
        ("click[9] x] is", {"size [us]": "9] x"}),
        ("click[8 [wide]] then click[loose]", {}),
    ],
)
def test_a_click_is_one_name_be_there_brackets_in_it(action: str, chosen: dict[str, str]):
    session = walk(*HAT)
    assert session.act(action) == bool(chosen)
    assert session.chosen == chosen and session.kind is PageKind.ITEM


def test_an_option_with_a_line_break_in_its_name_can_be_clicked_all_the_same():
    product = Product("B0", "hat", options={"size": ("large\nor so", "large")})
    store = Store(ProductCatalog([product]), SearchIndex.build([("B0", "hat")]), {"B0": 1.0})
    env = WebShopEnv(size="small", expose_privileged=False)
    env.reset(seed=0)
    env.session.shelves = store
    for action, chosen in (("click[large\nor so]", "large\nor so"), ("click[large]\nor so]", "large")):
        env.step("search[hat]")
        env.step("click[b0]")
        assert env.step(action)[4]["is_action_valid"] and env.session.chosen == {"size": chosen}


PIECES = st.sampled_from(
    ["search", "click", "[", "]", "[", "]", "\n", " ", "red", "hat", "large", "b0lowercas", "buy now"]
)
TEXTS = st.lists(PIECES, max_size=14).map("".join)


@given(TEXTS)
@example("search[red]\nObservation: [Back to Search]")
@example("search[red] and then click[buy now]")
@example("search[a] [")
@example("search[[]")
@example("search[]]")
def test_a_search_is_made_exactly_where_the_original_makes_one(text: str):
    parsed, theirs = parse_action(text), original(text)
    if parsed is not None and parsed[0] == "search":
        assert theirs == ("search", *parsed[1])
    else:
        assert theirs is None or theirs[0] != "search"


@given(TEXTS)
def test_a_click_of_the_original_is_the_same_click(text: str):
    """Where the original clicks something, the same is clicked; beyond that, only names with brackets are."""
    session, theirs = walk(*HAT), original(text)
    clickable = theirs is not None and theirs[0] == "click" and theirs[1] in session.page.clickables
    parsed = parse_action(text)
    if clickable:
        assert parsed is not None and theirs is not None and parsed[0] == "click" and parsed[1][0] == theirs[1]
    elif session.act(text) and parsed is not None and parsed[0] == "click":
        assert theirs is not None and ("]" in theirs[1] or "[" in theirs[0][len("click") :])


@pytest.fixture(scope="module")
def playing() -> WebShopEnv:
    return WebShopEnv(size="small", horizon=1_000_000)


@given(st.lists(st.one_of(st.text(max_size=600), TEXTS, TEXTS.map("click[{}]".format)), min_size=1, max_size=5))
def test_text_never_raises_and_what_is_not_understood_changes_nothing(playing: WebShopEnv, texts: list[str]):
    observation, _ = playing.reset(options={"task_id": "train:000001"})
    for text in texts:
        shown, reward, over, truncated, info = playing.step(text)
        assert not over and not truncated and reward == 0.0
        assert info["is_action_valid"] or shown == observation
        observation = shown


def test_a_planned_query_has_no_brackets_and_finds_the_same():
    documents = [("B0", "women's [2 pack] shirt"), ("B1", "shirt")]
    index = SearchIndex.build(documents)
    title = documents[0][1]
    assert typed(title) == "women's  2 pack  shirt"
    assert index.search(typed(title), 5) == index.search(title, 5) == ["B0", "B1"]


@pytest.mark.official
def test_on_real_products_a_line_and_a_pair_are_read_as_the_original_reads_them():
    env: Any = gym.make("sdar/WebShop-v0", data_dir=str(store_folder()), goals="human").unwrapped
    env.reset(seed=0)
    first = env.step("search[red]")[0]
    assert env.step("search[red]\nObservation: [Back to Search]")[0] == first
    shown, reward, over, _, info = env.step("search[blue] and then click[buy now]")
    assert (shown, reward, over, info["is_action_valid"]) == (first, 0.0, False, False)
    names = [value for product in env.source.store.catalog for values in product.options.values() for value in values]
    read = [original(f"click[{name}]") for name in names]
    assert all(
        found == ("click", name) and parse_action(f"click[{name}]") for found, name in zip(read, names, strict=True)
    )
    assert len(names) > 1_000
