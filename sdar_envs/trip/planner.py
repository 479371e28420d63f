"""The best score that can still be reached from any state, and the fewest calls that reach it. Exact.

Flight, hotel and dinner are found and booked by calls of their own and meet constraints of their own; only the calls
that are left and the money tie them together. So every way to end with a certain flight (and the movable entry at a
certain place) has a known number of calls and a known price, likewise every hotel and dinner, and the best end is the
best of their combinations. Ways that another way beats in calls, money and value are left out first. A test compares
the result with a search over the calls themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from . import judge
from .services import State, page_of
from .tools import call_text
from .trip import DINNER, FLIGHT, HOTEL, KINDS, Flight, Hotel, Offer, Restaurant, Trip, cancel_fee, clock

# More than any trip costs: the price of a kind of offer that is left out, which no budget covers.
_NOTHING = 1 << 40

# States whose best end is remembered.
_REMEMBERED = 4_096

READ_CALENDAR = call_text("read_calendar")
FINISH = call_text("finish")
# Calls of the longest plan: the calendar, a move, a search and a booking for each kind of offer, and the end.
LONGEST_PLAN = 9


@dataclass(frozen=True, slots=True)
class _Candidate:
    """An offer that can be had, with the movable entry at a place, and what that is worth."""

    offer: Offer
    position: int
    met: int
    full: bool
    liked: int


@dataclass(frozen=True, slots=True)
class _Way:
    """A candidate (None to leave the kind out) as it is reached from a state: calls, money, constraints met, value."""

    candidate: _Candidate | None
    calls: int
    spend: int
    met: int
    gain: int


@dataclass(frozen=True, slots=True)
class Best:
    """The best end of a state.

    Attributes:
        score: Of that end; the score itself where the trip is finished.
        success: Whether it meets all constraints.
        value: Its value in cents, 0 where it is no success.
        calls: Fewest calls to it, `finish` included; 0 where nothing can be done any more.
    """

    score: float
    success: bool
    value: int
    calls: int
    ways: tuple[_Way, ...] = ()


class Planner:
    """Plans one trip within a number of calls.

    Args:
        trip: The trip.
        horizon: Calls of an episode.
    """

    def __init__(self, trip: Trip, horizon: int) -> None:
        self.trip = trip
        self.horizon = horizon
        slots = trip.movable.slots if trip.movable else ()
        everything: dict[str, Sequence[Offer]] = {
            FLIGHT: trip.flights,
            HOTEL: trip.hotels,
            DINNER: trip.restaurants,
        }
        self._candidates = {
            kind: [
                self._candidate(offer, position)
                for offer in offers
                if trip.obtainable(offer)
                for position in (range(len(slots) + 1) if kind == FLIGHT else (0,))
            ]
            for kind, offers in everything.items()
        }
        self._full = {kind: [one for one in found if one.full] for kind, found in self._candidates.items()}
        self._known: dict[tuple[object, ...], Best] = {}
        # The value of the best trip, which every episode can reach at its beginning; 0 where no trip succeeds.
        found = self._combined(State(), LONGEST_PLAN)
        self.optimum = trip.budget + found[0] if found else 0

    def _candidate(self, offer: Offer, position: int) -> _Candidate:
        met = judge.meets(self.trip, offer, position)
        return _Candidate(offer, position, sum(met), all(met), judge.liked(self.trip, offer))

    def best(self, state: State) -> Best:
        """The best end that the calls that are left allow."""
        if state.finished:
            return self._ended(state)
        left = self.horizon - state.calls
        if left <= 0:
            return Best(0.0, False, 0, 0)
        key = (left, *_matters(state))
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            known = self._known[key] = self._success(state, left - 1) or self._partial(state, left - 1)
        return known

    def plan(self, state: State) -> list[str]:
        """The calls to the best end; none where nothing can be done any more.

        The calendar is read first where something is to be booked that cannot be cancelled, unless that call is one too
        many.
        """
        best = self.best(state)
        if not best.calls:
            return []
        new = [way.candidate for way in best.ways if way.calls and way.candidate is not None]
        plan = [call for way in best.ways for call in self._calls(state, way)]
        final = any(not one.offer.refundable and getattr(state, one.offer.kind) != one.offer.id for one in new)
        if READ_CALENDAR in plan:  # before anything is booked
            plan.remove(READ_CALENDAR)
            plan.insert(0, READ_CALENDAR)
        elif final and not state.calendar_read and best.calls < self.horizon - state.calls:
            plan.insert(0, READ_CALENDAR)
        return [*plan, FINISH]

    def first_wrong_call(self, states: Sequence[State]) -> int:
        """The number, from 0, of the first call after which the best reachable score is lower; -1 where none is.

        Args:
            states: The states of an episode, the first before any call.
        """
        top = self.best(states[0]).score
        if self.best(states[-1]).score == top:
            return -1
        # The best reachable score never rises, so the first fall can be halved in on.
        before, after = 0, len(states) - 1
        while after - before > 1:
            middle = (before + after) // 2
            if self.best(states[middle]).score == top:
                before = middle
            else:
                after = middle
        return before

    # The best end.

    def _ended(self, state: State) -> Best:
        booked = state.booked(self.trip)
        met = sum(judge.constraints_met(self.trip, booked, state.position, state.fees).values())
        if met < len(judge.CONSTRAINTS):
            return Best(judge.failing_score(met), False, 0, 0)
        worth = judge.value(self.trip, booked, state.fees)
        return Best(judge.success_score(worth, self.optimum), True, worth, 0)

    def _success(self, state: State, calls: int) -> Best | None:
        """The success of the highest value, and of those the one of the fewest calls; None where there is none."""
        found = self._combined(state, calls)
        if found is None:
            return None
        gain, needed, ways = found
        worth = self.trip.budget - state.fees + gain
        return Best(judge.success_score(worth, self.optimum), True, worth, needed + 1, ways)

    def _combined(self, state: State, calls: int) -> tuple[int, int, tuple[_Way, ...]] | None:
        """What the best success adds to the money that is left, in cents; the calls to it before `finish`; its ways."""
        options = [_unbeaten(self._ways(state, kind, self._full[kind])) for kind in KINDS]
        money = self.trip.budget - state.fees
        found: tuple[int, int] | None = None
        ways: tuple[_Way, ...] = ()
        for flight in options[0]:
            for hotel in options[1]:
                for dinner in options[2]:
                    needed = flight.calls + hotel.calls + dinner.calls
                    if needed > calls or flight.spend + hotel.spend + dinner.spend > money:
                        continue
                    rank = (-flight.gain - hotel.gain - dinner.gain, needed)
                    if found is None or rank < found:
                        found, ways = rank, (flight, hotel, dinner)
        return None if found is None else (-found[0], found[1], ways)

    def _partial(self, state: State, calls: int) -> Best:
        """The end that meets the most constraints, and of those the one of the fewest calls."""
        options = [_unbeaten(self._ways(state, kind, self._candidates[kind], leave_out=True)) for kind in KINDS]
        money = self.trip.budget - state.fees
        found = (1, 0)
        ways: tuple[_Way, ...] = ()
        for flight in options[0]:
            for hotel in options[1]:
                for dinner in options[2]:
                    needed = flight.calls + hotel.calls + dinner.calls
                    if needed > calls:
                        continue
                    paid = flight.spend + hotel.spend + dinner.spend <= money
                    rank = (-flight.met - hotel.met - dinner.met - paid, needed)
                    if rank < found:
                        found, ways = rank, (flight, hotel, dinner)
        return Best(judge.failing_score(-found[0]), False, 0, found[1] + 1, ways)

    def _ways(
        self, state: State, kind: str, candidates: Sequence[_Candidate], *, leave_out: bool = False
    ) -> list[_Way]:
        """How each candidate is reached, and with `leave_out` how none of them is booked."""
        current = getattr(state, kind)
        # What has to be given up first, and whether it can be.
        fee, giving_up = 0, 0
        if current:
            offer = self.trip.offers[current]
            if not offer.refundable:
                candidates = [one for one in candidates if one.offer.id == current]
            fee, giving_up = cancel_fee(offer), 1
        ways = []
        for one in candidates:
            # Moving an entry takes the call, and the calendar to know it.
            moves = (1 + (not state.calendar_read)) if kind == FLIGHT and one.position != state.position else 0
            if one.offer.id == current:
                ways.append(_Way(one, moves, one.offer.price, one.met, one.liked - one.offer.price))
            else:
                calls = giving_up + moves + (one.offer.id not in state.seen) + 1
                spend = one.offer.price + fee
                ways.append(_Way(one, calls, spend, one.met, one.liked - spend))
        if leave_out and not current:
            ways.append(_Way(None, 0, _NOTHING, 0, -_NOTHING))
        return ways

    # The calls to it.

    def _calls(self, state: State, way: _Way) -> list[str]:
        if way.candidate is None:
            return []
        calls: list[str] = []
        offer = way.candidate.offer
        current = getattr(state, offer.kind)
        if current not in ("", offer.id):
            calls.append(call_text("cancel", id=current))
        if offer.kind == FLIGHT and way.candidate.position != state.position:
            entry = self.trip.movable
            assert entry is not None
            to = clock(self.trip.begins(entry, way.candidate.position))
            if not state.calendar_read:
                calls.append(READ_CALENDAR)
            calls.append(call_text("move_entry", id=entry.id, to=to))
        if current != offer.id:
            if offer.id not in state.seen:
                calls.append(self._search(offer))
            calls.append(call_text("book", id=offer.id))
        return calls

    def _search(self, offer: Offer) -> str:
        """The search that shows an offer."""
        trip = self.trip
        arguments: dict[str, str | int] = {}
        if isinstance(offer, Flight):
            name, page = "search_flights", page_of(trip, trip.flights.index(offer))
        elif isinstance(offer, Hotel):
            name, page = "search_hotels", page_of(trip, trip.by_district[offer.district].index(offer))
            arguments["district"] = offer.district
        else:
            assert isinstance(offer, Restaurant)
            name, page = "search_restaurants", page_of(trip, trip.by_cuisine[offer.cuisine].index(offer))
            arguments["cuisine"] = offer.cuisine
        return call_text(name, **arguments, **({"page": page} if page > 1 else {}))


def _matters(state: State) -> tuple[object, ...]:
    """What of a state decides what can still be reached, besides the calls that are left."""
    return state.flight, state.hotel, state.dinner, state.position, state.fees, state.seen, state.calendar_read


def _unbeaten(ways: list[_Way]) -> list[_Way]:
    """The ways that no other one equals or beats in calls, money, constraints and value; of equal ones, the first."""
    kept: list[_Way] = []
    for way in sorted(ways, key=lambda one: (one.calls, one.spend, -one.met, -one.gain)):
        if not any(
            other.calls <= way.calls and other.spend <= way.spend and other.met >= way.met and other.gain >= way.gain
            for other in kept
        ):
            kept.append(way)
    return kept
