"""A catalogue on disk: products as compressed records in SQLite, parsed when they are shown, beside a search index.

It is built once, in one pass over the official files, in a folder of its own that is renamed into place when it is
complete; so an interrupted build is never taken for a catalogue, and two processes that build at once do not mix.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sqlite3
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from functools import cached_property
from pathlib import Path
from typing import Any

from ..files import replaced_folder
from .catalog import Product, Review
from .goals import Instruction
from .search import SearchIndex

# Of the folder's content; another number never opens what this one wrote.
FORMAT = 2


class DiskCatalog:
    """The `Catalog` of a folder; opened anew in every process that inherits it."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "products.sqlite"
        self._connection: sqlite3.Connection | None = None
        self._owner = 0

    def rows(self, query: str, *values: Any) -> sqlite3.Cursor:
        """The rows of a query over the one table."""
        if self._connection is None or self._owner != os.getpid():
            # Read only, and from any thread: nothing here ever writes.
            uri = f"{self._path.as_uri()}?mode=ro&immutable=1"
            self._connection = sqlite3.connect(uri, uri=True, check_same_thread=False)
            self._owner = os.getpid()
        return self._connection.execute(query, values)

    def __len__(self) -> int:
        return len(self.asins)

    @cached_property
    def asins(self) -> Sequence[str]:
        """The ids, in the order of the file."""
        return tuple(asin for (asin,) in self.rows("SELECT asin FROM products ORDER BY number"))

    def product(self, asin: str) -> Product:
        """The product of an id."""
        row = self.rows("SELECT record FROM products WHERE asin = ?", asin).fetchone()
        if row is None:
            raise KeyError(asin)
        return _unpacked(row[0])

    def __iter__(self) -> Iterator[Product]:
        for (record,) in self.rows("SELECT record FROM products ORDER BY number"):
            yield _unpacked(record)

    def instruction(self, asin: str) -> Instruction | None:
        """The sentence of a product's synthetic goals."""
        row = self.rows("SELECT instruction FROM products WHERE asin = ?", asin).fetchone()
        if row is None or row[0] is None:
            return None
        text, attributes = json.loads(row[0])
        return Instruction(asin, text, tuple(attributes))


class DiskInstructions(Mapping[str, Instruction]):
    """Product id -> the sentence of its synthetic goals, read when asked for."""

    def __init__(self, catalog: DiskCatalog) -> None:
        self._catalog = catalog

    def __getitem__(self, asin: str) -> Instruction:
        found = self._catalog.instruction(asin)
        if found is None:
            raise KeyError(asin)
        return found

    def __iter__(self) -> Iterator[str]:
        return (asin for (asin,) in self._catalog.rows(_WITH_INSTRUCTION))

    def __len__(self) -> int:
        return sum(1 for _ in self)


_WITH_INSTRUCTION = "SELECT asin FROM products WHERE instruction IS NOT NULL ORDER BY number"

_TABLE = """
CREATE TABLE products (
    number INTEGER PRIMARY KEY,
    asin TEXT NOT NULL UNIQUE,
    record BLOB NOT NULL,
    instruction TEXT
)
"""


class DiskEntries:
    """The entries of a large JSON object, kept in a temporary database; `get` as a dict has it."""

    def __init__(self, folder: Path, entries: Iterable[tuple[str, Any]]) -> None:
        self._connection = sqlite3.connect(folder / "entries.sqlite")
        self._connection.execute("PRAGMA journal_mode = OFF")
        self._connection.execute("PRAGMA synchronous = OFF")
        self._connection.execute("CREATE TABLE entries (name TEXT PRIMARY KEY, entry TEXT) WITHOUT ROWID")
        rows = ((name, json.dumps(entry)) for name, entry in entries)
        self._connection.executemany("INSERT OR REPLACE INTO entries VALUES (?, ?)", rows)

    def get(self, name: str) -> Any:
        """The entry of a name, None where there is none."""
        row = self._connection.execute("SELECT entry FROM entries WHERE name = ?", (name,)).fetchone()
        return None if row is None else json.loads(row[0])

    def close(self) -> None:
        """Forget them."""
        self._connection.close()


def build(
    folder: Path,
    read: Callable[[Path], Iterator[tuple[Product, Instruction | None]]],
    progress: Callable[[int], None] = lambda count: None,
) -> None:
    """Write a catalogue and its index into a folder that does not exist yet.

    Args:
        folder: Where.
        read: Gives the products, in order, of a folder for temporary files.
        progress: Told the number of products now and then.
    """
    with replaced_folder(folder, keep_existing=True) as partial:
        with (
            tempfile.TemporaryDirectory(dir=partial) as scratch,
            closing(sqlite3.connect(partial / "products.sqlite")) as connection,
            connection,
        ):
            connection.execute("PRAGMA journal_mode = OFF")
            connection.execute("PRAGMA synchronous = OFF")
            connection.execute(_TABLE)
            index = SearchIndex.build(_stored(connection, read(Path(scratch)), progress))
        index.save(partial / "index.npz")


def _stored(
    connection: sqlite3.Connection,
    products: Iterable[tuple[Product, Instruction | None]],
    progress: Callable[[int], None],
) -> Iterator[tuple[str, str]]:
    """Store products as they pass, and pass on what search reads."""
    for number, (product, stem) in enumerate(products):
        if number % 1000 == 0:
            progress(number)
        written = None if stem is None else json.dumps([stem.text, stem.attributes])
        row = (number, product.asin, _packed(product), written)
        connection.execute("INSERT INTO products VALUES (?, ?, ?, ?)", row)
        yield product.asin, product.document()


def _packed(product: Product) -> bytes:
    fields = {field.name: getattr(product, field.name) for field in dataclasses.fields(product)}
    fields["options"] = dict(product.options)
    fields["reviews"] = [dataclasses.astuple(review) for review in product.reviews]
    return zlib.compress(json.dumps(fields).encode(), 6)


def _unpacked(record: bytes) -> Product:
    fields = json.loads(zlib.decompress(record))
    for name in ("bullets", "pricing", "attributes"):
        fields[name] = tuple(fields[name])
    fields["options"] = {group: tuple(values) for group, values in fields["options"].items()}
    fields["reviews"] = tuple(Review(*review) for review in fields["reviews"])
    return Product(**fields)
