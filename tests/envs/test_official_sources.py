"""Published data: fetched whole or not at all, checked by what is published of it, and counted where it is found."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from sdar_envs import official_sources
from sdar_envs.bounded_files import MAX_VALUES, load_json
from sdar_envs.official_sources import DataSet, SourceError, SourceFile, data_sets, fetch, look, places

CONTENT = json.dumps([1, 2, 3]).encode()


def zipped(names: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in names.items():
            archive.writestr(name, content)
    return out.getvalue()


def tarred(content: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        info = tarfile.TarInfo("some/where/else.jsonl")
        info.size = len(content)
        archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


ANSWERS = {
    "/plain": ("application/json", CONTENT),
    "/page": ("text/html; charset=utf-8", b"<html>quota</html>"),
    "/zip": ("application/zip", zipped({"data/a.json": b"[1]", "data/b.json": b"[2]"})),
    "/tar": ("application/gzip", tarred(b'{"id": 0}\n')),
    "/text": ("text/plain", b"no archive"),
}


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path not in ANSWERS:
                self.send_error(404)
                return
            kind, content = ANSWERS[self.path]
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def data_of(*files: SourceFile) -> DataSet:
    return DataSet("made", "made up", "MADE_DATA", "made", files, ("first",), {"plain.json": 3}, "it")


def plain(address: str, **changes: object) -> SourceFile:
    file = SourceFile("plain.json", f"{address}/plain", len(CONTENT), hashlib.sha256(CONTENT).hexdigest(), "first")
    return dataclasses.replace(file, **changes)  # type: ignore[arg-type]


def test_a_file_is_fetched_checked_and_found_complete_and_not_fetched_again(address: str, tmp_path: Path) -> None:
    data, folder = data_of(plain(address)), tmp_path / "new" / "folder"
    said: list[str] = []
    assert fetch(data, folder, say=said.append) == ["plain.json"] and said == [f"plain.json: from {address}/plain"]
    (found,) = look(data, folder, hashes=True)
    assert (found.count, found.expected, found.verified, found.complete) == (3, 3, True, True)
    assert fetch(data, folder) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sha256": "0" * 64}, "expected SHA-256 0000"),
        ({"bytes": 4}, "expected 4 bytes .* got 9"),
        ({"url": "{address}/page"}, "a page in the place of the file"),
        ({"url": "{address}/nothing"}, "cannot be fetched .*404|cannot be fetched .*Not Found"),
        ({"url": "http://127.0.0.1:9/closed"}, "cannot be fetched .*nothing of it was kept"),
        ({"url": "{address}/text", "unpack": "zip", "bytes": None, "sha256": None}, "no archive that can be read"),
        ({"url": "{address}/text", "unpack": "tar", "bytes": None, "sha256": None}, "no archive that can be read"),
    ],
    ids=str,
)
def test_of_a_file_that_is_not_the_published_one_nothing_is_left(
    changes: dict[str, object], message: str, address: str, tmp_path: Path
) -> None:
    if "url" in changes:
        changes = {**changes, "url": str(changes["url"]).format(address=address)}
    folder = tmp_path / "folder"
    with pytest.raises(SourceError, match=message) as caught:
        fetch(data_of(plain(address, **changes)), folder)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.rglob("*"))


def test_what_was_fetched_before_a_failure_stays(address: str, tmp_path: Path) -> None:
    broken = plain(address, name="other.json", sha256="0" * 64)
    with pytest.raises(SourceError):
        fetch(data_of(plain(address), broken), tmp_path)
    assert [path.name for path in tmp_path.rglob("*")] == ["plain.json"]


def test_archives_are_unpacked_whole(address: str, tmp_path: Path) -> None:
    data = data_of(
        SourceFile("games.zip", f"{address}/zip", None, None, "first", "zip"),
        SourceFile("corpus.jsonl", f"{address}/tar", None, None, "first", "tar", unpacked_bytes=10),
    )
    assert fetch(data, tmp_path) == ["games.zip", "corpus.jsonl"]
    names = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert names == {"data/a.json", "data/b.json", "corpus.jsonl", ".unpacked-games.zip"}
    (corpus,) = look(data, tmp_path)
    assert corpus.verified is True and corpus.path.read_text() == '{"id": 0}\n'
    assert fetch(data, tmp_path) == []


def test_only_the_groups_that_are_asked_for_are_fetched(address: str, tmp_path: Path) -> None:
    data = data_of(plain(address), plain(address, name="second.json", group="second"))
    assert fetch(data, tmp_path, ["second"]) == ["second.json"]
    with pytest.raises(ValueError, match="third"):
        fetch(data, tmp_path, ["third"])


def test_a_disk_that_is_too_small_is_refused_before_anything_is_fetched(address: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"GB are needed .* GB are free"):
        fetch(data_of(plain(address, bytes=10**18)), tmp_path / "folder")
    assert not (tmp_path / "folder").exists()


def test_a_part_or_another_content_is_found_and_is_not_complete(tmp_path: Path, address: str) -> None:
    (tmp_path / "plain.json").write_text("[1]")
    (found,) = look(data_of(plain(address)), tmp_path)
    assert found.count == 1 and found.verified is False and not found.complete
    (tmp_path / "plain.json").write_text("{")
    with pytest.raises(ValueError, match="expected a JSON array or mapping"):
        look(data_of(plain(address)), tmp_path)
    assert look(data_of(plain(address)), tmp_path / "none") == []


def test_folders_are_those_that_the_environment_names(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MADE_DATA", "SDAR_OFFICIAL_DATA"):
        monkeypatch.delenv(name, raising=False)
    data = data_of()
    assert places(data) == []
    monkeypatch.setenv("MADE_DATA", "/somewhere")
    monkeypatch.setenv("SDAR_OFFICIAL_DATA", "/parts")
    assert places(data) == [Path("/somewhere"), Path("/parts/made")]


def test_the_table_of_sources_is_whole() -> None:
    table = data_sets()
    assert set(table) == {"alfworld", "webshop", "searchr1"}
    for data in table.values():
        assert data.files and set(data.default) <= set(data.groups)
        for file in data.files:
            assert file.url.startswith("https://") and file.unpack in (None, "zip", "tar")
            assert file.sha256 is None or len(bytes.fromhex(file.sha256)) == 32


@pytest.mark.official
def test_the_parts_that_are_at_hand_are_counted() -> None:
    pytest.importorskip("textworld")
    from official_data import official_folder

    table = data_sets()
    games = {found.what: found.count for found in look(table["alfworld"], official_folder("alfworld"))}
    assert games == {"train": 40, "valid": 30, "test": 30}
    products = look(table["webshop"], official_folder("webshop"))
    assert {found.what: found.count for found in products}["items_shuffle_1000.json"] == 300
    assert not any(found.complete for found in products if found.expected)


def test_a_published_file_of_more_values_than_a_strangers_may_have_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "items_ins_v2.json"
    path.write_text(f"[{','.join(['0'] * (MAX_VALUES + 2))}]", encoding="utf-8")
    assert official_sources._count(path) == MAX_VALUES + 2
    with pytest.raises(ValueError, match="values"):
        load_json(path)
