"""Files and folders are there whole or not at all, also when writes are interrupted or two processes write at once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sdar_envs.files import replaced_file, replaced_folder, write_file


class Interrupted(Exception):
    pass


@pytest.mark.parametrize("sync", [False, True])
@pytest.mark.parametrize("content", ["two\u00e9\n", b"\x00\xff"])
def test_a_file_is_made_and_replaced(tmp_path: Path, content: str | bytes, sync: bool):
    path = tmp_path / "made" / "file"
    for _ in range(2):
        write_file(path, content, sync=sync)
        assert path.read_bytes() == (content.encode() if isinstance(content, str) else content)
    assert list(path.parent.iterdir()) == [path]


def test_a_file_has_the_rights_of_any_new_file(tmp_path: Path):
    (tmp_path / "plain").write_text("")
    write_file(tmp_path / "file", "")
    assert (tmp_path / "file").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize("there", [False, True])
def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(tmp_path: Path, there: bool):
    path = tmp_path / "file"
    if there:
        path.write_text("old")
    with pytest.raises(Interrupted), replaced_file(path) as partial:
        partial.write_text("half")
        assert partial.parent == path.parent
        raise Interrupted
    assert [file.read_text() for file in tmp_path.iterdir()] == ["old"] * there


def test_a_text_that_cannot_be_encoded_leaves_the_old_file(tmp_path: Path):
    write_file(tmp_path / "file", "old")
    with pytest.raises(UnicodeEncodeError):
        write_file(tmp_path / "file", "\ud800")
    assert [file.read_text() for file in tmp_path.iterdir()] == ["old"]


def test_a_rename_that_fails_leaves_the_old_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_file(tmp_path / "file", "old")
    fill(tmp_path / "folder", "old")

    def refuse(source: object, target: object) -> None:
        raise OSError("no")

    monkeypatch.setattr("sdar_envs.files.os.replace", refuse)
    with pytest.raises(OSError, match="no"):
        write_file(tmp_path / "file", "new")
    with pytest.raises(OSError, match="no"), replaced_folder(tmp_path / "gone", keep_existing=True):
        pass
    with pytest.raises(OSError, match="no"), replaced_folder(tmp_path / "folder2", keep_existing=False):
        pass
    assert (tmp_path / "file").read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def fill(folder: Path, content: str, *, keep_existing: bool = False) -> None:
    with replaced_folder(folder, keep_existing=keep_existing) as partial:
        (partial / "content").write_text(content)


@pytest.mark.parametrize(("keep_existing", "expected"), [(True, "one"), (False, "two")])
def test_an_existing_folder_stays_or_is_replaced(tmp_path: Path, keep_existing: bool, expected: str):
    folder = tmp_path / "made" / "folder"
    for content in ("one", "two"):
        fill(folder, content, keep_existing=keep_existing)
    assert (folder / "content").read_text() == expected
    assert list(folder.parent.iterdir()) == [folder]


@pytest.mark.parametrize("keep_existing", [True, False])
@pytest.mark.parametrize("there", [False, True])
def test_an_interrupted_folder_leaves_the_old_one_and_nothing_else(tmp_path: Path, there: bool, keep_existing: bool):
    folder = tmp_path / "folder"
    if there:
        fill(folder, "old")
    with pytest.raises(Interrupted), replaced_folder(folder, keep_existing=keep_existing) as partial:
        (partial / "content").write_text("half")
        raise Interrupted
    assert [path.read_text() for path in tmp_path.rglob("content")] == ["old"] * there
    assert len(list(tmp_path.iterdir())) == there


def test_the_old_folder_comes_back_when_the_new_one_cannot_take_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder = tmp_path / "folder"
    fill(folder, "old")

    def refuse(source: object, target: object) -> None:
        raise OSError("no")

    with pytest.raises(OSError, match="no"), replaced_folder(folder, keep_existing=False) as partial:
        (partial / "content").write_text("new")
        monkeypatch.setattr("sdar_envs.files.os.replace", refuse)
    assert (folder / "content").read_text() == "old" and list(tmp_path.iterdir()) == [folder]


@pytest.mark.parametrize("keep_existing", [True, False])
def test_who_is_slower_goes_on_with_the_folder_of_who_was_quicker(
    tmp_path: Path, keep_existing: bool, monkeypatch: pytest.MonkeyPatch
):
    folder, replace = tmp_path / "folder", os.replace

    def meanwhile(source: Path, target: Path) -> None:
        monkeypatch.setattr("sdar_envs.files.os.replace", replace)
        fill(folder, "quicker")
        replace(source, target)

    monkeypatch.setattr("sdar_envs.files.os.replace", meanwhile)
    fill(folder, "slower", keep_existing=keep_existing)
    assert (folder / "content").read_text() == "quicker" and list(tmp_path.iterdir()) == [folder]


def test_a_file_in_the_place_of_a_folder_is_not_removed(tmp_path: Path):
    (tmp_path / "folder").write_text("mine")
    for keep_existing in (True, False):
        with pytest.raises(OSError):
            fill(tmp_path / "folder", "new", keep_existing=keep_existing)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["mine"]
