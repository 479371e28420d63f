"""Warm models on disk: found by the key of everything they depend on, else made, and kept whole or not at all."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sdar_envs.bounded_files import load_json
from sdar_envs.files import replaced_folder

from .demonstrations import Report
from .tiny_model import save_model

RECORD = "warm_start.json"


@dataclass(frozen=True, slots=True)
class WarmStart:
    """A warm model on disk, with its success rates on ``valid`` under the plain and under the privileged prompt."""

    model_dir: Path
    student_success: float
    teacher_success: float
    steps: int
    seconds: float
    cached: bool


def stored(directory: Path) -> WarmStart | None:
    """The warm model that a folder holds; None where there is none."""
    if not (directory / RECORD).is_file():
        return None
    return _result(directory, load_json(directory / RECORD), cached=True)


def stored_or_made(
    directory: Path, make: Callable[[], tuple[Any, Any, dict[str, Any]]], say: Report
) -> tuple[WarmStart, dict[str, Any]]:
    """The warm model of a folder, made and kept there when there is none.

    Args:
        directory: The folder; its name is the key.
        make: Makes the model; returns it with its tokenizer and the facts that are saved beside it.
        say: Reports that it was there.

    Returns:
        The warm model, and its facts.
    """
    if (directory / RECORD).is_file():
        facts = load_json(directory / RECORD)
        say(f"warm start: from the cache ({directory.name})")
        return _result(directory, facts, cached=True), facts
    directory.parent.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    model, tokenizer, facts = make()
    facts["seconds"] = round(time.perf_counter() - started, 1)
    with replaced_folder(directory, keep_existing=True) as partial:
        save_model(model, tokenizer, partial, **facts)
    return _result(directory, facts, cached=False), facts


def _result(directory: Path, facts: Mapping[str, Any], *, cached: bool) -> WarmStart:
    return WarmStart(
        model_dir=directory,
        student_success=facts["student_success"],
        teacher_success=facts["teacher_success"],
        steps=facts["steps"],
        seconds=facts["seconds"],
        cached=cached,
    )
