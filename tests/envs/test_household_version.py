"""The household's version: the same for the same world however its files are written, another for another world."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hash_seeds import printed_under_hash_seeds

from sdar_envs import assets
from sdar_envs.household import hints, tables, version
from sdar_envs.household.env import HouseholdEnv

# Change these only together with the world, on purpose: every evaluation set, cached warm model and published score of
# a size is of the version below. If this test fails and you meant to change nothing that a student, a teacher or a
# score meets, then something changed by accident. If you did, write down what changed in the changelog and put the new
# digests here:
#     python -c "from sdar_envs.household.env import *; print(HouseholdEnv(size='small').world_version)"
#     python -c "from sdar_envs.household.env import *; from sdar_envs.household.version import *
#     print(world_digests(HouseholdEnv, 'small', 'named'))"
GOLDEN: dict[tuple[str, str], tuple[str, dict[str, str]]] = {
    ("full", "named"): (
        "76c62857226a",
        {
            "tables": "224df9cac624",
            "laws": "a25962ab43cc",
            "domain": "6a50449c7830",
            "grammar": "7174fd32e4a5",
            "tasks": "90525a1e1d10",
            "episodes": "a70208403347",
            "skills": "e4a88b642a80",
            "hints": "1d4122a735b9",
        },
    ),
    ("full", "habit"): (
        "f744eacaeff5",
        {
            "tables": "f818930bd0ae",
            "laws": "0865b8c026a8",
            "domain": "6a50449c7830",
            "grammar": "7174fd32e4a5",
            "tasks": "da8579db0c40",
            "episodes": "a0dc86fca58a",
            "skills": "ffe652337012",
            "hints": "1d4122a735b9",
        },
    ),
    ("medium", "named"): (
        "276bee77f11d",
        {
            "tables": "f3b16ab46279",
            "laws": "7e5f39386d58",
            "domain": "6a50449c7830",
            "grammar": "7174fd32e4a5",
            "tasks": "b5159125b3a3",
            "episodes": "b40414602d18",
            "skills": "e4a88b642a80",
            "hints": "1d4122a735b9",
        },
    ),
    ("medium", "habit"): (
        "1509b31bb84d",
        {
            "tables": "de02695a3d4f",
            "laws": "f72ae47d8243",
            "domain": "6a50449c7830",
            "grammar": "7174fd32e4a5",
            "tasks": "47d3e3afe8e6",
            "episodes": "c9c32dfa291f",
            "skills": "ffe652337012",
            "hints": "1d4122a735b9",
        },
    ),
    ("small", "named"): (
        "88b28c4607fa",
        {
            "tables": "bae55b415ca9",
            "laws": "4ed1406c6d06",
            "domain": "6a50449c7830",
            "grammar": "7174fd32e4a5",
            "tasks": "3673daceaf38",
            "episodes": "c0bb3f784eb5",
            "skills": "e4a88b642a80",
            "hints": "1d4122a735b9",
        },
    ),
    ("small", "habit"): (
        "e0bd49c71d1d",
        {
            "tables": "8ca705f3a6df",
            "laws": "bff5c1c96bc0",
            "domain": "6a50449c7830",
            "grammar": "7174fd32e4a5",
            "tasks": "ae539cd841dc",
            "episodes": "4ff3ccea74c8",
            "skills": "ffe652337012",
            "hints": "1d4122a735b9",
        },
    ),
    ("short", "named"): (
        "3f953f13c440",
        {
            "tables": "d39a1255da2a",
            "laws": "d7ec7dea677b",
            "domain": "6a50449c7830",
            "grammar": "7174fd32e4a5",
            "tasks": "b0d63cdeef44",
            "episodes": "0a278a9c1f57",
            "skills": "e4a88b642a80",
            "hints": "1d4122a735b9",
        },
    ),
    ("short", "habit"): (
        "369d987d417a",
        {
            "tables": "2aa8cc84bb21",
            "laws": "2bc268e6f62b",
            "domain": "6a50449c7830",
            "grammar": "7174fd32e4a5",
            "tasks": "89a75ff0de7d",
            "episodes": "ea510aa99ca5",
            "skills": "ffe652337012",
            "hints": "1d4122a735b9",
        },
    ),
}


@pytest.fixture
def copied_assets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the assets that the version reads instead of the real ones."""
    # What is played is kept between tests, so it is played once from the real assets before they change.
    version.world_version(HouseholdEnv, "small")
    shutil.copytree(assets.assets_root(), tmp_path / "assets")
    monkeypatch.setattr(assets, "assets_root", lambda: tmp_path / "assets")
    return tmp_path / "assets"


def changed_parts(size: str = "small", instruction: str = "named") -> set[str]:
    """The parts of the world that are not as recorded."""
    expected = GOLDEN[size, instruction][1]
    found = version.world_digests(HouseholdEnv, size, instruction)
    return {name for name in found if found[name] != expected[name]}


def rewrite(path: Path, change: Callable[[str], str]) -> None:
    before = path.read_text(encoding="utf-8")
    after = change(before)
    assert after != before, f"the test changes nothing in {path.name}"
    path.write_text(after, encoding="utf-8", newline="")


@pytest.mark.parametrize(("size", "instruction"), GOLDEN)
def test_the_version_is_the_recorded_one(size: str, instruction: str) -> None:
    found = version.world_digests(HouseholdEnv, size, instruction)
    expected_version, expected = GOLDEN[size, instruction]
    changed = sorted(name for name in found if found[name] != expected.get(name))
    assert found == expected, f"the {size} household changed in {', '.join(changed)}: see the comment above GOLDEN"
    assert version.world_version(HouseholdEnv, size, instruction) == expected_version
    assert HouseholdEnv(size=size, instruction=instruction).world_version == expected_version


