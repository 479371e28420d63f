"""What Haggle says, and how it reads what is said: data, and the functions that fill it in.

Talk is the only text of one side that another ever reads. It stands in quotation marks and holds none itself, so that
it cannot be taken for a line of the world.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from .tables import LONGEST_TALK, SELLER, SHOPPER
from .tasks import Bargain

INSTRUCTIONS = {
    SHOPPER: "you are the shopper of {thing}. it is worth {limit} to you.",
    SELLER: "you are the seller of {thing}. it costs you {limit}.",
}
LOT_INSTRUCTIONS = {
    SHOPPER: "you are the shopper of {thing}: {goods}, listed at {listed}. the lot is worth {limit} to you.",
    SELLER: "you are the seller of {thing}: {goods}, listed at {listed}. the lot costs you {limit}.",
}
OPENINGS = {True: "you speak first.", False: "the other speaks first."}

NAMES = {SHOPPER: "the shopper", SELLER: "the seller"}
SENTENCES = {
    "offer": "{who} offers {price}.",
    "silence": "{who} says nothing.",
    "talk": '{who} says "{words}".',
    "leave": "{who} leaves.",
    "deal": "deal at {price}.",
    "no deal": "no deal.",
    "not understood": "not understood.",
}

HINTS = {
    "cost": "Every offer after the first costs {cost} per cent of the gain of both.",
    "limit": "The {other}'s limit is {limit}.",
    "next": "The next action is: {action}",
    "over": "Nothing is left to do.",
}

OFFER_TEMPLATE = "offer <dollars>"

_TALK = re.compile(r"(?P<action>[^:]*?) ?: ?(?P<words>.*)", re.S)
_OFFER = re.compile(r"offer (?P<price>[1-9][0-9]{0,6})")


class Said(NamedTuple):
    """An action and the words beside it; `price` counts for offers alone."""

    action: str
    price: int
    words: str


def read(text: str) -> Said | None:
    """Read a cleaned action: a whole line of the grammar, or None. Never raises."""
    found = _TALK.fullmatch(text)
    action, words = (found["action"].rstrip(), found["words"].strip()) if found else (text, "")
    if len(words) > LONGEST_TALK:
        return None
    if action in ("accept", "leave", "wait"):
        return Said(action, 0, words)
    offer = _OFFER.fullmatch(action)
    return Said("offer", int(offer["price"]), words) if offer else None


def quotable(words: str) -> str:
    """Words as they may stand between the world's quotation marks: none of any kind is left in them."""
    return re.sub('["\u201c\u201d\u201e\u201f\u00ab\u00bb\uff02\u2033]', "'", words)


def instruction(bargain: Bargain, role: str) -> str:
    """Who a role is, what is for sale, and what its own limit is."""
    templates = LOT_INSTRUCTIONS if bargain.listed else INSTRUCTIONS
    return templates[role].format(
        thing=bargain.thing, goods=bargain.goods, listed=bargain.listed, limit=bargain.limit(role)
    )
