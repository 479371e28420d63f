"""Passages by row: a list in memory, or a JSONL file of any size that is mapped and never read as a whole.

The row of a passage is its row in the index, so a corpus counts the lines that say something and skips blank ones. A
line is an object with ``contents`` (the title in quotes, a line break, the text: Search-R1's form) or with ``title``
and ``text``. An ``id`` that is no number is given back with its passage; one that is a number has to be the line's own,
unless the line says its number under ``row``.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..cache import cache_folder
from ..files import replaced_file, write_file
from .lock import locked

_CHUNK = 1 << 26
_EDGE = 1 << 20
_SAMPLE = 1_000
_SIDECAR_FORMAT = 1


class CorpusError(ValueError):
    """A corpus that cannot be served; the message names the file, the line, and what was expected there."""


@dataclass(frozen=True, slots=True)
class Passage:
    """One text of a corpus, in the official form: a title in quotes, a line break, the text.

    `id` is its row; a server elsewhere may name its documents as it likes.
    """

    id: int | str
    contents: str

    @classmethod
    def of(cls, id: int, title: str, text: str) -> Passage:
        """Join the parts."""
        return cls(id, f'"{title}"\n{text}')

    @property
    def heading(self) -> str:
        """The first line as it stands, quotes included; "" where there is only one line."""
        first, broken, _ = self.contents.partition("\n")
        return first if broken else ""

    @property
    def title(self) -> str:
        """The heading without its quotes."""
        return self.heading.strip('"')

    @property
    def text(self) -> str:
        """What stands below the heading."""
        first, broken, rest = self.contents.partition("\n")
        return rest if broken else first


class Corpus(Protocol):
    """Passages by row."""

    fingerprint: str

    def __len__(self) -> int: ...

    def passage(self, row: int) -> Passage:
        """The passage of a row."""
        ...


def fingerprint_of(corpus: Corpus) -> str:
    """Sixteen hexadecimal digits of a corpus: its length and the contents of 64 rows, spread evenly."""
    digest = hashlib.sha256(str(len(corpus)).encode())
    for row in np.unique(np.linspace(0, len(corpus) - 1, num=min(64, len(corpus)), dtype=np.int64)):
        digest.update(b"\0" + corpus.passage(int(row)).contents.encode("utf-8", "surrogatepass"))
    return digest.hexdigest()[:16]


class MemoryCorpus:
    """Passages in a list."""

    def __init__(self, passages: Sequence[Passage]) -> None:
        self._passages = tuple(passages)
        self.fingerprint = fingerprint_of(self)

    def __len__(self) -> int:
        return len(self._passages)

    def passage(self, row: int) -> Passage:
        """The passage of a row."""
        return self._passages[row]


def write_jsonl(path: Path, passages: Sequence[Passage]) -> None:
    """Write passages as Search-R1's corpora have them."""
    with path.open("w", encoding="utf-8") as file:
        for passage in passages:
            file.write(json.dumps({"id": str(passage.id), "contents": passage.contents}, ensure_ascii=False) + "\n")


def encodable(text: str) -> str:
    """The text with halves of surrogate pairs replaced: JSON can carry them, and no file, terminal or tokenizer can."""
    if not text.isascii():
        try:
            text.encode("utf-8")  # a third of what replacing would cost, and hardly ever in vain
        except UnicodeEncodeError:
            return text.encode("utf-8", "replace").decode("utf-8")
    return text


def read_record(record: Any, where: str) -> str:
    """The contents that a corpus line stands for, as `encodable` text.

    Raises:
        CorpusError: It has neither ``contents`` nor ``title`` and ``text``.
    """
    if isinstance(record, dict):
        contents = record.get("contents")
        if isinstance(contents, str):
            return encodable(contents)
        title, text = record.get("title"), record.get("text")
        if isinstance(title, str) and isinstance(text, str):
            return encodable(f'"{title}"\n{text}')
        got = ", ".join(sorted(map(str, record))) or "no keys"
    else:
        got = f"a JSON {type(record).__name__}"
    raise CorpusError(f"{where}: expected an object with the text under contents (or title and text), got {got:.200}")


