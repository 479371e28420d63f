"""The page model: what a page says, part by part, from which every form of observation is made.

A page is a sequence of segments, each a text with a role. The plain text joins them, the rich text marks what can be
clicked, the clickables are their names in the original's order; `html.py` makes HTML of the same
parts. A page knows neither who looks at it nor what was chosen, so it is built once and shared; the instruction, the
chosen options and the products seen before are passed when it is shown.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

from .catalog import Product

SEPARATOR = " [SEP] "

BACK_TO_SEARCH, PREVIOUS, NEXT, BUY, SEARCH = "Back to Search", "< Prev", "Next >", "Buy Now", "Search"
SUB_PAGES = ("Description", "Features", "Reviews", "Attributes")

# An option that is called like one of these is the button, see `Session.click`.
_BUTTONS = frozenset(name.lower() for name in (BACK_TO_SEARCH, PREVIOUS, SEARCH, BUY, *SUB_PAGES))

PAGE_SIZE = 10
_WHITE_SPACE = " \t\n\f\r"


class Role(StrEnum):
    """What a segment is."""

    TEXT = "text"
    BUTTON = "button"
    PRODUCT = "product"
    OPTION = "option"


class PageKind(StrEnum):
    """The five kinds of page."""

    INDEX = "index"
    RESULTS = "results"
    ITEM = "item"
    SUB_PAGE = "sub_page"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class Segment:
    """One piece of visible text; `group` is the option group that an option belongs to."""

    text: str
    role: Role = Role.TEXT
    group: str = ""


@dataclass(frozen=True)
class Page:
    """A page without its instruction.

    Attributes:
        kind: What kind of page.
        lead: What stands in front of the instruction.
        body: What follows it.
        instructed: Whether the instruction is shown between the two.
    """

    kind: PageKind
    lead: tuple[Segment, ...]
    body: tuple[Segment, ...]
    instructed: bool = True

    @property
    def has_search_bar(self) -> bool:
        """Whether a query can be typed here."""
        return self.kind is PageKind.INDEX

    def segments(self, instruction: str) -> list[Segment]:
        """Everything that is seen, in order."""
        return [*self.lead, *(shown(instruction) if self.instructed else ()), *self.body]

    @cached_property
    def clickables(self) -> dict[str, Segment]:
        """Name -> segment: buttons, then products, then options. Of equal names the last one is meant."""
        ordered = [segment for role in _CLICK_ORDER for segment in self.body if segment.role in role]
        return {s.text if s.role is Role.OPTION else s.text.lower(): s for s in ordered}

    @cached_property
    def click_actions(self) -> tuple[str, ...]:
        """The complete actions that this page takes; a click on `Search` does nothing and is left out."""
        return tuple(f"click[{name}]" for name in self.clickables if name != SEARCH.lower())

    @cached_property
    def _ends(self) -> tuple[str, str]:
        lead, body = (SEPARATOR.join(s.text.strip() for s in part) for part in (self.lead, self.body))
        return lead + SEPARATOR if self.lead else "", SEPARATOR + body if self.body else ""

    def text(self, instruction: str) -> str:
        """The plain observation: all segments, joined by `` [SEP] ``."""
        lead, body = self._ends
        if not self.instructed:
            return body.removeprefix(SEPARATOR)
        return f"{lead}{instruction.strip()}{body}" if shown(instruction) else lead + body.removeprefix(SEPARATOR)

    def rich_text(
        self, instruction: str, chosen: Mapping[str, str] | None = None, visited: Collection[str] = ()
    ) -> str:
        """The marked observation: a line per segment, what can be clicked in brackets, what was chosen named in front.

        Args:
            instruction: The goal as the shopper reads it.
            chosen: Group -> value of the options that are selected.
            visited: Ids of products that were opened before.
        """
        chosen = chosen or {}
        clicked, lines = "", []
        for segment in self.segments(instruction):
            text, marks = segment.text, _MARKS[segment.role]
            if segment.role is Role.OPTION and chosen.get(segment.group) == text:
                clicked, marks = f"You have clicked {text}.\n" + clicked, _CLICKED[segment.role]
            elif segment.role is Role.PRODUCT and text in visited:
                marks = _CLICKED[segment.role]
            lines.append(marks.format(text) + "\n")
        return clicked + "".join(lines)


_MARKS = {
    Role.TEXT: "{}",
    Role.BUTTON: "[button] {} [button_]",
    Role.PRODUCT: "\n[button] {} [button_]",
    Role.OPTION: "  [button] {} [button_]",
}
_CLICKED = {role: marks.replace("[button", "[clicked button") for role, marks in _MARKS.items()}
_CLICK_ORDER = ((Role.BUTTON,), (Role.PRODUCT,), (Role.OPTION,))


def shown(text: str, role: Role = Role.TEXT, group: str = "") -> tuple[Segment, ...]:
    """The segment of a text, or none: an HTML parser keeps of mere white space a blank, or nothing if lines break."""
    if text.strip(_WHITE_SPACE):
        return (Segment(text, role, group),)
    return (Segment(" ", role, group),) if text and "\n" not in text else ()


def choosable(options: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """The options that a click chooses: of equal values those of the last group, and none called like a button."""
    meant = {value: group for group, values in options.items() for value in values}
    return {
        group: tuple(value for value in values if value and meant[value] == group and value not in _BUTTONS)
        for group, values in options.items()
    }


def _texts(*texts: str) -> tuple[Segment, ...]:
    return tuple(segment for text in texts for segment in shown(text))


def _buttons(*names: str) -> tuple[Segment, ...]:
    return tuple(Segment(name, Role.BUTTON) for name in names)


# In front of the instruction; only the first page has a blank after the colon.
_LEAD = _texts("Instruction:")

INDEX_PAGE = Page(PageKind.INDEX, _texts("WebShop", "Instruction: "), _buttons(SEARCH))


def results_page(products: Iterable[Product], number: int, total: int) -> Page:
    """One page of search results.

    Args:
        products: Those of this page.
        number: The page's number, from 1; there is always a next one.
        total: Hits of the search, on all pages.
    """
    turning = _buttons(PREVIOUS, NEXT) if number > 1 else _buttons(NEXT)
    listed = (
        segment
        for product in products
        for segment in (*shown(product.asin, Role.PRODUCT), *_texts(product.title, product.price_label))
    )
    heading = _texts(f"Page {number} (Total results: {total})")
    return Page(PageKind.RESULTS, _LEAD, (*_buttons(BACK_TO_SEARCH), *heading, *turning, *listed))


def item_page(product: Product, *, show_attributes: bool = False) -> Page:
    """A product with its options."""
    options = (
        segment
        for group, values in product.options.items()
        for segment in (*shown(group), *(one for value in values for one in shown(value, Role.OPTION, group)))
    )
    facts = _texts(product.title, f"Price: {product.price_label}", f"Rating: {product.rating}")
    doors = _buttons(*(SUB_PAGES if show_attributes else SUB_PAGES[:3]), BUY)
    return Page(PageKind.ITEM, _LEAD, (*_buttons(BACK_TO_SEARCH, PREVIOUS), *options, *facts, *doors))


def sub_page(product: Product, name: str) -> Page:
    """One of a product's `SUB_PAGES`."""
    if name == "Description":
        texts = [product.description]
    elif name == "Features":
        texts = [f" {bullet}" for bullet in product.bullets]
    elif name == "Reviews":
        texts = [part for r in product.reviews for part in (f'"{r.title}"', f"{r.score:g}", r.body)]
    else:
        attributes = [f" {attribute}" for attribute in product.attributes]
        texts = [*attributes, product.category, product.query, product.product_category]
    return Page(PageKind.SUB_PAGE, _LEAD, (*_buttons(BACK_TO_SEARCH, PREVIOUS), *_texts(*texts)))


def done_page(asin: str, chosen: Mapping[str, str], reward: float) -> Page:
    """The page after a purchase, with the score and without the goal."""
    # As Flask writes JSON into a page: sorted, ASCII, and without characters that mean something in HTML.
    options = json.dumps(dict(chosen), sort_keys=True)
    for character in "<>&'":
        options = options.replace(character, f"\\u{ord(character):04x}")
    texts = [
        *("Thank you for shopping with us!", "Your code: ", "None", " (Paste it in your MTurk interface.)"),
        *("Purchased", "asin", asin, "options", options, "attrs", "None", "category", "None", "query", "None"),
        *("product category", "None", "Target", "asin", "options", "attrs", "price upper", "instuction text"),
        *("category", "product category", "query", "Goal ", "None", "Reward"),
        *("Your score (min 0.0, max 1.0)", str(reward), "Reward Details ", "None"),
    ]
    return Page(PageKind.DONE, (), _texts(*texts), instructed=False)
