"""The six goals: built for generated games, recognised in any game.

A goal is a condition over the official predicate vocabulary. `read_goal` looks at which literals a condition has and
not at how its quantifiers are nested, so it reads the official files and ours alike.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from .pddl import And, Atom, Condition, Exists, Not, write_condition
from .tables import PROCESSED_PREDICATES, TASK_TYPES


@dataclass(frozen=True, slots=True)
class HouseholdGoal:
    """A goal in three words.

    Attributes:
        task_type: One of the six.
        target: The PDDL type of the things to move, e.g. ``appletype``.
        destination: The PDDL type of the receptacle to end in; for ``light``, of the lamp.
    """

    task_type: str
    target: str
    destination: str


def _literals(condition: Condition, positive: bool = True) -> Iterator[tuple[bool, Atom]]:
    match condition:
        case Atom():
            yield positive, condition
        case Not(part):
            yield from _literals(part, not positive)
        case Exists(_, part):
            yield from _literals(part, positive)
        case And(parts):
            for part in parts:
                yield from _literals(part, positive)
        case _:
            # A choice between goals is none of the six; an impossible literal makes the reader say so.
            yield False, Atom("or", ())


_COMMON = {"inreceptacle", "objecttype", "receptacletype"}
_PREDICATES: dict[str, set[str]] = {
    "place": _COMMON,
    "two": _COMMON,
    "light": {*_COMMON, "toggleable", "istoggled", "receptacleatlocation", "atlocation", "holds"} - {"receptacletype"},
    **{verb: {*_COMMON, f"{verb}able", done} for verb, done in PROCESSED_PREDICATES.items()},
}


@lru_cache(maxsize=4_096)
def read_goal(goal: Condition) -> HouseholdGoal:
    """Recognise a goal.

    Raises:
        ValueError: It is none of the six; the message shows it.
    """
    literals = list(_literals(goal))
    types = {atom.arguments[0]: atom.arguments[1] for yes, atom in literals if yes and atom.predicate == "objecttype"}
    places = {atom.arguments[1] for yes, atom in literals if yes and atom.predicate == "receptacletype"}
    moved = {atom.arguments[0] for yes, atom in literals if yes and atom.predicate == "inreceptacle"}
    differences = [atom for yes, atom in literals if not yes]
    predicates = {atom.predicate for yes, atom in literals if yes}
    found: HouseholdGoal | None = None
    if predicates == _PREDICATES["light"] and not differences:
        lamp = next(atom.arguments[0] for _, atom in literals if atom.predicate == "istoggled")
        target = next(atom.arguments[1] for _, atom in literals if atom.predicate == "holds")
        if {lamp, target} <= types.keys():
            found = HouseholdGoal("light", types[target], types[lamp])
    elif len(places) == 1 and moved and len({types.get(name, "") for name in moved}) == 1 and moved <= types.keys():
        words = (types[min(moved)], min(places))
        if len(moved) == 2:
            receptacles = {atom.arguments[1] for _, atom in literals if atom.predicate == "inreceptacle"}
            distinct = [set(atom.arguments) for atom in differences if atom.predicate == "="]
            if predicates == _PREDICATES["two"] and distinct == [moved] == [set(a.arguments) for a in differences]:
                found = HouseholdGoal("two", *words) if len(receptacles) == 1 else None
        elif len(moved) == 1 and not differences:
            for task_type in TASK_TYPES:
                if task_type != "two" and predicates == _PREDICATES[task_type]:
                    found = HouseholdGoal(task_type, *words)
    if found is None:
        raise ValueError(
            f"expected the goal of one of the tasks {', '.join(TASK_TYPES)}, got {write_condition(goal)[:400]}"
        )
    return found


@lru_cache(maxsize=4_096)
def make_goal(task_type: str, target: str, destination: str) -> Condition:
    """The goal of a task as a condition; arguments as in `HouseholdGoal`."""
    if task_type == "light":
        lamp_on = Exists(
            (("?lamp", "object"), ("?r", "receptacle"), ("?a", "agent"), ("?l", "location")),
            And(
                (
                    Atom("objecttype", ("?lamp", destination)),
                    Atom("toggleable", ("?lamp",)),
                    Atom("istoggled", ("?lamp",)),
                    Atom("inreceptacle", ("?lamp", "?r")),
                    Atom("receptacleatlocation", ("?r", "?l")),
                    Atom("atlocation", ("?a", "?l")),
                )
            ),
        )
        in_hand = Exists(
            (("?o", "object"), ("?a", "agent")),
            And((Atom("objecttype", ("?o", target)), Atom("holds", ("?a", "?o")))),
        )
        return And((lamp_on, in_hand))
    parts = [
        Atom("objecttype", ("?o", target)),
        Atom("inreceptacle", ("?o", "?r")),
        Atom("receptacletype", ("?r", destination)),
    ]
    if task_type in PROCESSED_PREDICATES:
        parts += [Atom(f"{task_type}able", ("?o",)), Atom(PROCESSED_PREDICATES[task_type], ("?o",))]
    if task_type != "two":
        return Exists((("?r", "receptacle"), ("?o", "object")), And(tuple(parts)))
    other = And(
        (
            Not(Atom("=", ("?o", "?other"))),
            Atom("objecttype", ("?other", target)),
            Atom("inreceptacle", ("?other", "?r")),
        )
    )
    return Exists((("?r", "receptacle"), ("?o", "object")), And((*parts, Exists((("?other", "object"),), other))))
