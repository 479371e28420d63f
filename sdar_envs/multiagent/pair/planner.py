"""The shortest joint plan of two robots in one house, exact from any state.

Everything goes over the pass. So the runner's part is a household task of its own, "put one of the wanted things on the
pass", and its shortest way says at which turn the thing can be there at the earliest. The cook's part is the task
itself, from a state in which the thing lies on the pass, with a wait before it is taken. While it waits, the cook can
save one later turn in one way: by opening the destination. Each of these ways is measured with the household's exact
search, and the shortest is taken.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ...household.commands import Move
from ...household.goals import HouseholdGoal
from ...household.planner import NoPlanError, Search, State, Statics
from ...household.problem import Fact
from .tables import COOK, RUNNER

_PASS_TYPE = "the pass"


@dataclass(frozen=True, slots=True)
class Sides:
    """Who reaches what, by ids: the cook's own, the runner's own, and the pass, which both reach."""

    cook: tuple[str, ...]
    runner: tuple[str, ...]
    shared: str

    def reach(self, role: str) -> tuple[str, ...]:
        """Everything that a role reaches, the pass last."""
        return (*(self.cook if role == COOK else self.runner), self.shared)


@dataclass(frozen=True, slots=True)
class JointPlan:
    """The remaining moves of both; None stands for a turn of waiting. `turns` are the cook's until the goal."""

    cook: tuple[Move | None, ...]
    runner: tuple[Move | None, ...]
    turns: int


class _Imagined:
    """A state with some of its facts replaced."""

    def __init__(self, state: State, **replaced: Iterable[Fact]) -> None:
        self._state = state
        self._replaced = {predicate: list(facts) for predicate, facts in replaced.items()}

    def facts(self, predicate: str) -> Iterable[Fact]:
        return self._replaced[predicate] if predicate in self._replaced else self._state.facts(predicate)


class JointPlanner:
    """Plans for both robots of one task.

    Args:
        statics: The unchanging facts of the house.
        sides: Who reaches what.
    """

    def __init__(self, statics: Statics, sides: Sides) -> None:
        self.statics = statics
        self.sides = sides
        cook = _within(statics, sides.reach(COOK))
        runner = _within(statics, sides.reach(RUNNER))
        # The runner's task ends at the pass, which gets a type of its own.
        runner.goal = HouseholdGoal("place", statics.goal.target, _PASS_TYPE)
        runner.receptacle_type = {**statics.receptacle_type, sides.shared: _PASS_TYPE}
        runner.by_type = {_PASS_TYPE: [sides.shared]}
        self._cook = Search(cook)
        self._runner = Search(runner)

    def plan(self, states: Mapping[str, State], *, cook_is_next: bool) -> JointPlan | None:
        """The shortest way for both from here; None where the goal cannot be reached any more.

        Args:
            states: What each robot's own game says.
            cook_is_next: Whether the next turn is the cook's.
        """
        best: JointPlan | None = None
        alone = _moves(self._cook, states[COOK])
        if alone is not None:
            best = JointPlan(tuple(alone), (), len(alone))
        fetched = _moves(self._runner, states[RUNNER])
        if fetched:
            # The cook's turn at which the thing can be on the pass for the first time.
            earliest = len(fetched) + 1 if cook_is_next else max(len(fetched), 1)
            thing = fetched[-1].target
            for prepared in self._preparations(states[COOK]):
                found = self._after(states[COOK], prepared, thing, earliest)
                if found is not None and (best is None or len(found) < best.turns):
                    best = JointPlan(tuple(found), tuple(fetched), len(found))
        return best

    def joint_length(self, states: Mapping[str, State], *, cook_is_next: bool) -> int | None:
        """Turns of the cook until the goal; None where it cannot be reached."""
        found = self.plan(states, cook_is_next=cook_is_next)
        return None if found is None else found.turns

    def _preparations(self, state: State) -> list[list[Move]]:
        """What the cook can do for later while it waits: nothing, or open one of the closed destinations."""
        statics = self._cook.statics
        opened = {fact[1] for fact in state.facts("opened")}
        at = next((fact[2] for fact in state.facts("atlocation")), "")
        ways: list[list[Move]] = [[]]
        for name in statics.by_type.get(statics.goal.destination, ()):
            if name in statics.openable and name not in opened:
                walk = [] if statics.location[name] == at else [Move("goto", "", name)]
                ways.append([*walk, Move("open", "", name)])
        return ways

    def _after(self, state: State, prepared: Sequence[Move], thing: str, earliest: int) -> list[Move | None] | None:
        """The cook's way after a preparation, once a thing lies on the pass, with the waits that this takes."""
        shared = self.sides.shared
        placed = [fact for fact in state.facts("inreceptacle") if fact[1] != thing]
        changed: dict[str, list[Fact]] = {"inreceptacle": [*placed, ("inreceptacle", thing, shared)]}
        if prepared:
            door = prepared[-1].receptacle
            agent = next((fact[1] for fact in state.facts("atlocation")), "agent_1")
            changed["opened"] = [*state.facts("opened"), ("opened", door)]
            changed["atlocation"] = [("atlocation", agent, self.statics.location[door])]
        moves = _moves(self._cook, _Imagined(state, **changed))
        if moves is None:
            return None
        taken = next((n for n, move in enumerate(moves) if move.action == "take" and move.target == thing), None)
        if taken is None:
            return None
        before = [*prepared, *moves[:taken]]
        waits = max(0, earliest - 1 - len(before))
        return [*before, *[None] * waits, *moves[taken:]]


def _moves(search: Search, state: State) -> list[Move] | None:
    try:
        return search.moves(state)
    except NoPlanError:
        return None


def _within(statics: Statics, reach: Sequence[str]) -> Statics:
    """The same house for a robot that reaches only some of its receptacles."""
    near = set(reach)
    return dataclasses.replace(
        statics,
        location={name: place for name, place in statics.location.items() if name in near},
        at_location={
            place: kept
            for place, names in statics.at_location.items()
            if (kept := [name for name in names if name in near])
        },
        by_type={kind: [name for name in names if name in near] for kind, names in statics.by_type.items()},
        containers={kind: [name for name in names if name in near] for kind, names in statics.containers.items()},
    )
