"""Records in files of other people, one by one: JSON lines and parquet, with one line of error that names the place."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..bounded_files import parse_json


def json_record(line: str, where: str, error: type[ValueError]) -> Mapping[str, Any]:
    """The object that a line holds.

    Raises:
        ValueError: It holds something else; the error is of the class `error`.
    """
    try:
        record = parse_json(line)
    except ValueError as cause:
        raise error(f"{where}: expected one JSON object per line: {cause}") from cause
    if not isinstance(record, dict):
        raise error(f"{where}: expected an object, got a {type(record).__name__}")
    return record


def parquet_records(
    path: Path, columns: Callable[[Sequence[str]], list[str]], error: type[ValueError], *, rows: int = 65_536
) -> Iterator[Mapping[str, Any]]:
    """The rows of a parquet file, read in parts of at most `rows`.

    Args:
        path: The file.
        columns: Of the file's columns those that are read; it may refuse them by raising `error`.
        error: The class of errors.
        rows: Rows that are in memory at once.

    Raises:
        ImportError: pyarrow is not installed.
        ValueError: It is no parquet file, or cut short; the error is of the class `error`.
    """
    try:
        import pyarrow.parquet as parquet
    except ImportError as cause:
        raise ImportError(
            f'{path}: reading parquet needs pyarrow: pip install "sdar-gym[parquet]" (JSONL needs nothing)'
        ) from cause
    try:
        file = parquet.ParquetFile(path)
        for batch in file.iter_batches(batch_size=rows, columns=columns(file.schema_arrow.names)):
            yield from batch.to_pylist()
    except (OSError, ValueError) as cause:  # pyarrow's own errors are of these kinds
        if isinstance(cause, error):
            raise
        raise error(f"{path}: expected a parquet file, and it is none, or cut short: {cause}") from cause
