"""Code and pages use the field's words (docs/glossary.md), and not the private ones that stood there before."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DIALECT = re.compile(
    r"can not\b|behind (?:the|a|an|its|their|another|which|each|one|that|what|this)(?: [a-z'-]+)? prompts?\b"
    r"|\bthe dial\b|said aloud|hinted teacher",
    re.I,
)
# What a model reads belongs to the version of a world, and a published plan to its results: neither changes for words.
# The glossary and the changelog say which words stood where.
EXCEPTIONS = {
    "assets/studies/household.yaml": 1,
    "sdar_envs/household/hints.py": 1,
    "sdar_envs/searchqa/episodes.py": 1,
    "docs/glossary.md": 1,
    "CHANGELOG.md": 1,
    "tests/packaging/test_plain_language.py": 3,
}
FILES = sorted(
    path
    for pattern in (
        *("sdar_envs/**/*.py", "agents/**/*.py", "trainers/**/*.py", "benchmarks/**/*.py", "tests/**/*.py"),
        *("assets/**/*.yaml", "assets/report/*", "docs/*.md", "*.md"),
    )
    for path in ROOT.glob(pattern)
    if path.is_file()
)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_the_old_dialect_is_gone_but_for_listed_exceptions(path: Path) -> None:
    found = DIALECT.findall(" ".join(path.read_text(encoding="utf-8").split()))
    assert len(found) == EXCEPTIONS.get(path.relative_to(ROOT).as_posix(), 0), found


def test_the_pattern_finds_what_it_looks_for() -> None:
    assert len(DIALECT.findall("It can " + "not stand behind the " + "plain prompt, on the " + "dial.")) == 3
