"""Rows hold what was sampled, where it was sampled, and readings that hold exactly the same."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.base import Action, Episode, StopReason, Turn, TurnTokens, View
from sdar_envs.privileged import Privileged, StudentView
from trainers.rollout.collect import Rollout, TaskDraw
from trainers.rollout.rows import build_rows, read_teachers


def turn(number: int, prompt: Sequence[int], completion: Sequence[int], *, continues: bool, valid: bool = True) -> Turn:
    tokens = TurnTokens(
        tuple(prompt),
        continues,
        tuple(completion),
        tuple(-float(i) for i in completion),
        tuple(0.1 for _ in completion),
    )
    return Turn(StudentView(f"saw {number}", turn=number), Action("go", "go", tokens=tokens), float(number), valid)


def rollout(turns: list[Turn], group: int = 0, **kwargs: object) -> Rollout:
    episode = Episode("env", f"task {group}", "kind", (), turns)
    return Rollout(episode, TaskDraw(f"task {group}", (), group), [Privileged({"n": t.view.turn}) for t in turns])


def test_a_transcript_is_one_row_with_the_sampled_ids_in_place() -> None:
    turns = [
        turn(0, [1, 2, 3], [10, 11], continues=False),
        turn(1, [4], [12], continues=True, valid=False),
        turn(2, [5, 6], [13, 14], continues=True),
    ]
    (row,) = build_rows([rollout(turns)])
    assert row.student == View([1, 2, 3, 10, 11, 4, 12, 5, 6, 13, 14], [3, 4, 6, 9, 10])
    assert row.student.sampled_ids() == [10, 11, 12, 13, 14]
    assert row.behaviour_logprobs_T == [-10.0, -11.0, -12.0, -13.0, -14.0]
    assert row.turn_ids_T == [0, 0, 1, 2, 2] and row.row_turns == [0, 1, 2]
    assert row.invalid_T == [False, False, True, False, False]
    assert row.step_rewards == [0.0, 1.0, 2.0] and len(set(row.anchor_ids)) == 3


def test_a_window_is_a_row_per_turn_and_a_broken_prefix_begins_a_new_row() -> None:
    turns = [turn(0, [1], [10], continues=False), turn(1, [1, 4], [12], continues=False)]
    assert [row.student.ids for row in build_rows([rollout(turns)])] == [[1, 10], [1, 4, 12]]
    turns.append(turn(2, [9], [13], continues=True))
    rows = build_rows([rollout(turns)])
    assert [row.row_turns for row in rows] == [[0], [1, 2]] and [row.index for row in rows] == [0, 1]


def test_states_that_look_alike_in_one_task_share_an_anchor_and_not_across_tasks() -> None:
    one, two = [turn(0, [1], [2], continues=False)], [turn(0, [1], [3], continues=False)]
    rows = build_rows([rollout(one), rollout(two), rollout(one, group=1)])
    assert rows[0].anchor_ids == rows[1].anchor_ids != rows[2].anchor_ids


def test_failed_episodes_have_no_rows_and_agents_without_tokens_can_not_be_trained() -> None:
    broken = rollout([turn(0, [1], [2], continues=False)])
    broken.episode.stop_reason = StopReason.FAILED
    assert build_rows([broken]) == []
    silent = rollout([Turn(StudentView(""), Action("look", "look"), 0.0, True)])
    with pytest.raises(ValueError, match="expected token ids to learn from"):
        build_rows([silent])
    with pytest.raises(ValueError, match="continues a row that is not there"):
        build_rows([rollout([turn(0, [1], [2], continues=True)])])


@given(st.integers(0, 10**6))
def test_whatever_the_turns_positions_point_at_the_sampled_ids(seed: int) -> None:
    draw = random.Random(seed)
    turns = [
        turn(
            number,
            [draw.randrange(50) for _ in range(draw.randrange(1, 4))],
            [draw.randrange(50) for _ in range(draw.randrange(1, 4))],
            continues=number > 0 and draw.random() < 0.5,
        )
        for number in range(draw.randrange(1, 6))
    ]
    rows = build_rows([rollout(turns)])
    sampled = [token for t in turns for token in t.action.tokens.completion_ids]  # type: ignore[union-attr]
    assert [token for row in rows for token in row.student.sampled_ids()] == sampled
    assert [number for row in rows for number in row.row_turns] == list(range(len(turns)))
    for row in rows:
        assert row.student.loss_positions[0] >= 1
        assert len(row) == len(row.behaviour_logprobs_T) == len(row.turn_ids_T) == len(row.invalid_T)


@dataclass
class Reading:
    view: View
    block_tokens: int = 2
    history_cut: int = 1
    complete: bool = True


class Reader:
    """Puts two ids in front; `complete` as told; remembers what it was handed."""

    def __init__(self, complete: bool = True, twist: int = 0) -> None:
        self.complete = complete
        self.twist = twist
        self.known: list[list[int]] = []

    def read(self, turns: Sequence[Turn], privileged: Sequence[Privileged | None]) -> Reading:
        self.known.append([p.reveal()["n"] for p in privileged if p])  # type: ignore[typeddict-item]
        ids: list[int] = [7, 7]
        places: list[int] = []
        for each in turns:
            assert each.action.tokens is not None
            ids += each.action.tokens.prompt_ids
            places += range(len(ids), len(ids) + len(each.action.tokens.completion_ids))
            ids += [token + self.twist for token in each.action.tokens.completion_ids]
        return Reading(View(ids, places), complete=self.complete)


def test_a_reader_is_handed_what_was_known_at_the_turns_of_the_row() -> None:
    turns = [
        turn(0, [1], [10], continues=False),
        turn(1, [2], [11], continues=True),
        turn(2, [3], [12], continues=False),
    ]
    story = rollout(turns)
    rows = build_rows([story])
    reader = Reader()
    views, metrics = read_teachers(rows, [story], {"teacher": reader})
    assert reader.known == [[0, 1], [2]]
    assert [own["teacher"].sampled_ids() for own in views] == [[10, 11], [12]]
    assert metrics.metrics() == {
        "teacher/block_tokens": 2.0,
        "teacher/history_cut": 1.0,
        "teacher/privileged_dropped": 0.0,
        "teacher/empty_share": 0.0,
    }


def test_an_incomplete_reading_is_counted_and_never_used() -> None:
    story = rollout([turn(0, [1], [10], continues=False)])
    rows = build_rows([story])
    views, metrics = read_teachers(rows, [story], {"teacher": Reader(complete=False)})
    assert views == [{}] and metrics.metrics()["teacher/privileged_dropped"] == 1.0


def test_a_reading_of_other_tokens_is_an_error() -> None:
    story = rollout([turn(0, [1], [10], continues=False)])
    with pytest.raises(ValueError, match="must score what the student sampled"):
        read_teachers(build_rows([story]), [story], {"teacher": Reader(twist=1)})
