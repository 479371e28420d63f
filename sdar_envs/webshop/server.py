"""The store as a web site on this machine: ``sdar serve-store``.

No address leads to a file: there are three fixed pages and one address per visit, whose last part is the visit's secret
id. Everything runs on one thread, and a step takes well under a millisecond, so visits need no locks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from .. import WEBSHOP, loopback
from ..assets import asset_text
from . import storefront
from .visits import StoreFullError, Visit, Visits

if TYPE_CHECKING:
    from starlette.types import ASGIApp

_MESSAGES = {
    404: ("There is no such page", "A visit ends some time after it was last looked at, and its address with it."),
    405: ("That is not how this page is used", "Pages are read with GET, and forms are sent with POST."),
    503: ("The store is full", ""),
}

OLD_PAGE = "That page was not the present one any more, so nothing was done. This is where you are."
NOT_UNDERSTOOD = "That was not understood. It counts as a step."


@dataclass(frozen=True, slots=True)
class StoreOptions:
    """What the store's pages show.

    Attributes:
        env_id: The environment's name, for the welcome page.
        horizon: Its number of steps, likewise.
        panel: Whether pages show what a model reads.
        privileged: Whether they show what only a teacher may read, too.
        recorded: Whether visits are recorded; the welcome page says so.
    """

    env_id: str = WEBSHOP.env_id
    horizon: int = 15
    panel: bool = False
    privileged: bool = False
    recorded: bool = False


def make_app(visits: Visits, options: StoreOptions) -> ASGIApp:
    """The web application, guarded."""
    site = _Site(visits, options)
    app = Starlette(
        routes=[
            Route("/", site.welcome, methods=["GET"]),
            Route("/start", site.start, methods=["POST"]),
            Route("/visit/{visit_id}", site.show, methods=["GET"]),
            Route("/visit/{visit_id}", site.act, methods=["POST"]),
            Route("/store.css", _fixed(asset_text("webshop", "store.css"), "text/css")),
            Route("/icon.svg", _fixed(asset_text("webshop", "storefront", "icon.svg"), "image/svg+xml")),
        ],
        exception_handlers={HTTPException: _refused, 500: _broken},
    )
    app.router.redirect_slashes = False
    return loopback.guarded(app)


def make_busy() -> ASGIApp:
    """The page for whoever comes when there are too many: it says so, and when to come again."""
    page = storefront.message_html("The store is busy", "Load this page again in a moment.")
    return loopback.guarded(HTMLResponse(page, 503, {"Retry-After": "2", "Connection": "close"}))


def _fixed(content: str, kind: str) -> Callable[[Request], Response]:
    def answer(request: Request) -> Response:
        return Response(content, media_type=kind)

    return answer


class _Site:
    """The pages. Handlers are coroutines without a wait between looking a visit up and acting on it."""

    def __init__(self, visits: Visits, options: StoreOptions) -> None:
        self._visits = visits
        self._options = options

    async def welcome(self, request: Request) -> Response:
        options = self._options
        page = storefront.welcome_html(
            options.env_id, options.horizon, recorded=options.recorded, privileged=options.privileged
        )
        return HTMLResponse(page)

    async def start(self, request: Request) -> Response:
        try:
            visit_id = self._visits.open()
        except StoreFullError as full:
            raise HTTPException(503, str(full), headers={"Retry-After": "60"}) from None
        return _to(f"/visit/{visit_id}")

    async def show(self, request: Request) -> Response:
        visit = self._visit(request)
        notice = ""
        if "old" in request.query_params:
            notice = OLD_PAGE
        elif visit.exchanges and not visit.exchanges[-1].is_action_valid:
            notice = NOT_UNDERSTOOD
        options = self._options
        page = storefront.visit_html(
            visit, request.url.path, notice=notice, panel=options.panel, privileged=options.privileged
        )
        return HTMLResponse(page)

    async def act(self, request: Request) -> Response:
        form = await loopback.read_form(request)
        visit = self._visit(request)
        # A second click, or a page from the browser's history: what it shows is not what an action would be done to.
        if visit.over or form.get("step") != str(visit.steps):
            return _to(f"{request.url.path}?old")
        self._visits.act(visit, _action(form))
        return _to(request.url.path)

    def _visit(self, request: Request) -> Visit:
        visit = self._visits.find(request.path_params["visit_id"])
        if visit is None:
            raise HTTPException(404)
        return visit


def _to(address: str) -> Response:
    # 303: the browser asks for the page with GET, so that loading it again does not play the action again.
    return RedirectResponse(address, status_code=303)


def _action(form: dict[str, str]) -> str:
    """The action that a form of the store's pages stands for."""
    if "query" in form:
        # People may type brackets; an action has one pair of its own, and a search index does not read them.
        query = "".join(" " if character in "[]" else character for character in form["query"])
        return f"search[{query}]"
    if "option" in form:
        return f"click[{form['option']}]"
    return form.get("action", "")


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    heading, text = _MESSAGES.get(error.status_code, ("That did not work", ""))
    page = storefront.message_html(heading, text or error.detail, restart=error.status_code == 404)
    return HTMLResponse(page, status_code=error.status_code, headers=error.headers)


async def _broken(request: Request, error: Exception) -> Response:
    # The traceback goes to the terminal, never into a page.
    return HTMLResponse(storefront.message_html("The store broke", "The terminal says where."), status_code=500)
