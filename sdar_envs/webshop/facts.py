"""What only a teacher may read of a state: the target, what is matched so far, and what buying now would score."""

from __future__ import annotations

from typing import Any

from .pages import PageKind
from .purchase import best_options
from .session import Session
from .tasks import Task


def state_facts(task: Task, session: Session) -> dict[str, Any]:
    """The world's own fields of a state, as plain JSON values with the same keys in every state.

    `target_rank` is the target's place among the hits of the present search, from 1; 0 when that search does not list
    it, or when there was none. What is said of the product that is shown is empty where none is.
    """
    store, goal, errand = task.store, task.goal, task.errand
    hits = store.hits(session.query) if session.query is not None else ()
    return {
        "target": errand.target,
        "title": goal.name,
        "category": goal.category,
        "query": errand.query,
        "attributes": list(goal.attributes),
        "options": dict(errand.options),
        "price": store.prices[errand.target],
        "price_upper": goal.price_upper,
        "target_rank": hits.index(errand.target) + 1 if errand.target in hits else 0,
        **_shown(task, session),
        **task.about,
    }


def _shown(task: Task, session: Session) -> dict[str, Any]:
    """About the product that is shown."""
    store, goal = task.store, task.goal
    if not session.asin:
        return {
            "shown": "",
            "chosen": {},
            "missing_attributes": [],
            "missing_options": [],
            "within_price": False,
            "score_if_bought_now": 0.0,
            "best_score_here": 0.0,
        }
    product = store.product(session.asin)
    now = store.judge(session.asin, session.chosen, goal)
    if session.kind is PageKind.DONE:
        best = now
    else:
        best = store.judge(session.asin, best_options(product, goal, strict=store.strict_options), goal)
    return {
        "shown": session.asin,
        "chosen": dict(session.chosen),
        "missing_attributes": [a for a, met in zip(goal.attributes, now.attributes_met, strict=True) if not met],
        "missing_options": [_said(o) for o, met in zip(goal.options, now.options_met, strict=True) if not met],
        "within_price": now.price_met,
        "score_if_bought_now": now.reward,
        "best_score_here": best.reward,
    }


def _said(option: str | tuple[str, str]) -> str:
    return option if isinstance(option, str) else f"{option[0]}: {option[1]}"
