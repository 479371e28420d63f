"""What the pages for contributors say of files is true: they exist, and those that hold methods hold some."""

from __future__ import annotations

import re

import pytest
from pages import ROOT

GUIDES = ("docs/extending.md", "CONTRIBUTING.md")
FILE = re.compile(r"`((?:sdar_envs|agents|trainers|assets|tests|docs|examples|benchmarks)/[\w./-]+\w)`")


def named(page: str) -> list[str]:
    """The files that a page names in code marks."""
    return FILE.findall((ROOT / page).read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", GUIDES)
def test_the_files_that_a_guide_names_exist(page: str) -> None:
    missing = [name for name in named(page) if not (ROOT / name).exists()]
    assert not missing and len(named(page)) > 2


def test_a_file_that_is_gone_would_be_noticed() -> None:
    assert FILE.findall("in `trainers/methods/gone.py`, say") == ["trainers/methods/gone.py"]
    assert not (ROOT / "trainers/methods/gone.py").exists()


def test_the_files_that_hold_methods_are_those_that_are_named_for_it() -> None:
    folder = ROOT / "trainers" / "methods"
    hold = {path.name for path in folder.glob("*.py") if re.search(r"^register\(", path.read_text("utf-8"), re.M)}
    text = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
    sentence = re.search(r"one of the files that hold methods:(.*?)\.\s", " ".join(text.split()) + " ")
    assert sentence is not None
    assert set(re.findall(r"trainers/methods/(\w+\.py)", sentence[1] + ".")) == hold


def test_every_group_of_options_is_named_or_summed_up() -> None:
    text = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
    folder = ROOT / "trainers" / "options"
    groups = {path.stem for path in folder.glob("*.py") if "OptionGroup):" in path.read_text(encoding="utf-8")}
    summed_up = {"seats", "adapter", "server"}
    assert all(f"trainers/options/{name}.py" in text for name in groups - summed_up)
