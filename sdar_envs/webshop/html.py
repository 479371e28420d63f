"""Pages as HTML, from the templates under ``assets/webshop/pages``: the ``html`` observation, and what people see.

The HTML shows the same text as the page model, segment by segment. Everything that comes from a product or a goal is
escaped. Whoever serves these pages passes where forms are sent and which fields every form adds.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from ..assets import asset_path
from .pages import SUB_PAGES, PageKind, Role
from .session import Session

if TYPE_CHECKING:
    from jinja2 import Environment


@cache
def templates() -> Environment:
    """The page templates, compiled once; escaping is on for everything."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(asset_path("webshop", "pages")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )


def page_html(session: Session, instruction: str) -> str:
    """The page that a session is at."""
    kind = session.kind
    return templates().get_template(f"{kind.value}.html").render(page_context(session, instruction))


def page_context(
    session: Session, instruction: str, *, address: str = "", fields: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """What the template of a page is filled with.

    Args:
        session: Whose page.
        instruction: The goal as the shopper reads it.
        address: Where forms are sent; "" for the page's own address. A form carries an ``action``, or the ``query`` of
            a search, or the ``option`` that was chosen.
        fields: Names and values that every form adds.
    """
    page, shelves = session.page, session.shelves
    context: dict[str, Any] = {
        "kind": session.kind.value,
        "wanted": instruction,
        "address": address,
        "fields": dict(fields or {}),
        "visited": session.visited,
        "chosen": session.chosen,
    }
    if session.kind is PageKind.RESULTS:
        found = [shelves.product(s.text) for s in page.body if s.role is Role.PRODUCT]
        context |= {"number": session.number, "total": len(shelves.hits(session.query or "")), "products": found}
    elif session.kind is PageKind.DONE:
        context["texts"] = [segment.text for segment in page.body]
    elif session.kind is not PageKind.INDEX:
        names = [name for name in SUB_PAGES if name.lower() in page.clickables]
        context |= {"product": shelves.product(session.asin), "sub_pages": names, "name": session.sub_page}
    return context
