"""A domain ready to play: action schemas compiled to joins, effects, and goals.

Compiled once per domain text and shared by all games of it. The order of the joins is chosen with the first game's
facts, see `joins.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

from .facts import FactStore
from .joins import Clause, Join, clauses
from .pddl import ActionSchema, And, Atom, Condition, DomainText, Effect, PDDLError, TypedNames, read_domain
from .problem import Fact

Grounding = tuple[str, ...]
Ground = Callable[[Grounding], Fact]

MAX_GOALS = 256  # goals kept compiled; each takes some 3 KiB, and 0.1 ms to compile again


class Goal:
    """A compiled goal."""

    __slots__ = ("_joins", "reads")

    def __init__(self, joins: Sequence[Join], reads: frozenset[str]) -> None:
        self._joins = tuple(joins)
        self.reads = reads  # the changing predicates it depends on

    def holds(self, store: FactStore) -> bool:
        """Whether the goal holds now."""
        return any(join.exists(store) for join in self._joins)


class Action:
    """A compiled action schema.

    Attributes:
        name: Lower case.
        parameters: (name without the question mark, type) pairs.
        reads: The changing predicates that its applicability depends on.
    """

    __slots__ = ("_alternatives", "_effects", "name", "parameters", "reads")

    def __init__(self, schema: ActionSchema, domain: DomainText, dynamic: frozenset[str], store: FactStore) -> None:
        where = f"action {schema.name}"
        self.name = schema.name
        self.parameters: TypedNames = tuple((name.lstrip("?"), kind) for name, kind in schema.parameters)
        names = [name for name, _ in schema.parameters]
        types = dict(schema.parameters)
        self._effects = []
        for effect in schema.effects:
            conditional = None
            if effect.condition != And():
                forms = clauses(effect.condition, types, domain.parents, where)
                conditional = tuple(Join(clause, (), names, domain.parents, store) for clause in forms)
            self._effects.append((_grounder(effect.atom, names), effect.positive, conditional))
        self._alternatives = []
        reads: set[str] = set()
        for clause in clauses(schema.precondition, types, domain.parents, where):
            join = Join(clause, names, (), domain.parents, store)
            self._alternatives.append((join, _Idle.of(clause, schema.effects, names)))
            reads.update(atom.predicate for atom in (*clause.positive, *clause.negative))
        self.reads = frozenset(reads & dynamic)

    def applicable(self, store: FactStore) -> list[Grounding]:
        """The groundings that may be applied now, perhaps with repetitions.

        An action all of whose effects its own precondition already states ("go to" where one stands) is none, as in
        Fast Downward's translation.
        """
        found: list[Grounding] = []
        for join, idle in self._alternatives:
            groundings = join.find(store)
            found += groundings if idle is None else [g for g in groundings if not idle(g)]
        return found

    def effects(self, store: FactStore, grounding: Grounding) -> tuple[list[Fact], list[Fact]]:
        """What becomes true and what becomes false; a fact that would become both becomes true."""
        added: list[Fact] = []
        deleted: list[Fact] = []
        for ground, positive, conditional in self._effects:
            if conditional is None or any(join.exists(store, grounding) for join in conditional):
                (added if positive else deleted).append(ground(grounding))
        return added, [fact for fact in deleted if fact not in added]


class _Idle:
    """Tells the groundings of one alternative of an action that would change nothing, by its precondition alone."""

    __slots__ = ("_adds", "_deletes", "_false", "_true")

    def __init__(self, adds: list[Ground], deletes: list[Ground], true: list[Ground], false: list[Ground]) -> None:
        self._adds, self._deletes, self._true, self._false = adds, deletes, true, false

    @classmethod
    def of(cls, clause: Clause, effects: Sequence[Effect], names: Sequence[str]) -> _Idle | None:
        """The test for an alternative, or None when no grounding of it can be idle."""
        known = set(names)

        def over_parameters(atoms: Sequence[Atom]) -> list[Atom]:
            return [a for a in atoms if all(x in known or not x.startswith("?") for x in a.arguments)]

        true, false = over_parameters(clause.positive), over_parameters(clause.negative)
        added = {effect.atom.predicate for effect in effects if effect.positive}
        stated = {atom.predicate for atom in true}
        denied = {atom.predicate for atom in false} | added
        if any(
            effect.condition != And() or effect.atom.predicate not in (stated if effect.positive else denied)
            for effect in effects
        ):
            return None
        adds = [_grounder(effect.atom, names) for effect in effects if effect.positive]
        deletes = [_grounder(effect.atom, names) for effect in effects if not effect.positive]
        return cls(adds, deletes, [_grounder(a, names) for a in true], [_grounder(a, names) for a in false])

    def __call__(self, grounding: Grounding) -> bool:
        added = {ground(grounding) for ground in self._adds}
        if not added <= {ground(grounding) for ground in self._true}:
            return False
        unchanged = added | {ground(grounding) for ground in self._false}
        return all(ground(grounding) in unchanged for ground in self._deletes)


class Domain:
    """A domain ready to play.

    Args:
        text: The domain as read.
    """

    def __init__(self, text: DomainText) -> None:
        self.text = text
        self.name = text.name
        # What some action changes; everything else holds for ever once it holds.
        self.dynamic = frozenset(effect.atom.predicate for action in text.actions for effect in action.effects)
        self._actions: tuple[Action, ...] | None = None
        self._goals: dict[Condition, Goal] = {}

    def actions(self, store: FactStore) -> tuple[Action, ...]:
        """The compiled actions; `store` is used at the first call, to choose the order of the joins."""
        if self._actions is None:
            self._actions = tuple(Action(schema, self.text, self.dynamic, store) for schema in self.text.actions)
        return self._actions

    def goal(self, condition: Condition, store: FactStore) -> Goal:
        """The compiled goal, kept for the next game that has the same."""
        goal = self._goals.get(condition)
        if goal is None:
            if len(self._goals) >= MAX_GOALS:
                self._goals.clear()
            forms = clauses(condition, {}, self.text.parents, "goal")
            read = {atom.predicate for clause in forms for atom in (*clause.positive, *clause.negative)}
            joins = [Join(clause, (), (), self.text.parents, store) for clause in forms]
            goal = self._goals[condition] = Goal(joins, frozenset(read & self.dynamic))
        return goal


def load_domain(text: str, where: str = "PDDL domain") -> Domain:
    """Read and wrap a domain, once per content.

    Raises:
        PDDLError: Malformed, or a construct that is not played; the message names `where`.
    """
    try:
        return _load(text)
    except PDDLError as error:
        raise PDDLError(f"{where}: {error}") from error


@lru_cache(maxsize=32)
def _load(text: str) -> Domain:
    return Domain(read_domain(text, "domain"))


def _grounder(atom: Atom, names: Sequence[str]) -> Ground:
    """A function from the values of `names` to the atom's fact."""
    predicate = atom.predicate
    places = tuple(names.index(a) if a in names else -1 for a in atom.arguments)
    if len(places) == 1 and places[0] >= 0:
        (only,) = places
        return lambda grounding: (predicate, grounding[only])
    if len(places) == 2 and min(places) >= 0:
        left, right = places
        return lambda grounding: (predicate, grounding[left], grounding[right])
    parts = tuple(zip(atom.arguments, places, strict=True))
    return lambda grounding: (predicate, *[grounding[i] if i >= 0 else constant for constant, i in parts])
