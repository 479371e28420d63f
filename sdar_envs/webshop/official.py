"""The official files: found, checked, read once, and kept in a form that opens at once.

A small catalogue is held in memory. The full one, 1.18 million products in five gigabytes of JSON, is streamed into an
on-disk catalogue beside its search index (`disk_catalog.py`), and only what is shown is parsed. What was made is kept
under the cache folder by a key over the content of the files.
"""

from __future__ import annotations

import hashlib
import json
import logging
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..cache import cache_folder
from ..choices import require_choice
from ..files import write_file
from .catalog import Catalog, Product, ProductCatalog
from .disk_catalog import FORMAT, DiskCatalog, DiskEntries, DiskInstructions, build
from .goals import Instruction
from .json_stream import REMEDY, DataFileError, stream_list, stream_object
from .records import SKIPPED, Trouble, read_human, read_product, read_synthetic
from .search import SearchIndex

VARIANTS = ("auto", "full", "1000")
HUMAN_FILE = "items_human_ins.json"

# Files above this many bytes go to disk.
IN_MEMORY = 1 << 26
# More records than this share are not left out in silence.
MOST_SKIPPED = 0.05

_LOG = logging.getLogger(__name__)
_BLOCK = 1 << 22


@dataclass(frozen=True)
class OfficialFiles:
    """The three files of a data folder; `human` may be missing where it is not asked for."""

    items: Path
    attributes: Path
    human: Path | None


@dataclass(frozen=True)
class OfficialData:
    """What the files hold.

    Attributes:
        catalog: The products, in the order of the file.
        index: Their search index.
        synthetic: Product id -> the sentence of its synthetic goals.
        human: Product id -> what people asked for.
        trouble: What was wrong with records, by kind.
    """

    catalog: Catalog
    index: SearchIndex
    synthetic: Mapping[str, Instruction]
    human: Mapping[str, tuple[Instruction, ...]]
    trouble: Trouble


def find_files(data_dir: str | Path, variant: str = "auto") -> OfficialFiles:
    """The files in a folder (or in its ``data`` folder).

    Args:
        data_dir: Where the original's setup.sh put them.
        variant: ``full``, ``1000`` (the files with that suffix), or ``auto``: the full ones where they are there.

    Raises:
        DataFileError: A file is missing; the message says which were looked for.
    """
    require_choice("data_variant", variant, VARIANTS, "the store")
    folders = [Path(data_dir), Path(data_dir) / "data"]
    suffixes = {"auto": ("", "_1000"), "full": ("",), "1000": ("_1000",)}[variant]
    looked_for = []
    for folder in folders:
        for suffix in suffixes:
            items, attributes = folder / f"items_shuffle{suffix}.json", folder / f"items_ins_v2{suffix}.json"
            looked_for.append(str(items))
            if items.is_file():
                if not attributes.is_file():
                    raise DataFileError(f"{attributes} is expected beside {items.name}, and is missing: {REMEDY}")
                human = folder / HUMAN_FILE
                return OfficialFiles(items, attributes, human if human.is_file() else None)
    raise DataFileError(f"expected one of {', '.join(looked_for)}, and none is there: {REMEDY}")


def load(
    files: OfficialFiles, *, num_products: int | None = None, human: bool = True, in_memory: int = IN_MEMORY
) -> OfficialData:
    """Read the files, or what was kept of them.

    Args:
        files: Where they are.
        num_products: So many records from the front of the file; None for all.
        human: Whether what people asked for is read too.
        in_memory: Larger files, in bytes, go to disk.

    Raises:
        DataFileError: A file is broken, or more than a twentieth of the records cannot be used.
    """
    trouble: Trouble = Counter()
    asked: dict[str, tuple[Instruction, ...]] = {}
    if human:
        if files.human is None:
            wanted = files.items.with_name(HUMAN_FILE)
            raise DataFileError(f"{wanted} is expected for human goals, and is missing: {REMEDY}")
        asked = {asin: read_human(asin, entries, trouble) for asin, entries in stream_object(files.human)}
    if files.items.stat().st_size > in_memory:
        folder = kept_folder(files, num_products)
        if not folder.is_dir():
            progress = _Progress(files.items)
            build(folder, lambda scratch: _read_from_disk(files, num_products, trouble, scratch), progress)
        disk = DiskCatalog(folder)
        index = SearchIndex.load(folder / "index.npz")
        data = OfficialData(disk, index, DiskInstructions(disk), asked, trouble)
    else:
        products, stems = [], {}
        entries = dict(stream_object(files.attributes))
        for product, stem in read_products(files.items, entries.get, num_products, trouble):
            products.append(product)
            if stem is not None:
                stems[product.asin] = stem
        index = SearchIndex.build((product.asin, product.document()) for product in products)
        data = OfficialData(ProductCatalog(products), index, stems, asked, trouble)
    _report(files, trouble)
    return data


