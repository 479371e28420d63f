"""Plans in a game's own words: ids and an action become the command that the game's grammar has for it.

Releases of ALFWorld differ in their wording ("move X to Y", "put X in/on Y"), so templates are read from the grammar.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

from .grammar import Each, Grammar, GrammarError, Text, Value


class Move(NamedTuple):
    """One action of a plan, by the ids it is about; `target` is "" where it is about a receptacle alone."""

    action: str
    target: str
    receptacle: str


# A move's action -> the domain's name of it.
ACTION_NAMES = {
    "goto": "gotolocation",
    "open": "openobject",
    "take": "pickupobject",
    "put": "putobject",
    "heat": "heatobject",
    "cool": "coolobject",
    "clean": "cleanobject",
    "use": "toggleobject",
}

CommandWriter = Callable[[Move, Callable[[str], str]], str]


@lru_cache(maxsize=64)
def command_writer(grammar: Grammar) -> CommandWriter:
    """A function of a move and of `display` (id -> name in text) that returns the complete command.

    Raises:
        GrammarError: A template speaks of something else than the object `o` and the receptacle `r`.
    """
    templates = {action: _template(grammar, name) for action, name in ACTION_NAMES.items() if name in grammar.actions}

    def write(move: Move, display: Callable[[str], str]) -> str:
        target = display(move.target) if move.target else ""
        receptacle = display(move.receptacle)
        return "".join(
            [receptacle if part == 1 else target if part == 0 else str(part) for part in templates[move.action]]
        )

    return write


def _template(grammar: Grammar, name: str) -> tuple[str | int, ...]:
    """Texts, 0 for the object and 1 for the receptacle."""
    parts: list[str | int] = []
    for node in grammar.actions[name].template:
        # "go to" of the official grammar asks for every receptacle at the place whose name is r's own: r alone.
        value = node.node if isinstance(node, Each) else node
        if isinstance(node, Text):
            parts.append(node.text)
        elif isinstance(value, Value) and value.variable in ("o", "r"):
            parts.append(0 if value.variable == "o" else 1)
        else:
            got = f"{{{value.variable}}}" if isinstance(value, Value) and value.variable else type(value).__name__
            raise GrammarError(f"action {name}: expected a template of {{o}} and {{r}} alone, got {got}")
    return tuple(parts)
