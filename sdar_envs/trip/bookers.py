"""Scripted bookers: what a sensible assistant reaches with and without skill statements.

They read requests and results and nothing else, make no mistakes of form, and forget nothing. Their success rates bound
what knowing the regularities is worth. They are baselines; the demonstrations of `demonstrator.py` are theirs, gone
astray now and then.
"""

from __future__ import annotations

import json
import re
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..randomness import Key
from .draws import Draws
from .tables import AIRPORT, CHECK_IN, DAY, FIRST, HOMEWARD, SIZE_TABLES, WEEKDAYS
from .tools import call_text

# One exchange after the other: calls are yielded and results are sent.
Dialogue = Generator[str, str, Any]

_REQUESTS = {
    "full": re.compile(r".* of (?P<company>\w+) to \w+: .* on (?P<day>\w+) (?P<hour>\d+):(?P<minute>\d+), .*"),
    "small": re.compile(
        r"trip: \w+ of (?P<company>\w+) to \w+, meeting (?P<day>\w+) (?P<hour>\d+):(?P<minute>\d+), .*"
    ),
}
_STATEMENTS = {
    "office": re.compile(r"(\w+) meets in (\w+)\."),
    "feature": re.compile(r"(\w+) needs (\w+)\."),
    "cuisine": re.compile(r"(\w+) eats (\w+)\."),
    "full": re.compile(r"(\w+) (first|last) is full\."),
    "closed": re.compile(r"(\w+) (\w+) is closed\."),
}
_TIME = re.compile(r"(\w\w\w) (\d\d):(\d\d)")


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request says: for whom, and when the meeting begins."""

    company: str
    meeting: int


def read_request(instruction: str, size: str) -> Asked:
    """What a generated request asks for.

    Raises:
        ValueError: It is not worded as requests are.
    """
    found = _REQUESTS[size].fullmatch(instruction)
    if found is None:
        raise ValueError(f"expected the wording of generated requests of size {size!r}, got {instruction[:200]!r}")
    at = WEEKDAYS.index(found["day"]) * DAY + int(found["hour"]) * 60 + int(found["minute"])
    return Asked(found["company"], at)


def read_span(text: str) -> tuple[int, int]:
    """The minutes of a span of time such as ``tue 09:30-11:00``."""
    start = read_clock(text[:9])
    end = text[10:]
    return start, read_clock(end if len(end) > 5 else f"{text[:3]} {end}")


def read_clock(text: str) -> int:
    """The minutes of a time such as ``tue 09:30``."""
    found = _TIME.fullmatch(text)
    assert found is not None
    return WEEKDAYS.index(found[1]) * DAY + int(found[2]) * 60 + int(found[3])


def known_facts(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The privileged facts of a trip in the form in which a booker keeps what it knows."""
    return {
        "office": facts["office"],
        "feature": facts["hotel_feature"],
        "cuisine": facts["cuisine"],
        "full": dict(facts["full_departures"]),
        "closed": facts["closed_district"],
        "margin": facts["minutes_before_meeting"],
    }


