"""The drill of damaged files: flipped bits, cut, emptied, lengthened and removed files of a run, each tried on its own.

A damaged checkpoint must be passed over for the one before, and where all are damaged the run must be refused, not
started over; a checkpoint must never be taken with other content than was written. A damaged evaluation set must be
refused, or mean the same. A log that was cut must lead to a checkpoint that it fits.
"""

from __future__ import annotations

import itertools
import json
import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from sdar_envs.randomness import counted_generator

from ..engine.checkpoint import Checkpoint, CheckpointError, CheckpointStore
from ..evaluation.evaluation_set import EvaluationSet
from ..run.directory import JsonLines
from .small_run import DrillSubject, SmallRun
from .tally import Tally

DAMAGES = 10  # of a round
_KINDS = ("flip", "cut", "empty", "zero", "append", "delete", "swap")


def drill_corrupt(subject: DrillSubject, seed: int = 0) -> Iterator[Tally]:
    """Rounds of `DAMAGES`, without end; arguments and errors as for `resume.drill_resume`."""
    quiet = logging.getLogger("trainers.engine.checkpoint")
    with tempfile.TemporaryDirectory(prefix="sdar-drill-") as place:
        run = SmallRun(subject, Path(place))
        ended = run.run("whole")
        if ended.status != 0:
            raise RuntimeError(f"the run ended with {ended.status}: {run.said('whole')}")
        folder = Path(place) / "whole" / "run"
        level = quiet.level
        quiet.setLevel(logging.ERROR)  # every damage is told otherwise
        try:
            for number in itertools.count(seed):
                tally = Tally("corrupt", subject.name, rounds=1)
                for each in range(DAMAGES):
                    _one_damage(folder, counted_generator("drill", "corrupt", number, each), each, tally)
                yield tally
        finally:
            quiet.setLevel(level)


def _one_damage(run: Path, draw: np.random.Generator, number: int, tally: Tally) -> None:
    store = CheckpointStore(run / "checkpoints")
    kind = _KINDS[int(draw.integers(len(_KINDS)))]
    if number % 5 == 3:
        _evaluation_set(run, draw, kind, tally)
    elif number % 5 == 4:
        _log(run, store, draw, tally)
    elif number == 0:
        _every_checkpoint(store, draw, kind, tally)
    else:
        _newest_checkpoint(store, draw, kind, tally)


def _newest_checkpoint(store: CheckpointStore, draw: np.random.Generator, kind: str, tally: Tally) -> None:
    path = _drawn_file(store.paths()[-1], draw)
    written = {each: _contents(each) for each in store.paths()}
    with _damaged(path, draw, kind) as changed:
        name = f"checkpoint: {kind}"
        try:
            found = store.newest()
        except CheckpointError as error:
            tally.count(name, "lost", f"{path.name}: the checkpoints before it were not taken: {error}")
            return
        except Exception as error:
            tally.count(name, "lost", f"{path.name}: {type(error).__name__}: {error}")
            return
        if (
            found is not None
            and _contents(found.path) == written[found.path]
            and (found.path != path.parent or not changed)
        ):
            tally.count(name)
        else:
            tally.count(name, "silent", f"{path.name} of {found} was taken as it is")


def _every_checkpoint(store: CheckpointStore, draw: np.random.Generator, kind: str, tally: Tally) -> None:
    kind = kind if kind != "swap" else "flip"
    name = f"all checkpoints: {kind}"
    paths = [_drawn_file(folder, draw) for folder in store.paths()]
    kept = {path: path.read_bytes() for path in paths}
    try:
        for path in paths:
            _damage(path, draw, kind)
        found = store.newest()
        tally.count(name, "silent", f"{found} was taken")
    except CheckpointError:
        tally.count(name)
    except Exception as error:
        tally.count(name, "lost", f"{type(error).__name__}: {error}")
    finally:
        for path, content in kept.items():
            path.write_bytes(content)


def _evaluation_set(run: Path, draw: np.random.Generator, kind: str, tally: Tally) -> None:
    paths = sorted((run / "panels").glob("*.json"))
    path = paths[int(draw.integers(len(paths)))]
    whole = EvaluationSet.load(path)
    with _damaged(path, draw, kind):
        name = f"evaluation set: {kind}"
        try:
            same = EvaluationSet.load(path) == whole
        except (OSError, ValueError):
            tally.count(name)
            return
        except Exception as error:
            tally.count(name, "lost", f"{type(error).__name__}: {error}")
            return
        tally.count(name, *(() if same else ("silent", f"{path.name} was read as another set")))


def _log(run: Path, store: CheckpointStore, draw: np.random.Generator, tally: Tally) -> None:
    path = run / ("metrics.jsonl", "episodes.jsonl")[int(draw.integers(2))]
    kept = path.read_bytes()

    def unfit(found: Checkpoint) -> str:
        offsets = found.state()["log_offsets"].items()
        return next(filter(None, (JsonLines(run / f"{name}.jsonl").misfit(length) for name, length in offsets)), "")

    try:
        length = int(draw.integers(len(kept)))
        path.write_bytes(kept[:length])
        try:
            found = store.newest(unfit)
        except CheckpointError:
            fitting = [each for each in store.paths() if _offset(each, path.stem) <= length]
            tally.count("log: cut", *(() if not fitting else ("lost", f"{fitting[-1].name} fits and was not taken")))
            return
        fits = found is not None and _offset(found.path, path.stem) <= length
        tally.count("log: cut", *(() if fits else ("silent", f"{found} was taken with {length} bytes of {path.name}")))
    finally:
        path.write_bytes(kept)


def _offset(checkpoint: Path, log: str) -> int:
    state = json.loads((checkpoint / "training_state.json").read_text(encoding="utf-8"))
    return int(state["log_offsets"][log])


def _drawn_file(folder: Path, draw: np.random.Generator) -> Path:
    files = sorted(path for path in folder.iterdir() if path.is_file())
    return files[int(draw.integers(len(files)))]


def _contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}


@contextmanager
def _damaged(path: Path, draw: np.random.Generator, kind: str) -> Iterator[bool]:
    """A file is damaged within the block, and whole again after it; gives whether its content has changed."""
    kept = path.read_bytes()
    try:
        _damage(path, draw, kind)
        yield not path.exists() or path.read_bytes() != kept
    finally:
        path.write_bytes(kept)


def _damage(path: Path, draw: np.random.Generator, kind: str) -> None:
    content = bytearray(path.read_bytes())
    at = int(draw.integers(max(len(content), 1)))
    changed: dict[str, Any] = {
        "cut": content[:at],
        "empty": b"",
        "zero": content[:at] + bytes(min(64, len(content) - at)) + content[at + 64 :],
        "append": content + bytes(draw.integers(256, size=16, dtype=np.uint8)),
    }
    if kind == "delete":
        path.unlink()
    elif kind == "swap":  # with another file of the folder
        others = [each for each in sorted(path.parent.iterdir()) if each.is_file() and each != path]
        path.write_bytes(others[int(draw.integers(len(others)))].read_bytes() if others else b"{}")
    elif kind == "flip":
        content[at] ^= 1 << int(draw.integers(8))
        path.write_bytes(content)
    else:
        path.write_bytes(changed[kind])
