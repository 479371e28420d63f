"""Text: a string that PettingZoo's tests accept as an observation, because it has the `dtype` of its space."""

from __future__ import annotations

from typing import ClassVar


class Text(str):
    """A string whose `dtype` is that of `FreeText`, None; in every other way an ordinary `str`."""

    __slots__ = ()
    dtype: ClassVar[None] = None


CUT_MARK = " [cut]"


def bounded(text: str, length: int) -> Text:
    """A text of at most `length` characters; a longer one is cut with a visible mark."""
    return Text(text if len(text) <= length else text[: length - len(CUT_MARK)] + CUT_MARK)
