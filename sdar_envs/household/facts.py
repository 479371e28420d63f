"""FactStore: the facts that hold now, indexed by whatever argument positions the joins ask for.

Indexes are built at the first question and kept up to date. The store knows neither actions nor text.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from operator import itemgetter
from typing import Any

from .problem import Fact

_NONE: frozenset[Fact] = frozenset()

Index = dict[Any, set[Fact]]  # key: the argument, or the tuple of arguments, at the index's positions


class FactStore:
    """A set of facts over typed objects.

    Attributes:
        facts: Everything that holds.
        types: Object id to type.
        indexes: Index name to index; ask through `index`, which builds what is missing.
    """

    __slots__ = ("_by_predicate", "_by_type", "_getters", "facts", "indexes", "types")

    def __init__(self, objects: Mapping[str, str], facts: Iterable[Fact]) -> None:
        self.types = objects
        self.facts: set[Fact] = set(facts)
        by_predicate: dict[str, set[Fact]] = {}
        for fact in self.facts:
            group = by_predicate.get(fact[0])
            if group is None:
                by_predicate[fact[0]] = {fact}
            else:
                group.add(fact)
        self._by_predicate = by_predicate
        self._by_type: dict[frozenset[str], tuple[str, ...]] = {}
        self.indexes: dict[str, Index] = {}
        self._getters: dict[str, list[tuple[int, Any, Index]]] = {}  # predicate -> indexes to keep up to date

    def of_predicate(self, predicate: str) -> set[Fact] | frozenset[Fact]:
        """The facts of a predicate; not to be changed by the caller."""
        return self._by_predicate.get(predicate, _NONE)

    def of_types(self, kinds: frozenset[str]) -> tuple[str, ...]:
        """The objects whose type is one of `kinds`, in order of declaration."""
        found = self._by_type.get(kinds)
        if found is None:
            found = self._by_type[kinds] = tuple(item for item, kind in self.types.items() if kind in kinds)
        return found

    def index(self, name: str, predicate: str, positions: tuple[int, ...]) -> Index:
        """The index of a predicate on argument positions (1 is the first argument), built when first asked for.

        Args:
            name: `index_name(predicate, positions)`, passed in because the joins hold it ready.
            predicate: Whose facts.
            positions: Which arguments make the key; one position gives a bare key, several a tuple.
        """
        found = self.indexes.get(name)
        if found is None:
            getter, longest = itemgetter(*positions), max(positions)
            found = {}
            for fact in self._by_predicate.get(predicate, _NONE):
                if len(fact) > longest:  # a grammar may ask for more arguments than a predicate has
                    found.setdefault(getter(fact), set()).add(fact)
            self.indexes[name] = found
            self._getters.setdefault(predicate, []).append((longest, getter, found))
        return found

    def fanout(self, predicate: str, positions: tuple[int, ...]) -> float:
        """How many facts one key of an index has on average; all facts of the predicate without positions."""
        count = len(self.of_predicate(predicate))
        if not positions or not count:
            return float(count)
        return count / len(self.index(index_name(predicate, positions), predicate, positions))

    def add(self, fact: Fact) -> bool:
        """Make a fact hold; whether that changed anything."""
        if fact in self.facts:
            return False
        self.facts.add(fact)
        self._by_predicate.setdefault(fact[0], set()).add(fact)
        for longest, getter, index in self._getters.get(fact[0], ()):
            if len(fact) > longest:
                index.setdefault(getter(fact), set()).add(fact)
        return True

    def discard(self, fact: Fact) -> bool:
        """Make a fact not hold; whether that changed anything."""
        if fact not in self.facts:
            return False
        self.facts.discard(fact)
        self._by_predicate[fact[0]].discard(fact)
        for longest, getter, index in self._getters.get(fact[0], ()):
            if len(fact) > longest:
                index[getter(fact)].discard(fact)
        return True


def index_name(predicate: str, positions: tuple[int, ...]) -> str:
    """The name under which a store keeps an index."""
    return f"{predicate}/{','.join(map(str, positions))}"
