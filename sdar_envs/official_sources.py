"""Where published data comes from, what of it is here, and how it is fetched: a file is there whole or not at all.

The table is ``assets/official/sources.json``: addresses, sizes and SHA-256 where they are known, and how many games,
products or questions the whole has. A hash that nobody has published is not made up: such a file is checked by its
count.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tarfile
import urllib.error
import urllib.request
import warnings
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .assets import asset_path
from .bounded_files import ArchiveBounds, UnboundedFileError, load_json, unpack_single_tar, unpack_zip
from .choices import require_choice
from .files import replaced_file, replaced_folder

TIMEOUT_S = 20.0  # for an answer, and between two parts of it
_BLOCK = 1 << 20
_COUNTED = 1 << 28  # bytes of a JSON file whose entries are counted; a store's attributes are many million short values
# The largest is a corpus of 14 GB; the games are texts that are much alike, and are packed tightly.
_BOUNDS = ArchiveBounds(total=1 << 36, ratio=300)


class SourceError(OSError):
    """A file cannot be fetched, or is not the one that was published; the message says which and what to do."""


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One published file.

    Attributes:
        name: What it is called here; of an archive that is unpacked, the archive's name (``zip``) or the file that is
            in it (``tar``).
        url: Where it is from.
        bytes: Of the download; None where it is not known.
        sha256: Of the download; None where nobody has published it.
        group: Files that belong together, and are asked for together.
        unpack: None, ``zip`` (all of it), or ``tar`` (its one file, compressed).
        unpacked_bytes: Of what is unpacked, where it is known.
    """

    name: str
    url: str
    bytes: int | None
    sha256: str | None
    group: str
    unpack: str | None = None
    unpacked_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class DataSet:
    """A published data set.

    Attributes:
        name: Its name here.
        about: One sentence.
        variable: The environment variable that names its folder; None where a keyword argument does.
        folder: Its folder below ``$SDAR_OFFICIAL_DATA``.
        files: In the order in which they are fetched.
        default: The groups that are fetched unless told otherwise.
        counts: What the whole has, by split or file.
        use: How it is used once it is there; ``{folder}`` is where.
    """

    name: str
    about: str
    variable: str | None
    folder: str
    files: tuple[SourceFile, ...]
    default: tuple[str, ...]
    counts: Mapping[str, int]
    use: str

    @property
    def groups(self) -> tuple[str, ...]:
        """The groups of files, in order."""
        return tuple(dict.fromkeys(file.group for file in self.files))


@dataclass(frozen=True, slots=True)
class Found:
    """Something of a data set that was found.

    Attributes:
        what: The split or file.
        path: Where.
        count: Of games, products or questions; None where they were not counted.
        expected: That the whole has; None where that is not known.
        verified: Whether its SHA-256 or size is the published one; None where neither is known.
    """

    what: str
    path: Path
    count: int | None = None
    expected: int | None = None
    verified: bool | None = None

    @property
    def complete(self) -> bool:
        """Whether nothing that is known of it differs from the whole."""
        return self.verified is not False and (self.expected is None or self.count == self.expected)


def data_sets() -> dict[str, DataSet]:
    """All published data sets that the suite reads, by name."""
    table: dict[str, dict[str, Any]] = json.loads(asset_path("official", "sources.json").read_text(encoding="utf-8"))
    return {
        name: DataSet(
            name,
            entry["about"],
            entry["variable"],
            entry["folder"],
            tuple(SourceFile(**file) for file in entry["files"]),
            tuple(entry["default"]),
            entry["counts"],
            entry["use"],
        )
        for name, entry in table.items()
    }


def places(data: DataSet) -> list[Path]:
    """The folders that the environment names for a data set, whether they exist or not."""
    found = []
    if data.variable and os.environ.get(data.variable):
        found.append(Path(os.environ[data.variable]).expanduser())
    if os.environ.get("SDAR_OFFICIAL_DATA"):
        found.append(Path(os.environ["SDAR_OFFICIAL_DATA"]).expanduser() / data.folder)
    return found


def look(data: DataSet, folder: Path, *, hashes: bool = False) -> list[Found]:
    """What of a data set is in a folder.

    Args:
        data: The data set.
        folder: Where to look.
        hashes: Whether files are read whole and compared with their published SHA-256; else their sizes are.

    Raises:
        ValueError: A file is there and is not what it should be.
    """
    if not folder.is_dir():
        return []
    if data.name == "alfworld":
        return _games(data, folder)
    found = []
    for file in data.files:
        path = folder / file.name
        if not path.is_file():
            continue
        size = path.stat().st_size
        verified: bool | None = None
        if file.unpack is None and file.sha256 is not None and hashes:
            verified = _sha256(path) == file.sha256
        elif (expected := file.unpacked_bytes if file.unpack else file.bytes) is not None:
            verified = size == expected
        found.append(Found(file.name, path, _count(path), data.counts.get(file.name), verified))
    return found


def _games(data: DataSet, folder: Path) -> list[Found]:
    from .household.official import FOLDERS, NoGamesError, find_root, official_games

    try:
        root = find_root(folder)
    except NoGamesError:
        return []
    found = []
    for split in FOLDERS:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of games that are left out: the count says it
                games = len(official_games(root, split))
        except NoGamesError:
            games = 0
        found.append(Found(split, root / FOLDERS[split], games, data.counts.get(split)))
    return found


