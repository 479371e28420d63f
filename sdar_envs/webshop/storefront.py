"""What people see of a visit: the store's own pages with a bar above and, where it was asked for, a panel beside them.

The templates of ``assets/webshop/pages`` are filled as for the ``html`` observation; those of
``assets/webshop/storefront`` stand around them, and give drawn pictures instead of pictures that would have to be
fetched. What a model is shown is in ``main``, and nothing else is.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from ..assets import asset_path
from .catalog import Product
from .html import page_context
from .taxonomy import taxonomy
from .visits import Visit

if TYPE_CHECKING:
    from jinja2 import Environment

TINTS = 6


@dataclass(frozen=True, slots=True)
class Picture:
    """A drawn picture: which shape, and which of the tints."""

    shape: str
    tint: int


def picture_of(product: Product) -> Picture:
    """The picture of a product. It says nothing that the title and the id do not say."""
    shapes = _shapes()
    shape = next((shapes[word] for word in reversed(product.title.lower().split()) if word in shapes), "parcel")
    return Picture(shape, zlib.crc32(product.asin.encode()) % TINTS)


@cache
def _shapes() -> dict[str, str]:
    return {kind: department.name for department in taxonomy().departments.values() for kind in department.types}


@cache
def _templates() -> Environment:
    """The storefront's templates; a page of the store that extends ``base.html`` gets the storefront's."""
    from jinja2 import ChoiceLoader, Environment, FileSystemLoader, PrefixLoader, StrictUndefined

    pages = FileSystemLoader(asset_path("webshop", "pages"))
    around = FileSystemLoader(asset_path("webshop", "storefront"))
    environment = Environment(
        loader=ChoiceLoader([around, pages, PrefixLoader({"pages": pages})]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.globals.update(picture_of=picture_of, as_text=_as_text)
    return environment


def _as_text(value: object) -> str:
    """A fact as a person reads it."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {_as_text(part)}" for name, part in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_as_text, value))
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def visit_html(visit: Visit, address: str, *, notice: str = "", panel: bool = False, privileged: bool = False) -> str:
    """The page that a visit is at.

    Args:
        visit: Whose page.
        address: Where its forms are sent. They carry the number of the step that they were made for, so that a form
            of a page that is no longer the present one can be told.
        notice: A line above the page.
        panel: Show what a model reads here.
        privileged: Show what only a teacher may read, too, and say so. Nothing of it is in the page otherwise.
    """
    session = visit.env.session
    context = page_context(session, visit.view.instruction, address=address, fields={"step": str(visit.steps)})
    context["visit"] = {
        "steps": visit.steps,
        "horizon": visit.env.horizon,
        "over": visit.over,
        "notice": notice,
        "score": visit.score if visit.terminated else None,
        "outcome": _outcome(visit),
    }
    context["panel"] = _panel(visit, privileged) if panel or privileged else None
    if visit.over and not visit.terminated:
        return _render("over", **(context | {"kind": "over"}))
    return _render(session.kind.value, **context)


def _outcome(visit: Visit) -> str:
    if visit.success:
        return "That was what was wanted, to the last option."
    return "Something was bought that does not meet all that was asked for." if visit.terminated else ""


def _panel(visit: Visit, privileged: bool) -> dict[str, Any]:
    last = visit.exchanges[-1] if visit.exchanges else None
    known = visit.known.reveal() if privileged and visit.known is not None else None
    return {
        "observation": visit.view.observation,
        "actions": () if visit.over else visit.view.admissible_actions,
        "last": last and {"action": last.action, "valid": last.is_action_valid},
        "known": known,
    }


def welcome_html(env_id: str, horizon: int, *, recorded: bool, privileged: bool) -> str:
    """The page in front of a visit."""
    return _render("welcome", env_id=env_id, horizon=horizon, recorded=recorded, privileged=privileged)


def message_html(heading: str, text: str, *, restart: bool = False) -> str:
    """A page that says one thing; with `restart`, it offers a new visit."""
    return _render("message", heading=heading, text=text, restart=restart)


def _render(template: str, **context: Any) -> str:
    return (
        _templates()
        .get_template(f"{template}.html")
        .render({"kind": template, "visit": None, "panel": None, "address": "", "fields": {}, **context})
    )
