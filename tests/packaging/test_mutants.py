"""The list of mutants is up to date: every line that it breaks is there once, and the broken file still compiles."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
_SPEC = importlib.util.spec_from_file_location("mutants", ROOT / "tests" / "mutants" / "mutants.py")
assert _SPEC is not None and _SPEC.loader is not None
mutants = importlib.util.module_from_spec(_SPEC)
sys.modules["mutants"] = mutants
_SPEC.loader.exec_module(mutants)


@pytest.mark.parametrize("mutant", mutants.MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_breaks_one_line_that_is_there_and_names_tests_that_are_there(mutant: mutants.Mutant) -> None:
    source = (ROOT / mutant.file).read_text(encoding="utf-8")
    assert source.count(mutant.original) == 1, f"{mutant.original!r} occurs {source.count(mutant.original)} times"
    compile(source.replace(mutant.original, mutant.broken), mutant.file, "exec")
    assert all((ROOT / test.split("::")[0]).exists() for test in mutant.tests), mutant.tests


def test_the_names_of_mutants_are_different() -> None:
    names = [mutant.name for mutant in mutants.MUTANTS]
    assert len(set(names)) == len(names) >= 60
