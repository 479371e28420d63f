"""What a check of `sdar doctor` is told, and what it can answer: found, skipped, or failed with one remedy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


class Skipped(Exception):
    """A check does not apply here; the message says why."""


class Failed(Exception):
    """A check found something broken: what, and the one remedy."""

    def __init__(self, found: str, remedy: str) -> None:
        super().__init__(found)
        self.remedy = remedy


@dataclass(frozen=True, slots=True)
class Answer:
    """What a check found: a line for people, values for the JSON, and advice where it works and could work better."""

    line: str
    values: Mapping[str, Any] = field(default_factory=dict)
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Subject:
    """What is examined.

    Attributes:
        device: As `MachineOptions.device` names it.
        vllm_url: Of a generation server, if there is one.
        model: That the server serves: its weights are sent to it.
        output_dir: Where runs are to be written.
    """

    device: str
    vllm_url: str | None
    output_dir: Path
    model: str | None = None
