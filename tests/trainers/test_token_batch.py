"""Collating rows, and cutting lists of rows."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from random_models import changed, random_rows

from trainers.batch.token_batch import collate, loss_tokens, micro_batches, mini_batches


@given(st.lists(st.integers(1, 60), max_size=30), st.integers(1, 200))
def test_micro_batches_hold_every_index_once_and_keep_to_the_budget(lengths: list[int], budget: int) -> None:
    batches = micro_batches(lengths, budget)
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    for batch in batches:
        assert batch
        assert len(batch) == 1 or len(batch) * max(lengths[i] for i in batch) <= budget


def test_micro_batches_are_sorted_by_length_so_that_little_is_padding() -> None:
    assert micro_batches([3, 10, 4, 9], 20) == [[1, 3], [2, 0]]
    with pytest.raises(ValueError, match="at least 1, got 0"):
        micro_batches([1], 0)


def test_mini_batches_deal_every_row_once_and_are_never_empty() -> None:
    rows = random_rows(7)
    parts = mini_batches(rows, 3, key=("seed", 0, 1))
    assert sorted(row.episode_id for part in parts for row in part) == list(range(7))
    assert [len(part) for part in parts] == [3, 2, 2]
    assert [len(part) for part in mini_batches(rows[:2], 5)] == [1, 1]
    assert [row.episode_id for part in mini_batches(rows, 2) for row in part] == list(range(7))


def test_the_shuffle_of_mini_batches_is_counted_by_its_key() -> None:
    def order(*key: int) -> list[int]:
        return [row.episode_id for part in mini_batches(random_rows(9), 2, key=key) for row in part]

    assert order(0, 1) == order(0, 1)
    assert order(0, 1) != order(0, 2)


def test_collate_pads_on_the_right_and_masks_the_padding() -> None:
    rows = random_rows(3)
    batch = collate(rows, teacher_views=("teacher",))
    assert batch.mask_BT.sum(1).tolist() == [len(row) for row in rows]
    assert batch.tokens == loss_tokens(rows)
    for index, row in enumerate(rows):
        size = len(row)
        assert batch.behaviour_BT[index, :size].tolist() == pytest.approx(row.behaviour_logprobs_T)
        assert batch.teachers["teacher"][index, :size].tolist() == pytest.approx(row.teacher_logprobs_T["teacher"])
        assert batch.turn_ids_BT[index, :size].tolist() == row.turn_ids_T
        assert not batch.mask_BT[index, size:].any()
        assert not batch.behaviour_BT[index, size:].any()


def test_truncated_rows_count_unless_they_are_masked() -> None:
    rows = random_rows(3)
    rows[1] = changed(rows[1], truncated=True)
    assert loss_tokens(rows) == sum(len(row) for row in rows)
    assert loss_tokens(rows, mask_truncated=True) == len(rows[0]) + len(rows[2])
    batch = collate(rows, mask_truncated=True)
    assert not batch.mask_BT[1].any()
    assert torch.equal(batch.mask_BT[0], collate(rows).mask_BT[0])


def test_fields_that_are_not_parallel_to_the_tokens_are_refused_by_name() -> None:
    rows = random_rows(2)
    rows[1] = changed(rows[1], behaviour_logprobs_T=[0.0])
    with pytest.raises(ValueError, match=r"behaviour_logprobs_T of episode 1: expected \d+ values.*got 1"):
        collate(rows)
    with pytest.raises(ValueError, match="at least one row"):
        collate([])
