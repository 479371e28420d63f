"""The home page, which is the README, and the repository's other pages: changelog, contributing, security, conduct."""

from __future__ import annotations

from pathlib import Path

from . import links

ROOT = Path(__file__).resolve().parents[2]
_HOME = "---\nhide: [navigation]\n---\n\n"


def pages() -> dict[str, str]:
    """Path below docs/ -> text."""
    made = {}
    for name, page in links.PAGES_OF.items():
        text = links.from_the_root((ROOT / name).read_text(encoding="utf-8"))
        made[page] = _HOME + text if page == "index.md" else text
    return made
