"""Screenshots of a report for the documentation: ``python tests/browser/screenshots.py REPORT [FOLDER] [--arm NAME]``.

REPORT is the page of `sdar report`, of a study or of a run. Pictures are written to FOLDER (docs/images) as PNG files
of 256 colours, which keeps each under some 250 kB; they need the `browser` group and the extra `report` (Pillow comes
with matplotlib).
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

from chromium import MISSING, browser, executable, open_page
from PIL import Image

WIDE = {"width": 1280, "height": 900}
VIEWER = {"width": 1440, "height": 940}
PHONE = {"width": 390, "height": 844}


def save(picture: bytes, path: Path) -> None:
    """Write a picture small: 256 colours without dithering, which keeps text sharp."""
    image = Image.open(io.BytesIO(picture)).convert("RGB")
    image.quantize(256, kmeans=2, dither=Image.Dither.NONE).save(path, optimize=True)
    print(f"{path}  {path.stat().st_size / 1000:.0f} kB")


def show_top(page: Any, arm: str) -> None:
    """The head of the page, as it opens."""


def show(anchor: str) -> Callable[[Any, str], None]:
    """A section or figure from its beginning."""

    def scroll(page: Any, arm: str) -> None:
        page.evaluate("name => document.getElementById(name)?.scrollIntoView()", anchor)

    return scroll


def show_viewer(page: Any, arm: str) -> None:
    """The last training episode of `arm` with a stale claim, won where there is one, at a token the teacher judges."""
    arms = page.locator("#viewer-filters select[name=arm]")
    if arm in arms.locator("option").all_inner_texts():
        arms.select_option(label=arm)
    for name, wanted in (("claims", "a wrong statement"), ("when", "training, "), ("outcome", "won")):
        select = page.locator(f"#viewer-filters select[name={name}]")
        # Of several, the last that an episode has.
        for label in reversed([said for said in select.locator("option").all_inner_texts() if said.startswith(wanted)]):
            select.select_option(label=label)
            if page.locator("#viewer-list button").count():
                break
            select.select_option(index=0)
    page.evaluate("document.getElementById('viewer').scrollIntoView()")
    shaded = page.locator("#viewer-turns li").filter(has=page.locator(".token.low, .token.high"))
    strongest = page.evaluate(
        """() => [...document.querySelectorAll("#viewer-turns li")].map((turn) => Math.max(
             ...[...turn.querySelectorAll(".token")].map((t) => Number(t.style.getPropertyValue("--a")) || 0), 0))"""
    )
    if shaded.count():
        page.locator("#viewer-turns button").nth(strongest.index(max(strongest))).click()
        tokens = page.locator(".turn .tokens .token")
        weights = tokens.evaluate_all("all => all.map((t) => Number(t.style.getPropertyValue('--a')) || 0)")
        tokens.nth(weights.index(max(weights))).hover()


# Name, what is done first, viewport, colour scheme, pixels per CSS pixel.
PICTURES: tuple[tuple[str, Callable[[Any, str], None], dict[str, int], str, float], ...] = (
    ("report-top", show_top, WIDE, "light", 1.5),
    ("report-curves", show("figure-curves"), WIDE, "light", 1.5),
    ("report-weights", show("figure-weights"), WIDE, "dark", 1.5),
    ("report-viewer", show_viewer, VIEWER, "light", 1.5),
    ("report-viewer-dark", show_viewer, VIEWER, "dark", 1.5),
    ("report-phone", show("figure-curves"), PHONE, "light", 2.0),
)


def main() -> None:
    """Take all pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("report", type=Path)
    parser.add_argument("folder", type=Path, nargs="?", default=Path(__file__).parents[2] / "docs" / "images")
    parser.add_argument("--arm", default="sdar", help="whose episode is shown, by its label [sdar]")
    options = parser.parse_args()
    if executable() is None:
        parser.exit(2, f"{MISSING}\n")
    options.folder.mkdir(parents=True, exist_ok=True)
    with browser() as running:
        for name, prepare, viewport, scheme, scale in PICTURES:
            watched = open_page(
                running, options.report, viewport=viewport, color_scheme=scheme, device_scale_factor=scale
            )
            prepare(watched.page, options.arm)
            watched.page.wait_for_timeout(200)
            save(watched.page.screenshot(), options.folder / f"{name}.png")


if __name__ == "__main__":
    main()
