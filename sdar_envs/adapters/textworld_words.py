"""What is seen in a ``.json`` game, which has no narrator: the room of the player, worded from TextWorld's facts.

Only what is in sight is said: what lies in the room, on its supports and in its open containers, its doors and exits,
and what the player carries. What a closed container or another room holds is not.
"""

from __future__ import annotations

from collections.abc import Iterable

Fact = tuple[str, ...]  # predicate, names of its arguments

_DIRECTIONS = ("north", "east", "south", "west")
_STATES = (
    "open", "closed", "locked", "raw", "cooked", "fried", "grilled", "roasted", "uncut", "sliced", "diced", "chopped",
)  # fmt: skip

# A state in which everything that can be said is said.
SAMPLE: tuple[Fact, ...] = (
    ("at", "P", "kitchen"), ("at", "fridge", "kitchen"), ("open", "fridge"), ("in", "milk", "fridge"),
    ("at", "oven", "kitchen"), ("closed", "oven"), ("in", "pie", "oven"), ("at", "table", "kitchen"),
    ("on", "apple", "table"), ("raw", "apple"), ("sliced", "apple"), ("at", "coin", "pantry"), ("in", "key", "I"),
    ("north_of", "pantry", "kitchen"), ("south_of", "kitchen", "pantry"), ("west_of", "yard", "kitchen"),
    ("link", "kitchen", "screen door", "yard"), ("locked", "screen door"),
)  # fmt: skip


def room_of(facts: Iterable[Fact]) -> str:
    """The room that the player is in; ``""`` where no fact says so."""
    return next((fact[2] for fact in facts if fact[0] == "at" and fact[1] == "P"), "")


def describe(facts: Iterable[Fact]) -> str:
    """The room of the player as text.

    Args:
        facts: All facts of the state.

    Returns:
        Lines: the room, what is in it, where it leads, what is carried.
    """
    known = sorted(set(facts))
    room = room_of(known)
    states: dict[str, list[str]] = {}
    for fact in known:
        if len(fact) == 2 and fact[0] in _STATES:
            states.setdefault(fact[1], []).append(fact[0])
    lines = [f"-= {room.title()} =-"]
    for item in (fact[1] for fact in known if fact[0] == "at" and fact[2] == room and fact[1] != "P"):
        lines.append(f"There is {_named(item, states)}." + _held(item, known, states))
    doors = {fact[3]: fact[2] for fact in known if fact[0] == "link" and len(fact) == 4 and fact[1] == room}
    for direction in _DIRECTIONS:
        # `north_of(a, b)` is that a lies to the north of b.
        for place in (fact[1] for fact in known if fact[0] == f"{direction}_of" and fact[2:] == (room,)):
            door = doors.get(place)
            lines.append(f"There is an exit to the {direction}" + (f", by {_named(door, states)}." if door else "."))
    carried = [_named(fact[1], states) for fact in known if fact[0] == "in" and fact[2] == "I"]
    lines.append(f"You carry {', '.join(carried)}." if carried else "You carry nothing.")
    return "\n".join(lines)


def _named(item: str, states: dict[str, list[str]]) -> str:
    said = [state for state in states.get(item, ()) if state not in ("raw", "uncut")]
    return f"the {item}" + (f" ({', '.join(said)})" if said else "")


def _held(item: str, facts: list[Fact], states: dict[str, list[str]]) -> str:
    """What is on an item, or in it where it is open."""
    kinds = ("on", "in") if "open" in states.get(item, ()) else ("on",)
    return "".join(
        f" {kind.title()} it is {_named(fact[1], states)}."
        for kind in kinds
        for fact in facts
        if fact[0] == kind and fact[2] == item
    )
