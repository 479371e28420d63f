"""What is known only when a package is built: where its repository is, and so where the README's links lead.

A package index shows the README without the repository around it, so that links and pictures need whole addresses.
REPOSITORY_URL names the repository, as for the documentation site; the release sets it. Without it a link is its text
and a picture its description: better than an address that leads nowhere.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

_LINK = re.compile(r"(?P<picture>!?)\[(?P<text>[^\]]*)\]\((?P<target>[^)\s]+)\)")
_CODE = re.compile(r"(^```.*?^```$|^ {4}[^\n]*$)", re.M | re.S)
_ELSEWHERE = re.compile(r"[a-z]+:|#")


def for_an_index(markdown: str, repository: str, tag: str) -> str:
    """The README with links that lead from anywhere into the repository at a tag; code stays as it is.

    Args:
        markdown: The README.
        repository: Address of the repository in a browser; "" where it is not known.
        tag: The released tag.
    """

    def led(found: re.Match[str]) -> str:
        picture, text, target = found["picture"], found["text"], found["target"]
        if _ELSEWHERE.match(target):
            return found[0]
        if not repository:
            return f"*{text}*" if picture else text
        return f"{picture}[{text}]({repository}/{'raw' if picture else 'blob'}/{tag}/{target})"

    parts = re.split(_CODE, markdown)
    return "".join(part if number % 2 else _LINK.sub(led, part) for number, part in enumerate(parts))


class ReadmeHook(MetadataHookInterface):
    """Fills in the README and the project's addresses."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Set `readme` and, where the repository is known, `urls`."""
        root = Path(self.root)
        version = re.search(r'^__version__ = "(.+)"$', (root / "sdar_envs" / "__init__.py").read_text("utf-8"), re.M)
        if version is None:
            raise ValueError('sdar_envs/__init__.py: expected a line __version__ = "...", and there is none')
        repository, tag = os.environ.get("REPOSITORY_URL", "").rstrip("/"), f"v{version[1]}"
        text = for_an_index((root / "README.md").read_text(encoding="utf-8"), repository, tag)
        metadata["readme"] = {"content-type": "text/markdown", "text": text}
        if repository:
            metadata["urls"] = {
                "Repository": repository,
                "Changelog": f"{repository}/blob/{tag}/CHANGELOG.md",
                "Issues": f"{repository}/issues",
            }
