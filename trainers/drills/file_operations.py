"""Operations on files that a run makes: counted, or ended before one of them, as a kill at the worst moment would."""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..run.directory import JsonLines

_OPERATIONS: tuple[tuple[Any, str], ...] = (
    *((os, name) for name in ("fsync", "rename", "replace", "mkdir", "unlink", "rmdir")),
    *((Path, name) for name in ("write_text", "write_bytes", "unlink")),
    *((JsonLines, name) for name in ("write", "flush", "cut")),
)


def count_operations(file: Path) -> None:
    """Let `file` grow by a byte with every operation on files in this process, for as long as it lives."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    _before_each(lambda: os.write(descriptor, b"."))


def die_before(at: int) -> None:
    """Kill this process directly before the operation of number `at`, counted from 0."""
    numbers = itertools.count()

    def look() -> None:
        if next(numbers) == at:
            os.kill(os.getpid(), signal.SIGKILL)

    _before_each(look)


def _before_each(look: Callable[[], object]) -> None:
    owner = os.getpid()

    def wrapped(real: Callable[..., Any]) -> Callable[..., Any]:
        def operation(*args: Any, **kwargs: Any) -> Any:
            if os.getpid() == owner:
                look()
            return real(*args, **kwargs)

        return operation

    for place, name in _OPERATIONS:
        setattr(place, name, wrapped(getattr(place, name)))
