"""The public discussions that several items of the audit name."""

from __future__ import annotations

from .item import Thread

_GITHUB = "https://github.com/"

ARL_ARENA_7 = Thread(
    "ARL-Arena #7: is the WebShop split affected by shuffles per worker?", f"{_GITHUB}WillDreamer/ARL-Arena/issues/7"
)
SDAR_13 = Thread(
    "SDAR #13: five seeds, two installs, 8 to 17 points below the paper", f"{_GITHUB}ZJU-REAL/SDAR/issues/13"
)
SDAR_43 = Thread("SDAR #43: GRPO better than SDAR on WebShop at 3B", f"{_GITHUB}ZJU-REAL/SDAR/issues/43")
SDAR_57 = Thread("SDAR #57: Table 1 on ALFWorld not reproduced, SDAR about GRPO", f"{_GITHUB}ZJU-REAL/SDAR/issues/57")
SDAR_58 = Thread(
    "SDAR #58: smaller gains, and a reversal, on fixed validation tasks", f"{_GITHUB}ZJU-REAL/SDAR/issues/58"
)
