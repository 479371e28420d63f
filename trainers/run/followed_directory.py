"""The run directory as processes see it that do not write: the same calls, and nothing written.

One process writes a run (`directory.RunDirectory`). The others go through the same steps, since a step may hold a pass
over tokens that all processes make together, and read checkpoints from the same folder, which every machine must see.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .directory import JsonLines, RunDirectory, RunDirectoryError


class NoLines(JsonLines):
    """A log that nobody keeps."""

    def write(self, record: Mapping[str, Any]) -> None:
        """Write nothing."""

    def flush(self, *, sync: bool = False) -> int:
        """Nothing to flush; the length is 0."""
        return 0

    def cut(self, length: int) -> None:
        """Nothing to cut."""


class FollowedDirectory(RunDirectory):
    """A run directory that another process writes, and has opened before.

    Args:
        path: The folder.
        log_privileged: Whether the run keeps a log of privileged information.

    Raises:
        RunDirectoryError: This machine does not see the folder of the writer.
    """

    written = False

    def __init__(self, path: str | Path, *, log_privileged: bool = False) -> None:
        self.path = Path(path)
        if not (self.path / "run.json").is_file():
            raise RunDirectoryError(
                f"{self.path} on {socket.gethostname()} is not the run directory that rank 0 writes: output_dir is "
                "expected to be on a file system that all machines of a run share"
            )
        self.metrics = NoLines(self.path / "metrics.jsonl")
        self.episodes = NoLines(self.path / "episodes.jsonl")
        self.privileged = NoLines(self.path / "privileged.jsonl") if log_privileged else None

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Write nothing."""

    def disown(self) -> None:
        """Nothing was claimed."""

    def close(self) -> None:
        """Nothing to release."""
