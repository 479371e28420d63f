"""Files and folders that are there whole or not at all: written beside their place, then renamed into it.

A reader therefore finds the old content or the new, never a part, and an interrupted write leaves what was there
before. Two processes that write the same path at once do not mix. Names of partial files and folders begin with
``.partial-``; they are removed when a write fails, and only a process that is killed leaves one.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def replaced_file(path: str | os.PathLike[str], *, sync: bool = False) -> Iterator[Path]:
    """Give the path of an empty file beside `path` to write to; it becomes `path` when the block ends well.

    Args:
        path: The file to make or to replace; its folder is made. It gets the access rights of any new file.
        sync: Whether the content is on the disk, and not only with the operating system, before it takes the name.

    Raises:
        OSError: The file cannot be written. `path` is as it was then, as after any other exception of the block.
    """
    final = Path(path)
    final.parent.mkdir(parents=True, exist_ok=True)
    partial = _beside(final)
    partial.open("xb").close()
    try:
        yield partial
        if sync:
            with partial.open("rb") as file:
                os.fsync(file.fileno())
        os.replace(partial, final)
    finally:
        partial.unlink(missing_ok=True)


def write_file(path: str | os.PathLike[str], content: str | bytes, *, sync: bool = False) -> None:
    """Write a whole file, text as UTF-8; arguments and errors as `replaced_file`.

    Raises:
        OSError: The file cannot be written.
        UnicodeEncodeError: The text has lone surrogates.
    """
    data = content.encode("utf-8") if isinstance(content, str) else content
    with replaced_file(path, sync=sync) as partial:
        partial.write_bytes(data)


@contextlib.contextmanager
def replaced_folder(path: str | os.PathLike[str], *, keep_existing: bool) -> Iterator[Path]:
    """Give the path of an empty folder beside `path` to fill; it becomes `path` when the block ends well.

    Of two processes that make the same folder at once, one wins and the other goes on with the winner's: this is for
    folders whose name says what they hold.

    Args:
        path: The folder to make; its parent is made.
        keep_existing: Whether a folder that is there by then stays and the new one is dropped. Otherwise the old one is
            replaced.

    Raises:
        OSError: The folder cannot be written. `path` is as it was then, as after any other exception of the block.
    """
    final = Path(path)
    final.parent.mkdir(parents=True, exist_ok=True)
    partial = _beside(final)
    partial.mkdir()
    try:
        yield partial
        if not keep_existing:
            _replace_folder(partial, final)
        elif not final.is_dir():
            _rename(partial, final)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def free_space(path: str | os.PathLike[str]) -> str:
    """How much room is left where `path` is or would be, as part of a sentence; never raises."""
    place = Path(path).absolute()
    for nearest in (place, *place.parents):
        with contextlib.suppress(OSError):
            return f"{shutil.disk_usage(nearest).free / 2**20:,.0f} MiB are free there"
    return "how much is free there is not known"


def _replace_folder(partial: Path, final: Path) -> None:
    """Rename `partial` to `final`; a folder that is there already is moved out of the way and removed."""
    old = _beside(final)
    try:
        if final.is_dir():
            with contextlib.suppress(FileNotFoundError):  # another process has just moved it
                os.rename(final, old)
        _rename(partial, final)
    except OSError:
        if old.is_dir() and not final.exists():
            os.rename(old, final)
        raise
    finally:
        shutil.rmtree(old, ignore_errors=True)


def _rename(partial: Path, final: Path) -> None:
    """Rename `partial` to `final`, or leave a folder there that another process has made meanwhile."""
    try:
        os.replace(partial, final)
    except OSError:
        if not final.is_dir():
            raise


def _beside(path: Path) -> Path:
    """A free name in the folder of `path`."""
    return path.with_name(f".partial-{secrets.token_hex(8)}")
