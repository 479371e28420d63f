"""The store for people gives nothing away: no page says what only teachers know, unless that is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("starlette", reason='serving needs the extra: pip install "sdar-gym[web]"')

from served_store import make_visits, plan_of, visitor_of
from store_visitor import Visitor

from sdar_envs.webshop.env import WebShopEnv
from sdar_envs.webshop.server import StoreOptions
from sdar_envs.webshop.visits import Visit, Visits

CANARY = "canary-that-only-teachers-know"


class CanaryEnv(WebShopEnv):
    """The store, with a teacher's side in which everything that is text is the canary."""

    def _privileged(self) -> Any:
        return _with_canaries(super()._privileged())


def _with_canaries(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _with_canaries(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_with_canaries(part) for part in value]
    return CANARY if isinstance(value, str) else value


def walk(visits: Visits, options: StoreOptions) -> Iterator[tuple[Visit, str]]:
    """Every kind of page of an errand that is played by its plan; the visit with each page's HTML."""
    visitor = visitor_of(visits, options)
    visit = visits.find(visitor.address.rpartition("/")[2])
    assert visit is not None
    plan = plan_of(visit.task_id)
    yield visit, visitor.html
    for action in [*plan[:2], "click[features]", "click[< prev]", "dance", *plan[2:]]:
        if action == "dance":
            visitor.send(visitor.soup.find("form"), {"action": action})
        else:
            visitor.play(action)
        yield visit, visitor.html


@pytest.mark.parametrize("options", [StoreOptions(), StoreOptions(panel=True)], ids=["pages", "panel"])
def test_no_page_says_what_only_teachers_know_unless_asked(options: StoreOptions):
    # Worse than `sdar serve-store`, which makes environments without a teacher's side: here there is one to be leaked.
    pages = [html for _, html in walk(make_visits(CanaryEnv, exposed=True), options)]
    assert len(pages) >= 8
    assert not any(CANARY in html for html in pages)
    assert not any("privileged" in html.lower() for html in pages)


def test_the_privileged_panel_says_everything_and_says_what_it_is():
    for visit, html in walk(make_visits(CanaryEnv, exposed=True), StoreOptions(privileged=True)):
        assert CANARY in html
        assert "PRIVILEGED" in html and "no student ever sees this" in html
        assert CANARY not in visit.view.observation


def test_the_panel_shows_the_text_that_a_model_reads():
    for visit, html in walk(make_visits(), StoreOptions(panel=True)):
        shown = Visitor(lambda *_: (0, "", ""), html=html).soup
        assert shown.select_one(".observation").get_text() == visit.view.observation
        offered = [tag.get_text() for tag in shown.select(".actions code")]
        assert offered == ([] if visit.over else list(visit.view.admissible_actions))


def test_before_the_purchase_the_goal_is_its_sentence_and_nothing_else():
    visits = make_visits()
    for number in range(14):
        visitor = visitor_of(visits)
        visit = visits.find(visitor.address.rpartition("/")[2])
        goal = visit.env._playing.task.goal
        page = visitor.html.replace(goal.instruction, "", 1)
        for secret in (goal.asin, goal.name, goal.product_category, *goal.attributes, str(goal.price_upper)):
            assert secret.lower() not in page.lower(), number
        assert visit.task_id not in page
        plan = plan_of(visit.task_id)
        visitor.play(plan[0])
        bare = visitor.html.replace(goal.instruction, "", 1)
        assert not any(secret in bare for secret in (goal.product_category, visit.task_id))
