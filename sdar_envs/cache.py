"""Where this suite keeps what it can make again: indexes of official games, warm-started models."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def cache_folder() -> Path:
    """``$XDG_CACHE_HOME/sdar-gym``, else ``~/.cache/sdar-gym``; a temporary folder where there is no home."""
    base = os.environ.get("XDG_CACHE_HOME")
    if base:
        return Path(base) / "sdar-gym"
    try:
        return Path.home() / ".cache" / "sdar-gym"
    except RuntimeError:
        return Path(tempfile.gettempdir()) / "sdar-gym"
