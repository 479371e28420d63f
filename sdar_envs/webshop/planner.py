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
        page: The page of that search's results on which it stands, from 1.
    """

    target: str
    options: Mapping[str, str]
    query: str
    page: int


def make_errand(store: Store, goal: Goal, queries: tuple[str, ...]) -> Errand:
    """The errand of a goal, with the first of several searches that lists the target earliest.

    Raises:
        ValueError: None of the searches finds it.
    """
    pages = {query: store.page_of(query, goal.asin) for query in queries}
    found = {query: page for query, page in pages.items() if page}
    if not found:
        raise ValueError(f"expected one of the searches {list(queries)} to find {goal.asin}, and none does")
    query = min(found, key=lambda one: found[one])
    options = best_options(store.product(goal.asin), goal, strict=store.strict_options)
    return Errand(goal.asin, options, query, found[query])


def plan(session: Session, store: Store, errand: Errand) -> list[str]:
    """The remaining actions; empty when something was bought."""
    if session.kind is PageKind.DONE:
        return []
    on_target = session.asin == errand.target
    chosen = session.chosen if on_target else {}
    finish = [click(value) for group, value in errand.options.items() if chosen.get(group) != value] + [click(BUY)]
    if on_target:
        return ([click(PREVIOUS)] if session.kind is PageKind.SUB_PAGE else []) + finish
    fresh = _to_item(f"search[{errand.query}]", 1, errand.page, errand.target)
    kept = _within_results(session, store, errand)
    return (kept if kept is not None and len(kept) <= len(fresh) else fresh) + finish


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
