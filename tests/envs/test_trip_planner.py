"""The planner of trips is exact: it agrees with a search over the calls, and its plans do what they promise."""

from __future__ import annotations

from dataclasses import replace

import pytest
from trip_play import best_by_search, call, trip_of, walked

from sdar_envs.trip import judge
from sdar_envs.trip.planner import LONGEST_PLAN, READ_CALENDAR, Planner
from sdar_envs.trip.services import State, answer
from sdar_envs.trip.tools import Call, read_call
from sdar_envs.trip.trip import Trip


def follow(trip: Trip, state: State, plan: list[str]) -> State:
    for text in plan:
        said = read_call(text, trip.size)
        assert isinstance(said, Call)
        state, result = answer(trip, state, said)
        assert "error" not in result, (text, result)
    return state


@pytest.mark.parametrize(("left", "trips"), [(1, 24), (2, 24), (3, 12), (4, 4)])
def test_from_any_state_with_few_calls_left_no_sequence_of_calls_beats_the_plan(left: int, trips: int) -> None:
    for number in range(trips):
        trip = trip_of(number)
        state = walked(trip, 2 + number % 12, "few", left, number)
        planner = Planner(trip, state.calls + left)
        best = planner.best(state)
        assert best.score == best_by_search(trip, state, planner.horizon, planner.optimum)
        plan = planner.plan(state)
        assert 1 <= len(plan) <= left
        end = follow(trip, state, plan)
        assert end.finished and planner.best(end).score == best.score


def test_whole_episodes_of_small_lists_are_planned_as_well_as_a_search_over_all_calls() -> None:
    """With two offers of each kind, everything that nine calls can do is tried."""
    searched = 0
    for number in (0, 1, 2):
        trip = trip_of(number)
        full = Planner(trip, LONGEST_PLAN)
        ids = {way.candidate.offer.id for way in full.best(State()).ways if way.candidate}
        hotels = trip.by_district[trip.hidden.office]
        tables = trip.by_cuisine[trip.hidden.cuisine]

        def two(offers, ids=ids):
            chosen = [offer for offer in offers if offer.id in ids]
            return tuple((chosen + [offer for offer in offers if offer.id not in ids])[:2])

        small = replace(trip, flights=two(trip.flights), hotels=two(hotels), restaurants=two(tables))
        for calls in (0, 3):
            state = walked(small, calls, "whole", number)
            planner = Planner(small, LONGEST_PLAN)
            assert planner.best(state).score == best_by_search(small, state, LONGEST_PLAN, planner.optimum)
            searched += 1
    assert searched == 6


def test_the_optimum_is_the_best_of_all_combinations() -> None:
    """Every flight with every hotel and every dinner, at every place of the movable entry, judged one by one."""
    for size, numbers in (("small", range(20)), ("full", range(6))):
        for number in numbers:
            trip = trip_of(number, size=size)
            positions = range(len(trip.movable.slots) + 1) if trip.movable else (0,)
            values = [
                judge.value(trip, booked, 0)
                for flight in trip.flights
                for hotel in trip.hotels
                for dinner in trip.restaurants
                if trip.obtainable(flight) and trip.obtainable(hotel) and trip.obtainable(dinner)
                for booked in [{"flight": flight, "hotel": hotel, "dinner": dinner}]
                for position in positions
                if all(judge.constraints_met(trip, booked, position, 0).values())
            ]
            assert max(values) == Planner(trip, LONGEST_PLAN).optimum > 0


def test_the_best_reachable_score_never_rises_and_the_first_fall_is_found() -> None:
    falls = 0
    for number in range(30):
        trip = trip_of(number)
        planner = Planner(trip, 12)
        if number % 3:
            states = [walked(trip, calls, "rise", number) for calls in range(11)]
        else:
            plan = planner.plan(State())
            states = [follow(trip, State(), plan[:calls]) for calls in range(len(plan) + 1)]
        scores = [planner.best(state).score for state in states]
        assert scores == sorted(scores, reverse=True)
        first = next((at for at, score in enumerate(scores[1:]) if score < scores[0]), -1)
        assert planner.first_wrong_call(states) == first
        falls += first >= 0
    assert falls == 20


def test_the_plan_reads_the_calendar_before_what_cannot_be_cancelled_and_only_then() -> None:
    seen = {True: 0, False: 0}
    for number in range(40):
        trip = trip_of(number)
        planner = Planner(trip, 12)
        plan = planner.plan(State())
        end = follow(trip, State(), plan)
        assert end.unsafe == 0 and len(plan) <= LONGEST_PLAN
        final = any(offer is not None and not offer.refundable for offer in end.booked(trip).values())
        assert (READ_CALENDAR in plan) == (final or trip.task_type == "clash")
        seen[READ_CALENDAR in plan] += 1
    assert all(seen.values())


def test_with_too_few_calls_for_all_the_plan_saves_what_it_can() -> None:
    trip = trip_of(0)
    planner = Planner(trip, 9)
    late = replace(State(), calls=5)  # two searches and two bookings would be one call too many
    best = planner.best(late)
    assert (best.success, best.score) == (False, judge.failing_score(2)) and len(planner.plan(late)) <= 4
    assert planner.plan(replace(State(), calls=9)) == [] and planner.best(replace(State(), calls=9)).score == 0.0


def test_what_cannot_be_cancelled_is_kept_and_what_can_is_given_up_for_a_fee() -> None:
    changed = kept = 0
    for number in range(40):
        trip = trip_of(number)
        planner = Planner(trip, 12)
        state, _ = call(trip, State(), "search_flights")
        right = next(way.candidate.offer.id for way in planner.best(state).ways if way.candidate)
        for flight in trip.flights:
            if flight.id == right or not trip.obtainable(flight):
                continue
            wrong, _ = call(trip, state, "book", id=flight.id)
            plan = planner.plan(wrong)
            if flight.refundable and any(f'"cancel", "arguments": {{"id": "{flight.id}"' in text for text in plan):
                end = follow(trip, wrong, plan)
                assert end.fees == 2_500 and planner.best(wrong).score < 1.0
                changed += 1
            elif not flight.refundable:
                assert follow(trip, wrong, plan).flight == flight.id
                kept += 1
    assert changed > 3 and kept > 3
