"""A world as data: entities, facts and the passages that state them. Nothing here draws, searches or words anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

from .corpus import Passage


@dataclass(frozen=True, slots=True)
class Entity:
    """Something with a name. `filed_as` is what its sources call it: its name, or its by-name."""

    id: int
    type: str
    name: str
    byname: str
    filed_as: str


@dataclass(frozen=True, slots=True)
class Fact:
    """What one relation of one entity is, and how the sources say it.

    Attributes:
        subject: The entity's id.
        relation: Its name; ``byname`` for another name.
        text: The value as sources write it.
        forms: Everything that counts as the right answer, `text` first.
        object: The id of the entity that the value is, None for words, dates and numbers.
        number: The value's place on its scale, None for what has none.
        term: What the sources call the relation here.
        kind: The kind of source that states it.
        passage: The id of the passage that states it.
        query: The search that finds this passage; "" where none was found, and nothing asks for the fact then.
        rank: Where that search has the passage, 0 for the first place; -1 where none was found.
    """

    subject: int
    relation: str
    text: str
    forms: tuple[str, ...]
    object: int | None
    number: int | None
    term: str
    kind: str
    passage: int = -1
    query: str = ""
    rank: int = -1

    @property
    def key(self) -> tuple[int, str]:
        """What names a fact."""
        return (self.subject, self.relation)


@dataclass(frozen=True)
class World:
    """One closed world: every entity that a fact or a passage names is in it.

    Attributes:
        size: ``full`` or ``small``.
        split: Whose names it uses.
        world_seed: Which regularities it has.
        regularity: How often it obeys them.
        entities: By id.
        facts: In a fixed order, by-names included.
        passages: By id, which is the row of the index.
    """

    size: str
    split: str
    world_seed: int
    regularity: float
    entities: tuple[Entity, ...]
    facts: tuple[Fact, ...]
    passages: tuple[Passage, ...]

    @cached_property
    def by_key(self) -> dict[tuple[int, str], Fact]:
        """Facts by (subject, relation)."""
        return {fact.key: fact for fact in self.facts}

    @cached_property
    def stated(self) -> dict[int, tuple[Fact, ...]]:
        """The facts that a passage states, by its id."""
        found: dict[int, list[Fact]] = {}
        for fact in self.facts:
            found.setdefault(fact.passage, []).append(fact)
        return {passage: tuple(facts) for passage, facts in found.items()}

    @cached_property
    def of_type(self) -> dict[str, tuple[int, ...]]:
        """The entities of each type."""
        found: dict[str, list[int]] = {}
        for entity in self.entities:
            found.setdefault(entity.type, []).append(entity.id)
        return {kind: tuple(ids) for kind, ids in found.items()}

    def fact(self, subject: int, relation: str) -> Fact | None:
        """The fact, None when the entity has no such relation."""
        return self.by_key.get((subject, relation))

    def to_json(self) -> dict[str, Any]:
        """Plain values, passages left out: a corpus file holds them."""
        return {
            "size": self.size,
            "split": self.split,
            "world_seed": self.world_seed,
            "regularity": self.regularity,
            "entities": [list(asdict(entity).values()) for entity in self.entities],
            "facts": [list(asdict(fact).values()) for fact in self.facts],
        }

    @classmethod
    def from_json(cls, data: dict[str, Any], passages: Sequence[Passage]) -> World:
        """The inverse of `to_json`.

        Raises:
            KeyError, TypeError, ValueError: `data` is not what `to_json` makes.
        """
        return cls(
            size=data["size"],
            split=data["split"],
            world_seed=data["world_seed"],
            regularity=data["regularity"],
            entities=tuple(Entity(*values) for values in data["entities"]),
            facts=tuple(replace(Fact(*values), forms=tuple(values[3])) for values in data["facts"]),
            passages=tuple(passages),
        )
