"""The scripted players of Haggle. They read the view of their own seat and nothing else.

`limiter` is the usual opponent: it takes whatever its limit allows, asks for the extreme and so says nothing of its
limit, and leaves when an offer misses its limit by too much. The others are baselines and held-out opponents.

What `statements` are is what a player was told about the world: short lines of its own role's skill bank.
"""

from __future__ import annotations

import abc
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ...choices import require_choice
from ...privileged import StudentView
from ...randomness import counted_generator
from ..player import Player
from ..scripted import played_by
from .tables import SELLER, SHOPPER, SIZE_TABLES, SizeTable

_INSTRUCTION = re.compile(
    r"you are the (?P<side>shopper|seller) of (?P<thing>[^:.]+)(?:: .*, listed at (?P<listed>\d+))?\. "
    r"(?:it|the lot) (?:is worth|costs you) (?P<limit>\d+)(?: to you)?\."
)
_QUOTED = re.compile(r'"[^"]*"')
_OFFERED = re.compile(r"the (?:shopper|seller) offers (\d+)\.")
_STATEMENT = re.compile(r"(?P<thing>[^:]+): (?:sellers take|shoppers pay)(?: about)? (?P<value>\d+)(?: per cent)?\.")


@dataclass
class Seat:
    """What a player knows of its own game: read off its views, in levels seen from its own side.

    A level seen from the own side is low where the price is good: shoppers count upwards, sellers downwards. So one
    script serves both sides.
    """

    table: SizeTable
    is_shopper: bool
    thing: str
    unit: int  # dollars of a level
    limit: int
    standing: int | None = None
    made: int = 0

    @classmethod
    def of(cls, view: StudentView) -> Seat:
        """Read an instruction.

        Raises:
            ValueError: It is none of Haggle's.
        """
        found = _INSTRUCTION.match(view.instruction)
        if found is None:
            raise ValueError(f"expected an instruction of Haggle, got {view.instruction[:200]!r}")
        table = SIZE_TABLES["full" if found["listed"] else "small"]
        unit = int(found["listed"]) * table.level // 100 if found["listed"] else table.level
        is_shopper = found["side"] == "shopper"
        seat = cls(table, is_shopper, found["thing"], unit, 0)
        seat.limit = seat.own(int(found["limit"]))
        return seat

    def own(self, price: int) -> int:
        """A price as a level seen from the own side; one between two levels counts as the worse for this side."""
        low, high = self.table.lowest, self.table.highest
        return -(-price // self.unit) if self.is_shopper else low + high - price // self.unit

    def dollars(self, level: int) -> int:
        """The price of a level that is seen from the own side."""
        low, high = self.table.lowest, self.table.highest
        return self.unit * (level if self.is_shopper else low + high - level)

    @property
    def best(self) -> int:
        """The best level that can ever be got."""
        return self.table.lowest

    @property
    def can_offer(self) -> bool:
        """Whether an offer is left."""
        return self.made < self.table.offers

    def offer(self, level: int) -> str:
        """Offer a level, or one's limit where that is better for the other."""
        self.made += 1
        return f"offer {self.dollars(min(max(level, self.best), self.limit))}"


def _heard(view: StudentView) -> int | None:
    """The price that the other offers in a view; what stands in its talk is not the world's word."""
    found = _OFFERED.findall(_QUOTED.sub("", view.observation))
    return int(found[-1]) if found else None


class Script(abc.ABC):
    """A player that follows a rule of one seat: subclasses say what to do now."""

    def __init__(self, statements: Sequence[str] = ()) -> None:
        self.statements = tuple(statements)
        self._seat: Seat | None = None

    def act(self, view: StudentView) -> str:
        """The next action."""
        if view.turn == 0 or self._seat is None:
            self._seat = Seat.of(view)
        seat = self._seat
        price = _heard(view)
        if price is not None:
            seat.standing = seat.own(price)
        return self._move(seat, view)

    @abc.abstractmethod
    def _move(self, seat: Seat, view: StudentView) -> str:
        """What to do now."""

    def told(self, seat: Seat) -> int | None:
        """The other's limit as a statement names it, seen from the own side; None without one about this thing."""
        for line in self.statements:
            found = _STATEMENT.fullmatch(line)
            if found and found["thing"] == seat.thing:
                value = int(found["value"])
                level = value // seat.table.level
                return level if seat.is_shopper else seat.table.lowest + seat.table.highest - level
        return None


class Climber(Script):
    """Offers a level and then better ones for the other, one by one; takes what is no worse than its next offer."""

    def _start(self, seat: Seat) -> int:
        return seat.best

    def _next(self, seat: Seat, view: StudentView) -> int:
        return self._start(seat) + seat.made

    def _move(self, seat: Seat, view: StudentView) -> str:
        planned = min(self._next(seat, view), seat.limit)
        if seat.standing is not None and seat.standing <= planned:
            return "accept"
        if seat.can_offer:
            return seat.offer(planned)
        return "accept" if seat.standing is not None and seat.standing <= seat.limit else "leave"


class Greedy(Climber):
    """Begins with the extreme."""


class Ladder(Climber):
    """Begins in the middle of what the other's limit can be, as far as the own one tells."""

    def _start(self, seat: Seat) -> int:
        return (seat.best + min(seat.limit - 1, _worst(seat))) // 2


class Safe(Climber):
    """Offers the worst limit that the other can have, which no other refuses."""

    def _start(self, seat: Seat) -> int:
        return min(seat.limit, _worst(seat))


class Honest(Climber):
    """Names its own limit, and takes whatever lies within."""

    def _start(self, seat: Seat) -> int:
        return seat.limit


class Informed(Climber):
    """Offers what its statements call the other's limit, and plays safe where they name nothing that it could pay."""

    def _start(self, seat: Seat) -> int:
        told = self.told(seat)
        if told is None or told >= seat.limit:
            return min(seat.limit, _worst(seat))
        return told - seat.table.spread


class Limiter(Script):
    """Takes whatever its limit allows, asks for the extreme, and leaves when its limit is missed by too much.

    Args:
        statements: Not read.
        patience: Levels by which an offer may miss its limit; None for the size's own.
    """

    def __init__(self, statements: Sequence[str] = (), *, patience: int | None = None) -> None:
        super().__init__(statements)
        self.patience = patience

    def _move(self, seat: Seat, view: StudentView) -> str:
        patience = seat.table.patience if self.patience is None else self.patience
        if _heard(view) is not None and seat.standing is not None:
            if seat.standing <= seat.limit:
                return "accept"
            if seat.standing - seat.limit > patience:
                return "leave"
        return seat.offer(seat.best) if seat.can_offer else "wait"


class Random(Script):
    """Draws from what can be done; offers are drawn evenly from all prices within its limit."""

    def _move(self, seat: Seat, view: StudentView) -> str:
        rng = counted_generator("haggle", "random player", *view.draw, view.turn)
        actions = [action for action in view.admissible_actions if "<" not in action]
        prices = range(seat.best, seat.limit + 1) if len(actions) < len(view.admissible_actions) else ()
        drawn = int(rng.integers(len(actions) + len(prices)))
        return actions[drawn] if drawn < len(actions) else seat.offer(prices[drawn - len(actions)])


class Silent(Script):
    """Never says anything."""

    def _move(self, seat: Seat, view: StudentView) -> str:
        return "wait"


def _worst(seat: Seat) -> int:
    """The worst level, seen from the own side, that the other's limit can have."""
    first, last = seat.table.floors if seat.is_shopper else seat.table.ceilings
    return last if seat.is_shopper else seat.table.lowest + seat.table.highest - first


PLAYERS: Mapping[str, Callable[[Sequence[str]], Player]] = {
    "limiter": Limiter,
    "random": Random,
    "greedy": Greedy,
    "ladder": Ladder,
    "safe": Safe,
    "honest": Honest,
    "informed": Informed,
    "silent": Silent,
}
# The only player that reads statements.
READS_STATEMENTS = ("informed",)


def make_player(name: str, statements: Sequence[str] = (), *, patience: int | None = None) -> Player:
    """A scripted player by name.

    Args:
        name: One of `PLAYERS`.
        statements: Short lines of its role's skill bank; only ``informed`` reads them.
        patience: Of the ``limiter``; None for the size's own.

    Raises:
        ValueError: There is no such player.
    """
    require_choice("player", name, PLAYERS, "Haggle")
    if name == "limiter":
        return Limiter(statements, patience=patience)
    return PLAYERS[name](statements if name in READS_STATEMENTS else ())


# What anyone reaches who knows the rules, and who is told the regularities as well.
generic = played_by(lambda view, statements: Informed(statements) if statements else Ladder())
safe = played_by(lambda view, statements: Safe())


__all__ = ["PLAYERS", "SELLER", "SHOPPER", "Limiter", "Seat", "generic", "make_player", "safe"]
