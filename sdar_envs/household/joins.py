"""Conditions compiled to indexed joins.

A condition becomes a disjunction of clauses (`clauses`), each clause a chain of closures (`Join`) that binds variables
in an order chosen once from the sizes of the first world's predicates: the most selective atom next, tests as soon as
their variables are bound. The order changes how long a join takes, never what it finds; callers sort what they show.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from operator import itemgetter
from typing import Any

from .facts import FactStore, index_name
from .pddl import And, Atom, Condition, Exists, Not, Or, PDDLError, subtypes

MAX_CLAUSES = 256  # a disjunctive form beyond this is refused

Binding = list[str]
Sink = Callable[[Binding], object]  # a true result ends the search
Step = Callable[[FactStore, Binding, Sink], object]


@dataclass(slots=True)
class Clause:
    """A conjunction of literals, and the type of every variable in it."""

    positive: list[Atom] = field(default_factory=list)
    negative: list[Atom] = field(default_factory=list)  # `=` among them means "differ"
    variables: dict[str, str] = field(default_factory=dict)

    def __add__(self, other: Clause) -> Clause:
        return Clause(
            self.positive + other.positive, self.negative + other.negative, {**self.variables, **other.variables}
        )


def clauses(condition: Condition, variables: Mapping[str, str], parents: dict[str, str], where: str) -> list[Clause]:
    """The disjunctive form of a condition. A clause over a type that does not exist is left out: it never holds.

    Args:
        condition: What to compile.
        variables: Free variables of the condition, with their types.
        parents: The domain's types.
        where: Names the place in messages.

    Raises:
        PDDLError: A negated quantifier, a variable without a quantifier, or more than 256 clauses.
    """
    fresh = count(1)

    def walk(node: Condition, negated: bool, names: dict[str, str]) -> list[Clause]:
        match node:
            case Atom(predicate, arguments):
                free = [a for a in arguments if a.startswith("?") and a not in names]
                if free:
                    raise PDDLError(f"{where}: variable {free[0]} is not declared")
                atom = Atom(predicate, tuple(names.get(a, a) for a in arguments))
                return [Clause(negative=[atom])] if negated else [Clause(positive=[atom])]
            case Not(part):
                return walk(part, not negated, names)
            case And(parts) | Or(parts):
                forms = [walk(part, negated, names) for part in parts]
                if isinstance(node, Or) != negated:
                    return [clause for form in forms for clause in form]
                product = [Clause()]
                for form in forms:
                    product = [left + right for left in product for right in form]
                    if len(product) > MAX_CLAUSES:
                        raise PDDLError(f"{where}: the condition has more than {MAX_CLAUSES} alternatives")
                return product
            case Exists(bound, part):
                if negated:
                    raise PDDLError(f"{where}: the native engine does not play a negated 'exists'")
                if any(kind not in parents for _, kind in bound):
                    return []
                inner = {name: f"{name}#{next(fresh)}" for name, _ in bound}
                found = walk(part, False, {**names, **inner})
                for clause in found:
                    clause.variables.update({inner[name]: kind for name, kind in bound})
                return found

    if any(kind not in parents for kind in variables.values()):
        return []
    found = walk(condition, False, {name: name for name in variables})
    for clause in found:
        clause.variables.update(variables)
    return found


class Join:
    """One clause, ready to run against any store of its domain.

    Args:
        clause: The literals.
        outputs: Variables whose values a result holds, in order.
        given: Variables whose values the caller supplies.
        parents: The domain's types.
        store: A store whose sizes decide the order.
    """

    __slots__ = ("_constants", "_outputs", "_slots", "_start", "given")

    def __init__(
        self,
        clause: Clause,
        outputs: Sequence[str],
        given: Sequence[str],
        parents: dict[str, str],
        store: FactStore,
    ) -> None:
        names = dict.fromkeys([*given, *clause.variables])
        for atom in (*clause.positive, *clause.negative):
            names.update(dict.fromkeys(atom.arguments))
        self._slots = {name: slot for slot, name in enumerate(names)}
        self._constants = ["" if name.startswith("?") else name for name in names]
        self.given = tuple(self._slots[name] for name in given)
        self._outputs = tuple(self._slots[name] for name in outputs)
        self._start = self._compile(_order(clause, given, store), parents, clause.variables)

    def _compile(self, plan: list[_Planned], parents: dict[str, str], variables: Mapping[str, str]) -> Step:
        step: Step = _end
        for planned in reversed(plan):
            step = planned.step(step, self._slots, parents, variables)
        return step

    def _binding(self, values: Sequence[str]) -> Binding:
        binding = self._constants.copy()
        for slot, value in zip(self.given, values, strict=True):
            binding[slot] = value
        return binding

    def find(self, store: FactStore, values: Sequence[str] = ()) -> list[tuple[str, ...]]:
        """All bindings of the outputs, possibly with repetitions, in no particular order."""
        found: list[tuple[str, ...]] = []
        outputs = self._outputs
        if len(outputs) > 1:
            getter = itemgetter(*outputs)
            self._start(store, self._binding(values), lambda binding: found.append(getter(binding)))
        else:
            self._start(store, self._binding(values), lambda binding: found.append(tuple(binding[s] for s in outputs)))
        return found

    def exists(self, store: FactStore, values: Sequence[str] = ()) -> bool:
        """Whether there is any binding."""
        return bool(self._start(store, self._binding(values), _found))


def _end(store: FactStore, binding: Binding, sink: Sink) -> object:
    return sink(binding)


def _found(binding: Binding) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class _Test:
    """Go on only if a literal over bound names holds (`positive`) or does not."""

    atom: Atom
    positive: bool

    def step(self, after: Step, slots: dict[str, int], parents: dict[str, str], variables: Mapping[str, str]) -> Step:
        predicate, positive = self.atom.predicate, self.positive
        places = tuple(slots[name] for name in self.atom.arguments)
        if predicate == "=":
            left, right = places

            def equal(store: FactStore, binding: Binding, sink: Sink) -> object:
                return (binding[left] == binding[right]) is positive and after(store, binding, sink)

            return equal
        if len(places) == 1:
            (only,) = places

            def unary(store: FactStore, binding: Binding, sink: Sink) -> object:
                return ((predicate, binding[only]) in store.facts) is positive and after(store, binding, sink)

            return unary
        if len(places) == 2:
            left, right = places

            def binary(store: FactStore, binding: Binding, sink: Sink) -> object:
                holds = (predicate, binding[left], binding[right]) in store.facts
                return holds is positive and after(store, binding, sink)

            return binary

        def general(store: FactStore, binding: Binding, sink: Sink) -> object:
            holds = (predicate, *[binding[place] for place in places]) in store.facts
            return holds is positive and after(store, binding, sink)

        return general


@dataclass(frozen=True, slots=True)
class _Scan:
    """Bind the unbound variables of an atom to each fact that agrees with the bound ones."""

    atom: Atom
    bound: frozenset[str]

    def step(self, after: Step, slots: dict[str, int], parents: dict[str, str], variables: Mapping[str, str]) -> Step:
        predicate, arguments = self.atom.predicate, self.atom.arguments
        positions = tuple(i for i, name in enumerate(arguments, start=1) if name in self.bound)
        keys = tuple(slots[arguments[i - 1]] for i in positions)
        name = index_name(predicate, positions)
        outputs: list[tuple[int, int, frozenset[str] | None]] = []
        repeats: list[tuple[int, int]] = []  # a variable that stands twice in the atom
        seen: set[str] = set()
        for i, argument in enumerate(arguments, start=1):
            if argument in self.bound:
                continue
            if argument in seen:
                repeats.append((i, slots[argument]))
                continue
            seen.add(argument)
            kind = variables[argument]
            outputs.append((i, slots[argument], None if kind == "object" else subtypes(kind, parents)))

        def candidates(store: FactStore, binding: Binding) -> Iterable[tuple[str, ...]]:
            if not keys:
                return store.of_predicate(predicate)
            index = store.indexes.get(name)
            if index is None:
                index = store.index(name, predicate, positions)
            key: Any = binding[keys[0]] if len(keys) == 1 else tuple([binding[k] for k in keys])
            return index.get(key, ())

        if len(outputs) == 1 and not repeats:
            ((position, slot, kinds),) = outputs

            def scan_one(store: FactStore, binding: Binding, sink: Sink) -> object:
                types = store.types
                for fact in candidates(store, binding):
                    value = fact[position]
                    if kinds is None or types.get(value) in kinds:
                        binding[slot] = value
                        if after(store, binding, sink):
                            return True
                return False

            return scan_one

        def scan(store: FactStore, binding: Binding, sink: Sink) -> object:
            types = store.types
            for fact in candidates(store, binding):
                for position, slot, kinds in outputs:
                    value = fact[position]
                    if kinds is not None and types.get(value) not in kinds:
                        break
                    binding[slot] = value
                else:
                    if all(fact[i] == binding[s] for i, s in repeats) and after(store, binding, sink):
                        return True
            return False

        return scan


@dataclass(frozen=True, slots=True)
class _Enumerate:
    """Bind a variable that no positive atom holds to each object of its type."""

    name: str

    def step(self, after: Step, slots: dict[str, int], parents: dict[str, str], variables: Mapping[str, str]) -> Step:
        slot, kinds = slots[self.name], subtypes(variables[self.name], parents)

        def enumerate_objects(store: FactStore, binding: Binding, sink: Sink) -> object:
            for item in store.of_types(kinds):
                binding[slot] = item
                if after(store, binding, sink):
                    return True
            return False

        return enumerate_objects


_Planned = _Test | _Scan | _Enumerate


def _order(clause: Clause, given: Sequence[str], store: FactStore) -> list[_Planned]:
    """Greedy: tests whenever possible, else the atom with the fewest facts per key, else an enumeration."""
    names = [name for atom in (*clause.positive, *clause.negative) for name in atom.arguments]
    bound = {*given, *(name for name in names if not name.startswith("?"))}
    tests = [(atom, True) for atom in clause.positive] + [(atom, False) for atom in clause.negative]
    plan: list[_Planned] = []
    while True:
        ready = [test for test in tests if bound.issuperset(test[0].arguments)]
        plan += [_Test(atom, positive) for atom, positive in ready]
        tests = [test for test in tests if test not in ready]
        scans = [atom for atom, positive in tests if positive and atom.predicate != "="]
        if scans:

            def cost(atom: Atom) -> float:
                known = tuple(i for i, name in enumerate(atom.arguments, start=1) if name in bound)
                return store.fanout(atom.predicate, known)

            best = min(scans, key=cost)
            plan.append(_Scan(best, frozenset(bound)))
            tests.remove((best, True))
            bound.update(best.arguments)
            continue
        unbound = [name for name in clause.variables if name not in bound]
        if not unbound:
            return plan
        plan.append(_Enumerate(unbound[0]))
        bound.add(unbound[0])
