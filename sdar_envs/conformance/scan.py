"""Looks through the files of a run of any stack for secrets that were planted: logs, JSON lines, parquet, event files.

Whoever plants a secret on the teacher's side of an environment, trains with any stack and finds it in a file that the
student's side writes has found a leak; whoever finds nothing knows what was looked into, and what was not.
"""

from __future__ import annotations

import bz2
import gzip
import importlib
import lzma
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .disguises import find, letters, long_enough

_PIECE = 1 << 20  # bytes that are searched together
_OVERLAP = 1 << 12  # of two pieces, so that nothing is missed between them
_LARGEST = 1 << 30  # bytes of a file, or of what a compressed one unpacks to
# First bytes of a file -> what unpacks it, or what it is compressed by where nothing here does.
_UNPACKED: dict[bytes, Callable[[Path, str], Any]] = {
    b"\x1f\x8b": gzip.open,
    b"\xfd7zXZ\x00": lzma.open,
    b"BZh": bz2.open,
}
_CLOSED = {b"\x28\xb5\x2f\xfd": "zstandard", b"\x04\x22\x4d\x18": "lz4", b"7z\xbc\xaf\x27\x1c": "7-zip"}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a secret was found.

    Attributes:
        path: The file, and the member of an archive behind ``!``.
        line: The line, from 1; 0 in a file without lines.
        secret: The secret.
        disguise: How it was written.
    """

    path: str
    line: int
    secret: str
    disguise: str

    def __str__(self) -> str:
        line = f":{self.line}" if self.line else ""
        return f"{self.path}{line}: {self.secret!r} ({self.disguise})"


@dataclass(slots=True)
class Scan:
    """What a scan found.

    Attributes:
        found: Places, at most one for each secret, disguise and file.
        files: Files, and members of archives, that were looked into.
        bytes: How much was read.
        left: What was not looked into, and why.
    """

    found: list[Place] = field(default_factory=list)
    files: int = 0
    bytes: int = 0
    left: dict[str, str] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "found": [{"path": p.path, "line": p.line, "secret": p.secret, "disguise": p.disguise} for p in self.found],
            "files": self.files,
            "bytes": self.bytes,
            "not_looked_into": self.left,
        }


class NotReadError(Exception):
    """A file that is not looked into; the message says why."""


def scan(folder: Path, secrets: Sequence[str]) -> Scan:
    """Look through a file, or everything below a folder.

    Args:
        folder: Links are not followed.
        secrets: Texts of at least eight letters or digits.

    Raises:
        ValueError: There is no such place, or a secret is too short to be told from chance.
    """
    short = [secret for secret in secrets if not long_enough(secret)]
    if short or not secrets:
        raise ValueError(
            f"secrets: expected texts of at least 8 letters or digits, got {short[:3] or 'none'}: plant longer ones"
        )
    if not folder.exists():
        raise ValueError(f"{folder}: expected a file or folder to look through, and there is none")
    result = Scan()
    paths = [folder] if folder.is_file() else sorted(path for path in folder.rglob("*") if path.is_file())
    for path in paths:
        name = str(path if folder.is_file() else path.relative_to(folder))
        if path.is_symlink():
            result.left[name] = "a link"
            continue
        try:
            _look_into(path, name, secrets, result)
        except NotReadError as error:
            result.left[name] = str(error)
        except (
            OSError,
            EOFError,
            zipfile.BadZipFile,
            lzma.LZMAError,
            ValueError,
            RuntimeError,
            NotImplementedError,
        ) as error:
            result.left[name] = f"it cannot be read: {type(error).__name__}"
    return result


def _look_into(path: Path, name: str, secrets: Sequence[str], result: Scan) -> None:
    if path.stat().st_size > _LARGEST:
        result.left[name] = f"more than {_LARGEST >> 30} GiB"
        return
    head = path.open("rb").read(8)
    if head.startswith(b"PK\x03\x04"):
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                own = f"{name}!{member.filename}"
                if member.file_size > _LARGEST:
                    result.left[own] = f"more than {_LARGEST >> 30} GiB"
                elif not member.is_dir():
                    with archive.open(member) as stream:
                        _search(_pieces(stream), own, secrets, result)
    elif (unpack := next((one for mark, one in _UNPACKED.items() if head.startswith(mark)), None)) is not None:
        with unpack(path, "rb") as unpacked:
            _search(_pieces(unpacked), name, secrets, result)
    elif (kind := next((kind for mark, kind in _CLOSED.items() if head.startswith(mark)), None)) is not None:
        raise NotReadError(f"it is compressed by {kind}: unpack it first")
    elif head.startswith(b"PAR1"):
        _search(_parquet(path), name, secrets, result)
    else:  # text of any kind, TensorBoard's event files, pickles, HTML: strings stand in them as they are
        with path.open("rb") as stream:
            _search(_pieces(stream), name, secrets, result)


def _pieces(stream: Any) -> Iterator[bytes]:
    read = 0
    while piece := stream.read(_PIECE):
        read += len(piece)
        if read > _LARGEST:
            raise NotReadError(f"it unpacks to more than {_LARGEST >> 30} GiB")
        yield piece


def _parquet(path: Path) -> Iterator[bytes]:
    try:
        parquet: Any = importlib.import_module("pyarrow.parquet")
    except ImportError:
        raise NotReadError("parquet, and pyarrow is not installed") from None
    with parquet.ParquetFile(path) as table:
        for batch in table.iter_batches(batch_size=256):
            yield "\n".join(str(row) for row in batch.to_pylist()).encode("utf-8", "replace") + b"\n"


def _search(pieces: Iterator[bytes], name: str, secrets: Sequence[str], result: Scan) -> None:
    seen: set[tuple[str, str]] = set()
    line, tail, read = 1, b"", 0
    lines = True
    for piece in pieces:
        read += len(piece)
        whole = tail + piece
        lines = lines and b"\0" not in piece
        text = whole.decode("utf-8", "replace")
        left = list(secrets)
        while left and (hit := find(left, [text])) is not None:
            secret, disguise, _ = hit
            left.remove(secret)
            if (secret, disguise) not in seen:
                seen.add((secret, disguise))
                at = line + _line_of(text, secret) if lines else 0
                result.found.append(Place(name, at, secret, disguise))
        tail = whole[-_OVERLAP:]
        line += whole[: len(whole) - len(tail)].count(b"\n")
    result.files += 1
    result.bytes += read


def _line_of(text: str, secret: str) -> int:
    """The line of a text, from 0, that has a secret; that of the first that has it in any disguise."""
    rows = text.split("\n")
    plain = letters(secret)
    for number, row in enumerate(rows):
        if plain in letters(row) or find([secret], [row]) is not None:
            return number
    return 0
