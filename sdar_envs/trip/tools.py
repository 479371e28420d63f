"""The tools of a trip: their JSON schemas, and how the text of a call is read.

A call is one JSON object, ``{"name": ..., "arguments": {...}}``, and nothing around it. Whatever else a text says is no
call: reading it gives the reason, never an exception. Nothing of a text that is no call is ever repeated.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

from .tables import SIZE_TABLES, TOPICS

LONGEST_TEXT = 40
MOST_PAGES = 1_000
SECTIONS = ("flights", "hotels")
SORTS = ("listed", "price")


@dataclass(frozen=True, slots=True)
class Call:
    """A call whose name and arguments fit the schemas."""

    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class NoCall:
    """Why a text is no call: a code, and a sentence for whoever wrote it."""

    code: str
    message: str


@lru_cache(maxsize=8_192)
def call_text(name: str, **arguments: str | int) -> str:
    """A call as plans and admissible actions write it."""
    return json.dumps({"name": name, "arguments": arguments})


def _text(description: str, *options: str) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string", "description": description}
    return {**schema, "enum": list(options)} if options else {**schema, "maxLength": LONGEST_TEXT}


_PAGE = {"type": "integer", "description": "Page of the results, from 1.", "minimum": 1, "maximum": MOST_PAGES}


@cache
def parameters(size: str) -> dict[str, dict[str, Any]]:
    """Tool -> JSON schema of its arguments, for a size of world."""
    table = SIZE_TABLES[size]
    offer = _text("Id of an offer that a search has shown.")
    sort = _text("In which order; as listed when it is left out.", *SORTS)
    district = _text("A district of the city.", *table.districts)

    def schema(required: tuple[str, ...] = (), **properties: dict[str, Any]) -> dict[str, Any]:
        return {
            "type": "object",
            "properties": properties,
            "required": list(required),
            "additionalProperties": False,
        }

    places = (*table.districts, "airport")
    return {
        "read_calendar": schema(),
        "search_flights": schema(page=_PAGE, sort=sort),
        "search_hotels": schema(district=district, page=_PAGE, sort=sort),
        "search_restaurants": schema(cuisine=_text("What is cooked.", *table.cuisines), page=_PAGE, sort=sort),
        "travel_time": schema(("from",), **{"from": _text("A district, or the airport.", *places)}),
        "past_bookings": schema(),
        "read_policy": schema(("section",), section=_text("Section of the policy.", *SECTIONS)),
        "ask_person": schema(("topic",), topic=_text("What to ask about.", *TOPICS)),
        "move_entry": schema(
            ("id", "to"),
            id=_text("Id of an entry of the calendar."),
            to=_text("One of the times it can be moved to, such as thu 10:00."),
        ),
        "hold": schema(("id",), id=offer),
        "book": schema(("id",), id=offer),
        "cancel": schema(("id",), id=_text("Id of an offer that is booked or held.")),
        "finish": schema(),
    }


DESCRIPTIONS = {
    "read_calendar": "Read the person's calendar: what is fixed, and what can be moved where.",
    "search_flights": "List flights there and back on the days of the trip. Prices are in cents.",
    "search_hotels": "List hotels for all nights of the trip, of one district or of all. A price is of the whole stay.",
    "search_restaurants": "List restaurants for the evening of the meeting, of one cuisine or of all.",
    "travel_time": "Minutes from a place to every other place of the city.",
    "past_bookings": "Show the person's last trips.",
    "read_policy": "Read a section of the company's travel policy.",
    "ask_person": "Ask the traveller about one topic. Only so many questions are answered.",
    "move_entry": "Move an entry of the calendar to one of the times it can be moved to.",
    "hold": "Reserve an offer without paying; it shows whether the offer is available.",
    "book": "Book and pay an offer. One flight, one hotel and one dinner can be booked at a time.",
    "cancel": "Cancel what is booked, if its terms allow it, or let go what is held.",
    "finish": "Say that the trip is complete. Nothing can be changed after that.",
}


def tool_schemas(size: str) -> list[dict[str, Any]]:
    """The tools as chat templates and function-calling interfaces take them, built afresh."""
    described = {name: (DESCRIPTIONS[name], schema) for name, schema in parameters(size).items()}
    return json.loads(  # type: ignore[no-any-return]  # a deep copy of plain JSON
        json.dumps(
            [
                {"type": "function", "function": {"name": name, "description": text, "parameters": schema}}
                for name, (text, schema) in described.items()
            ]
        )
    )


_FORM = "write one call, a JSON object of name and arguments, and nothing else"


def _not_json(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def read_call(text: str, size: str) -> Call | NoCall:
    """Read a text as a call of one of the tools."""
    try:
        said = json.loads(text, parse_constant=_not_json)
    except (ValueError, RecursionError):
        return NoCall("not_json", f"that was no JSON: {_FORM}")
    if not isinstance(said, dict) or not isinstance(said.get("name"), str) or said.keys() - {"name", "arguments"}:
        return NoCall("not_a_call", f"that was no call: {_FORM}")
    schemas = parameters(size)
    name, arguments = said["name"], said.get("arguments", {})
    if name not in schemas:
        return NoCall("unknown_tool", f"there is no such tool: the tools are {', '.join(schemas)}")
    if not isinstance(arguments, dict):
        return NoCall("invalid_arguments", f"{name} expects its arguments as an object")
    problem = _mismatch(arguments, schemas[name])
    return NoCall("invalid_arguments", f"{name} expects {problem}") if problem else Call(name, arguments)


def _mismatch(arguments: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    """What a schema expects that the arguments do not hold; "" where they fit."""
    properties = schema["properties"]
    missing = [name for name in schema["required"] if name not in arguments]
    if missing:
        return f"the argument {missing[0]}"
    for name, given in arguments.items():
        expected = properties.get(name)
        if expected is None:
            return f"no arguments but {', '.join(properties)}" if properties else "no arguments"
        if expected["type"] == "integer":
            if type(given) is not int or not expected["minimum"] <= given <= expected["maximum"]:
                return f"{name} to be a whole number from {expected['minimum']} to {expected['maximum']}"
        elif not isinstance(given, str) or len(given) > LONGEST_TEXT:
            return f"{name} to be a text of at most {LONGEST_TEXT} characters"
        elif "enum" in expected and given not in expected["enum"]:
            return f"{name} to be one of {', '.join(expected['enum'])}"
    return ""
