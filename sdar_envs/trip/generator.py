"""From a task id to a trip: tables drawn by counted randomness, until they hold a good task.

What is hidden is drawn once; the offers around it are drawn again until the proofs hold: the best trip succeeds within
the longest plan, its value is above 0, and neither the cheapest nor the first of any list is a way to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from .. import TRIP
from ..task_ids import NumberedTaskIds, parse_task_id
from . import judge, tables
from .draws import Draws
from .planner import Planner
from .regularities import Policy, Regularities, regularities, values_of
from .tables import AIRPORT, BASIC, CHECK_IN, DAY, FIRST, FLEX, HOMEWARD, HOUR, SIZE_TABLES, TELLING, SizeTable
from .trip import Entry, Flight, Hidden, Hotel, Leg, Offer, OldTrip, Restaurant, Trip

_MOST_ATTEMPTS = 400
_PLENTY = 1 << 30  # cents
# What a budget leaves at least and at most, in cents: little where it is what the task is about.
_SPARE = {"small": (2_000, 4_000), "full": (4_000, 8_000), "plenty": (9_000, 15_000)}
# What is wrong with a flight that looks good.
_LATE, _EARLY, _CLASH, _GOOD = "late", "early", "clash", "good"


def task_ids(split: str, task_type: str | None = None) -> NumberedTaskIds:
    """The task ids of a split, optionally of one task type; task types come in turn."""
    return NumberedTaskIds.in_turn(split, tables.SPLIT_SIZES[split], tables.TASK_TYPES, task_type)


def make_trip(task_id: str, *, size: str, world_seed: int, regularity: float) -> Trip:
    """The trip of a task.

    Raises:
        ValueError: There is no such task.
    """
    split, index = parse_task_id(task_id, tables.SPLIT_SIZES, TRIP.env_id)
    return _Drawing(size, split, index, world_seed, regularity).proved()


@cache
def city_travel(size: str, city: str) -> dict[tuple[str, str], int]:
    """Minutes between the places of a city, both ways; 5 within a district. The same in every world."""
    table = SIZE_TABLES[size]
    draws = Draws("trip", "city", size, city)
    minutes: dict[tuple[str, str], int] = {}
    places = (*table.districts, AIRPORT)
    for number, place in enumerate(places):
        minutes[place, place] = 5
        for other in places[:number]:
            low, high = table.travel if place == AIRPORT else table.between
            minutes[place, other] = minutes[other, place] = draws.between(low, high, 5)
    return minutes


@cache
def _flying(size: str, city: str) -> int:
    """Minutes of a direct flight to a city."""
    return HOUR if size == "small" else HOUR + 10 * Draws("trip", "flight", city).below(9)


class _Drawing:
    """One task while it is drawn."""

    def __init__(self, size: str, split: str, index: int, world_seed: int, regularity: float) -> None:
        self.size = size
        self.task_id = f"{split}:{index:06d}"
        self.table: SizeTable = SIZE_TABLES[size]
        self.usual: Regularities = regularities(size, world_seed)
        self.regularity = regularity
        # One sequence of draws for all of the task: what is hidden, then the calendar, then the offers.
        self.draws = draws = Draws("trip", "task", size, world_seed, split, index)
        self.task_type = tables.TASK_TYPES[index % len(tables.TASK_TYPES)]
        self.city = draws.choice(tables.cities(size, split))
        self.other_cities = [city for city in tables.cities(size, split) if city != self.city]
        self.person = draws.choice(tables.people(size, split))
        self.company = draws.choice(self.table.companies)
        self.policy: Policy = self.usual.policies[self.company]
        self.airlines = tuple(draws.order(self.table.airlines)[: self.table.route_airlines])
        self.nights = draws.between(*self.table.nights)
        self.day = draws.below(5 - self.nights) if size == "full" else draws.below(4)
        self.travel = city_travel(size, self.city)
        self.hidden = self._hidden(draws)
        self.old_trips = self._old_trips(draws)

    def _hidden(self, draws: Draws) -> Hidden:
        obeyed: list[str] = []

        def fact(field: str, key: str) -> str:
            if draws.chance(self.regularity):
                obeyed.append(f"{field}:{key}")
                return self.usual.usual[field][key]
            return draws.choice([one for one in values_of(self.size, field) if one != self.usual.usual[field][key]])

        return Hidden(
            office=fact("office", self.company),
            feature=fact("feature", self.company),
            cuisine=fact("cuisine", self.company),
            airline=draws.choice(self.airlines),
            full={airline: fact("full", airline) for airline in self.airlines},
            closed=fact("closed", tables.WEEKDAYS[self.day]),
            obeyed=tuple(obeyed),
        )

    def proved(self) -> Trip:
        """The trip: of each kind of offer the first drawing that holds a good task.

        Raises:
            ValueError: No drawing of a kind was good.
        """
        calendar, times = self._calendar()
        trip = self._made(calendar=calendar, budget=_PLENTY)
        drawing: dict[str, Callable[[], tuple[Offer, ...]]] = {
            "flights": lambda: self._flights(*times),
            "hotels": self._hotels,
            "restaurants": self._restaurants,
        }
        for kind, draw in drawing.items():
            trip = self._tempting(trip, kind, draw)
        return replace(trip, budget=self._budget(trip))

    def _tempting(self, trip: Trip, kind: str, draw: Callable[[], tuple[Offer, ...]]) -> Trip:
        for _ in range(_MOST_ATTEMPTS):
            drawn: dict[str, Any] = {kind: draw()}
            filled = replace(trip, **drawn)
            if all(_is_tempting(filled, offers) for offers in _lists(filled, kind)):
                return filled
        raise ValueError(
            f"{TRIP.env_id}: expected good {kind} in {_MOST_ATTEMPTS} drawings of {self.task_id}, got none"
        )

    # One drawing of each.

    def _calendar(self) -> tuple[tuple[Entry, ...], tuple[int, int, int]]:
        """The calendar; and the latest good arrival, the earliest good departure, and how long one flies."""
        draws, grid = self.draws, self.table.grid
        first_day, last_day = self.day * DAY, (self.day + self.nights) * DAY
        begins = first_day + draws.between(10 * HOUR, 13 * HOUR, min(grid * 2, HOUR))
        meeting = Entry("e2", tables.MEETING, True, begins, begins + draws.between(3, 5) * HOUR)
        wrap_up = last_day + 9 * HOUR
        closing = Entry("e3", tables.WRAP_UP, True, wrap_up, wrap_up + draws.between(1, 3) * HOUR)
        way = self.travel[AIRPORT, self.hidden.office]
        arrival = (meeting.start - self.policy.margin - way) // grid * grid
        departure = -(-(closing.end + way + CHECK_IN) // grid) * grid
        flying = _flying(self.size, self.city)
        slots: tuple[int, ...] = ()
        if self.task_type == "clash":
            # It has to be moved for any good flight; of the times it can be moved to, one may be in the way as well.
            start = departure + flying - draws.below(2) * grid
            slots = (last_day + DAY + 10 * HOUR,)
            if self.size == "full":
                slots = (meeting.start + HOUR, *slots)
        else:
            start = -(-(departure + 3 * grid + flying + HOMEWARD) // grid) * grid
        home = Entry("e4", draws.choice(tables.HOME_ENTRIES), False, start, start + HOUR, slots)
        early = first_day - DAY + draws.between(9, 15) * HOUR
        before = Entry("e1", draws.choice(tables.HOME_ENTRIES), False, early, early + HOUR)
        calendar = (before, meeting, closing, home) if self.size == "full" else (meeting, closing, home)
        return calendar, (arrival, departure, flying)

    def _flights(self, arrival: int, departure: int, flying: int) -> tuple[Flight, ...]:
        draws, grid = self.draws, self.table.grid
        # An entry that can be moved is in the way of every flight as it is.
        flaws = [_GOOD, _GOOD, _LATE, _EARLY] + ([] if self.task_type == "clash" else [_CLASH])
        base = draws.between(11_000, 18_000, 500)
        drawn = []
        for number in range(self.table.route_airlines * self.table.flights):
            flaw = draws.choice(flaws)
            airline = self.airlines[number % len(self.airlines)]
            lands = arrival + grid * (draws.between(1, 2) if flaw == _LATE else -draws.below(3))
            leaves = departure + grid * draws.below(4)
            if flaw == _EARLY:
                leaves = departure - grid * draws.between(1, 3)
            elif flaw == _CLASH:
                leaves = departure + grid * draws.between(4, 6)
            out = self._leg(lands - flying, flying, ends=lands)
            back = self._leg(leaves, flying)
            fare = draws.choice((BASIC, FLEX))
            price = base + draws.between(-2_000, 2_000, 100) + (2_500 if fare == FLEX else 0)
            drawn.append(
                (airline, out, back, fare, price if flaw == _GOOD else price - draws.between(1_000, 4_000, 100))
            )
        drawn.sort(key=lambda one: (one[1].departs, one[2].departs, one[0], one[4]))
        flights = []
        for number, (airline, out, back, fare, price) in enumerate(drawn):
            own = [place for place, other in enumerate(drawn) if other[0] == airline]
            full = number == (own[0] if self.hidden.full[airline] == FIRST else own[-1])
            flights.append(
                Flight(f"f{number + 1}", airline, out, back, fare, price, 0 if full else draws.between(1, 9))
            )
        return tuple(flights)

    def _leg(self, departs: int, flying: int, *, ends: int | None = None) -> Leg:
        """A direct flight, or in a full world now and then one with a connection, which takes longer."""
        stop = 90 if self.size == "full" and self.draws.chance(0.25) else 0
        via = self.draws.choice(tables.VIAS) if stop else ""
        if ends is not None:
            return Leg(ends - flying - stop, ends, via)
        return Leg(departs, departs + flying + stop, via)

    def _hotels(self) -> tuple[Hotel, ...]:
        draws, table = self.draws, self.table
        most = self.policy.most_per_night
        named = self._names(tables.HOTEL_WORDS, len(table.districts) * table.hotels)
        hotels = []
        for district in table.districts:
            for number in range(table.hotels):
                feature = draws.choice(table.features)
                nightly = draws.between(most - 6_000, most - 2_500, 100)
                if district == self.hidden.office and number < 3:
                    # What is wanted; a cheaper one that lacks it; and one that has it and is above the policy.
                    feature = self.hidden.feature
                    nightly = draws.between(most - 2_000, most, 100)
                    if number == 1:
                        feature = draws.choice([one for one in table.features if one != feature])
                        nightly = draws.between(most - 6_000, most - 2_500, 100)
                    elif number == 2:
                        nightly = draws.between(most + 500, most + 3_000, 100)
                elif number == 0:
                    feature = self.hidden.feature  # the same elsewhere, and cheaper
                sold = district != self.hidden.office and draws.chance(0.1)
                price, refundable = nightly * self.nights, draws.chance(0.5)
                hotels.append((district, next(named), feature, price, refundable, 0 if sold else draws.between(1, 9)))
        ordered = draws.order(hotels)
        return tuple(
            Hotel(f"h{number}", n, d, f, p, r, left) for number, (d, n, f, p, r, left) in enumerate(ordered, 1)
        )

    def _restaurants(self) -> tuple[Restaurant, ...]:
        draws, table, hidden = self.draws, self.table, self.hidden
        named = self._names(tables.TABLE_WORDS, len(table.cuisines) * table.restaurants)
        drawn = []
        open_districts = [district for district in table.districts if district != hidden.closed]
        for cuisine in table.cuisines:
            for number in range(table.restaurants):
                # One of each cuisine is cheap, and in the district that is closed that day.
                district = hidden.closed if number == 0 else draws.choice(open_districts)
                price = draws.between(3_000, 4_500, 100) if number == 0 else draws.between(4_600, 8_000, 100)
                left = 0 if number > 1 and draws.chance(0.2) else draws.between(1, 9)
                drawn.append((next(named), district, cuisine, price, district == hidden.closed, left))
        ordered = draws.order(drawn)
        return tuple(
            Restaurant(f"r{number}", name, district, cuisine, price, closed, left)
            for number, (name, district, cuisine, price, closed, left) in enumerate(ordered, 1)
        )

    def _names(self, words: tuple[Sequence[str], Sequence[str]], count: int) -> Iterator[str]:
        firsts, seconds = words
        return iter([f"{one} {other}" for one, other in self._pairs(firsts, seconds)][:count])

    def _pairs(self, firsts: Sequence[str], seconds: Sequence[str]) -> list[tuple[str, str]]:
        return self.draws.order([(one, other) for one in firsts for other in seconds])

    def _made(self, *, calendar: tuple[Entry, ...], budget: int) -> Trip:
        """The trip without offers."""
        return Trip(
            task_id=self.task_id,
            task_type=self.task_type,
            size=self.size,
            person=self.person,
            company=self.company,
            city=self.city,
            nights=self.nights,
            budget=budget,
            policy=self.policy,
            hidden=self.hidden,
            airlines=self.airlines,
            flights=(),
            hotels=(),
            restaurants=(),
            calendar=calendar,
            old_trips=self.old_trips,
            travel=self.travel,
        )

    def _old_trips(self, draws: Draws) -> tuple[OldTrip, ...]:
        def shown(liked: str, options: Sequence[str]) -> str:
            if draws.chance(TELLING):
                return liked
            return draws.choice([one for one in options if one != liked])

        return tuple(
            OldTrip(
                draws.choice(self.other_cities),
                shown(self.hidden.airline, self.table.airlines),
                shown(self.hidden.feature, self.table.features),
                shown(self.hidden.cuisine, self.table.cuisines),
            )
            for _ in range(self.table.old_trips)
        )

    def _budget(self, trip: Trip) -> int:
        """A budget that the best trip keeps: with little to spare, or with plenty."""
        gain = Planner(trip, self.table.horizon).optimum - trip.budget
        # The best costs what it adds less than nothing, and at most the liking of an airline more.
        most = tables.LIKED - gain
        low, high = _SPARE[self.size] if self.task_type == "budget" else _SPARE["plenty"]
        return -(-most // 1_000) * 1_000 + self.draws.between(low, high, 1_000)


def _lists(trip: Trip, kind: str) -> tuple[Sequence[Offer], ...]:
    """The lists of a kind of offer that one may choose from, whole and by what the person wants."""
    if kind == "flights":
        return (trip.flights,)
    if kind == "hotels":
        return trip.hotels, trip.by_district[trip.hidden.office]
    return trip.restaurants, trip.by_cuisine[trip.hidden.cuisine]


def _is_tempting(trip: Trip, offers: Sequence[Offer]) -> bool:
    """Whether an offer serves, and neither the first nor the cheapest does."""

    def serves(offer: Offer) -> bool:
        positions = range(len(trip.movable.slots) + 1) if trip.movable else (0,)
        return trip.obtainable(offer) and any(all(judge.meets(trip, offer, position)) for position in positions)

    if serves(offers[0]) or serves(min(offers, key=lambda offer: offer.price)):
        return False
    return any(serves(offer) for offer in offers)
