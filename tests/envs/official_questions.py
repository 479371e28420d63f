"""Where the real question files, passages and turns are, for tests marked `official`."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

_DATA = os.environ.get("SDAR_OFFICIAL_DATA", "")
FOLDER = Path(_DATA, "searchqa")

needs_official = pytest.mark.skipif(
    not _DATA or not FOLDER.is_dir(), reason="SDAR_OFFICIAL_DATA names no folder with searchqa/ in it"
)


def rows(name: str) -> list[dict[str, Any]]:
    """The rows of a JSONL file of the folder."""
    return [json.loads(line) for line in (FOLDER / name).read_text(encoding="utf-8").splitlines()]
