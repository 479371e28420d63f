"""Records of large JSON files one by one, in bounded memory, and errors that say where a file is broken.

The official catalogue is one list of five gigabytes on one line; reading it whole takes more than twenty of memory.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

_CHUNK = 1 << 20
# A record that is not complete within so many characters is a broken file.
_LONGEST_RECORD = 1 << 26
_WHITE_SPACE = " \t\r\n"
_LONGEST_NUMBER = 400

REMEDY = "download the file again: the original's setup.sh says from where"


class DataFileError(ValueError):
    """A data file is not what it should be; the message names file, record, what was expected, and the remedy."""


def stream_list(path: Path) -> Iterator[Any]:
    """The elements of a file that holds one JSON list.

    Raises:
        DataFileError: The file is missing, empty, truncated, no UTF-8, no JSON, or no list.
    """
    with closing(_Reader(path)) as reader:
        reader.expect("[", "a list of records")
        if reader.skipped("]"):
            return
        while True:
            yield reader.record()
            if reader.skipped("]"):
                reader.expect_end()
                return
            reader.expect(",", "a comma or the end of the list")


def stream_object(path: Path) -> Iterator[tuple[str, Any]]:
    """The entries of a file that holds one JSON object.

    Raises:
        DataFileError: As `stream_list`, or a key is no text.
    """
    with closing(_Reader(path)) as reader:
        reader.expect("{", "an object of entries")
        if reader.skipped("}"):
            return
        while True:
            key = reader.value()
            if not isinstance(key, str):
                raise reader.error("expected a key in quotation marks")
            reader.expect(":", "a colon after the key")
            yield key, reader.record()
            if reader.skipped("}"):
                reader.expect_end()
                return
            reader.expect(",", "a comma or the end of the object")


class _Reader:
    """A window over the file that grows until a value is complete in it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._decoder = json.JSONDecoder(parse_int=_bounded_int, strict=False)
        self._text = ""
        self._at = 0
        self._ended = False
        self._records = 0
        try:
            self._file = path.open(encoding="utf-8-sig", newline="")
        except OSError as error:
            raise DataFileError(f"{path}: cannot be read ({error.strerror}): {REMEDY}") from error

    def error(self, what: str) -> DataFileError:
        """The error at the present place; records are counted from 0."""
        near = self._text[self._at : self._at + 40]
        return DataFileError(f"{self._path}, record {self._records}: {what}, got {near!r}: {REMEDY}")

    def expect(self, mark: str, what: str) -> None:
        """Pass over a mark."""
        if not self.skipped(mark):
            raise self.error(f"expected {what} ({mark!r})")

    def expect_end(self) -> None:
        """Nothing but white space is left."""
        self._pass_white_space()
        if self._at < len(self._text):
            raise self.error("expected the end of the file")

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def skipped(self, mark: str) -> bool:
        """Pass over a mark if it is there."""
        self._pass_white_space()
        if self._text.startswith(mark, self._at):
            self._at += len(mark)
            return True
        return False

    def record(self) -> Any:
        """The next complete value, counted."""
        value = self.value()
        self._records += 1
        return value

    def value(self) -> Any:
        """The next complete value."""
        self._pass_white_space()
        while True:
            try:
                value, end = self._decoder.raw_decode(self._text, self._at)
            except RecursionError:
                raise self.error("expected a record that is not nested thousands deep") from None
            except json.JSONDecodeError as error:
                if self._ended or len(self._text) - self._at > _LONGEST_RECORD:
                    ended = "the file ends within the record" if self._ended else "the record never ends"
                    raise self.error(f"expected JSON ({error.msg}; perhaps {ended})") from None
                self._read_on()
                continue
            # A number at the window's end may go on after it.
            if end == len(self._text) and not self._ended:
                self._read_on()
                continue
            self._at = end
            return value

    def _pass_white_space(self) -> None:
        while True:
            while self._at < len(self._text) and self._text[self._at] in _WHITE_SPACE:
                self._at += 1
            if self._at < len(self._text) or self._ended:
                return
            self._read_on()

    def _read_on(self) -> None:
        # As much again as is waiting, so that a long record is decoded a few times and not thousands.
        wanted = max(_CHUNK, len(self._text) - self._at)
        try:
            more = self._file.read(wanted)
        except UnicodeDecodeError as error:
            raise self.error(f"expected UTF-8 ({error.reason} at byte {error.start} of a block)") from None
        self._ended = not more
        self._text = self._text[self._at :] + more
        self._at = 0


def _bounded_int(digits: str) -> int | None:
    """A whole number; one of thousands of digits, which Python refuses, is nothing that a field could be."""
    return int(digits) if len(digits) <= _LONGEST_NUMBER else None
