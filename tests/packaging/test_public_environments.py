"""The page of public environments says what the stored reports say, and describes every finding of theirs."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from pages import ROOT, blocks

from benchmarks.public_environments import (
    BEGIN,
    DATA,
    END,
    PAGE,
    anchor,
    entries,
    found_by,
    rendered,
    reports,
    with_table,
)

ADAPTERS = ROOT / "examples" / "public_environments"
REPORTS = reports()
HEADINGS = [line.removeprefix("### ") for line in PAGE.read_text(encoding="utf-8").splitlines() if line[:4] == "### "]


def test_the_table_is_made_from_the_reports() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert with_table(page, rendered()) == page, "python -m benchmarks.public_environments makes it again"
    assert page.count(BEGIN) == page.count(END) == 1


def test_ten_environments_of_four_packages_are_in_it() -> None:
    first_looks = [name for name in REPORTS if not entries().ENTRIES[name].fresh]
    assert len(first_looks) >= 10 and len({REPORTS[name]["package"] for name in first_looks}) >= 4
    assert {path.stem for path in DATA.glob("*.json")} == REPORTS.keys() == entries().ENTRIES.keys()


@pytest.mark.parametrize("name", REPORTS)
def test_every_finding_of_a_report_is_described(name: str) -> None:
    entry, report = entries().ENTRIES[name], REPORTS[name]
    assert dict.fromkeys(found_by(report)) == dict.fromkeys(entry.findings)
    assert set(entry.findings.values()) <= set(HEADINGS)
    assert report["command"] == " ".join(["sdar check", entry.target, *entry.options])
    assert f"{report['package']} {report['version']}" in PAGE.read_text(encoding="utf-8")


def test_every_description_is_of_a_finding_and_has_a_reproduction_without_our_code() -> None:
    described = {heading for entry in entries().ENTRIES.values() for heading in entry.findings.values()}
    assert described == set(HEADINGS)
    page = PAGE.read_text(encoding="utf-8")
    for heading in HEADINGS:
        section = page.partition(f"### {heading}\n")[2].partition("\n##")[0]
        assert "```python" in section and re.search(r"\d+\.\d+\.\d+", section), heading
    for code, _ in blocks(PAGE, "python"):
        ast.parse(code)
        assert "sdar" not in code and len(code.strip().splitlines()) <= 14


@pytest.mark.parametrize("path", sorted(ADAPTERS.glob("*.py")), ids=lambda path: path.name)
def test_an_adapter_is_short(path: Path) -> None:
    is_list = path.stem == "entries"
    assert is_list or len(path.read_text(encoding="utf-8").splitlines()) < 80


def test_an_anchor_is_made_as_the_site_makes_it() -> None:
    assert anchor("TextArena: a number of 5,000 digits raises") == "textarena-a-number-of-5000-digits-raises"
