"""Reading a model's turn: one ``<search>`` or one ``<answer>``, with whatever thinking around it.

The reading is strict and of the present action only: exactly one block of one kind counts, two of a kind or both kinds
are not understood, and nothing that was retrieved is ever read. Tags may be in either case, as in the published
environments. All patterns are linear in the text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

_TAG = re.compile(r"<(/?)(search|answer)>", re.IGNORECASE | re.ASCII)
_ANY_TAG = re.compile(r"<(/?)(think|search|information|answer)>", re.IGNORECASE | re.ASCII)
# What must not stand in a passage: a tag of the protocol, also one with spaces in it.
_CONTROL = re.compile(r"<(?=\s*/?\s*(?:think|search|information|answer)\b)", re.IGNORECASE | re.ASCII)


class Fault(StrEnum):
    """Why a turn was not understood."""

    NONE = ""
    NO_TAG = "no_tag"
    UNCLOSED = "unclosed"
    BOTH_TAGS = "both_tags"
    TWO_TAGS = "two_tags"
    EMPTY_QUERY = "empty_query"


@dataclass(frozen=True, slots=True)
class Turn:
    """What a turn says.

    Attributes:
        kind: ``search``, ``answer``, or "" when it was not understood.
        content: What stands in the block, stripped.
        fault: Why it was not understood.
        well_formed: Whether the turn is thinking in its tags, then the block, and nothing else but white space.
    """

    kind: str
    content: str = ""
    fault: Fault = Fault.NONE
    well_formed: bool = False


def read_turn(text: str) -> Turn:
    """Read one turn of a model."""
    tags = list(_TAG.finditer(text))
    opened = [tag for tag in tags if not tag[1]]
    kinds = {tag[2].lower() for tag in opened}
    if not opened:
        return Turn("", fault=Fault.NO_TAG)
    if len(kinds) > 1:
        return Turn("", fault=Fault.BOTH_TAGS)
    if len(opened) > 1:
        return Turn("", fault=Fault.TWO_TAGS)
    [begin] = opened
    kind = begin[2].lower()
    end = next((tag for tag in tags if tag[1] and tag[2].lower() == kind and tag.start() >= begin.end()), None)
    if end is None:
        return Turn("", fault=Fault.UNCLOSED)
    return Turn(kind, text[begin.end() : end.start()].strip(), well_formed=_is_well_formed(text, kind))


def _is_well_formed(text: str, kind: str) -> bool:
    """Whether a turn is ``<think>...</think>``, the block, and white space: the structure that `format_em` pays for."""
    tags = list(_ANY_TAG.finditer(text))
    if [tag[1] + tag[2].lower() for tag in tags] != ["think", "/think", kind, f"/{kind}"]:
        return False
    around = (text[: tags[0].start()], text[tags[1].end() : tags[2].start()], text[tags[3].end() :])
    return not any(part.strip() for part in around)


def escape(text: str) -> str:
    """A passage as a model may read it: a tag of the protocol in it cannot be taken for one."""
    return _CONTROL.sub("&lt;", text)


def search_action(query: str) -> str:
    """The action that searches."""
    return f"<search>{query}</search>"


def answer_action(answer: str) -> str:
    """The action that answers."""
    return f"<answer>{answer}</answer>"
