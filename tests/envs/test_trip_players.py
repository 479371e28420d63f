"""Scripted bookers and demonstrations of trips: what they read, what they reach, and what knowing is worth."""

from __future__ import annotations

import json

import pytest
from trip_play import play

from sdar_envs.demonstrations import demonstrate, script_of
from sdar_envs.trip.bookers import Booker, NaiveBooker, known_facts, read_clock, read_request, read_span
from sdar_envs.trip.env import TripEnv
from sdar_envs.trip.tables import SIZES
from sdar_envs.trip.tools import call_text

TASKS = 100


def successes(env: TripEnv, make) -> int:
    return sum(play(env, task_id, make)["success"] for task_id in env.task_ids()[:TASKS])


@pytest.mark.parametrize("size", SIZES)
def test_knowing_is_worth_at_least_forty_points_and_the_naive_never_succeed(size: str) -> None:
    env = TripEnv(size=size, split="valid")
    plain = TripEnv(size=size, split="valid", expose_privileged=False)

    def booker(info, statements=(), facts=None):
        return Booker(size, statements, (info["task_id"],), facts=facts, calls=env.horizon).play(info["instruction"])

    for sort in ("price", "listed"):
        assert successes(plain, lambda info, sort=sort: NaiveBooker(sort).play(info["instruction"])) == 0
    generic = successes(plain, booker)
    told = successes(env, lambda info: booker(info, info["privileged"]["skills"]["compact_lines"]))
    certain = successes(env, lambda info: booker(info, facts=known_facts(info["privileged"]["facts"])))
    assert 0.05 * TASKS < generic < 0.4 * TASKS
    assert generic + 0.4 * TASKS <= told < certain and certain >= 0.9 * TASKS


def test_requests_are_read_and_anything_else_is_refused() -> None:
    for size in SIZES:
        env = TripEnv(size=size)
        for task_id in env.task_ids()[:10]:
            _, info = env.reset(options={"task_id": task_id})
            asked = read_request(info["instruction"], size)
            assert (asked.company, asked.meeting) == (env.trip.company, env.trip.meeting.start)
    with pytest.raises(ValueError, match="wording of generated requests"):
        read_request("book me something nice", "small")


def test_times_are_read_as_they_are_worded() -> None:
    assert read_clock("tue 09:30") == 24 * 60 + 9 * 60 + 30
    assert read_span("mon 09:00-10:15") == (540, 615) and read_span("mon 23:00-tue 01:00") == (1380, 1500)


def test_a_booker_with_no_call_to_spare_still_finishes() -> None:
    env = TripEnv(size="full", horizon=9)
    for task_id in env.task_ids()[:10]:
        info = play(env, task_id, lambda info: Booker("full", (), (0,), calls=9).play(info["instruction"]))
        assert info["breakdown"]["over"] and env.states[-1].finished


def test_stale_statements_are_worth_less_than_true_ones() -> None:
    env, stale = TripEnv(size="small", split="valid"), TripEnv(size="small", split="valid", stale=0.6)

    def told(info):
        lines = info["privileged"]["skills"]["compact_lines"]
        return Booker("small", lines, (info["task_id"],), calls=12).play(info["instruction"])

    assert successes(stale, told) + 15 < successes(env, told)


@pytest.fixture(scope="module")
def demonstrations():
    script = script_of("sdar/Trip-v0")
    return {
        hinted: [demonstrate(script, {"size": "small"}, key=("test", n), hinted=hinted) for n in range(150)]
        for hinted in (True, False)
    }


def test_hinted_demonstrations_succeed_more_often_and_neither_kind_always(demonstrations) -> None:
    rates = {hinted: sum(one.success for one in shown) / len(shown) for hinted, shown in demonstrations.items()}
    assert 0.05 < rates[False] < 0.4 < 0.55 < rates[True] < 1.0


def test_every_call_of_a_demonstration_is_understood(demonstrations) -> None:
    for shown in (*demonstrations[True], *demonstrations[False]):
        assert all(view.is_action_valid for view in shown.views)
        assert all(json.loads(action)["name"] for action in shown.actions)


def test_demonstrations_without_hints_take_old_bookings_at_their_word_and_hinted_ones_the_statements(
    demonstrations,
) -> None:
    past = call_text("past_bookings")
    assert all(past in shown.actions for shown in demonstrations[False])
    assert not any(past in shown.actions for shown in demonstrations[True])
    lines = {tuple(one.privileged[0].reveal()["skills"]["compact_lines"]) for one in demonstrations[True]}
    assert len(lines) > 100  # worlds, companies, airlines and days


def test_the_same_key_gives_the_same_demonstration(demonstrations) -> None:
    again = demonstrate(script_of("sdar/Trip-v0"), {"size": "small"}, key=("test", 3), hinted=True)
    assert again == demonstrations[True][3]
