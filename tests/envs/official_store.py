"""Part of the store's published files, for tests that are marked ``official``: where it is, and what it holds."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import pytest

from sdar_envs.webshop.official_tasks import OfficialTasks


def store_folder() -> Path:
    """The folder of the store's files; the test that asks is skipped where there is none."""
    named = os.environ.get("SDAR_OFFICIAL_DATA", "")
    if not named:
        pytest.skip("SDAR_OFFICIAL_DATA names no folder with parts of the published data sets")
    folder = Path(named) / "webshop"
    if not folder.is_dir():
        pytest.skip("the folder of SDAR_OFFICIAL_DATA has no webshop")
    return folder


@cache
def real_tasks(goals: str, split_by: str = "index") -> OfficialTasks:
    """Tasks on the files, read once."""
    return OfficialTasks(store_folder(), goals=goals, split_by=split_by)
