"""One shopper's walk through the store: where they are, what they chose, and what an action does to it.

The rules are the original's: a new search forgets the chosen options, going back from a product does too, going back
from one of its sub-pages does not; products stay marked as seen until one goes back to the search page. What is not
understood changes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from .catalog import Product
from .pages import (
    BACK_TO_SEARCH,
    BUY,
    INDEX_PAGE,
    NEXT,
    PREVIOUS,
    SEARCH,
    SUB_PAGES,
    Page,
    PageKind,
    Role,
    Segment,
    done_page,
)

BASE_URL = "http://127.0.0.1:3000"

_SUB_PAGES = {name.lower(): name for name in SUB_PAGES}


class Shelves(Protocol):
    """What a walk needs of a store."""

    def product(self, asin: str) -> Product:
        """The product of an id."""
        ...

    def hits(self, query: str) -> tuple[str, ...]:
        """The ids that a query finds, best first."""
        ...

    def results_page(self, query: str, number: int) -> Page:
        """A page of results."""
        ...

    def item_page(self, asin: str) -> Page:
        """A product's page."""
        ...

    def sub_page(self, asin: str, name: str) -> Page:
        """A product's sub-page."""
        ...


def parse_action(text: str) -> tuple[str, tuple[str, ...]] | None:
    """Read ``search[words]`` or ``click[name]`` in the first line of a text; None for anything else.

    Text behind the argument is ignored, unless it has brackets of its own: then nothing is done, as in the original. A
    search goes to the last closing bracket, as there. In the name of what is clicked there may be pairs of brackets
    (which the original cannot read), so every closing bracket behind them may be the one that is meant.

    Returns:
        The name, and the arguments that may be meant, in lower case, those to be tried first in front.
    """
    name, _, rest = text.partition("\n")[0].partition("[")
    # An argument has at least one character, be it a bracket.
    ends = [place for place, character in enumerate(rest) if character == "]" and place]
    # Where another pair of brackets with something in it opens, the last one; -1 where there is none.
    other = rest.rfind("[", 0, ends[-1] - 1) if ends else -1
    if name == "search":
        return (name, (rest[: ends[-1]].lower(),)) if ends and other < 0 else None
    if name != "click":
        return None
    arguments = tuple(rest[:end].lower() for end in reversed(ends) if end > other)
    return (name, arguments) if arguments else None


@dataclass
class Session:
    """The walk's state.

    Attributes:
        shelves: The store.
        worth: What a purchase scores, of a product's id and the chosen options.
        explain: Lines that the page behind the purchase adds to the original's; asked for once `worth` was.
        kind: The kind of page that is shown.
        query: The last search, None before one and after going back to the search page.
        number: The page of its results.
        asin: The product that is shown, "" where none is.
        sub_page: The sub-page that is shown, "" where none is.
        chosen: The selected options of the product, group -> value, in the order in which they were chosen first.
        visited: The products that were opened since the search page.
        reward: What the purchase scored, None before it.
        explained: What `explain` said of the purchase.
        page: The page that is shown.
    """

    shelves: Shelves
    worth: Callable[[str, Mapping[str, str]], float]
    explain: Callable[[], tuple[str, ...]] = tuple
    kind: PageKind = PageKind.INDEX
    query: str | None = None
    number: int = 1
    asin: str = ""
    sub_page: str = ""
    chosen: dict[str, str] = field(default_factory=dict)
    visited: set[str] = field(default_factory=set)
    reward: float | None = None
    explained: tuple[str, ...] = ()
    page: Page = INDEX_PAGE

    def act(self, text: str) -> bool:
        """Play one action; whether it was understood. Buying ends the walk, see `PageKind.DONE`."""
        parsed = parse_action(text)
        if parsed is None or self.kind is PageKind.DONE:
            return False
        name, arguments = parsed
        if name == "search":
            self.search(arguments[0])
            return True
        return any(self.click(argument) for argument in arguments)

    def as_it_is(self) -> Session:
        """A copy that further actions do not change; it is to be looked at and not walked on with."""
        return replace(self, chosen=dict(self.chosen))

    def search(self, query: str) -> None:
        """Search, from any page."""
        self._results(query, 1)

    def click(self, name: str) -> bool:
        """Click what has this name, in lower case; False when nothing on the page has."""
        segment = self.page.clickables.get(name) or self._unprintable(name)
        if segment is None or name == SEARCH.lower():
            return False
        # A name decides before a role does: an option that is called like a button cannot be chosen.
        if self._turned(name):
            return True
        if segment.role is Role.PRODUCT:
            self.asin = segment.text
            self.visited.add(self.asin)
        elif segment.role is Role.OPTION:
            self.chosen[segment.group] = segment.text
        else:
            return False
        self._item()
        return True

    def _turned(self, name: str) -> bool:
        """Follow a button that leads to another page."""
        if name == BACK_TO_SEARCH.lower():
            self.kind, self.page = PageKind.INDEX, INDEX_PAGE
            self.query, self.number, self.asin, self.sub_page = None, 1, "", ""
            self.chosen, self.visited = {}, set()
        elif self.kind is PageKind.RESULTS and name in (NEXT.lower(), PREVIOUS.lower()):
            self._results(self.query or "", self.number + (1 if name == NEXT.lower() else -1))
        elif self.kind is PageKind.ITEM and name == PREVIOUS.lower():
            self._results(self.query or "", self.number)
        elif self.kind is PageKind.SUB_PAGE and name == PREVIOUS.lower():
            self._item()
        elif self.kind is PageKind.ITEM and name in _SUB_PAGES:
            self.kind, self.sub_page = PageKind.SUB_PAGE, _SUB_PAGES[name]
            self.page = self.shelves.sub_page(self.asin, self.sub_page)
        elif self.kind is PageKind.ITEM and name == BUY.lower():
            self.reward = self.worth(self.asin, self.chosen)
            self.explained = self.explain()
            self.kind = PageKind.DONE
            self.page = done_page(self.asin, self.chosen, self.reward, self.explained)
        else:
            return False
        return True

    def _results(self, query: str, number: int) -> None:
        self.kind, self.query, self.number = PageKind.RESULTS, query, number
        self.asin, self.sub_page, self.chosen = "", "", {}
        self.page = self.shelves.results_page(query, number)

    def _item(self) -> None:
        self.kind, self.sub_page = PageKind.ITEM, ""
        self.page = self.shelves.item_page(self.asin)

    def _unprintable(self, name: str) -> Segment | None:
        """What is meant by a name whose unprintable characters became marks, as an environment hands it over."""
        if "\N{REPLACEMENT CHARACTER}" not in name:
            return None
        return next((segment for key, segment in self.page.clickables.items() if _printable(key) == name), None)

    def url(self, session_id: str) -> str:
        """The address of the page, as the original writes it."""
        words = "+".join((self.query or "").split(" "))
        if self.kind is PageKind.INDEX:
            return f"{BASE_URL}/{session_id}"
        if self.kind is PageKind.RESULTS:
            return f"{BASE_URL}/search_results/{session_id}/{words}/{self.number}"
        if self.kind is PageKind.DONE:
            return f"{BASE_URL}/done/{session_id}/{self.asin}/{self.chosen}"
        item = f"{session_id}/{self.asin}/{words}/{self.number}"
        if self.kind is PageKind.SUB_PAGE:
            return f"{BASE_URL}/item_sub_page/{item}/{self.sub_page}/{self.chosen}"
        return f"{BASE_URL}/item_page/{item}/{json.dumps(self.chosen)}"


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