class JsonlCorpus:
    """A JSONL file, mapped; the start of each line stands in a sidecar that is made once.

    Nothing of the file is kept in memory but what the system's page cache keeps. The sidecar (8 bytes per line) lies
    beside the file, or in the cache folder where that cannot be written to; one that does not fit the file's size,
    time and edges any more is made again.

    Args:
        path: The file.
        check_ids: Whether ids that are numbers must be the line's own, on a sample of lines: rows of an index stand
            for lines.

    Raises:
        CorpusError: There is no such file, it is empty, or a line of the sample is not a passage.
    """

    def __init__(self, path: str | os.PathLike[str], *, check_ids: bool = True) -> None:
        self.path = Path(path)
        self._check_ids = check_ids
        try:
            with self.path.open("rb") as file:
                self._state = os.fstat(file.fileno())
                if self._state.st_size == 0:
                    raise CorpusError(f"{self.path}: expected a JSONL corpus, got an empty file")
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except OSError as error:
            raise CorpusError(f"{self.path}: the corpus cannot be opened: {error.strerror or error}") from error
        self._map.madvise(mmap.MADV_RANDOM)
        self._edges = _edge_digest(self._map)
        self._starts = self._open_sidecar()
        if not len(self._starts):
            raise CorpusError(f"{self.path}: expected a JSONL corpus, got blank lines only")
        self._check_sample()
        self.fingerprint = fingerprint_of(self)

    def __len__(self) -> int:
        return len(self._starts)

    def passage(self, row: int) -> Passage:
        """Read one line.

        Raises:
            CorpusError: The line is not a passage.
        """
        record = self._record(row)
        return Passage(_name_of(record, row), read_record(record, f"{self.path}, row {row}"))

    def __iter__(self) -> Iterator[Passage]:
        return (self.passage(row) for row in range(len(self)))

    def __reduce__(self) -> tuple[Any, tuple[str, bool]]:
        return _reopened, (str(self.path), self._check_ids)

    def _record(self, row: int) -> Any:
        start = int(self._starts[row])
        end = self._map.find(b"\n", start)
        try:
            return json.loads(self._map[start : end if end >= 0 else len(self._map)])
        except (ValueError, RecursionError) as error:
            where = f"{self.path}, row {row} at byte {start:,}"
            raise CorpusError(f"{where}: expected one JSON object per line, got something else: {error}") from error

    def _check_sample(self) -> None:
        rows = np.unique(np.linspace(0, len(self) - 1, num=min(_SAMPLE, len(self)), dtype=np.int64))
        for row in map(int, rows):
            record = self._record(row)
            read_record(record, f"{self.path}, row {row}")
            if self._check_ids and _is_row(record.get("row")):
                if record["row"] != row:
                    raise CorpusError(
                        f"{self.path}, row {row}: expected row {row}, got {record['row']}: rows of an index stand for "
                        "lines, so a corpus may not be reordered or thinned after indexing"
                    )
                continue  # its ids are its documents' own
            name = record.get("id")
            if self._check_ids and name is not None and str(name).isdecimal() and int(name) != row:
                raise CorpusError(
                    f"{self.path}, row {row}: expected id {row}, got {name}: rows of an index stand for lines, so a "
                    "corpus may not be reordered or thinned after indexing"
                )

    # The sidecar.

    def _open_sidecar(self) -> NDArray[np.int64]:
        meta = {
            "format": _SIDECAR_FORMAT,
            "size": self._state.st_size,
            "mtime_ns": self._state.st_mtime_ns,
            "edges": self._edges,
        }
        bases = (self.path.with_name(self.path.name + ".offsets"), self._cached_sidecar())
        for base in bases:
            if (starts := _load_sidecar(base, meta)) is not None:
                return starts
        for base in bases:
            try:
                with locked(base.with_name(base.name + ".lock")):
                    starts = _load_sidecar(base, meta)  # another process may have made it meanwhile
                    if starts is None:
                        _save_sidecar(base, meta, line_starts(self._map))
                        starts = _load_sidecar(base, meta)
            except OSError:  # a data folder that may not be written to, or is full
                continue
            if starts is not None:
                return starts
        return line_starts(self._map)

    def _cached_sidecar(self) -> Path:
        name = hashlib.sha256(str(self.path.resolve()).encode()).hexdigest()[:24]
        return cache_folder() / "searchqa" / "offsets" / name


def _is_row(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _name_of(record: Any, row: int) -> int | str:
    """A passage's id as its line gives it; the row where it gives none, or the row's own number."""
    name = record.get("id") if isinstance(record, dict) else None
    if not isinstance(name, str | int) or isinstance(name, bool) or str(name) == str(row):
        return row
    if str(name).isdecimal() and not _is_row(record.get("row")):
        return row  # a number that stands for the line, written in another way
    return encodable(str(name))


def _reopened(path: str, check_ids: bool) -> JsonlCorpus:
    return JsonlCorpus(path, check_ids=check_ids)


def _edge_digest(data: mmap.mmap) -> str:
    """A digest of the first and the last megabyte."""
    digest = hashlib.sha256(data[:_EDGE])
    digest.update(data[max(0, len(data) - _EDGE) :])
    return digest.hexdigest()


def _load_sidecar(base: Path, meta: dict[str, Any]) -> NDArray[np.int64] | None:
    """The starts, when the sidecar is there and was made from this very file."""
    try:
        found = json.loads(base.with_name(base.name + ".json").read_text(encoding="utf-8"))
        if not isinstance(found, dict) or {key: found.get(key) for key in meta} != meta:
            return None
        starts: NDArray[np.int64] = np.load(base.with_name(base.name + ".npy"), mmap_mode="r", allow_pickle=False)
        return starts if starts.dtype == np.int64 and starts.shape == (found["lines"],) else None
    except (OSError, EOFError, ValueError, KeyError):
        return None


def _save_sidecar(base: Path, meta: dict[str, Any], starts: NDArray[np.int64]) -> None:
    with replaced_file(base.with_name(base.name + ".npy")) as partial, partial.open("wb") as file:
        np.save(file, starts, allow_pickle=False)
    # Written last, so that it never describes an older array.
    write_file(base.with_name(base.name + ".json"), json.dumps(meta | {"lines": len(starts)}))


def line_starts(data: mmap.mmap) -> NDArray[np.int64]:
    """Where each line that is not blank begins, whatever its end (LF, CRLF, or the file's)."""
    data.madvise(mmap.MADV_SEQUENTIAL)
    breaks = [np.array([-1], dtype=np.int64)]
    for start in range(0, len(data), _CHUNK):
        chunk = np.frombuffer(data[start : start + _CHUNK], dtype=np.uint8)
        breaks.append(np.flatnonzero(chunk == 0x0A) + start)
    breaks.append(np.array([len(data)], dtype=np.int64))
    data.madvise(mmap.MADV_RANDOM)
    ends = np.concatenate(breaks)
    starts, lengths = ends[:-1] + 1, np.diff(ends) - 1
    # No passage is this short; the few lines that are may hold white space alone.
    kept = np.ones(len(starts), dtype=bool)
    for line in np.flatnonzero(lengths < 16):
        kept[line] = bool(data[int(starts[line]) : int(starts[line] + lengths[line])].strip())
    return starts[kept]
