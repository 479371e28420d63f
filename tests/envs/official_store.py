"""Part of the store's published files, for tests that are marked ``official``: where it is, and what it holds."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from official_data import official_folder

from sdar_envs.webshop.official_tasks import OfficialTasks


def store_folder() -> Path:
    """The folder of the store's files; the test that asks is skipped where there is none."""
    return official_folder("webshop")


@cache
def real_tasks(goals: str, split_by: str = "index") -> OfficialTasks:
    """Tasks on the files, read once."""
    return OfficialTasks(store_folder(), goals=goals, split_by=split_by)
