"""The generated trips: every one can be made, nothing easy makes it, and splits share nothing."""

from __future__ import annotations

import pytest
from trip_play import trip_of

from sdar_envs.core import SPLITS
from sdar_envs.trip import judge, tables
from sdar_envs.trip.draws import Draws
from sdar_envs.trip.generator import city_travel, make_trip, task_ids
from sdar_envs.trip.planner import LONGEST_PLAN, Planner
from sdar_envs.trip.regularities import regularities, values_of
from sdar_envs.trip.services import State
from sdar_envs.trip.trip import Offer, Trip, clock, span

NUMBERS = {"small": range(60), "full": range(30)}
sizes = pytest.mark.parametrize("size", tables.SIZES)


def serves(trip: Trip, offer: Offer) -> bool:
    positions = range(len(trip.movable.slots) + 1) if trip.movable else (0,)
    return trip.obtainable(offer) and any(all(judge.meets(trip, offer, position)) for position in positions)


@sizes
@pytest.mark.parametrize("split", SPLITS)
def test_every_request_has_a_plan_within_the_shortest_horizon_and_is_worth_something(size: str, split: str) -> None:
    for number in NUMBERS[size]:
        trip = trip_of(number, size=size, split=split)
        planner = Planner(trip, LONGEST_PLAN)
        best = planner.best(State())
        assert best.success and best.score == 1.0 and planner.optimum > 0
        assert len(planner.plan(State())) <= LONGEST_PLAN


@sizes
def test_neither_the_first_nor_the_cheapest_of_any_list_serves_and_something_else_does(size: str) -> None:
    for number in NUMBERS[size]:
        trip = trip_of(number, size=size)
        hidden = trip.hidden
        for offers in (trip.flights, trip.by_district[hidden.office], trip.by_cuisine[hidden.cuisine], trip.hotels):
            assert not serves(trip, offers[0]) and not serves(trip, min(offers, key=lambda offer: offer.price))
            assert any(serves(trip, offer) for offer in offers)


@sizes
def test_near_misses_are_there(size: str) -> None:
    """A cheaper hotel far away with what is needed; a cheaper one nearby without it; a cheaper table that is closed."""
    for number in NUMBERS[size]:
        trip = trip_of(number, size=size)
        hidden = trip.hidden
        good = min(hotel.price for hotel in trip.by_district[hidden.office] if serves(trip, hotel))
        far = [h for h in trip.hotels if h.district != hidden.office and h.feature == hidden.feature]
        assert any(hotel.price < good for hotel in far)
        near = [h for h in trip.by_district[hidden.office] if h.feature != hidden.feature]
        assert any(hotel.price < good for hotel in near)
        assert min(trip.by_cuisine[hidden.cuisine], key=lambda table: table.price).closed


def test_only_a_clash_asks_for_a_move_and_there_it_is_needed() -> None:
    for number in range(60):
        trip = trip_of(number, size=("small", "full")[number % 2])
        assert (trip.movable is not None) == (trip.task_type == "clash")
        as_it_is = [all(judge.flight_meets(trip, flight, 0)) for flight in trip.flights if trip.obtainable(flight)]
        assert any(as_it_is) == (trip.task_type != "clash")


@sizes
def test_splits_have_no_city_and_no_person_in_common(size: str) -> None:
    for names in (tables.cities, tables.people):
        drawn = [set(names(size, split)) for split in SPLITS]
        assert sum(map(len, drawn)) == len(set().union(*drawn))
    for split in SPLITS:
        trips = [trip_of(number, size=size, split=split) for number in range(10)]
        assert {trip.city for trip in trips} <= set(tables.cities(size, split))
        assert {old.city for trip in trips for old in trip.old_trips} <= set(tables.cities(size, split))
        assert {trip.person for trip in trips} <= set(tables.people(size, split))