def test_every_size_and_instruction_has_a_recorded_version_of_its_own() -> None:
    assert set(GOLDEN) == set(itertools.product(tables.SIZES, tables.INSTRUCTIONS))
    assert len({expected for expected, _ in GOLDEN.values()}) == len(GOLDEN)


def test_every_table_is_part_of_the_version() -> None:
    """Names that are not hashed by themselves: tables of single sizes, which come in by `SIZE_TABLES`, and choices."""
    public = {name for name in vars(tables) if name.isupper() and not name.startswith("_")}
    of_sizes = {f"{size}_{what}".upper() for size in tables.SIZES for what in ("rooms", "objects")}
    choices = {"SIZES", "SIZE_TABLES", "INSTRUCTIONS"}
    taken_up = {*version.SHARED_TABLES, *itertools.chain(*version.INSTRUCTION_TABLES.values())}
    assert public - of_sizes - choices == taken_up


def test_the_version_does_not_depend_on_process_or_hash_seed() -> None:
    code = (
        "from sdar_envs.household.env import HouseholdEnv\nfrom sdar_envs.household.version import *\n"
        "print(world_digests(HouseholdEnv, 'small'), world_version(HouseholdEnv, 'full'))"
    )
    said = printed_under_hash_seeds(code)
    assert said.split() == f"{GOLDEN['small', 'named'][1]} {GOLDEN['full', 'named'][0]}".split()


def test_comments_layout_and_line_ends_do_not_count(copied_assets: Path) -> None:
    rewrite(copied_assets / "household" / "domain.pddl", lambda text: f";; one more word\n{text}".replace("    ", "\t"))
    rewrite(copied_assets / "household" / "grammar.twl2", lambda text: f"# one more\n{text}".replace("}\n\na", "}\na"))
    for path in (copied_assets / "skills" / "household").iterdir():
        rewrite(path, lambda text: text.replace("\n", "\r\n"))
    assert changed_parts() == set()


@pytest.mark.parametrize(
    ("where", "old", "new", "part"),
    [
        ("household/domain.pddl", "(isHot ?o) (not (isCool ?o))", "(isHot ?o)", "domain"),
        ("household/grammar.twl2", "You pick up the", "You take the", "grammar"),
        ("household/grammar.twl2", "This is a hot {o.name}", "This is a very hot {o.name}", "grammar"),
        ("skills/household/heat.md", "Nothing is hot at the start.", "Some things are hot at the start.", "skills"),
        ("skills/household/two.md", "keywords: two", "keywords: two, both", "skills"),
    ],
)
def test_one_word_of_an_asset_counts(copied_assets: Path, where: str, old: str, new: str, part: str) -> None:
    rewrite(copied_assets / where, lambda text: text.replace(old, new, 1))
    assert changed_parts() == {part}


def test_a_table_entry_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    version.world_version(HouseholdEnv, "small")
    monkeypatch.setitem(tables.CONTAINMENT, "apple", (*tables.CONTAINMENT["apple"], "toilet"))
    assert "tables" in changed_parts()


def test_the_order_in_which_a_table_lists_places_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    version.world_version(HouseholdEnv, "small")
    monkeypatch.setitem(tables.CONTAINMENT, "apple", tuple(reversed(tables.CONTAINMENT["apple"])))
    assert changed_parts() == set()


def test_a_word_of_a_hint_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    version.world_version(HouseholdEnv, "small")
    monkeypatch.setitem(hints.RULES, "heat", hints.RULES["heat"].replace("Take one", "Fetch one"))
    assert changed_parts() == {"hints", "episodes"}
    monkeypatch.undo()
    monkeypatch.setitem(hints.SENTENCES, "lost", "It is too late.")
    assert changed_parts() == {"hints"}, "also what the sample never says"


def test_a_regularity_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other draws with the same tables, e.g. of another random stream, make another world."""
    version.world_version(HouseholdEnv, "small")
    from sdar_envs.household.regularities import Regularities, regularities

    usual = regularities("small", 0)
    other = Regularities("small", 0, {**usual.homes, "apple": "moon"}, usual.together, usual.storages)
    monkeypatch.setattr("sdar_envs.household.regularities.regularities", lambda size, seed: other)
    assert "laws" in changed_parts()


def test_a_sentence_of_the_habit_tasks_counts_for_them_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    version.world_version(HouseholdEnv, "small", "habit")
    changed = ("put a hot {object} away.", tables.HABIT_SENTENCES["heat"][1])
    monkeypatch.setitem(tables.HABIT_SENTENCES, "heat", changed)
    assert changed_parts("small", "habit") == {"tables", "tasks", "episodes"}
    assert changed_parts("small", "named") == set()


def test_a_new_size_leaves_the_versions_of_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(tables.SIZE_TABLES, "huge", tables.SIZE_TABLES["full"])
    assert changed_parts() == set()


def test_importing_the_suite_computes_no_version() -> None:
    code = (
        "import sys, gymnasium as gym, sdar_envs\n"
        "env = gym.make('sdar/Household-v0', size='small'); env.reset(seed=0)\n"
        "print('sdar_envs.household.version' in sys.modules)"
    )
    assert printed_under_hash_seeds(code) == "False\n"
