"""What docs/own-environment.md says of the keys that a teacher reads is what it reads."""

from __future__ import annotations

import importlib
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest

from agents.teacher import EVERY_TURN, PRIVILEGES, Teacher
from sdar_envs.core import INFO_KEYS
from sdar_envs.privileged import PRIVILEGED_KEYS, SKILL_KEYS, Privileged
from trainers import SDARConfig

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "own-environment.md").read_text(encoding="utf-8")
TYPES: dict[str, Any] = {"str": str, "dict": dict, "list of str": (list, str), "list of bool": (list, bool)}
BANK = {"random_skill", "wrong_skill"}


def rows(head: str) -> list[list[str]]:
    """The cells of the table under this head."""
    (table,) = re.findall(rf"^\| {re.escape(head)} \|.*\n\|[-|]+\n((?:\|.*\n)+)", PAGE, re.M)
    return [[cell.strip() for cell in line[1:-1].split("|")] for line in table.splitlines()]


def names(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def is_of(type_: str, value: Any) -> bool:
    wanted = TYPES[type_]
    if isinstance(wanted, tuple):
        return isinstance(value, wanted[0]) and bool(value) and all(isinstance(part, wanted[1]) for part in value)
    return isinstance(value, wanted)


@pytest.fixture
def fields(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """The privileged side of the example's first parcel."""
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    parcels = importlib.import_module("parcels")
    _, info = parcels.Parcels().reset(seed=0)
    yield info["privileged"]
    gym.registry.pop("Parcels-v0", None)
    sys.modules.pop("parcels", None)


def block(privilege: str, fields: dict[str, Any], style: str = "plain") -> str:
    return Teacher(None, style, privilege=privilege).block(Privileged(fields))  # type: ignore[arg-type]


def test_the_tables_have_all_keys_with_types_that_the_example_and_the_pages_values_have(fields: dict[str, Any]) -> None:
    tables = (("key | type | form", PRIVILEGED_KEYS, fields), ("key of `skills`", SKILL_KEYS, fields["skills"]))
    for head, known, found in tables:
        assert {names(row[0])[0] for row in rows(head)} == known
        for key, type_, _, example in rows(head):
            assert is_of(type_, found[names(key)[0]]), key
            assert all(is_of(type_, json.loads(shown)) for shown in names(example)), key


def test_the_table_of_public_keys_names_keys_that_are_read() -> None:
    listed = {names(row[0])[0] for row in rows("key | type | what it is used for")}
    assert listed - {"privileged"} <= INFO_KEYS and {"success", "admissible_actions", "task_type"} <= listed


def test_every_privilege_reads_the_key_of_its_row_and_no_other(fields: dict[str, Any]) -> None:
    listed = {privilege: names(row[1]) for row in rows("`--privilege`") for privilege in names(row[0])}
    assert set(listed) == set(PRIVILEGES)
    for privilege in set(PRIVILEGES) - BANK - {"none"}:
        (key,) = listed[privilege]
        assert block(privilege, {key: fields[key]}) == block(privilege, fields) != ""
        with pytest.raises(ValueError, match=key):
            block(privilege, {name: value for name, value in fields.items() if name != key})
    assert block("none", {}) == ""
    for privilege in BANK:
        with pytest.raises(ValueError, match="skill_bank"):
            block(privilege, fields)


def test_what_is_shown_at_every_turn_is_marked(fields: dict[str, Any]) -> None:
    said = {privilege: row[2] for row in rows("`--privilege`") for privilege in names(row[0])}
    assert {privilege for privilege, words in said.items() if "every turn" in words} == EVERY_TURN


def test_the_default_needs_skills_and_tiny_models_read_the_compact_lines(fields: dict[str, Any]) -> None:
    assert SDARConfig().privilege == "skill" and "`skill` (the default)" in PAGE
    (compact,) = fields["skills"]["compact_lines"]
    assert compact in block("skill", fields, "compact") and fields["skills"]["task"] in block("skill", fields)
    without = {**fields, "skills": {**fields["skills"], "compact_lines": []}}
    assert fields["skills"]["lines"][0] in block("skill", without, "compact")
