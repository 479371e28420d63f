"""The screenshot of the served store for the documentation: ``python tests/browser/store_picture.py [FILE]``.

It serves the generated store with everything shown, goes shopping up to an option, and writes a picture as
`screenshots.save` does (to docs/images/store.png). Needs the `browser` group and the extras `web` and `report`.
"""

from __future__ import annotations

import sys
from pathlib import Path

from chromium import MISSING, browser, executable, open_site
from screenshots import save
from test_store_page import begin, follow, serving

WIDE = {"width": 1440, "height": 880}
OPENED = 3  # so many steps of the plan: a search, a product, an option


def main() -> None:
    """Take the picture."""
    file = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[2] / "docs" / "images" / "store.png"
    if executable() is None:
        sys.exit(MISSING)
    with serving("--show-privileged", "--no-record") as address, browser() as running:
        page = open_site(running, address, viewport=WIDE, color_scheme="light", device_scale_factor=1.5).page
        begin(page)
        follow(page, page.locator(".plan code").all_inner_texts()[:OPENED])
        save(page.screenshot(), file)


if __name__ == "__main__":
    main()
