"""A headless Chromium (Debian's package, or the one that ``SDAR_CHROMIUM`` names) that reports all that a page does."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
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
    page = running.new_context(**options).new_page()
    watched = Watched(page)

    def dismiss(dialog: Any) -> None:
        watched.dialogs.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    address = path.resolve().as_uri()
    page.on("dialog", dismiss)
    page.on("console", lambda message: watched.console.append(f"console {message.type}: {message.text}"))
    page.on("pageerror", lambda error: watched.console.append(f"error: {error}"))
    page.on("request", lambda request: None if request.url == address else watched.requests.append(request.url))
    page.goto(address)
    return watched
