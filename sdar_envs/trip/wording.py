"""What a trip says in words: the request, the first observation, hints and facts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .planner import Best
from .tables import DAY, WEEKDAYS
from .tools import parameters
from .trip import Trip, clock

REQUESTS = {
    "full": (
        "Book the business trip of {person} of {company} to {city}: a meeting at the office there on {meeting}, dinner "
        "with guests that evening, nights: {nights}, back on {back}. Spend at most {budget} cents, and finish when the "
        "trip is complete."
    ),
    "small": "trip: {person} of {company} to {city}, meeting {meeting}, back {back}, budget {budget}",
}
FIRST_OBSERVATION = '{request}\n\nTools: {tools}\nOne call a turn, as {{"name": TOOL, "arguments": {{...}}}}.'

# Each says more than the one before; the last ones depend on the state.
HINTS = (
    "The office of this trip is in the {office} district.",
    "The traveller needs a hotel with {feature}, and the guests want to eat {cuisine}.",
    "On that day the {closed} district has its restaurants closed, and these departures are full: {full}.",
)
BEST_HINT = "From here the trip ends best with {chosen}; the next call is {call}."


def request(trip: Trip) -> str:
    """The request as the student reads it."""
    return REQUESTS[trip.size].format(
        person=trip.person,
        company=trip.company,
        city=trip.city,
        meeting=clock(trip.meeting.start),
        nights=trip.nights,
        back=WEEKDAYS[trip.meeting.start // DAY + trip.nights],
        budget=trip.budget,
    )


def first_observation(trip: Trip) -> str:
    """The request; in a full world with the tools, since an agent may be told them nowhere else."""
    if trip.size == "small":
        return request(trip)
    tools = ", ".join(f"{name}({', '.join(schema['properties'])})" for name, schema in parameters(trip.size).items())
    return FIRST_OBSERVATION.format(request=request(trip), tools=tools)


def hints(trip: Trip, best: Best, plan: Sequence[str]) -> list[str]:
    """Sentences that rise in help; none once nothing can be done any more."""
    if not plan:
        return []
    hidden = trip.hidden
    full = ", ".join(f"{airline} {which}" for airline, which in hidden.full.items())
    words = {"office": hidden.office, "feature": hidden.feature, "cuisine": hidden.cuisine, "closed": hidden.closed}
    chosen = ", ".join(f"{kind} {offer}" for kind, offer in _chosen(best).items()) or "what is booked"
    return [*(hint.format(**words, full=full) for hint in HINTS), BEST_HINT.format(chosen=chosen, call=plan[0])]


def facts(trip: Trip, best: Best) -> dict[str, Any]:
    """What the student is not told, as plain JSON."""
    hidden, policy = trip.hidden, trip.policy
    return {
        "office": hidden.office,
        "hotel_feature": hidden.feature,
        "cuisine": hidden.cuisine,
        "airline": hidden.airline,
        "full_departures": dict(hidden.full),
        "closed_district": hidden.closed,
        "most_per_night": policy.most_per_night,
        "fares": list(policy.fares),
        "minutes_before_meeting": policy.margin,
        "best_offers": _chosen(best),
        "best_reachable_score": best.score,
    }


def _chosen(best: Best) -> dict[str, str]:
    chosen = [way.candidate.offer for way in best.ways if way.candidate is not None]
    return {offer.kind: offer.id for offer in chosen}
