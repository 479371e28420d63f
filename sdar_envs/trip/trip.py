"""A trip as data: the request, the offers, the calendar, and what the student is not told. Nothing here draws."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from .regularities import Policy
from .tables import DAY, FEES, FLEX, WEEKDAYS

FLIGHT, HOTEL, DINNER = "flight", "hotel", "dinner"
KINDS = (FLIGHT, HOTEL, DINNER)


@dataclass(frozen=True, slots=True)
class Leg:
    """One way of a flight; times in minutes since Monday 00:00. `via` is "" for a direct one."""

    departs: int
    arrives: int
    via: str = ""


@dataclass(frozen=True, slots=True)
class Flight:
    """Out and back. Nobody sees `seats` before asking for one."""

    id: str
    airline: str
    out: Leg
    back: Leg
    fare: str
    price: int
    seats: int

    kind = FLIGHT

    @property
    def refundable(self) -> bool:
        """Whether it can be cancelled."""
        return self.fare == FLEX


@dataclass(frozen=True, slots=True)
class Hotel:
    """A room for the whole stay; `price` is of all nights."""

    id: str
    name: str
    district: str
    feature: str
    price: int
    refundable: bool
    rooms: int

    kind = HOTEL


@dataclass(frozen=True, slots=True)
class Restaurant:
    """A table on the evening of the meeting. Nobody sees whether it is `closed` that day before asking for one."""

    id: str
    name: str
    district: str
    cuisine: str
    price: int
    closed: bool
    tables: int

    kind = DINNER
    refundable = True


Offer = Flight | Hotel | Restaurant


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of the calendar, at the office (`away`) or at home.

    `slots` are where a movable entry can be moved to: the minutes at which it would begin.
    """

    id: str
    title: str
    away: bool
    start: int
    end: int
    slots: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class OldTrip:
    """What an old booking shows of what a person likes."""

    city: str
    airline: str
    feature: str
    cuisine: str


@dataclass(frozen=True, slots=True)
class Hidden:
    """What the student has to find out, infer or learn.

    `full` is airline -> which of its departures is sold out, `closed` the district whose restaurants are closed, and
    `obeyed` names the regularities that hold in this trip.
    """

    office: str
    feature: str
    cuisine: str
    airline: str
    full: Mapping[str, str]
    closed: str
    obeyed: tuple[str, ...]


@dataclass(frozen=True)
class Trip:
    """One request with everything that it can be met with.

    Attributes:
        task_id: Its id.
        task_type: ``visit``, ``clash`` (a movable entry is in the way) or ``budget`` (little money is left over).
        size: ``full`` or ``small``.
        person: Who travels.
        company: For whom.
        city: Where to.
        nights: How many.
        budget: In cents.
        policy: The company's.
        hidden: What is not told.
        airlines: Those that serve the route.
        flights: In the order of departure.
        hotels: In the order in which they are listed.
        restaurants: The same.
        calendar: In the order of time. The meeting is the first entry that is `away`.
        old_trips: The newest first.
        travel: (place, place) -> minutes, both ways, of districts and the airport.
    """

    task_id: str
    task_type: str
    size: str
    person: str
    company: str
    city: str
    nights: int
    budget: int
    policy: Policy
    hidden: Hidden
    airlines: tuple[str, ...]
    flights: tuple[Flight, ...]
    hotels: tuple[Hotel, ...]
    restaurants: tuple[Restaurant, ...]
    calendar: tuple[Entry, ...]
    old_trips: tuple[OldTrip, ...]
    travel: Mapping[tuple[str, str], int] = field(repr=False)

    @cached_property
    def offers(self) -> dict[str, Offer]:
        """Everything that can be asked for, by id."""
        offers: list[Offer] = [*self.flights, *self.hotels, *self.restaurants]
        return {offer.id: offer for offer in offers}

    @cached_property
    def meeting(self) -> Entry:
        """The meeting that the trip is for."""
        return next(entry for entry in self.calendar if entry.away)

    @cached_property
    def movable(self) -> Entry | None:
        """The entry that can be moved; there is one at most."""
        return next((entry for entry in self.calendar if entry.slots), None)

    @cached_property
    def by_district(self) -> dict[str, tuple[Hotel, ...]]:
        """The hotels of each district, in the order in which they are listed."""
        districts = dict.fromkeys(hotel.district for hotel in self.hotels)
        return {name: tuple(hotel for hotel in self.hotels if hotel.district == name) for name in districts}

    @cached_property
    def by_cuisine(self) -> dict[str, tuple[Restaurant, ...]]:
        """The restaurants of each cuisine, in the order in which they are listed."""
        cuisines = dict.fromkeys(table.cuisine for table in self.restaurants)
        return {name: tuple(one for one in self.restaurants if one.cuisine == name) for name in cuisines}

    def minutes(self, place: str, other: str) -> int:
        """The way between two districts, or to the airport."""
        return self.travel[place, other]

    def begins(self, entry: Entry, position: int) -> int:
        """When an entry begins if the movable one is at `position`: 0 where it was, else the number of its slot."""
        return entry.slots[position - 1] if position and entry.slots else entry.start

    def obtainable(self, offer: Offer) -> bool:
        """Whether a booking of it is accepted at all: not sold out, not closed, and within the policy."""
        if isinstance(offer, Flight):
            return offer.seats > 0 and offer.fare in self.policy.fares
        if isinstance(offer, Hotel):
            return offer.rooms > 0 and offer.price <= self.policy.most_per_night * self.nights
        return offer.tables > 0 and not offer.closed


def cancel_fee(offer: Offer) -> int:
    """What cancelling a refundable offer costs, in cents."""
    return FEES[offer.kind]


def clock(minutes: int) -> str:
    """A time of the week in words, such as ``tue 09:30``."""
    day, rest = divmod(minutes, DAY)
    return f"{WEEKDAYS[day % 7]} {rest // 60:02d}:{rest % 60:02d}"


def span(start: int, end: int) -> str:
    """A span of time in words, such as ``tue 09:30-11:00``; the day of its end is named where it is another."""
    ending = clock(end)
    return f"{clock(start)}-{ending[4:] if start // DAY == end // DAY else ending}"
