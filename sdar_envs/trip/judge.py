"""What a trip is worth: hard constraints, the value of what was booked, and a score out of both, all in integers.

A trip succeeds when every hard constraint is met. Its value is the money that is left of the budget, after fees, and
what a flight of the airline that the person likes is worth. A success scores between one half and 1, by its value
against the best one; anything else scores up to 0.4, by the constraints that are met.
"""

from __future__ import annotations

from .tables import AIRPORT, CHECK_IN, HOMEWARD, LIKED, REACH
from .trip import DINNER, FLIGHT, HOTEL, KINDS, Flight, Hotel, Offer, Restaurant, Trip

MEETING, CALENDAR, NEAR, NEED, FOOD, BUDGET = "meeting", "calendar", "hotel_near", "hotel_need", "dinner", "budget"
CONSTRAINTS = (MEETING, CALENDAR, NEAR, NEED, FOOD, BUDGET)
# Which constraints each kind of offer can meet; the budget is a matter of all three.
CONSTRAINTS_OF = {FLIGHT: (MEETING, CALENDAR), HOTEL: (NEAR, NEED), DINNER: (FOOD,)}

_FAILING = 0.4


def flight_meets(trip: Trip, flight: Flight, position: int) -> tuple[bool, bool]:
    """Whether a flight serves what is at the office, and whether it leaves room for what is at home.

    Args:
        trip: The trip.
        flight: The flight.
        position: Where the movable entry is, see `Trip.begins`.
    """
    way = trip.minutes(AIRPORT, trip.hidden.office)
    in_time = flight.out.arrives + way + trip.policy.margin <= trip.meeting.start
    clear = True
    for entry in trip.calendar:
        start = trip.begins(entry, position)
        end = start + entry.end - entry.start
        if entry.away:
            in_time = in_time and end + way + CHECK_IN <= flight.back.departs
        elif start < flight.back.arrives + HOMEWARD and end > flight.out.departs - CHECK_IN:
            clear = False
    return in_time, clear


def hotel_meets(trip: Trip, hotel: Hotel) -> tuple[bool, bool]:
    """Whether a hotel is near the office, and whether it has what the person needs."""
    hidden = trip.hidden
    near = hotel.district == hidden.office or trip.minutes(hotel.district, hidden.office) <= REACH
    return near, hotel.feature == hidden.feature


def dinner_meets(trip: Trip, table: Restaurant) -> tuple[bool]:
    """Whether a restaurant cooks what the guests want."""
    return (table.cuisine == trip.hidden.cuisine,)


def meets(trip: Trip, offer: Offer, position: int) -> tuple[bool, ...]:
    """Which of the constraints of its kind (`CONSTRAINTS_OF`) an offer meets."""
    if isinstance(offer, Flight):
        return flight_meets(trip, offer, position)
    return hotel_meets(trip, offer) if isinstance(offer, Hotel) else dinner_meets(trip, offer)


def liked(trip: Trip, offer: Offer) -> int:
    """What the person's liking adds to the value, in cents."""
    return LIKED if isinstance(offer, Flight) and offer.airline == trip.hidden.airline else 0


def constraints_met(trip: Trip, booked: dict[str, Offer | None], position: int, fees: int) -> dict[str, bool]:
    """Every hard constraint by name; the budget is met when all three are booked and paid out of it.

    Args:
        trip: The trip.
        booked: Kind -> what is booked.
        position: Where the movable entry is.
        fees: What cancelling has cost, in cents.
    """
    met = dict.fromkeys(CONSTRAINTS, False)
    for kind in KINDS:
        offer = booked[kind]
        if offer is not None:
            met.update(zip(CONSTRAINTS_OF[kind], meets(trip, offer, position), strict=True))
    met[BUDGET] = all(booked.values()) and spent(booked, fees) <= trip.budget
    return met


def spent(booked: dict[str, Offer | None], fees: int) -> int:
    """What is paid, in cents."""
    return fees + sum(offer.price for offer in booked.values() if offer is not None)


def value(trip: Trip, booked: dict[str, Offer | None], fees: int) -> int:
    """What is left of the budget and what is liked, in cents."""
    return trip.budget - spent(booked, fees) + sum(liked(trip, offer) for offer in booked.values() if offer is not None)


def success_score(worth: int, optimum: int) -> float:
    """The score of a success by its value and the best one, which is above 0."""
    return 0.5 + 0.5 * max(worth, 0) / optimum


def failing_score(met: int) -> float:
    """The score of a trip that meets so many of the constraints, but not all."""
    return _FAILING * met / len(CONSTRAINTS)
