"""Files of other people: a small one cannot take the memory, a deep one not the stack, and what is refused is named."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import tracemalloc
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdar_envs.bounded_files import (
    MAX_DEPTH,
    ArchiveBounds,
    UnboundedFileError,
    bounded_lines,
    gzip_lines,
    load_json,
    parse_json,
    unpack_single_tar,
    unpack_zip,
)

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
SMALL = ArchiveBounds(files=3, total=10_000, ratio=10, free=1_000)


@given(VALUES)
def test_what_is_within_the_bounds_is_read_as_json_reads_it(value: object) -> None:
    text = json.dumps(value)
    assert parse_json(text) == parse_json(text.encode()) == json.loads(text)


@pytest.mark.parametrize("depth", [MAX_DEPTH + 2, 900, 200_000])
@pytest.mark.parametrize("pair", ["[]", ('{"a":', "}")])
def test_deep_nesting_is_an_error_of_a_file_and_no_overflow(depth: int, pair: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match=r"nested at most 64 deep"):
        parse_json(pair[0] * depth + "1" + pair[1] * depth)
    shallow = MAX_DEPTH
    assert parse_json(pair[0] * shallow + "1" + pair[1] * shallow)


def test_many_small_values_are_refused_before_they_take_memory() -> None:
    text = "[" + "[]," * 3_000_000 + "[]]"  # 9 MB that would be 200 MB of lists
    tracemalloc.start()
    try:
        with pytest.raises(UnboundedFileError, match="at most 4,000,000 values, got about 6,000,00"):
            parse_json(text)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_a_number_of_thousands_of_digits_is_a_value_error() -> None:
    with pytest.raises(ValueError):
        parse_json("9" * 5000)


def test_a_long_file_is_read_no_further_than_its_bound(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('"' + "x" * 100 + '"')
    assert load_json(path, limit=102) == "x" * 100
    with pytest.raises(UnboundedFileError, match="at most 101 bytes"):
        load_json(path, limit=101)
    with pytest.raises(UnboundedFileError):
        load_json("/dev/zero", limit=1000)  # whose size the file system gives as 0


def test_a_line_without_an_end_is_refused() -> None:
    assert list(bounded_lines(io.StringIO("ab\ncd"), limit=3)) == ["ab\n", "cd"]
    with pytest.raises(UnboundedFileError, match="line 2: expected at most 3"):
        list(bounded_lines(io.BytesIO(b"ab\n" + b"c" * 9), limit=3))


def test_a_gzipped_file_unpacks_to_what_its_size_allows(tmp_path: Path) -> None:
    path = tmp_path / "lines.gz"
    path.write_bytes(gzip.compress(b"0123456\n" * 100))
    assert len(list(gzip_lines(path, SMALL))) == 100
    path.write_bytes(gzip.compress(b"0123456\n" * 100_000))
    with pytest.raises(UnboundedFileError, match="when it is unpacked"):
        list(gzip_lines(path, SMALL))
    path.write_bytes(gzip.compress(b"0" * 10**8))  # one line; it is never held
    tracemalloc.start()
    try:
        with pytest.raises(UnboundedFileError):
            list(gzip_lines(path, SMALL))
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def zipped(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def test_a_zip_file_unpacks_within_its_bounds_and_its_folder(tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    unpack_zip(zipped(tmp_path / "a.zip", {"a/b": b"1", "../../out": b"2", "/abs": b"3"}), inside, SMALL)
    assert sorted(path.relative_to(inside).as_posix() for path in inside.rglob("*") if path.is_file()) == [
        "a/b",
        "abs",
        "out",
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zip", "inside"]
    with pytest.raises(UnboundedFileError, match="at most 3 files, got 4"):
        unpack_zip(zipped(tmp_path / "b.zip", dict.fromkeys("abcd", b"")), inside, SMALL)
    with pytest.raises(UnboundedFileError, match="when it is unpacked, got 1,000,000"):
        unpack_zip(zipped(tmp_path / "c.zip", {"big": b"0" * 10**6}), inside, SMALL)


def test_a_zip_file_that_declares_less_than_comes_out_gives_no_more_than_it_declares(tmp_path: Path) -> None:
    path = zipped(tmp_path / "liar.zip", {"big": b"0" * 10**6})
    content = path.read_bytes().replace((10**6).to_bytes(4, "little"), (500).to_bytes(4, "little"))
    path.write_bytes(content)
    (tmp_path / "out").mkdir()
    with pytest.raises(zipfile.BadZipFile):
        unpack_zip(path, tmp_path / "out", SMALL)
    assert (tmp_path / "out" / "big").stat().st_size <= 500


def test_a_tar_file_gives_its_first_plain_file_within_its_bounds(tmp_path: Path) -> None:
    def tar(name: str, size: int) -> Path:
        path = tmp_path / name
        with tarfile.open(path, "w:gz") as archive:
            link = tarfile.TarInfo("link")
            link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
            archive.addfile(link)
            member = tarfile.TarInfo("../../out")
            member.size = size
            archive.addfile(member, io.BytesIO(b"0" * size))
        return path

    assert unpack_single_tar(tar("a.tgz", 900), tmp_path / "target", SMALL)
    assert (tmp_path / "target").read_bytes() == b"0" * 900
    with pytest.raises(UnboundedFileError, match="got 1,000,000"):
        unpack_single_tar(tar("b.tgz", 10**6), tmp_path / "target", SMALL)
