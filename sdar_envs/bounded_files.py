"""Readers for archives and JSON of other people: a small file cannot take the memory, and a deep one not the stack.

A file that somebody sends is bounded in its size, in how much it unpacks to, in the number of values and in how deeply
they are nested; what exceeds a bound is one error that names it. Not here: whether the values make sense.
"""

from __future__ import annotations

import gzip
import json
import os
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, AnyStr, cast

MAX_BYTES = 1 << 26  # of a JSON file, 64 MiB
MAX_VALUES = 4_000_000  # in one JSON text: some hundred bytes of memory each at the worst
MAX_DEPTH = 64  # of JSON: nothing that the suite reads is half as deep
MAX_LINE = 1 << 26  # of a file of JSON lines, 64 MiB
_BLOCK = 1 << 20


class UnboundedFileError(ValueError):
    """A file that exceeds what is read of files from elsewhere."""


@dataclass(frozen=True, slots=True)
class ArchiveBounds:
    """What an archive may unpack to.

    Attributes:
        files: Members at most.
        total: Bytes of all members together.
        ratio: How many times the archive's own size that may be, beyond `free` bytes.
        free: Bytes that may come out whatever the archive's size: small files of equal text are packed tightly.
    """

    files: int = 200_000
    total: int = 1 << 34
    ratio: int = 100
    free: int = 1 << 24

    def allowed(self, packed: int) -> int:
        """Bytes that an archive of `packed` bytes may unpack to."""
        return min(self.total, max(self.free, self.ratio * packed))


def parse_json(
    text: str | bytes | bytearray,
    *,
    values: int = MAX_VALUES,
    parse_constant: Callable[[str], Any] | None = None,
) -> Any:
    """The value of a JSON text of bounded size.

    Args:
        text: The text; as bytes, UTF-8.
        values: How many values it may hold at most (its commas and brackets are counted, those in texts too).
        parse_constant: As of `json.loads`.

    Raises:
        ValueError: It is not JSON, or `UnboundedFileError` where it has too many values or they are nested too deeply.
    """
    marks: tuple[Any, ...] = (b",", b"[", b"{") if isinstance(text, bytes | bytearray) else (",", "[", "{")
    count = sum(text.count(mark) for mark in marks)
    if count > values:
        raise UnboundedFileError(f"expected at most {values:,} values, got about {count:,}")
    try:
        value = json.loads(text, parse_constant=parse_constant)
    except RecursionError:
        raise UnboundedFileError(f"expected values nested at most {MAX_DEPTH} deep, got them thousands deep") from None
    _require_shallow(value)
    return value


def _require_shallow(value: Any) -> None:
    """Refuse what would exhaust the stack of whoever walks through it."""
    level, depth = [value], 0
    while level:
        if depth > MAX_DEPTH:
            raise UnboundedFileError(f"expected values nested at most {MAX_DEPTH} deep, got them deeper")
        inner: list[Any] = []
        for each in level:
            members = each.values() if isinstance(each, dict) else each if isinstance(each, list) else ()
            inner.extend(member for member in members if isinstance(member, dict | list))
        level, depth = inner, depth + 1


def load_json(
    path: str | os.PathLike[str],
    *,
    limit: int = MAX_BYTES,
    values: int = MAX_VALUES,
    encoding: str = "utf-8",
    parse_constant: Callable[[str], Any] | None = None,
) -> Any:
    """The value of a JSON file.

    Args:
        path: The file.
        limit: Bytes that are read at most, whatever the file system says of its size.
        values: As of `parse_json`.
        encoding: UTF-8, or ``utf-8-sig`` for files that may begin with a mark.
        parse_constant: As of `json.loads`.

    Raises:
        OSError: It cannot be read.
        ValueError: As `parse_json`; or it is longer.
    """
    text = read_text(path, limit=limit, encoding=encoding)
    return parse_json(text, values=values, parse_constant=parse_constant)


def read_text(path: str | os.PathLike[str], *, limit: int = MAX_BYTES, encoding: str = "utf-8") -> str:
    """The text of a file.

    Raises:
        OSError: It cannot be read.
        ValueError: It has more than `limit` bytes, or others than of this encoding.
    """
    with Path(path).open("rb") as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise UnboundedFileError(f"expected at most {limit:,} bytes, got more")
    return content.decode(encoding)


def bounded_lines(file: IO[AnyStr], *, limit: int = MAX_LINE) -> Iterator[AnyStr]:
    """The lines of an open file, each of at most `limit` characters or bytes.

    Raises:
        UnboundedFileError: One is longer.
    """
    number = 0
    while line := file.readline(limit + 1):
        number += 1
        if len(line) > limit:
            raise UnboundedFileError(f"line {number}: expected at most {limit:,} characters, got more")
        yield line


def gzip_lines(path: str | os.PathLike[str], bounds: ArchiveBounds, *, limit: int = MAX_LINE) -> Iterator[bytes]:
    """The lines of a gzipped file.

    Args:
        path: The file.
        bounds: What it may unpack to.
        limit: Bytes of a line at most.

    Raises:
        OSError: It cannot be read, or is not gzip.
        ValueError: It exceeds a bound.
        EOFError: It is cut short.
        zlib.error: It is damaged.
    """
    allowed, taken = bounds.allowed(Path(path).stat().st_size), 0
    with gzip.open(path, "rb") as packed:
        for line in bounded_lines(cast(IO[bytes], packed), limit=min(limit, allowed)):
            taken += len(line)
            if taken > allowed:
                raise UnboundedFileError(f"expected at most {allowed:,} bytes when it is unpacked, got more")
            yield line


def unpack_zip(path: Path, target: Path, bounds: ArchiveBounds) -> None:
    """Unpack a zip file into a folder that exists; no member leads outside of it, and links are not made.

    Raises:
        UnboundedFileError: It exceeds a bound: by what it says of itself, or by what really comes out.
        zipfile.BadZipFile: It is none, or damaged.
    """
    allowed = bounds.allowed(path.stat().st_size)
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        if len(members) > bounds.files:
            raise UnboundedFileError(f"expected at most {bounds.files:,} files, got {len(members):,}")
        declared = sum(member.file_size for member in members)
        if declared > allowed:
            raise UnboundedFileError(f"expected at most {allowed:,} bytes when it is unpacked, got {declared:,}")
        # More than a member declares does not come out of it: `zipfile` reads no further and checks its checksum.
        try:
            for member in members:
                archive.extract(member, target)
        except (zlib.error, NotImplementedError, RuntimeError) as error:  # damaged, packed in an odd way, or encrypted
            raise zipfile.BadZipFile(f"{type(error).__name__}: {error}") from None


def unpack_single_tar(path: Path, target: Path, bounds: ArchiveBounds) -> bool:
    """Write the first plain file of a tar archive, compressed or not, to `target`; False where it holds none.

    Raises:
        UnboundedFileError: It exceeds a bound.
        tarfile.TarError: It is none, or damaged; also `EOFError`, `OSError` and `zlib.error`.
    """
    allowed = bounds.allowed(path.stat().st_size)
    with tarfile.open(path, "r|*") as archive:
        for number, member in enumerate(archive):
            if number >= bounds.files:
                raise UnboundedFileError(f"expected at most {bounds.files:,} members, got more")
            source = archive.extractfile(member) if member.isfile() else None
            if source is None:
                continue
            if member.size > allowed:
                raise UnboundedFileError(f"expected at most {allowed:,} bytes when it is unpacked, got {member.size:,}")
            with target.open("wb") as out:
                shutil.copyfileobj(source, out, _BLOCK)
            return True
    return False
