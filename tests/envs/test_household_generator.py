"""What a generated house is: its layouts, its tasks, and the regularities that the splits share."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import pytest
from hash_seeds import printed_under_hash_seeds

from sdar_envs.household import tables
from sdar_envs.household.engine import NativeGame, household_rules
from sdar_envs.household.generator import (
    SPLIT_SIZES,
    GeneratedTask,
    belongs_to,
    generate,
    target_types,
    task_ids,
)
from sdar_envs.household.layouts import SEEN_LAYOUTS, UNSEEN_LAYOUTS, layouts
from sdar_envs.household.problem import parse_problem
from sdar_envs.household.regularities import APART, TOGETHER, eligible_homes, regularities


def sample(size: str, split: str = "train", count: int = 120, **kwargs: float) -> list[GeneratedTask]:
    return [generate(task_id, size=size, **kwargs) for task_id in task_ids(split)[:count]]  # type: ignore[arg-type]


def homes_of_targets(task: GeneratedTask) -> set[str]:
    draft = task.draft
    return {draft.layout.receptacle_types[position] for name, position in draft.placements if name == draft.target}


@pytest.mark.parametrize("size", tables.SIZES)
@pytest.mark.parametrize("kind", tables.ROOM_KINDS)
def test_a_room_kind_has_30_different_layouts_within_its_table(size: str, kind: str) -> None:
    drawn = layouts(size, kind, 0)
    assert [layout.number for layout in drawn] == list(range(1, 31))
    assert len({layout.receptacles for layout in drawn}) == 30
    rows = tables.SIZE_TABLES[size].rooms[kind]
    for layout in drawn:
        for receptacle_type, positions in layout.by_type.items():
            assert rows[receptacle_type].fewest <= len(positions) <= rows[receptacle_type].most
            names = [layout.receptacles[position] for position in positions]
            assert names == [f"{receptacle_type}_{number}" for number in range(1, len(positions) + 1)]
        always = {name for name, row in rows.items() if row.scenes == 30}
        assert always <= layout.by_type.keys()


@pytest.mark.parametrize(("size", "fewest", "most"), [("small", 8, 12), ("medium", 14, 20)])
@pytest.mark.parametrize("kind", tables.ROOM_KINDS)
def test_small_rooms_have_8_to_12_receptacles_and_medium_ones_14_to_20(
    kind: str, size: str, fewest: int, most: int
) -> None:
    assert {len(layout.receptacles) for layout in layouts(size, kind, 3)} <= set(range(fewest, most + 1))


def test_medium_rooms_have_the_things_of_small_ones_and_more_kinds_of_places() -> None:
    assert tables.object_types("medium") == tables.object_types("small")
    for kind in tables.ROOM_KINDS:
        assert tables.MEDIUM_ROOMS[kind].keys() > tables.SMALL_ROOMS[kind].keys()


def test_cabinets_are_as_many_as_in_the_published_kitchens() -> None:
    counts = [len(layout.by_type["cabinet"]) for seed in range(10) for layout in layouts("full", "kitchen", seed)]
    assert sum(counts) / len(counts) == pytest.approx(11.4, abs=0.5)


def test_24_layouts_are_seen_and_6_are_kept_for_the_test_split() -> None:
    assert (len(SEEN_LAYOUTS), len(UNSEEN_LAYOUTS)) == (24, 6)
    for split, numbers in (("train", SEEN_LAYOUTS), ("valid", SEEN_LAYOUTS), ("test", UNSEEN_LAYOUTS)):
        used = {task.draft.layout.number for task in sample("small", split, 400)}
        assert used <= set(numbers)
        assert len(used) == len(numbers), f"{split} leaves layouts unused"


def test_the_layouts_of_two_world_seeds_differ() -> None:
    assert layouts("full", "kitchen", 0) != layouts("full", "kitchen", 1)


@pytest.mark.parametrize("size", tables.SIZES)
def test_training_and_validation_never_share_a_placement(size: str) -> None:
    train = {task.draft.digest() for task in sample(size, "train", 600)}
    valid = {task.draft.digest() for task in sample(size, "valid", 600)}
    assert not train & valid
    draft = generate("valid:000000", size=size).draft
    assert belongs_to("valid", draft) and not belongs_to("train", draft)


def contents(split: str, numbers: Iterable[int], **kwargs: Any) -> list[int]:
    return [generate(f"{split}:{number:06d}", **kwargs).draft.content() for number in numbers]


# Small named games that were drawn in both splits, in different orders, while the digest alone kept them apart.
DRAWN_TWICE = [(1615, 1291), (1868, 950)]


@pytest.mark.parametrize(("training", "validation"), DRAWN_TWICE)
def test_a_game_of_validation_is_no_training_task_in_another_order(training: int, validation: int) -> None:
    held = contents("valid", [validation], size="small")
    assert contents("train", [training], size="small", apart=False) == held
    assert contents("train", [training], size="small") != held
    draft = generate(f"valid:{validation:06d}", size="small").draft
    turned = dataclasses.replace(draft, placements=draft.placements[::-1])
    assert turned.content() == draft.content() and turned.digest() != draft.digest()


@pytest.mark.parametrize(("size", "instruction"), [("small", "named"), ("small", "habit"), ("medium", "named")])
def test_a_sample_of_training_has_no_game_of_the_other_splits(size: str, instruction: str) -> None:
    """`python -m benchmarks.household_splits` counts all of them."""
    train = set(contents("train", range(0, 100_000, 197), size=size, instruction=instruction))
    for split in ("valid", "test"):
        assert not train & set(contents(split, range(2_000), size=size, instruction=instruction))


@pytest.mark.slow
@pytest.mark.parametrize("size", ["small", "medium"])
@pytest.mark.parametrize("instruction", tables.INSTRUCTIONS)
def test_training_has_no_game_of_the_other_splits(size: str, instruction: str) -> None:
    train = set(contents("train", range(100_000), size=size, instruction=instruction))
    for split in ("valid", "test"):
        assert not train & set(contents(split, range(2_000), size=size, instruction=instruction))


def test_only_training_tasks_that_are_games_of_validation_are_drawn_again() -> None:
    for split in SPLIT_SIZES:
        numbers = range(0, 1_999, 5)
        apart, before = (contents(split, numbers, size="small", apart=held) for held in (True, False))
        changed = sum(new != old for new, old in zip(apart, before, strict=True))
        assert changed <= (4 if split == "train" else 0)


def test_task_ids_are_enumerable_with_task_types_in_turn() -> None:
    assert {split: len(task_ids(split)) for split in SPLIT_SIZES} == {"train": 100_000, "valid": 2_000, "test": 2_000}
    ids = task_ids("train")
    assert ids[0] == "train:000000" and ids[-1] == "train:099999"
    assert [generate(task_id, size="small").draft.task_type for task_id in ids[:6]] == list(tables.TASK_TYPES)
    heat = task_ids("valid", "heat")
    assert heat[:3] == ["valid:000004", "valid:000010", "valid:000016"]
    assert sum(len(task_ids("test", task_type)) for task_type in tables.TASK_TYPES) == 2_000
    with pytest.raises(IndexError):
        ids[100_000]


@pytest.mark.parametrize("size", tables.SIZES)
def test_no_game_is_won_at_reset_and_all_can_be_won_within_the_horizon(size: str) -> None:
    for split in SPLIT_SIZES:
        for task in sample(size, split, 120):
            game = NativeGame(*household_rules(), task.problem)
            game.reset()
            assert not game.won
            assert 0 < task.shortest <= tables.SIZE_TABLES[size].horizon


@pytest.mark.parametrize("size", tables.SIZES)
def test_things_stand_only_where_they_can_and_targets_can_be_what_they_must(size: str) -> None:
    for task in sample(size, count=240):
        draft = task.draft
        for object_type, position in draft.placements:
            assert draft.layout.receptacle_types[position] in tables.CONTAINMENT[object_type]
            assert object_type in tables.room_objects(size, draft.layout.kind)
        assert draft.layout.kind in tables.TASK_ROOMS[draft.task_type]
        if draft.task_type != "light":
            assert draft.destination in draft.layout.by_type
            assert draft.destination in tables.CONTAINMENT[draft.target]
        affordance = tables.REQUIRED_AFFORDANCE.get(draft.task_type)
        assert affordance is None or draft.target in tables.AFFORDANCES[affordance]
        count = sum(name == draft.target for name, _ in draft.placements)
        low, high = getattr(tables.SIZE_TABLES[size], "duplicates_two" if draft.task_type == "two" else "duplicates")
        assert low <= count <= high
        assert draft.target in draft.sentence and draft.destination in draft.sentence


def test_every_home_and_destination_is_possible_in_the_tables() -> None:
    for size in tables.SIZES:
        for object_type in tables.object_types(size):
            homes = eligible_homes(size, object_type)
            assert len(homes) >= 2, f"{object_type} has no choice of homes, so its statement could never be stale"
            assert set(homes) <= set(tables.CONTAINMENT[object_type])
        for task_type, kinds in tables.TASK_ROOMS.items():
            assert all(target_types(size, kind, task_type) for kind in kinds)


def test_a_tasks_problem_survives_being_written_and_read_as_pddl() -> None:
    for task in sample("full", count=12):
        read = parse_problem(task.problem.to_pddl())
        assert (read.objects, set(read.init)) == (task.problem.objects, set(task.problem.init))
        assert read.goal == task.problem.goal


@pytest.mark.parametrize(("regularity", "expected"), [(0.0, 0.0), (0.5, 0.5), (0.85, 0.85), (1.0, 1.0)])
def test_targets_stand_at_home_as_often_as_the_regularity_says(regularity: float, expected: float) -> None:
    for size in tables.SIZES:
        tasks = sample(size, count=600, regularity=regularity)
        share = sum(task.draft.regular for task in tasks) / len(tasks)
        # Four standard errors, and a little for irregular draws that are refused more often.
        assert share == pytest.approx(expected, abs=4 * (0.25 / 600) ** 0.5 + 0.02 if 0 < expected < 1 else 0.0)
        for task in tasks:
            home = regularities(size, 0).homes[task.draft.target]
            assert (homes_of_targets(task) == {home}) if task.draft.regular else (home not in homes_of_targets(task))


def test_the_targets_of_two_tasks_have_their_habit() -> None:
    for world_seed in range(3):
        together = regularities("full", world_seed).together
        held = total = 0
        for task_id in task_ids("train", "two")[:300]:
            draft = generate(task_id, world_seed=world_seed).draft
            homes = draft.layout.by_type[regularities("full", world_seed).homes[draft.target]]
            if draft.regular and len(homes) > 1:
                places = {position for name, position in draft.placements if name == draft.target}
                held += (len(places) == 1) == together
                total += 1
        assert held / total == pytest.approx(0.85, abs=4 * (0.85 * 0.15 / total) ** 0.5)


def test_regularities_are_shared_by_the_splits_and_drawn_by_the_world_seed() -> None:
    usual = [regularities("full", seed).homes for seed in range(20)]
    assert len({tuple(sorted(homes.items())) for homes in usual}) == 20
    assert {homes["apple"] for homes in usual} == set(eligible_homes("full", "apple"))
    assert {regularities("small", seed).together for seed in range(20)} == {True, False}


def test_statements_state_the_regularities() -> None:
    usual = regularities("small", 0)
    statements = {statement.id: statement for statement in usual.statements()}
    assert len(statements) == len(tables.object_types("small")) + 3 + 1
    home = usual.homes["apple"]
    assert statements["home:apple"].compact_line() == f"the apple is usually in the {home}."
    assert statements["appliance:heat"].compact_line() == "to heat, use the microwave."
    assert statements["habit:two"].value == (TOGETHER if usual.together else APART)
    assert all(
        statement.value in statement.alternatives and statement.wrong_values() for statement in statements.values()
    )


def test_a_task_depends_on_its_own_id_alone() -> None:
    alone = generate("train:000077", size="full").draft
    sample("full", count=5, regularity=0.3)
    assert generate("train:000077", size="full").draft == alone


_PRINT_TASKS = """
from sdar_envs.household.generator import task_ids, generate
from sdar_envs.household.regularities import regularities
print(sorted(regularities("full", 0).homes.items()))
for split in ("train", "valid", "test"):
    for size in ("full", "small"):
        for task_id in task_ids(split)[:12]:
            task = generate(task_id, size=size)
            print(task.draft.digest(), task.draft.sentence, task.problem.init[-3:], task.shortest)
"""


def test_tasks_are_the_same_under_every_hash_seed() -> None:
    assert len(printed_under_hash_seeds(_PRINT_TASKS).splitlines()) == 1 + 3 * 2 * 12
