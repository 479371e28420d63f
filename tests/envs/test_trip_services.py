"""The tools of a trip: schemas, how calls are read, what services answer, and that money and state add up."""

from __future__ import annotations

import json

import pytest
from trip_play import call, trip_of, walked

from sdar_envs.trip import judge
from sdar_envs.trip.draws import Draws
from sdar_envs.trip.env import admissible_calls
from sdar_envs.trip.services import State, answer
from sdar_envs.trip.tables import FEES, SIZE_TABLES, SIZES
from sdar_envs.trip.tools import Call, NoCall, call_text, parameters, read_call, tool_schemas
from sdar_envs.trip.trip import KINDS, Trip


def code(result: dict) -> str:
    return result["error"]["code"]


def trip_where(wanted, size: str = "small") -> Trip:
    return next(trip for number in range(200) if wanted(trip := trip_of(number, size=size)))


def shown(trip: Trip) -> State:
    """The state in which every offer was shown and the calendar read."""
    return State(seen=frozenset(trip.offers), calendar_read=True)


@pytest.mark.parametrize("size", SIZES)
def test_schemas_are_what_function_calling_takes_and_nobody_elses(size: str) -> None:
    tools = tool_schemas(size)
    assert [tool["function"]["name"] for tool in tools] == list(parameters(size))
    for tool in tools:
        assert tool["type"] == "function" and tool["function"]["description"]
        schema = tool["function"]["parameters"]
        assert schema["type"] == "object" and schema["additionalProperties"] is False
        assert set(schema["required"]) <= schema["properties"].keys()
    tools[0]["function"]["name"] = "changed"
    assert tool_schemas(size)[0]["function"]["name"] == "read_calendar"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not_json"),
        ("look", "not_json"),
        ('{"name": "finish", "arguments": {}', "not_json"),
        ('{"name": "finish", "arguments": {}} {"name": "finish"}', "not_json"),
        ("[" * 1_000, "not_json"),
        ("[" * 10_000 + "]" * 10_000, "not_json"),
        ('{"name": "book", "arguments": {"id": ' + '{"id": ' * 10_000 + "1" + "}" * 10_002, "not_json"),
        ('{"name": "search_flights", "arguments": {"page": ' + "9" * 5_000 + "}}", "not_json"),
        ('{"name": "search_hotels", "arguments": {"district": "moon; DROP TABLE hotels"}}', "invalid_arguments"),
        ('{"name": "search_hotels", "arguments": {"district": "{moon.__class__}"}}', "invalid_arguments"),
        ('{"name": "read_calendar", "arguments": {"person": "moon"}}', "invalid_arguments"),
        ('{"name": ' * 200, "not_json"),
        ('{"name": "search_flights", "arguments": {"page": NaN}}', "not_json"),
        ('{"name": "search_flights", "arguments": {"page": ' + "9" * 1_900 + "}}", "invalid_arguments"),
        ('{"name": "search_flights", "arguments": {"page": 1e999}}', "invalid_arguments"),
        ('{"name": "search_flights", "arguments": {"page": true}}', "invalid_arguments"),
        ('{"name": "search_flights", "arguments": {"page": 0}}', "invalid_arguments"),
        ('{"name": "search_flights", "arguments": {"page": "2"}}', "invalid_arguments"),
        ('{"name": "search_flights", "arguments": [1]}', "invalid_arguments"),
        ('{"name": "search_flights", "arguments": null}', "invalid_arguments"),
        ('{"name": "search_hotels", "arguments": {"district": "moon"}}', "invalid_arguments"),
        ('{"name": "book", "arguments": {}}', "invalid_arguments"),
        ('{"name": "book", "arguments": {"id": ["f1"]}}', "invalid_arguments"),
        ('{"name": "book", "arguments": {"id": "' + "f" * 41 + '"}}', "invalid_arguments"),
        ('{"name": "finish", "arguments": {"at": "once"}}', "invalid_arguments"),
        ('{"name": "rm -rf", "arguments": {}}', "unknown_tool"),
        ('{"name": "__class__", "arguments": {}}', "unknown_tool"),
        ('{"name": ["book"], "arguments": {"id": "f1"}}', "not_a_call"),
        ('{"name": "finish", "arguments": {}, "then": "book"}', "not_a_call"),
        ('{"action": "look"}', "not_a_call"),
        ("[]", "not_a_call"),
        ("null", "not_a_call"),
        ('"finish"', "not_a_call"),
    ],
)
def test_what_is_no_call_has_a_reason_and_is_never_repeated(text: str, reason: str) -> None:
    said = read_call(text, "small")
    assert isinstance(said, NoCall) and said.code == reason
    assert "moon" not in said.message and "rm -rf" not in said.message and "fff" not in said.message


