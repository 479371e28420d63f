"""A task id is a split and a number; the same everywhere, and nothing else is one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdar_envs.task_ids import NumberedTaskIds, parse_task_id, task_id

SIZES = {"train": 100_000, "valid": 2_000, "official": None}
KINDS = ("heat", "cool", "clean")


@given(st.integers(0, 99_999))
def test_an_id_names_its_number(number: int) -> None:
    assert parse_task_id(task_id("train", number), SIZES, "the test") == ("train", number)


def test_official_files_may_number_millions() -> None:
    assert task_id("official", 1_234_567) == "official:1234567"
    assert parse_task_id("official:1234567", SIZES, "the test") == ("official", 1_234_567)


@pytest.mark.parametrize(
    "value",
    [
        *("", "train", "train:", "train:12", "train:x", "train:-00001", "train:0000 1", "train000001", "9" * 99),
        *("train:100000", "train:0000001", "valid:002000", "train:00000\u0663", "train:" + "9" * 5_000),
        *("trian:000001", "dev:000001", "official:12", "official:0000012"),
    ],
)
def test_what_is_no_task_id_is_refused_with_an_example(value: str) -> None:
    with pytest.raises(ValueError, match=r"the test expects .*task id|split in task id") as refused:
        parse_task_id(value, SIZES, "the test")
    assert len(str(refused.value)) < 400


@given(st.integers(0, 40), st.sampled_from([None, *KINDS]))
def test_kinds_come_in_turn_and_share_the_tasks_out(count: int, kind: str | None) -> None:
    ids = NumberedTaskIds.in_turn("train", count, KINDS, kind)
    wanted = [n for n in range(count) if kind is None or KINDS[n % len(KINDS)] == kind]
    assert list(ids) == [task_id("train", n) for n in wanted] == ids[:]
    assert len(ids) == len(wanted)
    assert all(each in ids for each in ids) and task_id("train", count) not in ids
    assert sum(len(NumberedTaskIds.in_turn("train", count, KINDS, each)) for each in KINDS) == count


@pytest.mark.parametrize("other", ["train:1", "train:0000001", "valid:000001", "train", "train:\u0661", 1, None])
def test_only_an_id_itself_is_among_ids(other: object) -> None:
    assert other not in NumberedTaskIds("train", range(5))


def test_a_hundred_thousand_ids_are_shown_as_what_they_are() -> None:
    assert repr(NumberedTaskIds("train", range(100_000))) == "<100000 task ids, train:000000 to train:099999>"
    assert repr(NumberedTaskIds("train", ())) == "<0 task ids>"
