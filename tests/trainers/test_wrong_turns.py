"""Signals around the first wrong turn: by hand, at the limits, and from a run's log to the figure of the report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sdar_envs  # noqa: F401  # registers the ids
from sdar_envs.wrong_actions import UNKNOWN, WrongActions
from trainers.maths.wrong_turns import Around, areas_by_turn, around_wrong_turns, turn_measures, wrong_turn_area
from trainers.report.wrong_turns import wrong_turns_figures
from trainers.rollout.making import advance
from trainers.rollout.running import wrong_actions_of

WRONG = (1, [0.0, -2.0, 0.5])
RIGHT = [(-1, [1.0, 1.0, 1.0]), (-1, [1.0, -3.0])]


def test_means_are_of_the_same_turns_of_episodes_that_are_right_until_then() -> None:
    assert around_wrong_turns([WRONG, *RIGHT], reach=1) == [
        Around(-1, 0.0, 1.0, 1),
        Around(0, -2.0, -1.0, 1),
        Around(1, 0.5, 1.0, 1),
    ]
    # One that goes wrong two turns later is right at the turn itself, and not two turns behind it.
    later = (3, [5.0, 3.0, 5.0, 9.0])
    assert around_wrong_turns([WRONG, later], reach=2) == [
        Around(-1, 0.0, 5.0, 1),
        Around(0, -2.0, 3.0, 1),
        Around(1, 0.5, 5.0, 1),
    ]


def test_places_that_no_episode_has_or_nobody_compares_with_are_left_out() -> None:
    late = (3, [0.0, 0.0, None, -1.0])
    assert [place.offset for place in around_wrong_turns([late, *RIGHT])] == [-3, -2]
    assert around_wrong_turns([WRONG]) == [] and around_wrong_turns(RIGHT) == []


def area_of(episodes: list[tuple[int, Any]]) -> float:
    found = wrong_turn_area(episodes)
    assert found is not None
    return found.value


def test_the_area_counts_pairs_at_the_wrong_turn_and_ties_half() -> None:
    assert area_of([WRONG, *RIGHT]) == 0.5  # lower than 1, not lower than -3
    assert area_of([(0, [1.0]), *RIGHT]) == 0.5  # equal to both
    assert wrong_turn_area([(0, [None]), *RIGHT]) is None and wrong_turn_area(RIGHT) is None


def test_an_episode_that_goes_wrong_later_is_compared_with_and_one_that_was_wrong_before_is_not() -> None:
    episodes = [(1, [0.0, 1.0]), (2, [9.0, 2.0, 3.0]), (0, [0.0, 5.0, 5.0])]
    found = wrong_turn_area(episodes)
    # Turn 0: 0 is lower than 9, and not lower than 0; turn 1: 1 is lower than 2; turn 2: nobody is left.
    assert found is not None and found.value == (1 + 0.5 + 1) / 3 and (found.wrong, found.right) == (2, 3)
    by_turn = areas_by_turn(episodes)
    assert {turn: area.value for turn, area in by_turn.items()} == {0: 0.75, 1: 1.0}


def test_the_interval_holds_the_area_narrows_with_tasks_and_is_none_of_one_task() -> None:
    few = [(0, [float(i % 3)]) for i in range(8)] + [(-1, [float(i % 4)]) for i in range(8)]
    narrow, wide = wrong_turn_area(few * 12), wrong_turn_area(few)
    assert narrow is not None and wide is not None and narrow.value == pytest.approx(wide.value)
    assert narrow.interval is not None and wide.interval is not None
    assert wide.interval[0] < narrow.interval[0] < narrow.value < narrow.interval[1] < wide.interval[1]
    # Twelve copies of an episode are one, where they share a task.
    shared = wrong_turn_area(few * 12, [i % len(few) for i in range(12 * len(few))])
    assert shared is not None and shared.interval == pytest.approx(wide.interval)
    alone = wrong_turn_area(few, ["task"] * len(few))
    assert alone is not None and alone.interval is None


def test_the_decision_is_the_token_at_which_the_student_was_least_sure() -> None:
    said = turn_measures([1.0, -4.0, 0.0], [0.5, 0.1], [0.2, 0.1, 0.9])
    assert said == {
        "whole action": -3.0,
        "mean gap": -1.0,
        "lowest gap": -4.0,
        "gap at the decision": 0.0,
        "mean weight": 0.3,
    }
    assert set(turn_measures([], [], []).values()) == {None}
    assert turn_measures([1.0], [], [])["gap at the decision"] is None


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=6), st.lists(st.floats(-5, 5), min_size=1, max_size=6))
def test_a_signal_turned_round_has_the_area_turned_round(wrong: list[float], right: list[float]) -> None:
    def episodes(sign: float) -> list[tuple[int, list[float | None]]]:
        return [*((0, [sign * value]) for value in wrong), *((-1, [sign * value]) for value in right)]

    assert area_of(episodes(1.0)) + area_of(episodes(-1.0)) == pytest.approx(1.0)


def test_the_turn_is_told_once_an_episode_is_over_and_by_worlds_that_know_it() -> None:
    env = gym.make("sdar/Trip-v0", size="small")

    def told(action: str | None) -> WrongActions:
        return wrong_actions_of(advance(env, "train:000000", action, enumerates=True).info)

    assert told(None) == UNKNOWN and told('{"name": "read_calendar", "arguments": {}}') == UNKNOWN
    assert told('{"name": "finish", "arguments": {}}') == WrongActions(None, 1)  # to finish with nothing booked
    told(None)
    while (found := told(env.unwrapped.teacher_view()["next_action"])) == UNKNOWN:  # type: ignore[attr-defined]
        pass
    assert found == WrongActions(None, -1)


def test_what_an_environment_of_somebody_else_says_is_taken_where_it_is_a_turn() -> None:
    assert wrong_actions_of({"wrong_actions": {"detour": 2, "loss": -1}}) == WrongActions(2, -1)
    assert wrong_actions_of({"wrong_actions": {"detour": True, "loss": "3"}}) == UNKNOWN
    for said in (None, 3, [], {}):
        assert wrong_actions_of({"wrong_actions": said}) == UNKNOWN


def record(wrong: int | None, gaps: list[float], *, key: str = "first_wrong_turn", **fields: Any) -> dict[str, Any]:
    turns = [
        {
            "observation": "o",
            "tokens": {
                "student": [-1.0, -1.0],
                "teacher": [-1.0, gap - 1.0],
                "weight": [0.5, 0.25],
                "entropy": [0.1, 0.7],
            },
        }
        for gap in gaps
    ]
    named = {} if wrong is None else {key: wrong}
    return {"schema": "sdar/episode/1", "phase": "train", "turns": turns, **named, **fields}


def written(folder: Path, records: list[dict[str, Any]]) -> Path:
    lines = (json.dumps({"task_id": str(number), **each}) + "\n" for number, each in enumerate(records))
    (folder / "episodes.jsonl").write_text("".join(lines))
    return folder


@pytest.mark.parametrize(("key", "title"), [("first_wrong_turn", "wrong turn"), ("first_detour", "detour")])
def test_a_figure_has_gaps_and_weights_and_says_the_areas(tmp_path: Path, key: str, title: str) -> None:
    records = [*[record(1, [0.0, -4.0, 0.0], key=key)] * 5, *[record(-1, [0.0, 2.0, 0.0], key=key)] * 6]
    (figure,) = wrong_turns_figures(written(tmp_path, records))
    whole, mean, lowest, decision, weight = figure.panels  # and no areas by turn, of a single turn
    assert whole.lines[0].points[1] == (0.0, -4.0)
    assert figure.title == f"Around the first {title}"
    assert mean.lines[0].points == ((-1.0, 0.0), (0.0, -2.0), (1.0, 0.0))
    assert mean.lines[1].points == ((-1.0, 0.0), (0.0, 1.0), (1.0, 0.0))
    assert lowest.lines[0].points[1] == (0.0, -4.0) and decision.lines[0].points[1] == (0.0, -4.0)
    assert weight.lines[0].points[0] == (-1.0, 0.375)
    assert f"5 training episodes with a {title} and 6 without" in figure.caption
    assert "1.00 (1.00 to 1.00) for the mean gap," in figure.caption
    assert "0.50 (0.50 to 0.50) for the mean weight." in figure.caption


def test_areas_are_drawn_by_turn_where_episodes_went_wrong_at_several(tmp_path: Path) -> None:
    early, late = record(1, [0.0, -4.0, 0.0]), record(2, [0.0, 0.0, -4.0])
    (figure,) = wrong_turns_figures(written(tmp_path, [*[early] * 5, *[late] * 5, *[record(-1, [0.0, 2.0, 0.0])] * 6]))
    by_turn = figure.panels[-1]
    assert by_turn.title == "Area by turn"
    assert [line.points for line in by_turn.lines] == [((1.0, 1.0), (2.0, 1.0))] * 4 + [((1.0, 0.5), (2.0, 0.5))]


def test_there_is_no_figure_of_worlds_that_do_not_say_of_evaluations_or_of_a_handful(tmp_path: Path) -> None:
    right = [record(-1, [0.0, 0.0])] * 6
    for wrong in (record(None, [0.0]), record(1, [0.0, 1.0], phase="test"), {**record(1, []), "turns": []}):
        assert wrong_turns_figures(written(tmp_path, [*[wrong] * 6, *right])) == []
    assert wrong_turns_figures(written(tmp_path, [*[record(1, [0.0, 1.0])] * 4, *right])) == []
    assert wrong_turns_figures(tmp_path / "nowhere") == []
