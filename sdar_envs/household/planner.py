"""The shortest remaining plan of a household game, from any state, by enumeration.

Every place is one step from every other, so a shortest plan is a short chain of stops: perhaps one to put down what is
in the way, then one per thing to fetch, one for the appliance, one for the destination. What a chain costs depends only
on which stops share a location and which receptacles are closed; receptacles that do not differ in this are
interchangeable, so few chains need a look. `plan` takes the cheapest of them, the first in sorted order on a tie.

It reads the official predicate vocabulary (with several receptacles per location, objects in no receptacle, closed
appliances that work) and six goals. An object may be in several receptacles at once, as in half of the published games:
it is taken from one of them and stays in the others. It assumes what holds in every published game: an object has one
type, and lamps cannot be carried. It knows no grammar: `commands.py` has the words.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from .commands import Move, command_writer
from .goals import HouseholdGoal, read_goal
from .grammar import Grammar
from .problem import Fact, Problem
from .tables import APPLIANCES, PROCESSED_PREDICATES


class State(Protocol):
    """What the planner reads of a game."""

    def facts(self, predicate: str) -> Iterable[Fact]:
        """The true facts of a predicate."""


class PlayableGame(State, Protocol):
    """What a plan in commands needs besides."""

    @property
    def problem(self) -> Problem:
        """The world as it was at first."""

    @property
    def grammar(self) -> Grammar:
        """The grammar that has the commands' templates."""

    def display(self, item: str) -> str:
        """What an object is called in text."""


class NoPlanError(ValueError):
    """The goal cannot be reached from this state."""


class _Stop(NamedTuple):
    """Being at a receptacle (opened, for some acts) and doing one thing there; `act` "" is nothing."""

    receptacle: str
    opened: bool
    act: str
    target: str


Chain = tuple[_Stop, ...]


@dataclass
class Statics:
    """What never changes in a game, indexed once."""

    goal: HouseholdGoal
    location: dict[str, str] = field(default_factory=dict)
    at_location: dict[str, list[str]] = field(default_factory=dict)
    openable: set[str] = field(default_factory=set)
    receptacle_type: dict[str, str] = field(default_factory=dict)
    by_type: dict[str, list[str]] = field(default_factory=dict)
    object_type: dict[str, str] = field(default_factory=dict)
    containers: dict[str, list[str]] = field(default_factory=dict)
    pickupable: set[str] = field(default_factory=set)
    targets: frozenset[str] = frozenset()
    lamps: frozenset[str] = frozenset()

    @classmethod
    def of(cls, problem: Problem) -> Statics:
        """Index a problem.

        Raises:
            ValueError: The goal is none of the six.
        """
        statics = cls(goal=read_goal(problem.goal))
        goal = statics.goal
        affordances: dict[str, set[str]] = {"heatable": set(), "coolable": set(), "cleanable": set()}
        toggleable: set[str] = set()
        allowed: dict[str, set[str]] = {}
        for fact in problem.init:
            predicate = fact[0]
            if predicate == "receptacleatlocation":
                statics.location[fact[1]] = fact[2]
            elif predicate == "objecttype":
                statics.object_type[fact[1]] = fact[2]
            elif predicate == "cancontain":
                allowed.setdefault(fact[2], set()).add(fact[1])
            elif predicate == "receptacletype":
                statics.receptacle_type[fact[1]] = fact[2]
            elif predicate == "openable":
                statics.openable.add(fact[1])
            elif predicate == "pickupable":
                statics.pickupable.add(fact[1])
            elif predicate == "toggleable":
                toggleable.add(fact[1])
            elif predicate in affordances:
                affordances[predicate].add(fact[1])
        for name in sorted(statics.location):
            statics.at_location.setdefault(statics.location[name], []).append(name)
            statics.by_type.setdefault(statics.receptacle_type.get(name, ""), []).append(name)
        for object_type, types in allowed.items():
            statics.containers[object_type] = [
                name for name in sorted(statics.location) if statics.receptacle_type.get(name) in types
            ]
        fit = affordances.get(f"{goal.task_type}able")
        if goal.task_type == "light":
            statics.lamps = frozenset(o for o, t in statics.object_type.items() if t == goal.destination) & toggleable
        statics.targets = frozenset(
            o for o, t in statics.object_type.items() if t == goal.target and (fit is None or o in fit)
        )
        return statics


