"""Whether an episode followed a skill statement, and whether the statement was true in it: exact, from what was done.

Of each world one statement is looked at, the one that a single early action shows to be followed or not: where a thing
is usually found (the first walk), by which word of a request a department is searched (the first search), what the
sources call a relation (the first search), where a company meets (the first search for hotels), what the other side
takes (the first offer), what the cook wants (the first thing taken). A statement can be wrong because its key is
corrupted, or because the task is one of the few that do not obey the regularity; either way whoever follows it errs.

Worlds of other people, and official data, have no such statement here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Decision:
    """The turn at which a statement was followed or not.

    Attributes:
        turn: The number of the action, from 0.
        claim_id: The statement.
        followed: Whether the action does what the statement says.
        true: Whether what the statement says holds in this task.
    """

    turn: int
    claim_id: str
    followed: bool
    true: bool


@dataclass(frozen=True, slots=True)
class Played:
    """What a decision is read from: the request, the world's facts at the reset, the actions, and the statements."""

    instruction: str
    facts: Mapping[str, Any]
    actions: Sequence[str]
    stated: Mapping[str, str]


def decision_of(env_id: str, played: Played) -> Decision | None:
    """The decision of an episode; None where its world has none, or where the action that would show it was not taken.

    Args:
        env_id: The world.
        played: The episode; `stated` has the value of each statement that was read, by its id.
    """
    reader = _READERS.get(env_id)
    return None if reader is None else reader(played)


def _first(actions: Sequence[str], beginning: str) -> tuple[int, str] | None:
    """The first action with this beginning: its number and the rest of it."""
    found = ((number, text) for number, text in enumerate(actions) if text.startswith(beginning))
    return next(((number, text.removeprefix(beginning)) for number, text in found), None)


def _kind(name: str) -> str:
    """The kind of a thing that is called like ``shelf 2``."""
    return name.rpartition(" ")[0]


def _household(played: Played) -> Decision | None:
    claim = f"home:{played.facts.get('target_type')}"
    walk = _first(played.actions, "go to ")
    homes = {_kind(place) for place in played.facts.get("target_receptacles", ()) if place}
    if claim not in played.stated or walk is None or not homes:
        return None
    return Decision(walk[0], claim, _kind(walk[1]) == played.stated[claim], played.stated[claim] in homes)


def _store(played: Played) -> Decision | None:
    from .webshop.shoppers import read_request  # the store's tables are read when they are needed

    claim = next((name for name in played.stated if name.startswith("cue:")), "")
    search = _first(played.actions, "search[")
    query = played.facts.get("query")
    if not claim or search is None or not query:
        return None
    word = read_request(played.instruction).cue(played.stated[claim])
    return Decision(search[0], claim, word in search[1].rstrip("]").split(), word in str(query).split())


def _questions(played: Played) -> Decision | None:
    evidence = played.facts.get("evidence") or []
    if not evidence:
        return None
    relation = str(evidence[0]["about"]).removeprefix("the ").partition(" of ")[0]
    claim = f"term:{relation}"
    search = _first([_unwrapped(action) for action in played.actions], "<search>")
    if claim not in played.stated or search is None:
        return None
    asked = search[1].partition("</search>")[0].lower()
    value = played.stated[claim].lower()
    return Decision(search[0], claim, _holds(asked, value), _holds(str(evidence[0]["query"]).lower(), value))


def _unwrapped(action: str) -> str:
    """A turn without what stands before its search."""
    return action[max(action.find("<search>"), 0) :]


def _holds(text: str, words: str) -> bool:
    """Whether words stand in a text, whole and in order."""
    return f" {' '.join(words.split())} " in f" {' '.join(text.split())} "


def _trip(played: Played) -> Decision | None:
    claim = next((name for name in played.stated if name.startswith("office:")), "")
    for number, action in enumerate(played.actions):
        try:
            call = json.loads(action)
            district = call["arguments"].get("district") if call["name"] == "search_hotels" else None
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            continue
        if claim and isinstance(district, str):
            value = played.stated[claim]
            return Decision(number, claim, district == value, played.facts.get("office") == value)
    return None


def _haggle(played: Played) -> Decision | None:
    claim = next((name for name in played.stated if name.startswith(("floor:", "ceiling:"))), "")
    offer = _first(played.actions, "offer ")
    value = played.stated.get(claim, "")
    # In the full size a statement is about a share of a listed price, which no single offer shows.
    if offer is None or not value.isdecimal():
        return None
    named = offer[1].partition(":")[0].strip()
    return Decision(offer[0], claim, named == value, str(played.facts.get("other_limit")) == value)


def _pair(played: Played) -> Decision | None:
    claim = next((name for name in played.stated if name.startswith("wish:")), "")
    taken = _first(played.actions, "take ")
    if not claim or taken is None:
        return None
    thing, value = _kind(taken[1].partition(" from ")[0]), played.stated[claim]
    return Decision(taken[0], claim, thing == value, played.facts.get("target_type") == value)


_READERS: dict[str, Callable[[Played], Decision | None]] = {
    "sdar/Household-v0": _household,
    "sdar/WebShop-v0": _store,
    "sdar/SearchQA-v0": _questions,
    "sdar/Trip-v0": _trip,
    "sdar/Haggle-v0": _haggle,
    "sdar/Pair-v0": _pair,
}
