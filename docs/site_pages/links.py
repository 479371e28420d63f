"""Links that are right in the repository, made right on the site, where some pages lie elsewhere."""

from __future__ import annotations

import posixpath
import re

# Files of the repository outside docs/ -> their pages. The README is the site's home.
PAGES_OF = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "CODE_OF_CONDUCT.md": "code-of-conduct.md",
    "examples/README.md": "examples/index.md",
}
# Files that the site serves as they are, at the path that they have in the repository.
FILES = ("constraints.txt",)
_EXAMPLE = re.compile(r"(examples/\w+)\.(?:py|ipynb)")
_LINK = re.compile(r"(!?\[[^\]]*\]\()([^)\s#]+)(#[^)\s]*)?\)")
_FENCE = re.compile(r"^(```.*?^```)", re.M | re.S)

# What stands for the repository's address on a page, as in ``pip install "sdar-gym @ git+ADDRESS"``.
_ADDRESS = "git+ADDRESS"


def with_the_address(markdown: str, repository: str | None) -> str:
    """The page with the repository's address in its commands, where one is known."""
    return markdown.replace(_ADDRESS, f"git+{repository}") if repository else markdown


def page_of(path: str) -> str | None:
    """The page that shows a file of the repository outside docs/; None for a file that has none."""
    example = _EXAMPLE.fullmatch(path)
    return f"{example[1]}.md" if example else PAGES_OF.get(path)


def for_the_site(markdown: str, page: str) -> str:
    """The page with its links into the repository's root led to the pages that hold those files.

    Args:
        markdown: The text; code blocks stay as they are.
        page: Its path below docs/, such as ``cli/train.md``.
    """
    parts = _FENCE.split(markdown)
    return "".join(part if part.startswith("```") else _rewritten(part, page) for part in parts)


def from_the_root(markdown: str) -> str:
    """A page of the repository's root as a page of docs/: links lose the folder they name."""

    def moved(found: re.Match[str]) -> str:
        opening, target, anchor = found[1], found[2], found[3] or ""
        if re.match(r"\w+:", target) or target in FILES:
            return found[0]
        inside = target.removeprefix("docs/")
        return f"{opening}{page_of(target) or (inside if inside != target else '../' + target)}{anchor})"

    parts = _FENCE.split(markdown)
    return "".join(part if part.startswith("```") else _LINK.sub(moved, part) for part in parts)


def _rewritten(text: str, page: str) -> str:
    folder = posixpath.dirname(page)

    def moved(found: re.Match[str]) -> str:
        opening, target, anchor = found[1], found[2], found[3] or ""
        path = posixpath.normpath(posixpath.join("docs", folder, target))
        place = path if path in FILES else page_of(path)
        if re.match(r"\w+:", target) or place is None:
            return found[0]
        return f"{opening}{posixpath.relpath(place, folder or '.')}{anchor})"

    return _LINK.sub(moved, text)