class _View:
    """The changing facts of one state that matter to a plan."""

    __slots__ = ("at", "closed", "done", "held", "location", "placed", "sources", "statics")

    def __init__(self, statics: Statics, state: State) -> None:
        self.statics = statics
        self.location = statics.location
        self.at = ""
        for fact in state.facts("atlocation"):
            self.at = fact[2]
        self.held = ""
        for fact in state.facts("holds"):
            self.held = fact[2]
        self.closed = statics.openable.difference([fact[1] for fact in state.facts("opened")])
        targets, lamps = statics.targets, statics.lamps
        # Where targets and lamps are: in one receptacle as a rule, in several now and then.
        self.placed: dict[str, list[str]] = {}
        for fact in state.facts("inreceptacle"):
            if fact[1] in targets or fact[1] in lamps:
                self.placed.setdefault(fact[1], []).append(fact[2])
        # Where they can be reached: what is in something that stands nowhere can count for the goal, and no more.
        self.sources = sorted(
            [(name, where) for name, places in self.placed.items() for where in places if where in self.location]
        )
        task_type = statics.goal.task_type
        # The targets (lamps, for `light`) to which nothing more has to be done than to be in the right place.
        if task_type in APPLIANCES:
            self.done = {fact[1] for fact in state.facts(PROCESSED_PREDICATES[task_type])}
        elif task_type == "light":
            self.done = {fact[1] for fact in state.facts("istoggled")}
        else:
            self.done = set(targets)

    def cost(self, chain: Iterable[_Stop]) -> int:
        """Number of actions: a move wherever the location changes, an opening per closed receptacle, and the acts."""
        total = 0
        here = self.at
        opened: list[str] = []
        for receptacle, needs_open, act, _ in chain:
            place = self.location[receptacle]
            if place != here:
                total += 1
                here = place
            if needs_open and receptacle in self.closed and receptacle not in opened:
                total += 1
                opened.append(receptacle)
            if act:
                total += 1
        return total

    def interchangeable(self, pool: Sequence[str], places: Sequence[str]) -> list[str]:
        """The members of `pool` at one of `places`, and one open and one closed member of the rest."""
        picked = []
        have_open = have_closed = False
        location, closed = self.location, self.closed
        for name in pool:
            if location[name] in places:
                picked.append(name)
            elif name in closed:
                if not have_closed:
                    have_closed = True
                    picked.append(name)
            elif not have_open:
                have_open = True
                picked.append(name)
        return picked


class Planner:
    """Plans for one game, in commands.

    Args:
        game: A game of either engine, or anything with the same four attributes.
        statics: Its unchanging facts, where they are at hand already.

    Raises:
        ValueError: The game's goal is none of the six.
    """

    def __init__(self, game: PlayableGame, statics: Statics | None = None) -> None:
        self.game = game
        self._search = Search(statics or Statics.of(game.problem))
        self._write = command_writer(game.grammar)

    def moves(self) -> list[Move]:
        """The shortest way to win from the game's present state; empty when it is won.

        Raises:
            NoPlanError: There is none.
        """
        return self._search.moves(self.game)

    def plan(self) -> list[str]:
        """`moves` as complete commands, in the game's own words.

        Raises:
            NoPlanError: There is none.
        """
        display = self.game.display
        return [self._write(move, display) for move in self.moves()]


