"""One house with two robots: a `NativeGame` for each of them on the same problem, kept in step.

Each robot's game is the household's own, in which there is one agent. After an act of one, everything that is not the
robot's own (where it is, what it holds) is carried over to the other's game. What one of them holds is nowhere in the
other's.
"""

from __future__ import annotations

from ...household.engine import NativeGame, Snapshot, household_rules
from ...household.problem import Problem
from .tables import OTHER, ROLES

# Predicates of the agent itself. "checked" serves no condition.
_OWN = frozenset({"atlocation", "holds", "holdsany", "checked"})


class House:
    """The two games of a task.

    Args:
        problem: The world. It is not changed.
    """

    def __init__(self, problem: Problem) -> None:
        self.games = {role: NativeGame(*household_rules(), problem) for role in ROLES}
        for game in self.games.values():
            game.reset()

    def act(self, role: str, command: str) -> tuple[str, bool]:
        """Play a command in a robot's game, and carry over what it changed.

        Returns:
            The feedback, and whether the command was understood.
        """
        feedback, understood = self.games[role].step(command)
        if understood:
            other = self.games[OTHER[role]]
            other.restore(shared_facts(self.games[role].snapshot()) | own_facts(other.snapshot()))
        return feedback, understood

    def place_of(self, role: str) -> str:
        """Where a robot is."""
        return next(fact[2] for fact in self.games[role].facts("atlocation"))

    def held(self, role: str) -> str:
        """What a robot holds; "" for nothing."""
        return next((fact[2] for fact in self.games[role].facts("holds")), "")


def shared_facts(snapshot: Snapshot) -> Snapshot:
    """What is so for both robots."""
    return frozenset(fact for fact in snapshot if fact[0].removeprefix("not_") not in _OWN)


def own_facts(snapshot: Snapshot) -> Snapshot:
    """What is so of one robot alone."""
    return frozenset(fact for fact in snapshot if fact[0].removeprefix("not_") in _OWN)
