"""Content tabs: sections that are headings where Markdown is read as it is, and tabs on the site.

A page opens a group with the comment ``<!-- tabs -->`` in a line of its own and closes it with
``<!-- end of tabs -->``; the level-3 headings in between name the tabs. Both comments are invisible elsewhere.
"""

from __future__ import annotations

import re
import textwrap

_GROUP = re.compile(r"^<!-- tabs -->\n(?P<body>.*?)^<!-- end of tabs -->$", re.M | re.S)
_HEADING = re.compile(r"^### (.+)$", re.M)


def in_tabs(markdown: str) -> str:
    """The page with its groups as tabs.

    Raises:
        ValueError: A group was opened and is not closed, or has no heading of level 3 at its beginning.
    """
    made = _GROUP.sub(lambda found: _group(found["body"]), markdown)
    if re.search(r"^<!-- (end of )?tabs -->$", made, re.M):
        raise ValueError("expected `<!-- tabs -->` and `<!-- end of tabs -->` in pairs, got one alone")
    return made


def _group(body: str) -> str:
    before, *rest = _HEADING.split(body)
    if before.strip() or not rest:
        raise ValueError(f"expected a heading of level 3 right after `<!-- tabs -->`, got {body.strip()[:60]!r}")
    titles, texts = rest[::2], rest[1::2]
    return "".join(
        f'=== "{title}"\n\n{textwrap.indent(text.strip(), "    ")}\n\n'
        for title, text in zip(titles, texts, strict=True)
    )