def test_trips_obey_their_regularities_as_often_as_they_should_and_statements_say_the_usual() -> None:
    obeyed = asked = 0
    for number in range(400):
        trip = trip_of(number)
        usual = regularities("small", 0).usual
        hidden = trip.hidden
        holds = [
            usual["office"][trip.company] == hidden.office,
            usual["feature"][trip.company] == hidden.feature,
            usual["cuisine"][trip.company] == hidden.cuisine,
            usual["closed"][clock(trip.meeting.start)[:3]] == hidden.closed,
            *(usual["full"][airline] == which for airline, which in hidden.full.items()),
        ]
        assert sum(holds) == len(hidden.obeyed)
        obeyed, asked = obeyed + sum(holds), asked + len(holds)
    assert abs(obeyed / asked - 0.85) < 4 * (0.85 * 0.15 / asked) ** 0.5
    for statement in regularities("full", 3).statements():
        assert statement.value in statement.line() and statement.value in statement.compact_line()
        assert statement.alternatives == values_of("full", statement.field) and len(statement.wrong_values()) >= 1


def test_without_regularity_the_usual_is_never_the_case_and_with_it_always() -> None:
    for number in range(12):
        never = make_trip(f"train:{number:06d}", size="full", world_seed=0, regularity=0.0)
        always = make_trip(f"train:{number:06d}", size="full", world_seed=0, regularity=1.0)
        assert never.hidden.obeyed == () and len(always.hidden.obeyed) == 4 + len(always.airlines)


def test_another_world_has_other_regularities_and_all_splits_of_a_world_the_same() -> None:
    assert regularities("small", 0).usual != regularities("small", 1).usual
    for split in SPLITS:
        trip = trip_of(0, split=split)
        assert trip.policy == regularities("small", 0).policies[trip.company]


def test_a_task_is_the_same_whenever_it_is_drawn_and_ids_are_checked() -> None:
    assert trip_of(7, size="full") == trip_of(7, size="full") != trip_of(8, size="full")
    assert [len(task_ids(split)) for split in SPLITS] == [100_000, 2_000, 2_000]
    assert [trip_of(number).task_type for number in range(3)] == list(tables.TASK_TYPES)
    assert task_ids("valid", "clash")[0] == "valid:000001"
    with pytest.raises(ValueError, match='a task id such as "valid:000123"'):
        make_trip("valid:002000", size="small", world_seed=0, regularity=0.85)


def test_ways_are_the_same_in_both_directions_and_five_minutes_within_a_district() -> None:
    for size in tables.SIZES:
        travel = city_travel(size, "porto")
        places = {place for place, _ in travel}
        assert places == {*tables.SIZE_TABLES[size].districts, "airport"}
        assert all(travel[one, other] == travel[other, one] for one in places for other in places)
        assert all(travel[place, place] == 5 for place in places)


def test_money_and_time_are_whole_numbers() -> None:
    for number in range(20):
        trip = trip_of(number, size="full")
        amounts = [trip.budget, trip.policy.most_per_night, *(offer.price for offer in trip.offers.values())]
        legs = [leg for flight in trip.flights for leg in (flight.out, flight.back)]
        times = [time for leg in legs for time in (leg.departs, leg.arrives)]
        assert all(type(value) is int and value > 0 for value in (*amounts, *times))
        assert all(leg.departs < leg.arrives for leg in legs)


def test_times_are_worded_by_the_week() -> None:
    assert clock(0) == "mon 00:00" and clock(24 * 60 + 9 * 60 + 5) == "tue 09:05"
    assert span(9 * 60, 10 * 60) == "mon 09:00-10:00" and span(23 * 60, 25 * 60) == "mon 23:00-tue 01:00"


def test_draws_are_a_function_of_their_key_and_stay_in_their_bounds() -> None:
    one, other = Draws("a", 1), Draws("a", 1)
    drawn = [one.below(7) for _ in range(1_200)]
    assert drawn == [other.below(7) for _ in range(1_200)] and set(drawn) == set(range(7))
    assert drawn[:512] != drawn[512:1_024]
    assert sorted(one.order("abcdef")) == list("abcdef")
    assert {one.between(10, 30, 10) for _ in range(60)} == {10, 20, 30}
    assert [one.chance(0.0), one.chance(1.0)] == [False, True]
