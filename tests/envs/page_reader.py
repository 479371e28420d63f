"""HTML to an observation: what is visible on a store's page, and what can be clicked.

The rules are the original's, so that its pages are read as it reads them itself: all text that is not in the head, a
script, a style or a comment, hidden or not; buttons by their class, product links by theirs, options by radio buttons.
The environment renders its own pages without HTML; this is the second way, by which tests check the first.
"""

from __future__ import annotations

from dataclasses import dataclass

from bs4 import BeautifulSoup
from bs4.element import Comment, NavigableString

from sdar_envs.webshop.pages import Page, PageKind, Role, Segment

_INVISIBLE = frozenset(("style", "script", "head", "title", "meta", "[document]"))


@dataclass(frozen=True, slots=True)
class ReadPage:
    """A page found in HTML.

    Attributes:
        page: Its segments, the instruction among them.
        clickables: The names of what can be clicked, in the original's order.
        has_search_bar: Whether there is one.
        chosen: Group -> value of the options that the HTML marks as selected.
        visited: Products that the HTML marks as opened before.
    """

    page: Page
    clickables: list[str]
    has_search_bar: bool
    chosen: dict[str, str]
    visited: frozenset[str]

    @property
    def text(self) -> str:
        """The plain observation."""
        return self.page.text("")

    @property
    def rich_text(self) -> str:
        """The marked observation."""
        return self.page.rich_text("", self.chosen, self.visited)


def read_page(html: str, url: str = "") -> ReadPage:
    """Read a page.

    Args:
        html: The page's HTML, of this store or of the original.
        url: Its address. The original marks chosen options nowhere else.
    """
    soup = BeautifulSoup(html, "html.parser")
    groups = {str(radio.get("id")): str(radio.get("name", "")) for radio in soup.select('input[type="radio"]')}
    segments = tuple(_segment(text, groups) for text in soup.find_all(string=True) if _visible(text))
    radios = soup.select('input[type="radio"]')
    chosen = {
        str(radio.get("name", "")): str(radio.get("value"))
        for radio in radios
        if radio.has_attr("checked") or (url and f'"{radio.get("value")}"' in url)
    }
    named = [*soup.find_all(class_="btn"), *soup.find_all(class_="product-link")]
    names = [tag.get_text().lower() for tag in named] + [str(radio.get("value")) for radio in radios]
    page = Page(_kind(soup), (), segments, instructed=False)
    visited = frozenset(tag.get_text() for tag in named if tag.has_attr("data-visited"))
    return ReadPage(page, list(dict.fromkeys(names)), page.has_search_bar, chosen, visited)


def _visible(text: NavigableString) -> bool:
    parent = text.parent
    return not (isinstance(text, Comment) or text == "\n" or parent is None or parent.name in _INVISIBLE)


def _segment(text: NavigableString, groups: dict[str, str]) -> Segment:
    parent = text.parent
    assert parent is not None
    if parent.name == "button":
        return Segment(str(text), Role.BUTTON)
    if parent.name == "label":
        return Segment(str(text), Role.OPTION, groups.get(str(parent.get("for")), ""))
    if parent.get("class") == ["product-link"]:
        return Segment(str(text), Role.PRODUCT)
    return Segment(str(text))


def _kind(soup: BeautifulSoup) -> PageKind:
    if soup.find(id="search_input") is not None:
        return PageKind.INDEX
    if soup.find(id="reward") is not None:
        return PageKind.DONE
    buttons = {tag.get_text().lower() for tag in soup.find_all(class_="btn")}
    if "buy now" in buttons:
        return PageKind.ITEM
    return PageKind.RESULTS if "next >" in buttons else PageKind.SUB_PAGE
