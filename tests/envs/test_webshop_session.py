"""A walk through a hand-made store: each way between pages, what it keeps and forgets, and names that are no names.

The expectations are the original's rules, read off its code; that whole walks equal the original's is held by
`test_webshop_parity.py`.
"""

from __future__ import annotations

import pytest

from sdar_envs.webshop.catalog import Product, ProductCatalog
from sdar_envs.webshop.pages import PageKind
from sdar_envs.webshop.search import SearchIndex
from sdar_envs.webshop.session import Session, parse_action
from sdar_envs.webshop.store import Store

PLAIN = [Product(asin=f"B0{number:08d}", title="plain shirt") for number in range(14)]
ODD = Product(
    asin="b0lowerCas",
    title="odd hat",
    options={
        "size [us]": ("8 [wide]", "9] x", "large"),
        "fit": ("large", "loose"),
        "door": ("description", "< prev", "search", "buy now"),
    },
)


def walk(*actions: str) -> Session:
    """A session in which these actions, each of them understood, were taken."""
    products = [*PLAIN, ODD]
    index = SearchIndex.build((product.asin, product.document()) for product in products)
    session = Session(Store(ProductCatalog(products), index, {p.asin: 10.0 for p in products}), lambda *bought: 0.5)
    for action in actions:
        assert session.act(action), action
    return session


HAT = ("search[hat]", "click[b0lowercas]")


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("search[a]", ("search", "a")),
        ("click[8 [Wide]]", ("click", "8 [wide]")),
        ("click[9] x]", ("click", "9] x")),
        ("click[a] and so on", ("click", "a")),
        ("search[ two  blanks ]", ("search", " two  blanks ")),
        *((nothing, None) for nothing in ("", "search", "search[", "search[]", "[a]", "]a[", "search]a[")),
    ],
)
def test_an_action_reaches_from_the_first_bracket_to_the_last(text: str, read: tuple[str, str] | None):
    assert parse_action(text) == read


def test_options_with_brackets_are_chosen_and_an_id_is_found_in_any_case():
    session = walk(*HAT, "click[8 [wide]]")
    assert session.asin == "b0lowerCas" and session.chosen == {"size [us]": "8 [wide]"}
    assert walk("search[hat]", "click[B0LOWERCAS]", "click[9] x]").chosen == {"size [us]": "9] x"}


def test_of_equal_names_the_later_is_meant_and_a_name_of_a_button_is_the_button():
    session = walk(*HAT, "click[large]")
    assert session.chosen == {"fit": "large"}
    assert walk(*HAT, "click[description]").kind is PageKind.SUB_PAGE
    assert walk(*HAT, "click[< prev]").kind is PageKind.RESULTS
    assert walk(*HAT, "click[buy now]").kind is PageKind.DONE
    assert not session.act("click[search]") and session.chosen == {"fit": "large"}
    assert list(session.page.clickables).count("description") == 1


def test_another_value_of_a_group_takes_the_place_of_the_first():
    assert walk(*HAT, "click[large]", "click[loose]").chosen == {"fit": "loose"}


def test_going_back_from_a_sub_page_keeps_the_options_and_from_the_product_forgets_them():
    session = walk(*HAT, "click[loose]", "click[features]", "click[< prev]")
    assert session.kind is PageKind.ITEM and session.chosen == {"fit": "loose"}
    assert session.act("click[< prev]") and session.kind is PageKind.RESULTS
    assert session.chosen == {} and session.asin == "" and session.query == "hat"
    assert session.visited == {"b0lowerCas"}


@pytest.mark.parametrize("beyond", [(), ("click[features]",), ("click[loose]",)])
def test_a_search_from_anywhere_forgets_the_product_and_its_options(beyond: tuple[str, ...]):
    session = walk(*HAT, *beyond, "search[shirt]")
    assert (session.kind, session.query, session.number) == (PageKind.RESULTS, "shirt", 1)
    assert session.asin == session.sub_page == "" and session.chosen == {}


def test_the_search_page_forgets_everything():
    session = walk(*HAT, "click[loose]", "click[back to search]")
    assert session.kind is PageKind.INDEX and session.query is None
    assert not session.chosen and not session.visited and session.number == 1


def test_results_turn_without_end_and_a_product_leads_back_to_its_page_of_them():
    session = walk("search[shirt]", "click[next >]")
    assert [name for name in session.page.clickables if name.startswith("b0")] == [f"b0{n:08d}" for n in range(10, 14)]
    session.act("click[b000000012]")
    session.act("click[< prev]")
    assert (session.kind, session.number) == (PageKind.RESULTS, 2)
    for number in range(3, 9):
        assert session.act("click[next >]") and session.number == number
        assert list(session.page.clickables) == ["back to search", "< prev", "next >"]
    assert "< prev" not in walk("search[shirt]").page.clickables


def test_after_a_purchase_nothing_is_understood():
    session = walk(*HAT, "click[buy now]")
    assert session.reward == 0.5 and not session.page.clickables
    for action in ("search[hat]", "click[back to search]", "click[buy now]"):
        assert not session.act(action)
    assert session.kind is PageKind.DONE