def _read_from_disk(
    files: OfficialFiles, num_products: int | None, trouble: Trouble, scratch: Path
) -> Iterator[tuple[Product, Instruction | None]]:
    entries = DiskEntries(scratch, stream_object(files.attributes))
    try:
        yield from read_products(files.items, entries.get, num_products, trouble)
    finally:
        entries.close()


def read_products(
    items: Path, entry_of: Callable[[str], Any], num_products: int | None, trouble: Trouble
) -> Iterator[tuple[Product, Instruction | None]]:
    """The usable products with the sentences of their synthetic goals, in order; troubles are counted on the way.

    Args:
        items: The file of products.
        entry_of: A product's entry in the file of attributes, None where it has none.
        num_products: So many records from the front; None for all.
        trouble: Counts what was wrong, by kind.

    Raises:
        DataFileError: The file is broken, or too many of its records are no products.
    """
    seen: set[str] = set()
    records = 0
    for record in stream_list(items):
        if records == num_products:
            break
        records += 1
        asin = record.get("asin") if isinstance(record, Mapping) else None
        entry = entry_of(asin) if isinstance(asin, str) else None
        product = read_product(record, entry, trouble)
        if product is None:
            continue
        if product.asin in seen:
            trouble["asin occurs before"] += 1
            continue
        seen.add(product.asin)
        if entry is None:
            trouble["asin is missing from the attribute file"] += 1
        yield product, read_synthetic(product.asin, entry, trouble)
    require_few_skipped(items, records, trouble)


def kept_folder(files: OfficialFiles, num_products: int | None) -> Path:
    """Where the catalogue of these files is kept: a key over their content."""
    digest = hashlib.sha256(f"{FORMAT} {num_products}".encode())
    for path in (files.items, files.attributes):
        digest.update(content_digest(path).encode())
    return cache_folder() / "webshop" / digest.hexdigest()[:24]


def content_digest(path: Path) -> str:
    """SHA-256 of a file, remembered by path, size and time of change: five gigabytes take a while."""
    stat = path.stat()
    mark = f"{path.resolve()} {stat.st_size} {stat.st_mtime_ns}"
    memory = cache_folder() / "webshop" / "digests.json"
    try:
        known = json.loads(memory.read_text(encoding="utf-8"))
        if isinstance(known, dict) and isinstance(known.get(mark), str):
            return str(known[mark])
    except (OSError, ValueError):
        known = {}
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    write_file(memory, json.dumps({**known, mark: digest.hexdigest()} if isinstance(known, dict) else {}))
    return digest.hexdigest()


class _Progress:
    """A line on the error stream now and then: the first start with the full catalogue takes minutes."""

    def __init__(self, path: Path) -> None:
        self._name = path.name
        self._began = self._said = time.monotonic()

    def __call__(self, count: int) -> None:
        now = time.monotonic()
        if now - self._said > 10:
            self._said = now
            sys.stderr.write(f"{self._name}: {count:,} products in {now - self._began:.0f} s\n")


def require_few_skipped(path: Path, records: int, trouble: Trouble) -> None:
    """Refuse a file of which too much cannot be used.

    Raises:
        DataFileError: More than a twentieth of the records are no products.
    """
    unusable = trouble["record is not an object"] + trouble["asin is missing"]
    if unusable > MOST_SKIPPED * records:
        raise DataFileError(
            f"{path}: expected records with an asin, and {unusable} of {records} have none ({dict(trouble)}): {REMEDY}"
        )


def _report(files: OfficialFiles, trouble: Trouble) -> None:
    """Say once what was wrong."""
    if trouble:
        skipped = sum(trouble[kind] for kind in SKIPPED)
        kinds = ", ".join(f"{kind}: {count}" for kind, count in sorted(trouble.items()))
        _LOG.warning("%s: %d records left out; by kind of trouble: %s", files.items.name, skipped, kinds)