def test_a_call_is_read_whatever_its_layout_and_arguments_may_be_left_out() -> None:
    assert read_call('{"arguments":{"district":"river","page":2},"name":"search_hotels"}', "small") == Call(
        "search_hotels", {"district": "river", "page": 2}
    )
    assert read_call(' { "name" : "finish" } ', "small") == Call("finish", {})


def test_searches_show_every_offer_once_page_by_page_and_by_price_when_asked() -> None:
    trip = trip_of(3, size="full")
    for name, tool, offers in (
        ("flights", "search_flights", trip.flights),
        ("hotels", "search_hotels", trip.hotels),
        ("restaurants", "search_restaurants", trip.restaurants),
    ):
        for sort in ("listed", "price"):
            rows, page, last = [], 1, 1
            while page <= last:
                _, result = call(trip, State(), tool, page=page, sort=sort)
                assert result["page"] == page and len(result[name]) <= SIZE_TABLES["full"].page
                rows, page, last = rows + result[name], page + 1, result["pages"]
            assert sorted(row["id"] for row in rows) == sorted(offer.id for offer in offers)
            prices = [row["price"] for row in rows]
            assert (prices == sorted(prices)) == (sort == "price")
        assert code(call(trip, State(), tool, page=last + 1)[1]) == "no_such_page"


def test_searches_show_nothing_that_is_hidden() -> None:
    trip = trip_of(3, size="full")
    for tool in ("search_flights", "search_hotels", "search_restaurants"):
        text = json.dumps(call(trip, State(), tool)[1])
        assert not any(word in text for word in ("seats", "rooms", "tables", "closed", "sold"))


def test_what_no_search_has_shown_cannot_be_booked_held_or_cancelled() -> None:
    trip = trip_of(0)
    for tool in ("book", "hold", "cancel"):
        for offer in ("f1", "h99", "__dict__", "x' OR 1=1"):
            state, result = call(trip, State(), tool, id=offer)
            assert code(result) == "unknown_id" and state == State(calls=1) and offer not in json.dumps(result)


def test_what_is_sold_out_closed_or_against_the_policy_is_refused_and_changes_nothing() -> None:
    refused: dict[str, int] = {}
    for number in range(40):
        trip = trip_of(number, size="full")
        for offer in trip.offers.values():
            for tool in ("hold", "book"):
                state, result = call(trip, shown(trip), tool, id=offer.id)
                assert ("error" not in result) == trip.obtainable(offer)
                if "error" in result:
                    refused[code(result)] = refused.get(code(result), 0) + 1
                    assert state == call(trip, shown(trip), "past_bookings")[0]
    assert refused.keys() == {"sold_out", "closed", "policy_violation"}


def test_one_of_each_kind_is_booked_at_a_time() -> None:
    trip = trip_where(lambda trip: sum(map(trip.obtainable, trip.flights)) > 1)
    one, other = [flight.id for flight in trip.flights if trip.obtainable(flight)][:2]
    state, result = call(trip, shown(trip), "book", id=one)
    assert result == {"booked": one, "paid": trip.offers[one].price, "spent": trip.offers[one].price}
    for wanted in (one, other):
        after, result = call(trip, state, "book", id=wanted)
        assert code(result) == "already_booked" and after.flight == one
    assert code(call(trip, state, "hold", id=one)[1]) == "already_booked"


def test_a_hold_is_free_and_goes_with_the_booking_or_is_let_go() -> None:
    trip = trip_of(0)
    hotel = next(hotel.id for hotel in trip.hotels if trip.obtainable(hotel))
    state, result = call(trip, shown(trip), "hold", id=hotel)
    assert result == {"held": hotel} and state.held == {hotel} and judge.spent(state.booked(trip), state.fees) == 0
    assert call(trip, state, "cancel", id=hotel)[1] == {"released": hotel}
    booked, _ = call(trip, state, "book", id=hotel)
    assert booked.hotel == hotel and booked.held == frozenset()


def test_cancelling_pays_back_what_was_paid_but_for_the_fee_and_only_where_the_terms_allow_it() -> None:
    seen = {True: 0, False: 0}
    for number in range(20):
        trip = trip_of(number)
        for offer in filter(trip.obtainable, trip.offers.values()):
            state, _ = call(trip, shown(trip), "book", id=offer.id)
            after, result = call(trip, state, "cancel", id=offer.id)
            if offer.refundable:
                fee = FEES[offer.kind]
                assert result == {"cancelled": offer.id, "refunded": offer.price - fee, "fee": fee, "spent": fee}
                assert after.fees == fee and not getattr(after, offer.kind)
            else:
                assert code(result) == "not_cancellable" and getattr(after, offer.kind) == offer.id
            seen[offer.refundable] += 1
    assert all(seen.values())


