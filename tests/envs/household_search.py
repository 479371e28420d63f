"""The true distance to the goal of a household game by breadth-first search, without the planner's code.

The native engine takes a millisecond for a step, too long to search an official kitchen. So the facts that a shortest
way can depend on are searched here in plain tuples; `successors` is compared with the engine in the tests. Left out is
what can only lengthen a way: to close something, to slice, to toggle what is no lamp of the task, to take what is no
target, to do something else to a target than the task asks, and to walk twice in a row, since every place is one step
from every other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from sdar_envs.household.engine import NativeGame
from sdar_envs.household.goals import read_goal

# Task type -> the type of receptacle that does it, the predicate it needs, and the one it makes true.
VERBS = {
    "heat": ("microwavetype", "heatable", "ishot"),
    "cool": ("fridgetype", "coolable", "iscool"),
    "clean": ("sinkbasintype", "cleanable", "isclean"),
}


class Situation(NamedTuple):
    """What matters of a state: `inside` has pairs of a target (or lamp) and a receptacle."""

    at: str
    held: str
    inside: frozenset[tuple[str, str]]
    opened: frozenset[str]
    done: frozenset[str]


class Model:
    """The part of a game that decides how far the goal is."""

    def __init__(self, game: NativeGame) -> None:
        facts = game.problem.init

        def pairs(predicate: str) -> list[tuple[str, str]]:
            return [(fact[1], fact[2]) for fact in facts if fact[0] == predicate]

        def names(predicate: str) -> set[str]:
            return {fact[1] for fact in facts if fact[0] == predicate}

        self.goal = read_goal(game.problem.goal)
        self.object_type = dict(pairs("objecttype"))
        self.receptacle_type = dict(pairs("receptacletype"))
        self.openable = names("openable")
        self.pickupable = names("pickupable")
        self.allowed = set(pairs("cancontain"))
        self.at: dict[str, list[str]] = {}
        for receptacle, place in pairs("receptacleatlocation"):
            self.at.setdefault(place, []).append(receptacle)
        self.targets = {name for name, kind in self.object_type.items() if kind == self.goal.target}
        self.lamps: set[str] = set()
        self.made = "istoggled"
        self.station = ""
        if self.goal.task_type in VERBS:
            self.station, needed, self.made = VERBS[self.goal.task_type]
            self.targets &= names(needed)
        elif self.goal.task_type == "light":
            self.lamps = {name for name, kind in self.object_type.items() if kind == self.goal.destination}
            self.lamps &= names("toggleable")
        self.tracked = self.targets | self.lamps

    def situation(self, game: NativeGame) -> Situation:
        """What matters of a game's present state."""
        return Situation(
            at=next(iter(game.facts("atlocation")))[2],
            held=next((fact[2] for fact in game.facts("holds")), ""),
            inside=frozenset((f[1], f[2]) for f in game.facts("inreceptacle") if f[1] in self.tracked),
            opened=frozenset(fact[1] for fact in game.facts("opened")),
            done=frozenset(fact[1] for fact in game.facts(self.made) if fact[1] in self.tracked),
        )

    def won(self, now: Situation) -> bool:
        """Whether the goal holds."""
        if self.goal.task_type == "light":
            here = self.at.get(now.at, [])
            return now.held in self.targets and any(name in now.done and where in here for name, where in now.inside)
        ready = [
            where
            for name, where in now.inside
            if self.receptacle_type.get(where) == self.goal.destination and (not self.station or name in now.done)
        ]
        return len(set(ready)) < len(ready) if self.goal.task_type == "two" else bool(ready)

    def acts(self, now: Situation) -> Iterator[Situation]:
        """Everything that may be done at the present place."""
        at, held, inside, opened, done = now
        for receptacle in self.at.get(at, ()):
            if receptacle in self.openable and receptacle not in opened:
                yield Situation(at, held, inside, opened | {receptacle}, done)
            elif not held:
                for pair in inside:
                    if pair[1] == receptacle and pair[0] in self.targets and pair[0] in self.pickupable:
                        yield Situation(at, pair[0], inside - {pair}, opened, done)
            elif (self.receptacle_type.get(receptacle, ""), self.object_type.get(held, "")) in self.allowed:
                put = inside | {(held, receptacle)} if held in self.tracked else inside
                yield Situation(at, "", put, opened, done)
            if held in self.targets and self.receptacle_type.get(receptacle) == self.station and held not in done:
                yield Situation(at, held, inside, opened, done | {held})
            for name, where in inside:
                if where == receptacle and name in self.lamps and name not in done:
                    yield Situation(at, held, inside, opened, done | {name})

    def walks(self, now: Situation) -> Iterator[Situation]:
        """Everywhere one can go."""
        for place in self.at:
            if place != now.at:
                yield now._replace(at=place)

    def successors(self, now: Situation) -> set[Situation]:
        """All situations that are one command away, but for those left out."""
        return {*self.acts(now), *self.walks(now)}


class TooLargeError(Exception):
    """The search met more situations than it was allowed to."""


def is_within(model: Model, start: Situation, steps: int, budget: int) -> bool:
    """Whether the goal can be reached in at most so many steps.

    Raises:
        TooLargeError: More than `budget` situations would have to be looked at.
    """
    if model.won(start):
        return True
    seen = {start}
    frontier: list[tuple[Situation, bool]] = [(start, False)]
    for _ in range(steps):
        reached: list[tuple[Situation, bool]] = []
        for now, has_walked in frontier:
            ways: list[tuple[Iterable[Situation], bool]] = [(model.acts(now), False)]
            if not has_walked:
                ways.append((model.walks(now), True))
            for found, walked in ways:
                for after in found:
                    if after not in seen:
                        if model.won(after):
                            return True
                        seen.add(after)
                        reached.append((after, walked))
            if len(seen) > budget:
                raise TooLargeError
        frontier = reached
    return False