class Search:
    """The enumeration itself, over any state of the game that `statics` describes."""

    def __init__(self, statics: Statics) -> None:
        self.statics = statics

    def moves(self, state: State) -> list[Move]:
        """The shortest way to win from `state`; empty when it is won.

        Raises:
            NoPlanError: There is none.
        """
        view = _View(self.statics, state)
        if self._won(view):
            return []
        best = self._cheapest(view)
        if best is None:
            goal = self.statics.goal
            raise NoPlanError(f"no way to win from here: {goal.task_type} {goal.target}, {goal.destination}")
        return self._spell_out(view, best)

    def _won(self, view: _View) -> bool:
        goal, statics = self.statics.goal, self.statics
        if goal.task_type == "light":
            return view.held in statics.targets and any(
                lamp in view.done and view.location[where] == view.at
                for lamp, where in view.sources
                if lamp in statics.lamps
            )
        there = [
            where
            for name, places in view.placed.items()
            if name in view.done
            for where in places
            if statics.receptacle_type.get(where) == goal.destination
        ]
        return len(there) > len(set(there)) if goal.task_type == "two" else bool(there)

    def _cheapest(self, view: _View) -> Chain | None:
        """The cheapest chain; a foreign object in the hand is put down on the way."""
        best: Chain | None = None
        best_cost = 1_000_000
        for chain, hand_is_free in self._chains(view):
            cost = view.cost(chain)
            if hand_is_free or not view.held:
                if cost < best_cost:
                    best, best_cost = chain, cost
            elif cost + 1 < best_cost:
                # Putting something down costs an action at least, so most chains are not worth a closer look.
                for stop in self._drops(view, chain):
                    longer = (stop, *chain)
                    cost = view.cost(longer)
                    if cost < best_cost:
                        best, best_cost = longer, cost
        return best

    def _drops(self, view: _View, chain: Chain) -> Iterator[_Stop]:
        """Where to put down what is held before a chain begins: near the way, or somewhere open, or closed."""
        pool = self.statics.containers.get(self.statics.object_type.get(view.held, ""), [])
        places = [view.at, *(view.location[stop.receptacle] for stop in chain)]
        for name in view.interchangeable(pool, places):
            yield _Stop(name, True, "put", view.held)

    def _chains(self, view: _View) -> Iterator[tuple[Chain, bool]]:
        """All chains worth comparing, each with whether it starts with the held object (so needs no empty hand)."""
        task_type = self.statics.goal.task_type
        if task_type == "light":
            yield from self._light_chains(view)
        elif task_type == "two":
            yield from self._two_chains(view)
        else:
            yield from self._fetch_chains(view)

    def _fetches(self, view: _View, needed: int = 1) -> Iterator[tuple[str, Chain]]:
        """Ways to have a target in the hand: the one that is held, and any that can be taken.

        Of targets that a plan cannot tell apart (alike themselves, in receptacles of one type that are alike, each
        alone at a place where neither agent nor lamp is) it gives `needed` from `needed` receptacles. A target that is
        in several receptacles is like no other, and can be taken from each of them.
        """
        statics, location = self.statics, view.location
        if view.held in statics.targets:
            yield view.held, ()
        pairs = [
            (name, where)
            for name, where in view.sources
            if name in statics.targets and name in statics.pickupable and name != view.held
        ]
        special = {view.at}
        if statics.lamps:
            special.update([location[where] for name, where in view.sources if name in statics.lamps])
        sources = [source for _, source in pairs]
        classes: dict[tuple[str, bool, bool, str, int, str], dict[str, int]] = {}
        for name, source in pairs:
            place = location[source]
            alike = (
                name if len(view.placed[name]) > 1 else "",
                name in view.done,
                source in view.closed,
                statics.receptacle_type.get(source, ""),
                min(needed, sources.count(source)),
                place if place in special or len(statics.at_location[place]) > 1 else "",
            )
            given = classes.setdefault(alike, {})
            if given.get(source, 0) < needed and (source in given or len(given) < needed):
                given[source] = given.get(source, 0) + 1
                yield name, (_Stop(source, True, "take", name),)

    def _light_chains(self, view: _View) -> Iterator[tuple[Chain, bool]]:
        for _, fetch in self._fetches(view):
            for lamp, where in view.sources:
                if lamp in self.statics.lamps:
                    use = "" if lamp in view.done else "use"
                    yield (*fetch, _Stop(where, False, use, lamp)), not fetch

    def _destinations(self, view: _View, places: Sequence[str]) -> list[str]:
        """Receptacles to end in; all of one type, so the target fits into all of them or none."""
        goal = self.statics.goal
        pool = self.statics.by_type.get(goal.destination, [])
        if not pool or pool[0] not in self.statics.containers.get(goal.target, ()):
            return []
        return view.interchangeable(pool, places)

    def _fetch_chains(self, view: _View) -> Iterator[tuple[Chain, bool]]:
        goal = self.statics.goal
        stations = self.statics.by_type.get(f"{APPLIANCES.get(goal.task_type, '')}type", [])
        for name, fetch in self._fetches(view):
            ways = (
                [()] if name in view.done else [(_Stop(station, False, goal.task_type, name),) for station in stations]
            )
            for way in ways:
                start: Chain = (*fetch, *way)
                if way and self._stays_at_destination(view, name, fetch):
                    yield start, not fetch
                    continue
                places = [view.at, *(view.location[stop.receptacle] for stop in start)]
                for destination in self._destinations(view, places):
                    yield (*start, _Stop(destination, True, "put", name)), not fetch

    def _stays_at_destination(self, view: _View, name: str, fetch: Chain) -> bool:
        """Whether a target is still in a receptacle of the destination's type when it has been fetched."""
        kind = self.statics.receptacle_type
        taken_from = [stop.receptacle for stop in fetch]
        return any(
            kind.get(where) == self.statics.goal.destination and where not in taken_from
            for where in view.placed.get(name, ())
        )

    def _two_chains(self, view: _View) -> Iterator[tuple[Chain, bool]]:
        """One target more beside one that is there, or two into the same receptacle."""
        statics, location = self.statics, view.location
        goes_to = statics.goal.destination
        there = sorted({where for _, where in view.sources if statics.receptacle_type.get(where) == goes_to})
        fetches = list(self._fetches(view, needed=2))
        nowhere: list[str] = []
        for name, fetch in fetches:
            for destination in there:
                if destination not in view.placed.get(name, nowhere):
                    yield (*fetch, _Stop(destination, True, "put", name)), not fetch
        for name, fetch in fetches:
            for second, second_fetch in fetches:
                # What is in the hand goes first: laying it aside would only cost.
                if name == second or second == view.held or (view.held in statics.targets and fetch):
                    continue
                # Where one of them is already, the other alone is enough.
                excluded = [*view.placed.get(name, nowhere), *view.placed.get(second, nowhere)]
                places = [view.at, *[location[where] for where in excluded if where in location]]
                for destination in self._destinations(view, places):
                    if destination not in excluded:
                        put = _Stop(destination, True, "put", name)
                        put_second = _Stop(destination, True, "put", second)
                        yield (*fetch, put, *second_fetch, put_second), not fetch

    def _spell_out(self, view: _View, chain: Chain) -> list[Move]:
        moves: list[Move] = []
        here = view.at
        closed = set(view.closed)
        for receptacle, needs_open, act, target in chain:
            if view.location[receptacle] != here:
                here = view.location[receptacle]
                moves.append(Move("goto", "", receptacle))
            if needs_open and receptacle in closed:
                closed.remove(receptacle)
                moves.append(Move("open", "", receptacle))
            if act:
                moves.append(Move(act, target, receptacle))
        return moves