def test_money_adds_up_to_the_cent_over_random_calls() -> None:
    """Whatever is called: what is spent is what was paid minus what was paid back, counted from the answers alone."""
    moves = 0
    for number in range(40):
        trip = trip_of(number, size=("small", "full")[number % 2])
        draws, state, ledger = Draws("ledger", number), State(), 0
        for _ in range(60):
            options = [text for text in admissible_calls(trip, state) if '"finish"' not in text]
            said = read_call(draws.choice(options), trip.size)
            assert isinstance(said, Call)
            before = state
            state, result = answer(trip, state, said)
            ledger += result.get("paid", 0) - result.get("refunded", 0)
            moves += "paid" in result or "refunded" in result
            assert judge.spent(state.booked(trip), state.fees) == ledger == result.get("spent", ledger)
            if "error" in result:
                assert before == type(state)(**{**_fields(state), "calls": before.calls})
        assert state.calls == 60
    assert moves > 100


def _fields(state: State) -> dict:
    return {name: getattr(state, name) for name in State.__slots__}


def test_only_so_many_questions_are_answered_and_the_answers_are_true() -> None:
    trip = trip_of(5)
    hidden = trip.hidden
    truth = {"office": hidden.office, "hotel": hidden.feature, "food": hidden.cuisine, "airline": hidden.airline}
    for topic, said in truth.items():
        state, result = call(trip, State(), "ask_person", topic=topic)
        assert result == {"topic": topic, "answer": said}
        again, refusal = call(trip, state, "ask_person", topic="office")
        assert code(refusal) == "no_more_answers" and again.answered == state.answered == 1


def test_the_movable_entry_is_moved_to_its_times_alone_and_back() -> None:
    trip = trip_where(lambda trip: trip.movable is not None, "full")
    entry = trip.movable
    assert entry is not None
    assert code(call(trip, State(), "move_entry", id=entry.id, to="fri 10:00")[1]) == "unknown_id"
    state, calendar = call(trip, State(), "read_calendar")
    row = next(row for row in calendar["entries"] if row["id"] == entry.id)
    was = row["when"][:9]
    moved, result = call(trip, state, "move_entry", id=entry.id, to=row["can_move_to"][1])
    assert moved.position == 2 and result["when"].startswith(row["can_move_to"][1])
    assert code(call(trip, state, "move_entry", id=entry.id, to="sun 03:00")[1]) == "slot_taken"
    assert code(call(trip, state, "move_entry", id="e2", to="sun 03:00")[1]) == "not_movable"
    assert call(trip, moved, "move_entry", id=entry.id, to=was)[0].position == 0


def test_the_policy_and_the_map_say_what_the_world_obeys() -> None:
    trip = trip_of(4, size="full")
    rules = call(trip, State(), "read_policy", section="flights")[1]["rules"]
    assert rules["minutes_at_office_before_meeting"] == trip.policy.margin and rules["fares"] == list(trip.policy.fares)
    rules = call(trip, State(), "read_policy", section="hotels")[1]["rules"]
    assert rules["most_per_night"] == trip.policy.most_per_night
    minutes = call(trip, State(), "travel_time", **{"from": "airport"})[1]["minutes"]
    assert minutes == {place: trip.minutes("airport", place) for place in SIZE_TABLES["full"].districts}


def test_admissible_calls_are_calls_and_those_that_book_are_answered() -> None:
    for number in range(20):
        trip = trip_of(number, size=("small", "full")[number % 2])
        state = walked(trip, 8, "admissible", number)
        texts = admissible_calls(trip, state)
        assert len(texts) == len(set(texts))
        for text in texts:
            said = read_call(text, trip.size)
            assert isinstance(said, Call)
            result = answer(trip, state, said)[1]
            assert "error" not in result or code(result) not in ("unknown_id", "no_such_page", "slot_taken")


def test_states_are_values_and_no_call_alters_one() -> None:
    trip = trip_of(0)
    state = walked(trip, 6, "values")
    kept = _fields(state)
    for text in admissible_calls(trip, state):
        said = read_call(text, trip.size)
        assert isinstance(said, Call)
        answer(trip, state, said)
    assert _fields(state) == kept and all(kind in State.__slots__ for kind in KINDS)
    assert call_text("book", id="f1") in [*admissible_calls(trip, shown(trip))]
