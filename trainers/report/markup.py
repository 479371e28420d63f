"""Elements from data: the one place where text becomes markup, always escaped."""

from __future__ import annotations

from collections.abc import Mapping

from markupsafe import Markup, escape

from .plain_text import clean

Content = str | Markup


def text(value: str) -> Markup:
    """A text node: cleaned of what could reorder or hide text, and escaped."""
    return escape(clean(value))


def element(name: str, attributes: Mapping[str, str | float] | None = None, *content: Content) -> Markup:
    """An element. Attribute values and content that is not markup already are escaped; numbers get two decimals.

    `name` and the attributes' names are ours, never data.
    """
    own = "".join(f' {key}="{text(_value(value))}"' for key, value in (attributes or {}).items())
    inner = Markup("").join(part if isinstance(part, Markup) else text(part) for part in content)
    return Markup(f"<{name}{own}>{inner}</{name}>")


def _value(value: str | float) -> str:
    if isinstance(value, str):
        return value
    return f"{value:.2f}".rstrip("0").rstrip(".")
