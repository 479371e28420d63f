"""Demonstrations: imperfect, counted, from other worlds, and better where a hint was read."""

from __future__ import annotations

import itertools
import re

import pytest

from sdar_envs.demonstrations import DEMONSTRATION_WORLDS, demonstrate, script_of

KWARGS = {"size": "small"}


def play(index: int, *, hinted: bool):
    return demonstrate(script_of("sdar/Household-v0"), KWARGS, key=("test", index), hinted=hinted)


def test_the_same_key_gives_the_same_demonstration_and_another_key_another():
    assert play(3, hinted=True) == play(3, hinted=True)
    assert len({play(index, hinted=True).views[0].observation for index in range(8)}) > 1


def test_hinted_demonstrations_succeed_more_often_and_neither_kind_always():
    rates = {hinted: sum(play(index, hinted=hinted).success for index in range(120)) / 120 for hinted in (True, False)}
    assert rates[True] > rates[False] + 0.2
    assert rates[False] > 0.1
    assert rates[True] < 1.0


def test_unhinted_demonstrations_do_not_depend_on_where_the_hint_points():
    """Their first walk goes to the target's home no more often than to a random receptacle."""
    homes = walks = 0
    chance = 0.0
    for index in range(300):
        demonstration = play(index, hinted=False)
        stated = [
            match[1]
            for line in demonstration.privileged[0].reveal()["skills"]["compact_lines"]
            if (match := re.search(r"is usually in the (\w+)\.", line))
        ]
        first = re.fullmatch(r"go to (\w+) \d+", demonstration.actions[0])
        if not stated or first is None:
            continue
        room = re.findall(r"\ba (\w+) \d+", demonstration.views[0].observation.partition("Your task")[0])
        walks += 1
        homes += first[1] == stated[0]
        chance += room.count(stated[0]) / len(room)
    assert walks > 200
    deviation = (chance * (1 - chance / walks)) ** 0.5
    assert abs(homes - chance) < 4 * deviation


def test_views_privileged_and_actions_run_parallel_and_turns_count_up():
    demonstration = play(5, hinted=True)
    assert len(demonstration.views) == len(demonstration.privileged) == len(demonstration.actions)
    assert [view.turn for view in demonstration.views] == list(range(len(demonstration.views)))


def test_detours_leave_the_plan_playable():
    """A detour before a walk is a walk; before anything else only a look about: what was planned still follows."""
    actions = list(itertools.chain.from_iterable(play(index, hinted=True).actions for index in range(60)))
    looks = sum(action in ("look", "inventory") for action in actions)
    assert 0 < looks < 0.2 * len(actions)


def test_no_demonstration_world_is_one_that_people_train_in():
    assert min(DEMONSTRATION_WORLDS) >= 1_000_000


def test_an_environment_without_demonstrations_is_refused_by_name():
    with pytest.raises(ValueError, match="sdar/Household-v0"):
        script_of("sdar/Househol-v0")