class Booker:
    """Finds out what it can, guesses the rest, and books the cheapest of what seems to fit.

    Args:
        size: Of the world.
        statements: Compact lines of skill statements; without them old bookings and guesses decide.
        key: Of the guesses.
        facts: What is known for certain (`known_facts`); nothing is asked then.
        calls: Of an episode.
        enquires: Whether the person is asked and old bookings are read. Who does not guesses more, in fewer calls.
    """

    def __init__(
        self,
        size: str,
        statements: Sequence[str] = (),
        key: tuple[Key, ...] = (0,),
        *,
        facts: Mapping[str, Any] | None = None,
        calls: int,
        enquires: bool = True,
    ) -> None:
        self.size = size
        self.table = SIZE_TABLES[size]
        self.draws = Draws("booker", *key)
        self.enquires = enquires and facts is None
        self.certain = facts is not None
        self.left = calls
        self.known: dict[str, Any] = {"full": {}} if facts is None else dict(facts)
        for field, pattern in _STATEMENTS.items() if facts is None else ():
            for key_, value in (found.groups() for line in statements if (found := pattern.fullmatch(line))):
                if field == "full":
                    self.known["full"][key_] = value
                else:
                    self.known[field] = value

    def play(self, instruction: str) -> Generator[str, str, None]:
        """Yield calls and be sent results; ends with `finish`."""
        asked = read_request(instruction, self.size)
        entries = (yield from self._call("read_calendar")).get("entries", [])
        if self.enquires:
            yield from self._enquire()
        self._guess()
        yield from self._fly(asked, entries)
        yield from self._stay()
        yield from self._dine()
        yield call_text("finish")

    def _call(self, name: str, **arguments: str | int) -> Generator[str, str, dict[str, Any]]:
        """One call, unless the last one is to be kept for `finish`."""
        if self.left <= 1:
            return {}
        self.left -= 1
        said = yield call_text(name, **arguments)
        result: dict[str, Any] = json.loads(said)
        return result

    # Finding out.

    def _enquire(self) -> Generator[str, str, None]:
        answer = (yield from self._call("ask_person", topic="office")).get("answer")
        if answer:
            self.known["office"] = answer
        if "feature" in self.known and "cuisine" in self.known:
            return
        trips = (yield from self._call("past_bookings")).get("trips", [])
        if trips:
            # Where the old trips agree they tell, and otherwise the newest is as good as any.
            self.known.setdefault("feature", trips[0]["hotel"])
            self.known.setdefault("cuisine", trips[0]["dinner"])

    def _guess(self) -> None:
        self.known.setdefault("office", self.draws.choice(self.table.districts))
        self.known.setdefault("feature", self.draws.choice(self.table.features))
        self.known.setdefault("cuisine", self.draws.choice(self.table.cuisines))

    # Flights.

    def _fly(self, asked: Asked, entries: Sequence[Mapping[str, Any]]) -> Generator[str, str, None]:
        before, after = 60, 2 * CHECK_IN
        if self.size == "full":
            times = (yield from self._call("travel_time", **{"from": AIRPORT})).get("minutes", {})
            way = times.get(self.known["office"], 45)
            margin = self.known.get("margin")
            if margin is None:
                rules = (yield from self._call("read_policy", section="flights")).get("rules", {})
                margin = rules.get("minutes_at_office_before_meeting", 60)
            before, after = way + margin, way + CHECK_IN
        rows = yield from self._all("search_flights", "flights", {})
        away = [read_span(entry["when"]) for entry in entries if entry["where"] != "home"]
        home = [entry for entry in entries if entry["where"] == "home"]
        leaves = max((end for _, end in away), default=0) + after
        fitting = [
            row
            for row in rows
            if read_span(row["out"])[1] + before <= asked.meeting and leaves <= read_span(row["back"])[0]
        ]
        clear: Sequence[Mapping[str, Any]] = [
            row for row in fitting if all(_clear(row, read_span(entry["when"])) for entry in home)
        ]
        if not clear:
            clear = yield from self._make_room(fitting, home)
        full = [row["id"] for row in self._probably_full(rows)]
        # Whoever knows nothing of sold-out flights has them in the order like all others.
        order = sorted(clear or fitting or rows, key=lambda row: (row["id"] in full, row["price"]))
        yield from self._book(order)

    def _make_room(
        self, rows: Sequence[Mapping[str, Any]], home: Sequence[Mapping[str, Any]]
    ) -> Generator[str, str, list[Mapping[str, Any]]]:
        """Move an entry out of the way of flights; the flights that are then free of it."""
        for entry in home:
            start, end = read_span(entry["when"])
            for to in entry.get("can_move_to", ()):
                moved = read_clock(to), read_clock(to) + end - start
                free = [row for row in rows if _clear(row, moved)]
                if free:
                    yield from self._call("move_entry", id=entry["id"], to=to)
                    return free
        return []

    def _probably_full(self, rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        full = []
        for airline, which in self.known["full"].items():
            own = [row for row in rows if row["airline"] == airline]
            if own:
                full.append(own[0] if which == FIRST else own[-1])
        return full

    # Hotel and dinner.

    def _stay(self) -> Generator[str, str, None]:
        rows = yield from self._all("search_hotels", "hotels", {"district": self.known["office"]})
        fitting = [row for row in rows if row["feature"] == self.known["feature"]]
        yield from self._book(sorted(fitting or rows, key=lambda row: row["price"]))

    def _dine(self) -> Generator[str, str, None]:
        rows = yield from self._all("search_restaurants", "restaurants", {"cuisine": self.known["cuisine"]})
        closed = self.known.get("closed")
        yield from self._book(sorted(rows, key=lambda row: (row["district"] == closed, row["price"])))

    def _all(self, tool: str, name: str, arguments: Mapping[str, str]) -> Generator[str, str, list[dict[str, Any]]]:
        """All rows of a search, page by page."""
        rows: list[dict[str, Any]] = []
        page, last = 1, 1
        while page <= last:
            result = yield from self._call(tool, **arguments, **({"page": page} if page > 1 else {}))
            rows += result.get(name, [])
            page, last = page + 1, result.get("pages", 0)
        return rows

    def _book(self, order: Sequence[Mapping[str, Any]]) -> Generator[str, str, None]:
        """Book the first that can be had."""
        for row in order:
            result = yield from self._call("book", id=row["id"])
            if "error" not in result:
                return


def _clear(row: Mapping[str, Any], entry: tuple[int, int]) -> bool:
    """Whether a flight leaves room for an entry at home."""
    return entry[1] <= read_span(row["out"])[0] - CHECK_IN or entry[0] >= read_span(row["back"])[1] + HOMEWARD


class NaiveBooker:
    """Books what stands first in lists that are sorted one way, and finishes; knows and asks nothing.

    Args:
        sort: ``price`` for the cheapest of everything, ``listed`` for the first hit.
    """

    def __init__(self, sort: str) -> None:
        self.sort = sort

    def play(self, instruction: str) -> Generator[str, str, None]:
        """Yield calls and be sent results; ends with `finish`."""
        for name in ("flights", "hotels", "restaurants"):
            rows = json.loads((yield call_text(f"search_{name}", sort=self.sort)))[name]
            for row in rows[:2]:
                if "error" not in json.loads((yield call_text("book", id=row["id"]))):
                    break
        yield call_text("finish")
