"""Chats as shapes: each message with placeholders for its text, so that the template is rendered once per shape."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from .base import Message

# Private-use characters: no template writes them, none trims them, and contents never meet the template.
SLOT = re.compile("\ue000(\\d+):(\\d+)\ue001")
THINK_TAGS = ("<think>", "</think>")

Skeletons = tuple[tuple[str, str], ...]


def slot(message: int, segment: int) -> str:
    """The placeholder of a segment of a message's text."""
    return f"\ue000{message}:{segment}\ue001"


@dataclass(frozen=True, slots=True)
class ChatShapes:
    """Makes shapes.

    Attributes:
        call_tags: The texts that a tool call stands between, where they are tokens of their own; else empty.
    """

    call_tags: tuple[str, ...] = ()

    def split(self, text: str) -> list[str]:
        """An assistant's text cut at its tags: text and tags in turn, the tags at odd places."""
        tags = (*THINK_TAGS, *self.call_tags)
        return re.split("(" + "|".join(map(re.escape, tags)) + ")", text)

    def of(self, messages: Sequence[Message]) -> tuple[Skeletons, list[list[str]]]:
        """Each message with placeholders for its text, and the texts.

        An assistant's tags and outer white space stay as they are, because templates act on them.
        """
        shapes: list[tuple[str, str]] = []
        texts: list[list[str]] = []
        for index, message in enumerate(messages):
            role, content = message["role"], message["content"]
            if not content:
                shape, segments = "", []
            elif role != "assistant":
                shape, segments = slot(index, 0), [content]
            else:
                shape, segments = self._assistant(index, content)
            shapes.append((role, shape))
            texts.append(segments)
        return tuple(shapes), texts

    def _assistant(self, index: int, content: str) -> tuple[str, list[str]]:
        """The shape of an assistant's message `index`, and the text of each of its segments."""
        shape: list[str] = []
        segments: list[str] = []
        parts = self.split(content)
        for number, part in enumerate(parts):
            body = part.strip()
            if not body or number % 2:
                shape.append(part)
                continue
            lead = part[: len(part) - len(part.lstrip())]
            tail = part[len(part.rstrip()) :]
            if self.call_tags and tuple(parts[number - 1 : number + 2 : 2]) == self.call_tags:
                # A whole call: no template looks into it, and in one piece it has the ids of a sampled one.
                body, lead, tail = part, "", ""
            shape.append(f"{lead}{slot(index, len(segments))}{tail}")
            segments.append(body)
        return "".join(shape), segments
