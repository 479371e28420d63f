"""Where the parts of published data sets are that tests marked `official` read: `$SDAR_OFFICIAL_DATA` and nothing else.

Without it such a test is skipped with a reason. Nothing of the data is kept in the repository.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

VARIABLE = "SDAR_OFFICIAL_DATA"


def official_folder(name: str) -> Path:
    """One folder of the data, e.g. ``alfworld``; the test that asks is skipped where there is none."""
    root = os.environ.get(VARIABLE, "")
    if not root:
        pytest.skip(f"${VARIABLE} is not set: the parts of the published data sets are not at hand")
    folder = Path(root) / name
    if not folder.is_dir():
        pytest.skip(f"${VARIABLE} has no folder {name!r}")
    return folder
