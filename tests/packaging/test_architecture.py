"""The pictures of docs/architecture.md are the tree: the same folders with the same files."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "architecture.md"
PACKAGES = ("agents", "trainers")


def drawn(text: str, package: str) -> dict[str, set[str]]:
    """Folder -> files of a package's picture, the first indented block under its heading; "" is the package itself."""
    section = re.search(rf"^### {package}\n\n((?: {{4}}.*\n)+)", text, re.M)
    assert section is not None, f"expected a picture under '### {package}' of {PAGE.name}"
    rooms: dict[str, set[str]] = {}
    room = ""
    for line in section[1].splitlines():
        named = re.match(r" {4}([\w/]+)/\s+(.*)", line)
        if named:
            room = named[1]
        rooms.setdefault(room, set()).update(re.findall(r"\w+", named[2] if named else line))
    return rooms


def built(folder: Path) -> dict[str, set[str]]:
    """Folder -> modules that lie in it, without what every package has."""
    rooms: dict[str, set[str]] = {}
    for path in folder.rglob("*.py"):
        if path.stem not in ("__init__", "__main__"):
            rooms.setdefault("/".join(path.parent.relative_to(folder).parts), set()).add(path.stem)
    return rooms


@pytest.mark.parametrize("package", PACKAGES)
def test_the_picture_of_a_package_is_its_tree(package: str) -> None:
    assert drawn(PAGE.read_text(encoding="utf-8"), package) == built(ROOT / package)


def test_trainers_has_at_most_twenty_two_folders_and_modules_at_its_top() -> None:
    tops = {
        path.name
        for path in (ROOT / "trainers").iterdir()
        if (path.suffix == ".py" and path.stem not in ("__init__", "__main__")) or (path / "__init__.py").exists()
    }
    assert len(tops) <= 22, sorted(tops)


def test_a_file_that_is_not_drawn_would_be_noticed(tmp_path: Path) -> None:
    (tmp_path / "room").mkdir()
    for name in ("top.py", "__init__.py", "room/one.py", "room/two.py"):
        (tmp_path / name).touch()
    page = "### made\n\n    top\n    room/   one,\n            two\n\ntext"
    assert drawn(page, "made") == built(tmp_path)
    (tmp_path / "room" / "three.py").touch()
    assert drawn(page, "made") != built(tmp_path)