def _count(path: Path) -> int | None:
    """Entries of a JSON array or mapping, or rows of a Parquet file; None of other files and of large ones."""
    if path.suffix == ".parquet":
        try:
            from pyarrow.parquet import ParquetFile
        except ImportError:
            return None
        try:
            return int(ParquetFile(path).metadata.num_rows)
        except Exception as error:  # whatever pyarrow raises on a file that is none of its own
            raise ValueError(f"{path}: expected a Parquet file ({error})") from None
    if path.suffix == ".json" and path.stat().st_size < _COUNTED:
        try:
            return len(load_json(path, limit=_COUNTED, values=_COUNTED))
        except (ValueError, TypeError) as error:
            raise ValueError(f"{path}: expected a JSON array or mapping ({error})") from None
    return None


def fetch(
    data: DataSet, folder: Path, groups: Sequence[str] = (), *, say: Callable[[str], None] = lambda _: None
) -> list[str]:
    """Fetch the files of some groups that are not in `folder` yet; returns the names of those that were fetched.

    Args:
        data: The data set.
        folder: Where to; made.
        groups: Of files; none for the default ones.
        say: Gets a line per file.

    Raises:
        ValueError: There is no such group.
        SourceError: A file cannot be fetched, or is not the published one, or the disk is too small. Files that were
            fetched before it stay; of the one in question nothing is left.
    """
    for group in groups:
        require_choice("group", group, data.groups, data.name)
    wanted = [file for file in data.files if file.group in (groups or data.default)]
    missing = [file for file in wanted if not _is_there(file, folder)]
    needed = sum((file.bytes or 0) + (file.unpacked_bytes or 0) for file in missing)
    above = next(parent for parent in (folder, *folder.resolve().parents) if parent.exists())
    free = shutil.disk_usage(above).free
    if needed > free:
        raise SourceError(
            f"{data.name}: {needed / 1e9:.1f} GB are needed in {folder}, and {free / 1e9:.1f} GB are free"
        )
    for file in missing:
        say(f"{file.name}: from {file.url}")
        _fetch_file(file, folder)
    return [file.name for file in missing]


def _is_there(file: SourceFile, folder: Path) -> bool:
    return (folder / file.name).exists() or (file.unpack == "zip" and (folder / f".unpacked-{file.name}").exists())


def _fetch_file(file: SourceFile, folder: Path) -> None:
    made = not folder.exists()
    try:
        if file.unpack is None:
            with replaced_file(folder / file.name) as partial:
                _download(file, partial)
            return
        with replaced_folder(folder / f".unpacking-{file.name}", keep_existing=False) as work:
            archive = work / "archive"
            _download(file, archive)
            _unpack(file, archive, work / "content")
            archive.unlink()
        place = folder / f".unpacking-{file.name}"
        for path in sorted((place / "content").rglob("*")):
            if path.is_file():
                target = folder / path.relative_to(place / "content")
                target.parent.mkdir(parents=True, exist_ok=True)
                os.replace(path, target)
        shutil.rmtree(place)
        if file.unpack == "zip":
            (folder / f".unpacked-{file.name}").touch()
    except BaseException:
        if made:
            _remove_if_empty(folder)
        raise


def _remove_if_empty(folder: Path) -> None:
    try:
        folder.rmdir()
    except OSError:  # something is in it, or it was never made
        return


def _download(file: SourceFile, path: Path) -> None:
    """The bytes of a file, checked.

    Raises:
        SourceError: They cannot be had, or are others.
    """
    digest, size = hashlib.sha256(), 0
    request = urllib.request.Request(file.url, headers={"User-Agent": "sdar-gym"})
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer, path.open("wb") as out:
            if "text/html" in str(answer.headers.get("Content-Type", "")):
                raise SourceError(
                    f"{file.name}: {file.url} answered with a page in the place of the file (a quota may be used up): "
                    "fetch it with a browser, and put it into the folder"
                )
            while block := answer.read(_BLOCK):
                digest.update(block)
                size += len(block)
                out.write(block)
    except SourceError:
        raise
    except (OSError, urllib.error.URLError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise SourceError(
            f"{file.name} cannot be fetched from {file.url} ({reason}); nothing of it was kept. Fetch it on a machine "
            "with a network, and put it into the folder"
        ) from None
    if file.bytes is not None and size != file.bytes:
        raise SourceError(f"{file.name}: expected {file.bytes:,} bytes from {file.url}, got {size:,}; it was not kept")
    if file.sha256 is not None and digest.hexdigest() != file.sha256:
        raise SourceError(
            f"{file.name}: expected SHA-256 {file.sha256}, got {digest.hexdigest()}: not the published file; it was "
            "not kept"
        )


def _unpack(file: SourceFile, archive: Path, target: Path) -> None:
    target.mkdir()
    try:
        if file.unpack == "zip":
            unpack_zip(archive, target, _BOUNDS)
            return
        if unpack_single_tar(archive, target / file.name, _BOUNDS):
            return
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, UnboundedFileError) as error:
        raise SourceError(
            f"{file.name}: {file.url} is no archive that can be read ({error}); it was not kept"
        ) from None
    raise SourceError(f"{file.name}: expected a file in the archive {file.url}, and there is none; it was not kept")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
