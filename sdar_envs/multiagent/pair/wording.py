"""What Pair says beside the household's own words: data, and the functions that fill it in."""

from __future__ import annotations

import re
from collections.abc import Sequence

from .tables import COOK, LONGEST_TALK, LONGEST_WORD, RUNNER

# The instruction of a role: what it is asked to do, and nothing of the other's.
INSTRUCTIONS = {
    COOK: "you are the cook. your task is to: {sentence} the pass is the {shared}.",
    RUNNER: "you are the runner in a {kind}. it is {occasion}. bring the cook what it wants. the pass is the {shared}.",
}
REACH = "you reach: {places}."

NAMES = {COOK: "the cook", RUNNER: "the runner"}
SEEN = "you see {who} {act}."
HEARD = '{who} says "{words}".'
TEXTS = {
    "nothing": "Nothing happens.",
    "wait": "You wait.",
    "say": "You say it.",
    "done": "the task is done.",
    "time": "time is up.",
}

HINTS = {
    "task": "The cook's task is to: {sentence}",
    "where": "The {thing} is in or on the {place}.",
    "runner holds": "The runner holds the {thing}.",
    "cook holds": "The cook holds the {thing}.",
    "next": "The next action is: {action}",
    "won": "Nothing is left to do.",
    "lost": "It cannot be done any more.",
}

SAY_TEMPLATES = {"none": "", "word": "say <word>", "free": "say <words>"}
_WORD = re.compile(rf"[a-z0-9]{{1,{LONGEST_WORD}}}")
_QUOTES = re.compile('["\u201c\u201d\u201e\u201f\u00ab\u00bb\uff02\u2033]')


def said_words(text: str, channel: str) -> str | None:
    """The words of a cleaned action, as the other may hear them; None where it says nothing, or too much.

    Quotation marks of any kind are replaced: what is said stands between the world's own.
    """
    if channel == "none" or not text.startswith("say "):
        return None
    words = text.removeprefix("say ").strip()
    if channel == "word":
        return words if _WORD.fullmatch(words) else None
    return _QUOTES.sub("'", words) if 0 < len(words) <= LONGEST_TALK else None


def listed(places: Sequence[str]) -> str:
    """Names, one after the other."""
    return ", ".join(places)
