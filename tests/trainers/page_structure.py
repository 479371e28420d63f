"""What a parser finds in a page: its elements with the names of their attributes, and what stands in its blocks."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any


@dataclass
class Structure(HTMLParser):
    """Parses a page; `elements` lists (tag, attribute names) in order, `texts` what is shown."""

    page: str
    elements: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)
    values: dict[str, list[str]] = field(default_factory=dict)
    blocks: dict[str, str] = field(default_factory=dict)
    comments: list[str] = field(default_factory=list)
    text: str = ""
    _inside: str = ""

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.feed(self.page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element."""
        self.elements.append((tag, tuple(name for name, _ in attrs)))
        for name, value in attrs:
            self.values.setdefault(f"{tag}.{name}", []).append(value or "")
        if tag in ("script", "style"):
            self._inside = tag + "".join(f" {value}" for name, value in attrs if name == "type")

    def handle_endtag(self, tag: str) -> None:
        """Leave a block."""
        if tag in ("script", "style"):
            self._inside = ""

    def handle_data(self, data: str) -> None:
        """Note text, or what stands in a block."""
        if self._inside:
            self.blocks[self._inside] = self.blocks.get(self._inside, "") + data
        else:
            self.text += data

    def handle_comment(self, data: str) -> None:
        """Note a comment: a report has none."""
        self.comments.append(data)

    @property
    def data(self) -> dict[str, Any]:
        """What the viewer is given."""
        found: dict[str, Any] = json.loads(self.blocks["script application/json"])
        return found
