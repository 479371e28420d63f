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
from trainers.maths.wrong_turns import Around, around_wrong_turns, wrong_turn_area
from trainers.report.wrong_turns import wrong_turns_figure
from trainers.rollout.making import advance
from trainers.rollout.running import wrong_actions_of

WRONG = (1, [0.0, -2.0, 0.5])
RIGHT = [(-1, [1.0, 1.0, 1.0]), (-1, [1.0, -3.0])]


def test_means_are_of_the_same_turns_of_episodes_without_a_wrong_one() -> None:
    assert around_wrong_turns([WRONG, *RIGHT], reach=1) == [
        Around(-1, 0.0, 1.0, 1),
        Around(0, -2.0, -1.0, 1),
        Around(1, 0.5, 1.0, 1),
    ]


def test_places_that_no_episode_has_or_nobody_compares_with_are_left_out() -> None:
    late = (3, [0.0, 0.0, None, -1.0])
    assert [place.offset for place in around_wrong_turns([late, *RIGHT])] == [-3, -2]
    assert around_wrong_turns([WRONG]) == [] and around_wrong_turns(RIGHT) == []


def test_the_area_counts_pairs_at_the_wrong_turn_and_ties_half() -> None:
    assert wrong_turn_area([WRONG, *RIGHT]) == 0.5  # lower than 1, not lower than -3
    assert wrong_turn_area([(0, [1.0]), *RIGHT]) == 0.5  # equal to both
    assert wrong_turn_area([(0, [None]), *RIGHT]) is None and wrong_turn_area(RIGHT) is None


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=6), st.lists(st.floats(-5, 5), min_size=1, max_size=6))
def test_a_signal_turned_round_has_the_area_turned_round(wrong: list[float], right: list[float]) -> None:
    def episodes(sign: float) -> list[tuple[int, list[float | None]]]:
        return [*((0, [sign * value]) for value in wrong), *((-1, [sign * value]) for value in right)]

    area, turned = wrong_turn_area(episodes(1.0)), wrong_turn_area(episodes(-1.0))
    assert area is not None and turned is not None and area + turned == pytest.approx(1.0)


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


def record(wrong: int | None, gaps: list[float], **fields: Any) -> dict[str, Any]:
    turns = [
        {"observation": "o", "tokens": {"student": [-1.0, -1.0], "teacher": [-1.0, gap - 1.0], "weight": [0.5, 0.25]}}
        for gap in gaps
    ]
    named = {} if wrong is None else {"first_wrong_turn": wrong}
    return {"schema": "sdar/episode/1", "phase": "train", "turns": turns, **named, **fields}


def written(folder: Path, records: list[dict[str, Any]]) -> Path:
    (folder / "episodes.jsonl").write_text("".join(json.dumps(each) + "\n" for each in records))
    return folder


def test_the_figure_has_gaps_and_weights_and_says_the_areas(tmp_path: Path) -> None:
    records = [*[record(1, [0.0, -4.0, 0.0])] * 5, *[record(-1, [0.0, 2.0, 0.0])] * 6]
    figure = wrong_turns_figure(written(tmp_path, records))
    assert figure is not None and len(figure.panels) == 3
    mean, lowest, weight = figure.panels
    assert mean.lines[0].points == ((-1.0, 0.0), (0.0, -2.0), (1.0, 0.0))
    assert mean.lines[1].points == ((-1.0, 0.0), (0.0, 1.0), (1.0, 0.0))
    assert lowest.lines[0].points[1] == (0.0, -4.0) and weight.lines[0].points[0] == (-1.0, 0.375)
    assert "5 training episodes with a wrong turn and 6 without" in figure.caption
    assert "1.00 for teacher less student," in figure.caption and "0.50 for weight (gate)." in figure.caption


def test_there_is_no_figure_of_worlds_that_do_not_say_of_evaluations_or_of_a_handful(tmp_path: Path) -> None:
    right = [record(-1, [0.0, 0.0])] * 6
    for wrong in (record(None, [0.0]), record(1, [0.0, 1.0], phase="test"), record(1, [])):
        assert wrong_turns_figure(written(tmp_path, [*[wrong] * 6, *right])) is None
    assert wrong_turns_figure(written(tmp_path, [*[record(1, [0.0, 1.0])] * 4, *right])) is None
    assert wrong_turns_figure(tmp_path / "nowhere") is None
