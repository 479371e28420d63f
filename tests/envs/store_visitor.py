"""A visitor who shops in the served store as a browser does: reads the page's forms, presses their buttons."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from bs4 import BeautifulSoup, Tag
from page_reader import ReadPage, read_page

# (method, address, form fields or None) -> (status, address of the page that is shown in the end, its text)
Ask = Callable[[str, str, Mapping[str, str] | None], tuple[int, str, str]]


@dataclass
class Visitor:
    """Someone who knows nothing but the page in front of them."""

    ask: Ask
    status: int = 0
    address: str = "/"
    html: str = ""

    def go(self, address: str) -> None:
        """Open an address."""
        self.status, self.address, self.html = self.ask("GET", address, None)

    def start(self) -> None:
        """Take an errand from the welcome page."""
        self.go("/")
        self.send(self.soup.find("form"), {})

    def play(self, action: str) -> None:
        """Do with the page's forms what an agent's action says: type a query, or press what has this name."""
        name, _, rest = action.partition("[")
        said = rest.removesuffix("]")
        if name == "search":
            self.send(self.soup.find("form", id="search"), {"query": said})
            return
        pressed = next(control for control in self.controls() if _name(control) == said)
        self.send(pressed.find_parent("form"), {str(pressed["name"]): str(pressed["value"])})

    def send(self, form: Any, fields: Mapping[str, str]) -> None:
        """Send a form with these fields, and what a browser sends along: hidden fields and marked radio buttons."""
        along = form.select('input[type="hidden"]:not([disabled]), input[type="radio"][checked]:not([disabled])')
        sent = {str(tag["name"]): str(tag["value"]) for tag in along}
        assert form["method"] == "post"
        self.status, self.address, self.html = self.ask("POST", str(form["action"]), sent | dict(fields))

    def controls(self) -> list[Tag]:
        """What can be pressed on the store's own page, apart from the search."""
        return self.soup.select("main button[name], main input[type=submit][name]")

    @property
    def soup(self) -> BeautifulSoup:
        """The page."""
        return BeautifulSoup(self.html, "html.parser")

    @property
    def main(self) -> ReadPage:
        """The store's own part of the page, as a reader of the store's HTML finds it."""
        return read_page(f"<body>{self.soup.find('main')}</body>")


def _name(control: Tag) -> str:
    return str(control["value"]).lower() if control.name == "input" else control.get_text().lower()
