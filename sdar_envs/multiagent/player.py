"""Who sits in a seat: a player reads a `StudentView` of its own role and answers with a text.

That is all that a scripted or a learned opponent is ever handed. No game object, no `info`, nothing of another role: an
import contract keeps the scripts of a world away from its rules, and a test plants a canary in every role's secret.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from ..privileged import StudentView


@runtime_checkable
class Player(Protocol):
    """Anything that plays one seat. A view with ``turn == 0`` begins a new game."""

    def act(self, view: StudentView) -> str:
        """The text of the next turn."""
        ...


class PlayerError(RuntimeError):
    """A player raised, or returned something that is no text: the game is not to blame, and is over."""
