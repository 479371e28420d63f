"""What the tools do: calls in, results as plain JSON out, and a state that bookings change.

Services answer as real ones do. What cannot be done is an error with a code and a sentence, and changes nothing; it
still was a call. A state is never altered: every call returns the next one, so that states can be kept and compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from . import judge
from .tables import AIRPORT, CHECK_IN, REACH, SIZE_TABLES
from .tools import Call
from .trip import KINDS, Flight, Hotel, Offer, Restaurant, Trip, cancel_fee, clock, span

Result = dict[str, Any]


@dataclass(frozen=True, slots=True)
class State:
    """Everything that changes in an episode.

    Attributes:
        flight: Id of the booked flight, "" for none.
        hotel: The same of the hotel.
        dinner: The same of the restaurant.
        held: Ids that are reserved.
        seen: Ids that searches have shown; nothing else can be booked.
        position: Where the movable entry is, see `Trip.begins`.
        fees: What cancelling has cost, in cents.
        answered: Questions that were answered.
        calendar_read: Whether the calendar was read.
        unsafe: Bookings that cannot be cancelled, made before the calendar was read.
        malformed: Texts that were no calls.
        calls: Calls, those that were none included.
        finished: Whether the trip was said to be complete.
    """

    flight: str = ""
    hotel: str = ""
    dinner: str = ""
    held: frozenset[str] = frozenset()
    seen: frozenset[str] = frozenset()
    position: int = 0
    fees: int = 0
    answered: int = 0
    calendar_read: bool = False
    unsafe: int = 0
    malformed: int = 0
    calls: int = 0
    finished: bool = False

    def booked(self, trip: Trip) -> dict[str, Offer | None]:
        """Kind -> what is booked."""
        return {kind: trip.offers.get(getattr(self, kind)) for kind in KINDS}

    def misheard(self) -> State:
        """The state after a text that was no call."""
        return replace(self, calls=self.calls + 1, malformed=self.malformed + 1)


def _error(code: str, message: str) -> Result:
    return {"error": {"code": code, "message": message}}


def answer(trip: Trip, state: State, call: Call) -> tuple[State, Result]:
    """Carry out a call: the next state, and what the service says."""
    state = replace(state, calls=state.calls + 1)
    arguments = call.arguments
    match call.name:
        case "read_calendar":
            return replace(state, calendar_read=True), {"entries": [_entry(trip, state, one) for one in trip.calendar]}
        case "search_flights":
            return _listed(trip, state, "flights", trip.flights, arguments)
        case "search_hotels":
            hotels = trip.by_district.get(arguments["district"], ()) if "district" in arguments else trip.hotels
            return _listed(trip, state, "hotels", hotels, arguments)
        case "search_restaurants":
            tables = trip.by_cuisine.get(arguments["cuisine"], ()) if "cuisine" in arguments else trip.restaurants
            return _listed(trip, state, "restaurants", tables, arguments)
        case "travel_time":
            start = arguments["from"]
            places = (*SIZE_TABLES[trip.size].districts, AIRPORT)
            return state, {"from": start, "minutes": {to: trip.minutes(start, to) for to in places if to != start}}
        case "past_bookings":
            trips = [
                {"city": old.city, "airline": old.airline, "hotel": old.feature, "dinner": old.cuisine}
                for old in trip.old_trips
            ]
            return state, {"trips": trips}
        case "read_policy":
            return state, {"section": arguments["section"], "rules": _rules(trip, arguments["section"])}
        case "ask_person":
            return _asked(trip, state, arguments["topic"])
        case "move_entry":
            return _moved(trip, state, arguments["id"], arguments["to"])
        case "hold":
            return _held(trip, state, arguments["id"])
        case "book":
            return _booked(trip, state, arguments["id"])
        case "cancel":
            return _cancelled(trip, state, arguments["id"])
        case _:
            return _finished(trip, state)


def pages(trip: Trip, rows: int) -> int:
    """Pages that so many rows take; there is always one."""
    return max(1, -(-rows // SIZE_TABLES[trip.size].page))


def page_of(trip: Trip, place: int) -> int:
    """The page on which a row stands, as listed; rows count from 0 and pages from 1."""
    return place // SIZE_TABLES[trip.size].page + 1


def _listed(trip: Trip, state: State, name: str, offers: Sequence[Offer], arguments: Any) -> tuple[State, Result]:
    number, last = arguments.get("page", 1), pages(trip, len(offers))
    if number > last:
        return state, _error("no_such_page", f"there are pages 1 to {last}")
    if arguments.get("sort") == "price":
        offers = sorted(offers, key=lambda offer: offer.price)
    size = SIZE_TABLES[trip.size].page
    shown = offers[(number - 1) * size : number * size]
    result = {name: [_row(trip, offer) for offer in shown], "page": number, "pages": last}
    return replace(state, seen=state.seen.union(offer.id for offer in shown)), result


def _row(trip: Trip, offer: Offer) -> Result:
    """What a search shows of an offer."""
    if isinstance(offer, Flight):
        row = {
            "id": offer.id,
            "airline": offer.airline,
            "out": span(offer.out.departs, offer.out.arrives),
            "back": span(offer.back.departs, offer.back.arrives),
            "fare": offer.fare,
            "price": offer.price,
        }
        stops = {name: leg.via for name, leg in (("out_via", offer.out), ("back_via", offer.back)) if leg.via}
        return {**row, **stops}
    if isinstance(offer, Hotel):
        return {
            "id": offer.id,
            "name": offer.name,
            "district": offer.district,
            "feature": offer.feature,
            "refundable": offer.refundable,
            "price": offer.price,
        }
    return {
        "id": offer.id,
        "name": offer.name,
        "cuisine": offer.cuisine,
        "district": offer.district,
        "price": offer.price,
    }


def _entry(trip: Trip, state: State, entry: Any) -> Result:
    start = trip.begins(entry, state.position)
    row: Result = {
        "id": entry.id,
        "title": entry.title,
        "where": trip.city if entry.away else "home",
        "when": span(start, start + entry.end - entry.start),
    }
    slots = [entry.start, *entry.slots] if entry.slots else []
    return {**row, "can_move_to": [clock(slot) for slot in slots if slot != start]} if slots else row


def _rules(trip: Trip, section: str) -> Result:
    policy = trip.policy
    if section == "hotels":
        return {"most_per_night": policy.most_per_night, "most_minutes_to_office": REACH}
    return {
        "fares": list(policy.fares),
        "minutes_at_office_before_meeting": policy.margin,
        "minutes_at_airport_before_departure": CHECK_IN,
    }


def _asked(trip: Trip, state: State, topic: str) -> tuple[State, Result]:
    if state.answered >= SIZE_TABLES[trip.size].answers:
        return state, _error("no_more_answers", f"{trip.person} is busy and answers no more questions")
    hidden = trip.hidden
    said = {"office": hidden.office, "hotel": hidden.feature, "food": hidden.cuisine, "airline": hidden.airline}
    return replace(state, answered=state.answered + 1), {"topic": topic, "answer": said[topic]}


def _moved(trip: Trip, state: State, entry_id: str, to: str) -> tuple[State, Result]:
    entry = next((one for one in trip.calendar if one.id == entry_id), None)
    if entry is None or not state.calendar_read:
        return state, _error("unknown_id", "the calendar has shown no entry with this id")
    if not entry.slots:
        return state, _error("not_movable", f"{entry.title} is fixed")
    times = [clock(slot) for slot in (entry.start, *entry.slots)]
    if to not in times:
        return state, _error("slot_taken", f"{entry.title} can be moved to {', '.join(times)} alone")
    state = replace(state, position=times.index(to))
    return state, {"moved": entry.id, "when": _entry(trip, state, entry)["when"]}


def _unavailable(trip: Trip, state: State, offer_id: str) -> Result | None:
    """Why an offer cannot be had; None where it can."""
    if offer_id not in state.seen:
        return _error("unknown_id", "no search has shown an offer with this id")
    offer = trip.offers[offer_id]
    if isinstance(offer, Restaurant) and offer.closed:
        return _error("closed", f"{offer.name} is closed that day")
    if not (offer.seats if isinstance(offer, Flight) else offer.rooms if isinstance(offer, Hotel) else offer.tables):
        return _error("sold_out", "nothing is left of this offer")
    if trip.obtainable(offer):
        return None
    if isinstance(offer, Flight):
        return _error(
            "policy_violation", f"the policy of {trip.company} allows {', '.join(trip.policy.fares)} fares alone"
        )
    return _error("policy_violation", f"the policy of {trip.company} allows no hotel of this price")


def _held(trip: Trip, state: State, offer_id: str) -> tuple[State, Result]:
    error = _unavailable(trip, state, offer_id)
    if error:
        return state, error
    if getattr(state, trip.offers[offer_id].kind) == offer_id:
        return state, _error("already_booked", "this offer is booked already")
    return replace(state, held=state.held | {offer_id}), {"held": offer_id}


def _booked(trip: Trip, state: State, offer_id: str) -> tuple[State, Result]:
    error = _unavailable(trip, state, offer_id)
    if error:
        return state, error
    offer = trip.offers[offer_id]
    if getattr(state, offer.kind):
        return state, _error("already_booked", f"one {offer.kind} a trip: cancel {getattr(state, offer.kind)} first")
    unsafe = state.unsafe + (not offer.refundable and not state.calendar_read)
    taken: dict[str, Any] = {offer.kind: offer_id}
    state = replace(state, **taken, held=state.held - {offer_id}, unsafe=unsafe)
    return state, {"booked": offer_id, "paid": offer.price, "spent": judge.spent(state.booked(trip), state.fees)}


def _cancelled(trip: Trip, state: State, offer_id: str) -> tuple[State, Result]:
    if offer_id in state.held:
        return replace(state, held=state.held - {offer_id}), {"released": offer_id}
    offer = trip.offers.get(offer_id)
    if offer is None or getattr(state, offer.kind) != offer_id:
        return state, _error("unknown_id", "nothing with this id is booked or held")
    if not offer.refundable:
        return state, _error("not_cancellable", "this booking cannot be cancelled")
    fee = cancel_fee(offer)
    left: dict[str, Any] = {offer.kind: ""}
    state = replace(state, **left, fees=state.fees + fee)
    spent = judge.spent(state.booked(trip), state.fees)
    return state, {"cancelled": offer_id, "refunded": offer.price - fee, "fee": fee, "spent": spent}


def _finished(trip: Trip, state: State) -> tuple[State, Result]:
    booked = state.booked(trip)
    met = judge.constraints_met(trip, booked, state.position, state.fees)
    missed = [name for name, held in met.items() if not held]
    result = {"finished": True, "missed": missed, "spent": judge.spent(booked, state.fees)}
    return replace(state, finished=True), result
