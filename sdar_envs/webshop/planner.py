"""The shortest way to the purchase from any page: closed form, since every page is a few steps from every other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .goals import Goal
from .pages import BUY, NEXT, PREVIOUS, PageKind
from .purchase import best_options
from .session import Session
from .store import Store


def click(name: str) -> str:
    """The action that clicks what has this name."""
    return f"click[{name.lower()}]"


@dataclass(frozen=True, slots=True)
class Errand:
    """What has to be done for a goal: which product to buy, with which options, and how to find it.

    Attributes:
        target: The product's id.
        options: Group -> value to be chosen.
        query: A search that finds it.
        page: The page of that search's results on which it stands, from 1; 0 where no search was found that lists it,
            as can happen with official products whose title says too little.
    """

    target: str
    options: Mapping[str, str]
    query: str
    page: int


def make_errand(store: Store, goal: Goal, queries: tuple[str, ...]) -> Errand:
    """The errand of a goal, with the first of several searches that lists the target earliest."""
    pages = {query: store.page_of(query, goal.asin) for query in queries}
    query = min(queries, key=lambda one: pages[one] or store.page_of_last_hit + 1)
    options = best_options(store.product(goal.asin), goal, strict=store.strict_options)
    return Errand(goal.asin, options, query, pages[query])


def plan(session: Session, store: Store, errand: Errand) -> list[str]:
    """The remaining actions; empty when something was bought, or when no search is known that lists the target."""
    if session.kind is PageKind.DONE:
        return []
    on_target = session.asin == errand.target
    chosen = session.chosen if on_target else {}
    finish = [click(value) for group, value in errand.options.items() if chosen.get(group) != value] + [click(BUY)]
    if on_target:
        return ([click(PREVIOUS)] if session.kind is PageKind.SUB_PAGE else []) + finish
    fresh = _to_item(f"search[{errand.query}]", 1, errand.page, errand.target) if errand.page else None
    kept = _within_results(session, store, errand)
    ways = [way for way in (kept, fresh) if way is not None]
    return min(ways, key=len) + finish if ways else []


def _within_results(session: Session, store: Store, errand: Errand) -> list[str] | None:
    """From a page of the present search to the target's page, None when that search does not list it."""
    if session.query is None:
        return None
    page = store.page_of(session.query, errand.target)
    if not page:
        return None
    back = {PageKind.RESULTS: 0, PageKind.ITEM: 1, PageKind.SUB_PAGE: 2}[session.kind]
    return [click(PREVIOUS)] * back + _to_item("", session.number, page, errand.target)


def _to_item(search: str, at: int, page: int, target: str) -> list[str]:
    turns = [click(NEXT if page > at else PREVIOUS)] * abs(page - at)
    return [*([search] if search else []), *turns, click(target)]
