"""Reading a model's turn: one ``<search>`` or one ``<answer>``, with whatever thinking around it.

There are three readings of the present action, and nothing that was retrieved is ever read:

- ``strict``: exactly one block of one kind counts, two of a kind or both kinds are not understood. Tags may be in
  either case.
- ``cut``: Search-R1's. The turn ends at its first ``</search>``, or where it has none at its first ``</answer>``; what
  follows is thrown away, and the first whole block of the rest counts. Tags are in lower case.
- ``cut_penalised``: SDAR's. The same cut; a search counts before an answer, tags of blocks may be in either case, and a
  turn that opens both kinds or one of them twice, be it behind the cut, is played and yet counts as invalid.

All readings are linear in the text.
"""

from __future__ import annotations

import re
import string
from dataclasses import dataclass, field, replace
from enum import StrEnum

READINGS = ("strict", "cut", "cut_penalised")

_TAG = re.compile(r"<(/?)(search|answer)>", re.IGNORECASE | re.ASCII)
_ANY_TAG = re.compile(r"<(/?)(think|search|information|answer)>", re.IGNORECASE | re.ASCII)
# What must not stand in a passage: a tag of the protocol, also one with spaces in it.
_CONTROL = re.compile(r"<(?=\s*/?\s*(?:think|search|information|answer)\b)", re.IGNORECASE | re.ASCII)
_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


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
        penalised: Whether it is played and counts as invalid all the same.
        text: What is left of the turn; the whole of it unless it was cut.
    """

    kind: str
    content: str = ""
    fault: Fault = Fault.NONE
    well_formed: bool = False
    # Of the cut readings; no part of what the version of generated questions counts (`version`).
    penalised: bool = field(default=False, repr=False)
    text: str = field(default="", repr=False)


def read_turn(text: str, reading: str = "strict") -> Turn:
    """Read one turn of a model, in one of `READINGS`."""
    if reading == "strict":
        return replace(_read_strictly(text), text=text)
    kept = _cut(text)
    penalised = reading == "cut_penalised"
    lower = _folded(kept) if penalised else kept
    blocks = {kind: found for kind in ("search", "answer") if (found := _first_block(lower, kind))}
    if not blocks:
        opened = any(tag[1] == "" for tag in _TAG.finditer(kept))
        return Turn("", fault=Fault.UNCLOSED if opened else Fault.NO_TAG, text=kept)
    # SDAR looks for a search first, wherever it stands; Search-R1 takes what comes first.
    kind = next(iter(blocks)) if penalised else min(blocks, key=lambda name: blocks[name])
    start, end = blocks[kind]
    opened_kinds = [tag[2].lower() for tag in _TAG.finditer(text) if not tag[1]]
    return Turn(
        kind,
        kept[start:end].strip(),
        well_formed=_is_well_formed(kept, kind),
        penalised=penalised and len(opened_kinds) > 1,
        text=kept,
    )


def _cut(text: str) -> str:
    """A turn up to its first closing tag, that of a search before that of an answer."""
    for end in ("</search>", "</answer>"):
        before, found, _ = text.partition(end)
        if found:
            return before + end
    return text


def _folded(text: str) -> str:
    """The text with ASCII letters in lower case, position by position."""
    return text.translate(_LOWER)


def _first_block(text: str, kind: str) -> tuple[int, int] | None:
    """Where the content of the first whole block of a kind begins and ends."""
    start = text.find(f"<{kind}>")
    end = text.find(f"</{kind}>", start) if start >= 0 else -1
    return (start + len(kind) + 2, end) if end >= 0 else None


def _read_strictly(text: str) -> Turn:
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
