"""Playing trips in tests: calls to ends, random walks, and a search over the calls themselves."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

from sdar_envs.trip import judge
from sdar_envs.trip.draws import Draws
from sdar_envs.trip.env import TripEnv, admissible_calls
from sdar_envs.trip.generator import make_trip
from sdar_envs.trip.services import State, answer
from sdar_envs.trip.tools import Call, call_text, read_call
from sdar_envs.trip.trip import KINDS, Trip

Info = dict[str, Any]


def trip_of(number: int, *, split: str = "train", size: str = "small", world_seed: int = 0) -> Trip:
    """A task's trip."""
    return make_trip(f"{split}:{number:06d}", size=size, world_seed=world_seed, regularity=0.85)


def call(trip: Trip, state: State, name: str, **arguments: Any) -> tuple[State, dict[str, Any]]:
    """Make a call; it has to fit the schemas."""
    said = read_call(call_text(name, **arguments), trip.size)
    assert isinstance(said, Call), said
    return answer(trip, state, said)


def walked(trip: Trip, calls: int, *key: int | str) -> State:
    """The state after so many admissible calls, none of which is the last one."""
    draws, state = Draws("walk", *key), State()
    for _ in range(calls):
        options = [text for text in admissible_calls(trip, state) if '"finish"' not in text]
        said = read_call(draws.choice(options), trip.size)
        assert isinstance(said, Call)
        state, _ = answer(trip, state, said)
    return state


def play(env: TripEnv, task_id: str, script: Callable[[Info], Generator[str, str, None]]) -> Info:
    """One episode of a scripted player; the last info."""
    _, info = env.reset(options={"task_id": task_id})
    player, said = script(info), None
    over = False
    while not over:
        action = next(player) if said is None else player.send(said)
        said, _, terminated, truncated, info = env.step(action)
        over = terminated or truncated
    return info


def best_by_search(trip: Trip, state: State, horizon: int, optimum: int) -> float:
    """The best score that any sequence of calls reaches: every call is tried in every state.

    Left out are calls that change nothing but what is known, and holds, which are no bookings; waiting stands for them.
    """
    known: dict[object, float] = {}

    def value(state: State) -> float:
        if state.finished:
            booked = state.booked(trip)
            met = sum(judge.constraints_met(trip, booked, state.position, state.fees).values())
            if met < len(judge.CONSTRAINTS):
                return judge.failing_score(met)
            return judge.success_score(judge.value(trip, booked, state.fees), optimum)
        if state.calls >= horizon:
            return 0.0
        bookings = tuple(getattr(state, kind) for kind in KINDS)
        key = (state.calls, bookings, state.seen, state.position, state.fees, state.calendar_read)
        if key not in known:
            known[key] = max(value(answer(trip, state, one)[0]) for one in _options(trip, state))
        return known[key]

    return value(state)


def _options(trip: Trip, state: State) -> list[Call]:
    calls = [Call("finish", {}), Call("read_policy", {"section": "hotels"}), Call("read_calendar", {})]
    calls += [Call("search_flights", {})] if trip.flights else []
    calls += [Call("search_hotels", {"district": district}) for district in trip.by_district]
    calls += [Call("search_restaurants", {"cuisine": cuisine}) for cuisine in trip.by_cuisine]
    calls += [Call("book", {"id": offer}) for offer in state.seen]
    calls += [Call("cancel", {"id": getattr(state, kind)}) for kind in KINDS if getattr(state, kind)]
    moves = [text for text in admissible_calls(trip, state) if "move_entry" in text]
    return calls + [said for text in moves if isinstance(said := read_call(text, trip.size), Call)]
