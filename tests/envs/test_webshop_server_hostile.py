"""The store for people under hostile text: whatever is sent, and whatever the goods say, it is a page of the store."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pytest

pytest.importorskip("starlette", reason='serving needs the extra: pip install "sdar-gym[web]"')

from served_store import client_of, visitor_of
from store_visitor import Visitor

from sdar_envs.hostile import hostile_actions
from sdar_envs.webshop.catalog import Product, ProductCatalog, Review
from sdar_envs.webshop.env import WebShopEnv
from sdar_envs.webshop.goals import Goal
from sdar_envs.webshop.search import SearchIndex
from sdar_envs.webshop.server import StoreOptions
from sdar_envs.webshop.session import Session
from sdar_envs.webshop.store import Store
from sdar_envs.webshop.visits import Visit, Visits


def test_whatever_is_sent_is_a_page_again():
    visits = Visits(
        lambda: WebShopEnv("valid", size="small", num_products=300, horizon=500),
        lambda: "valid:000000",
    )
    visit_id = visits.open()
    client = client_of(visits, StoreOptions(panel=True))
    visit = visits.find(visit_id)
    assert visit is not None
    for number, text in enumerate(hostile_actions(140, legal=["search[shirt]", "click[back to search]"])):
        sendable = text.encode("utf-8", "replace").decode("utf-8")[:2000]
        field = ("query", "action")[number // 2 % 2]
        response = client.post(f"/visit/{visit_id}", data={"step": str(visit.steps), field: sendable})
        assert response.status_code == 200
        assert "<script" not in response.text
        assert Visitor(lambda *_: (0, "", ""), html=response.text).main.text == visit.view.observation
    assert visit.steps == 140


ATTACK = """</title><script>alert(1)</script><img src=x onerror=alert(1)>" autofocus onfocus="alert(1)' {{ 7*7 }}"""


class HostileShop:
    """A store whose every word attacks the page, with the little that a visit needs of an environment."""

    horizon = 20

    def __init__(self) -> None:
        product = Product(
            asin="B0<B>&\"'0",
            title=f"shirt {ATTACK}",
            description=ATTACK,
            bullets=(ATTACK, "second"),
            pricing=(5.0,),
            category=ATTACK,
            query=ATTACK,
            product_category=ATTACK,
            options={
                f"size {ATTACK}": (f"small {ATTACK}", "large"),
                "action": ("click[buy now]",),
                "step": ("99", "98"),
            },
            attributes=(ATTACK,),
            image="http://evil.example/tracker.png",
            reviews=(Review(ATTACK, 5, ATTACK),),
        )
        catalog = ProductCatalog([product])
        index = SearchIndex.build((one.asin, one.document()) for one in catalog)
        self.store = Store(catalog, index, {product.asin: 5.0}, show_attributes=True)
        self.goal = Goal(product.asin, f"find {ATTACK}", (ATTACK,), (), 10.0, name=f"shirt {ATTACK}")
        self.session = Session(self.store, self._worth)

    def _worth(self, asin: str, chosen: Mapping[str, str]) -> float:
        return self.store.judge(asin, chosen, self.goal).reward

    def _info(self, valid: bool) -> dict[str, Any]:
        hints = {"plan": [ATTACK], "hints": [ATTACK], "facts": {ATTACK: [ATTACK, {ATTACK: True}]}}
        return {
            "instruction": self.goal.instruction,
            "admissible_actions": list(self.session.page.click_actions),
            "is_action_valid": valid,
            "success": self.session.reward == 1.0,
            "score": self.session.reward or 0.0,
            "privileged": {**hints, "skills": {"lines": [ATTACK], "stale": [True]}},
        }

    def reset(self, *, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        return self.session.page.text(self.goal.instruction), self._info(True)

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        valid = self.session.act(action)
        reward = self.session.reward
        observation = self.session.page.text(self.goal.instruction)
        return observation, reward or 0.0, reward is not None, False, self._info(valid)

    def close(self) -> None:
        pass


def test_hostile_goods_make_no_element_no_attribute_and_no_request():
    ended: list[Visit] = []
    visits = Visits(HostileShop, lambda: "any", ended=ended.append)
    visitor = visitor_of(visits, StoreOptions(panel=True, privileged=True))
    pages = [visitor.html]
    value = visits.find(visitor.address.rpartition("/")[2]).env.store.product("B0<B>&\"'0").options["action"][0]
    names = [
        "features",
        "< prev",
        "description",
        "< prev",
        "reviews",
        "< prev",
        "attributes",
        "< prev",
        value,
        "99",
        "98",
    ]
    visitor.play("search[shirt]")
    pages.append(visitor.html)
    for name in ["b0<b>&\"'0", *names, f"small {ATTACK}".lower(), "buy now"]:
        visitor.play(f"click[{name}]")
        assert visitor.status == 200
        pages.append(visitor.html)
    for html in pages:
        soup = Visitor(lambda *_: (0, "", ""), html=html).soup
        assert soup.select("script, img, iframe, object, base, style, b") == []
        attributes = {name for tag in soup.find_all(True) for name in tag.attrs}
        assert not [name for name in attributes if name.startswith("on") or name == "style"]
        links = [tag[name] for tag in soup.find_all(True) for name in ("src", "href", "action") if tag.get(name)]
        assert all(re.fullmatch(r"/(visit/[\w-]{32}|start|store\.css|icon\.svg)?", link) for link in links)
        assert "{{ 7*7 }}" in soup.get_text()  # nor is text a template
        assert ATTACK in soup.get_text()
    (visit,) = ended
    assert set(visit.env.session.chosen.values()) == {value, "98", f"small {ATTACK}"}
