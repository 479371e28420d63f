"""Where the real question files, passages and turns are, for tests marked `official`."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from official_data import VARIABLE

FOLDER = Path(os.environ.get(VARIABLE, ""), "searchqa")

needs_official = pytest.mark.skipif(
    not os.environ.get(VARIABLE) or not FOLDER.is_dir(), reason=f"${VARIABLE} names no folder with searchqa/ in it"
)


def rows(name: str) -> list[dict[str, Any]]:
    """The rows of a JSONL file of the folder."""
    return [json.loads(line) for line in (FOLDER / name).read_text(encoding="utf-8").splitlines()]
