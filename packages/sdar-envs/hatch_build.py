"""Finds the worlds where they are: two folders up in a checkout, beside this file in an unpacked sdist."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from hatchling.metadata.plugin.interface import MetadataHookInterface

# Folder in the source tree -> where it lies in a wheel.
_FOLDERS = {"sdar_envs": "sdar_envs", "assets": "sdar_envs/_assets"}


def tree(root: str) -> Path:
    """The folder that has `sdar_envs` and `assets`.

    Raises:
        FileNotFoundError: Neither place has them.
    """
    here = Path(root).resolve()
    for candidate in (here, here.parents[1]):
        if all((candidate / name).is_dir() for name in _FOLDERS):
            return candidate
    raise FileNotFoundError(
        f"expected sdar_envs and assets in {here} (an unpacked sdist) or {here.parents[1]} (a checkout), and they are "
        "in neither: build from a whole checkout, or from the sdist"
    )


class TreeHook(BuildHookInterface):  # type: ignore[type-arg]  # its type argument is the builder's own
    """Includes the folders in a wheel at their places, in an sdist as they are."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Name every file, so that caches of the interpreter stay out."""
        source = tree(self.root)
        for name, place in _FOLDERS.items():
            for path in sorted((source / name).rglob("*")):
                if path.is_file() and "__pycache__" not in path.parts:
                    base = place if self.target_name == "wheel" else name
                    target = f"{base}/{path.relative_to(source / name).as_posix()}"
                    build_data["force_include"][str(path)] = target


class VersionHook(MetadataHookInterface):
    """The version is that of the package; where the repository is, REPOSITORY_URL says, as for sdar-gym."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Read it without importing anything."""
        text = (tree(self.root) / "sdar_envs" / "__init__.py").read_text(encoding="utf-8")
        found = re.search(r'^__version__ = "([^"]+)"$', text, re.MULTILINE)
        if found is None:
            raise ValueError('sdar_envs/__init__.py: expected a line __version__ = "...", and there is none')
        metadata["version"] = found.group(1)
        if repository := os.environ.get("REPOSITORY_URL", "").rstrip("/"):
            metadata["urls"] = {"Repository": repository, "Issues": f"{repository}/issues"}
