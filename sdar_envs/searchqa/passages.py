"""The texts of a world: what its sources say, in paragraphs that a searcher has to find and a reader to understand.

Every entity has one passage of each kind of source, under the name that it is filed as; where that is a by-name, the
same kinds stand under its name as well and say nothing, except that one of them gives the by-name. A passage may
mention a term without saying anything by it (a decoy), and never states a second value for anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from . import small, tables
from .corpus import Passage
from .world import Entity, Fact


def title_of(size: str, label: str, kind: str) -> str:
    """The title of a source on something."""
    return f"{label} {kind}" if size == "small" else f"{label} ({kind})"


def state(template: str, subject: str, value: str, term: str) -> str:
    """Fill a sentence; "a" becomes "an" before a vowel."""
    if value[0] in "aeiou":
        template = template.replace(" a {O}", " an {O}").replace("A {O}", "An {O}")
    return template.format(S=subject, O=value, term=term)


class Writer:
    """Writes the passages of one world.

    Args:
        size: ``full`` or ``small``.
        facts: With term and kind.
        rng: Where wording, decoys and filler are drawn from.
    """

    def __init__(self, size: str, facts: Sequence[Fact], rng: np.random.Generator) -> None:
        self._size = size
        self._table = tables.SIZE_TABLES[size]
        self._rng = rng
        self._facts = list(facts)
        self._of_subject: dict[int, list[int]] = {}
        for place, fact in enumerate(self._facts):
            self._of_subject.setdefault(fact.subject, []).append(place)
        self._passages: list[Passage] = []
        self._names: list[str] = []

    def write(self, entities: Sequence[Entity]) -> tuple[list[Passage], list[Fact]]:
        """All passages, and the facts with the passages that state them."""
        self._names = [entity.name for entity in entities]
        for entity in entities:
            own = self._of_subject.get(entity.id, [])
            bynames = [place for place in own if self._facts[place].relation == tables.BYNAME.name]
            if entity.filed_as == entity.name:
                self._sources(entity, entity.name, own)
            else:
                self._sources(entity, entity.name, bynames)
                self._sources(entity, entity.filed_as, [place for place in own if place not in bynames])
        return self._passages, self._facts

    def _sources(self, entity: Entity, label: str, places: Sequence[int]) -> None:
        """One passage of each kind about `label`, which together state the facts at `places`."""
        stated = {kind: [p for p in places if self._facts[p].kind == kind] for kind in tables.KINDS}
        hushed = self._decoys(entity, stated)
        for kind, own in stated.items():
            number = len(self._passages)
            sentences = [self._sentence(label, self._facts[place]) for place in own]
            sentences += [self._decoy(label, term) for term in hushed[kind]]
            low, high = self._table.filler
            for _ in range(int(self._rng.integers(low, high + 1))):
                sentences.append(tables.FILLER[int(self._rng.integers(len(tables.FILLER)))])
            text = " ".join(sentences[int(i)] for i in self._rng.permutation(len(sentences)))
            self._passages.append(Passage.of(number, title_of(self._size, label, kind), text))
            for place in own:
                self._facts[place] = replace(self._facts[place], passage=number)

    def _decoys(self, entity: Entity, stated: dict[str, list[int]]) -> dict[str, list[str]]:
        """Terms that each source mentions in vain, never where their relation is stated.

        They fill every passage up to the same number of sentences, as far as the terms last: a searcher that favours
        short texts would otherwise favour those that say nothing. No source is left empty.
        """
        hushed: dict[str, list[str]] = {kind: [] for kind in stated}
        where = {self._facts[place].relation: kind for kind, own in stated.items() for place in own}
        names = [relation.name for relation in tables.relations_of(self._size, entity.type)]
        names += [tables.BYNAME.name] if self._table.bynames else []
        terms = [(name, term) for name in names for term in tables.relation_of(self._size, name).terms]
        for place in self._rng.permutation(len(terms)):
            name, term = terms[int(place)]
            open_kinds = [
                kind
                for kind, own in stated.items()
                if len(own) + len(hushed[kind]) < self._table.sentences and where.get(name) != kind
            ]
            if open_kinds:
                hushed[open_kinds[int(self._rng.integers(len(open_kinds)))]].append(term)
        for kind, own in stated.items():
            if not own and not hushed[kind]:
                hushed[kind].append(self._choice([term for _, term in terms]))
        return hushed

    def _sentence(self, label: str, fact: Fact) -> str:
        templates = tables.relation_of(self._size, fact.relation).sentences
        return state(self._choice(templates), label, fact.text, fact.term)

    def _decoy(self, label: str, term: str) -> str:
        template = small.DECOY if self._size == "small" else self._choice(tables.DECOYS)
        return template.format(term=term, X=self._choice(self._names), S=label)

    def _choice(self, options: Sequence[str]) -> str:
        return options[int(self._rng.integers(len(options)))]
