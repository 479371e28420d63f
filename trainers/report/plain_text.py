"""Text of worlds and models made fit to be looked at.

What could act on a terminal, or reorder or hide what a person reads, becomes a visible mark.
"""

from __future__ import annotations

import re

# C0 without tab and line feed (ESC among them), DEL and C1, the marks that change the direction of text, line and
# paragraph separators, invisible format characters, and lone surrogates, which no output stream can encode.
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)


def clean(text: str) -> str:
    """`text` with every unsafe character replaced by U+FFFD; line feeds and tabs stay."""
    return _UNSAFE.sub("\N{REPLACEMENT CHARACTER}", text.replace("\r\n", "\n"))


def kind_name(kind: str) -> str:
    """A task type as tables name it: environments outside the suite need not have any."""
    return kind or "(no task type)"


def one_line(text: str) -> str:
    """`text` cleaned, with all white space, line breaks included, as single spaces."""
    return " ".join(clean(text).split())
