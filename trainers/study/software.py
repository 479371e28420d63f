"""What a study's runs are made with: versions of Python and packages, and the commit of the code."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

from ..run.directory import versions

# What a result depends on; changes elsewhere in a checkout are none of it.
CODE = ("sdar_envs", "agents", "trainers", "assets")
CHANGED = " with changes"


def software() -> dict[str, Any]:
    """Versions of Python and packages, and under ``commit`` that of the code, None outside a checkout."""
    return {**versions(), "commit": commit_of(Path(__file__).resolve().parents[2])}


def commit_of(root: Path) -> str | None:
    """The commit of a checkout, marked where its code has changes that are in no commit.

    None where `root` is no checkout; a package that is installed somewhere inside another repository has none either.
    """
    top = _git(root, "rev-parse", "--show-toplevel")
    if top is None or Path(top).resolve() != root.resolve():
        return None
    commit = _git(root, "rev-parse", "HEAD")
    changed = _git(root, "status", "--porcelain", "--untracked-files=no", "--", *CODE)
    return None if commit is None else commit + CHANGED * bool(changed)


def _git(root: Path, *words: str) -> str | None:
    try:
        asked = subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return asked.stdout.strip()
