"""A headless Chromium (Debian's package, or the one that ``SDAR_CHROMIUM`` names) that reports all that a page does."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MISSING = "no Chromium: apt-get install chromium, or name one with SDAR_CHROMIUM"


def executable() -> str | None:
    """Where Chromium is."""
    return os.environ.get("SDAR_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")


@dataclass
class Watched:
    """An open page with everything that it must not do: dialogs, requests, and words on the console."""

    page: Any
    dialogs: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    console: list[str] = field(default_factory=list)

    @property
    def misdeeds(self) -> list[str]:
        """All of them together."""
        return [*self.dialogs, *self.requests, *self.console]


@contextmanager
def browser() -> Iterator[Any]:
    """A running Chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # In a container there is no user namespace for Chromium's own sandbox.
        running = playwright.chromium.launch(executable_path=executable(), args=["--no-sandbox"])
        try:
            yield running
        finally:
            running.close()


def open_page(running: Any, path: Path, **options: Any) -> Watched:
    """Open a file; `options` are playwright's for a context (viewport, color_scheme, java_script_enabled, ...)."""
    address = path.resolve().as_uri()
    return _open(running, address, lambda url: url == address, options)


def open_site(running: Any, address: str, **options: Any) -> Watched:
    """Open a web site; what it asks of itself is no misdeed."""
    return _open(running, address, lambda url: url.startswith(address), options)


def _open(running: Any, address: str, own: Callable[[str], bool], options: dict[str, Any]) -> Watched:
    page = running.new_context(**options).new_page()
    watched = Watched(page)

    def dismiss(dialog: Any) -> None:
        watched.dialogs.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    page.on("dialog", dismiss)
    page.on("console", lambda message: watched.console.append(f"console {message.type}: {message.text}"))
    page.on("pageerror", lambda error: watched.console.append(f"error: {error}"))
    page.on("request", lambda request: None if own(request.url) else watched.requests.append(request.url))
    page.goto(address)
    return watched


# Of a selector: how much lighter the one of its text and its background is than the other, as WCAG counts it.
CONTRAST = """selector => {
  const numbers = (colour) => colour.match(/[0-9.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((c) => c / 255)
    .map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const node = document.querySelector(selector);
  const style = getComputedStyle(node);
  let behind = node;
  while (behind && [undefined, 0].includes(numbers(getComputedStyle(behind).backgroundColor)[3])
         && getComputedStyle(behind).backgroundColor.startsWith("rgba")) behind = behind.parentElement;
  const paper = light(numbers(getComputedStyle(behind ?? document.body).backgroundColor));
  const ink = light(numbers(node instanceof SVGElement ? style.fill : style.color));
  return (Math.max(paper, ink) + 0.05) / (Math.min(paper, ink) + 0.05);
}"""
