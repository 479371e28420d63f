"""Calls as a person types them and results as a person reads them."""

from __future__ import annotations

import gymnasium as gym

import sdar_envs  # noqa: F401  # registers the ids
from agents.base import Action, Episode, Turn
from sdar_envs.privileged import split_info
from trainers.cli.calls import readable_result, short_forms, typed_action
from trainers.cli.play import ending

BOOK = '{"name": "book", "arguments": {"id": "h1"}}'
PAGE = '{"name": "search_flights", "arguments": {"page": 2}}'


def test_a_name_and_values_stand_for_an_admissible_call_and_nothing_else_does() -> None:
    assert typed_action(" book  h1 ", [BOOK, PAGE]) == BOOK and typed_action("search_flights 2", [BOOK, PAGE]) == PAGE
    for line in (BOOK, "book h2", "book", "go to fridge 1", ""):
        assert typed_action(line, [BOOK, PAGE]) == line
    assert typed_action("go to fridge 1", ["go to fridge 1", "look"]) == "go to fridge 1"


def test_what_is_no_call_has_no_short_form() -> None:
    assert short_forms(["look", "[1]", '{"name": 1, "arguments": {}}', '{"name": "x"}', '{"a":' * 10_000, "{"]) == {}


def test_a_whole_trip_can_be_typed_in_short_forms() -> None:
    env = gym.make("sdar/Trip-v0", size="small")
    observation, info = env.reset(seed=0)
    lines = 0
    while not info["breakdown"]["over"]:
        actions = info["admissible_actions"]
        forms = {action: form for form, action in short_forms(actions).items()}
        assert len(forms) == len(actions)  # no two calls are typed alike
        observation, *_, info = env.step(typed_action(forms[info["privileged"]["next_action"]], actions))
        assert '"' not in readable_result(observation)
        lines += 1
    assert info["success"] and lines >= 6


def test_results_are_read_a_row_a_line_and_other_text_as_it_is() -> None:
    rows = '{"hotels": [{"id": "h1", "refundable": true, "price": 9}, {"id": "h2"}], "page": 1, "left": []}'
    assert readable_result(rows) == "hotels:\n  id h1, refundable true, price 9\n  id h2\npage: 1\nleft: none"
    assert readable_result('{"error": {"code": "closed", "message": "no"}}') == "error: code closed, message no"
    for text in ("You see nothing.", "{", "{}", "[1]", '{"a":' * 10_000):
        assert readable_result(text) == text


def test_the_end_says_which_step_was_wrong_where_the_world_knows() -> None:
    env = gym.make("sdar/Trip-v0", size="small")
    view = split_info(*env.reset(seed=0), slot=0, turn=0, draw=())[0]
    episode = Episode("sdar/Trip-v0", "", "visit", (), [Turn(view, Action(BOOK, BOOK), 0.0, True)], score=0.25)
    assert ending(episode) == ""
    episode.first_wrong_turn = 0
    assert ending(episode) == f"score 0.25; the first wrong step was step 1: {BOOK}"
    episode.first_detour = 0
    assert ending(episode) == f"score 0.25; the first wrong step was step 1: {BOOK}"
    episode.first_wrong_turn = -1
    assert ending(episode) == f"score 0.25; the first detour was step 1: {BOOK}; no step was wrong"
    episode.first_detour = -1
    assert ending(episode) == "score 0.25; no step was wrong"
