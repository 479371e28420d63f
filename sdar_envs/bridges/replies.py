"""An action out of a reply in words, for stacks whose models answer in text; and how such a model is told to answer."""

from __future__ import annotations

SYSTEM = (
    "You act in a world made of text. Every turn you are told what you observe, and you reply with exactly one action "
    "between <action> and </action>. Work towards the task you are given until it is done."
)

_OPEN, _CLOSE = "<action>", "</action>"
_THOUGHT = "</think>"


def action_in(reply: str) -> str:
    """The action in a reply: what stands between the one pair of action tags, or the whole reply where there are none.

    Reading starts after the last ``</think>``. A reply with several actions, or with half a pair of tags, has none: ""
    is what no world understands, and what it answers to it is up to the world. Nothing that an agent says raises.
    """
    body = reply.rpartition(_THOUGHT)[2]
    opened, closed = body.count(_OPEN), body.count(_CLOSE)
    if not opened and not closed:
        return body.strip()
    if (opened, closed) != (1, 1):
        return ""
    return body.partition(_OPEN)[2].partition(_CLOSE)[0].strip()
