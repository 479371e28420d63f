"""What can be learned about a world of sources: a world seed's regularities, and the skill statements.

A regularity is not a fact about an episode. Every relation has a term that sources prefer and a kind of source that
states it; every type of entity is filed under its name or under its by-name, which decides the order of hops: where
by-names rule, the by-name has to be looked up before anything else can be found. Each holds with probability
`regularity`, fact by fact and entity by entity. All splits of a world seed share them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from ..randomness import counted_generator
from ..skills import SkillStatement
from . import tables

# How a type of entity is filed, in the words of the skill statement.
BY_NAME = "by name"
BY_BYNAME = "by byname"


@dataclass(frozen=True)
class Regularities:
    """The regularities of one world seed.

    Attributes:
        size: ``full`` or ``small``.
        world_seed: The seed they were drawn with.
        terms: Relation -> the term that sources prefer.
        kinds: Relation -> the kind of source that states it.
        bynames: The types of entities that are filed under their by-names.
    """

    size: str
    world_seed: int
    terms: dict[str, str]
    kinds: dict[str, str]
    bynames: tuple[str, ...]

    def statements(self) -> tuple[SkillStatement, ...]:
        """The regularities as skill statements, all true: terms, then kinds, then how types are filed."""
        terms = [
            SkillStatement(
                id=f"term:{name}",
                keys=(name, "term"),
                field="term",
                value=term,
                text=f'Sources usually call the {name} "{{value}}": put that word into the query.',
                compact_text=f"the {name} is called {{value}}.",
                alternatives=tables.relation_of(self.size, name).terms,
            )
            for name, term in self.terms.items()
        ]
        kinds = [
            SkillStatement(
                id=f"kind:{name}",
                keys=(name, "kind"),
                field="kind",
                value=kind,
                text=f"The {name} usually stands in the {{value}}: name that source in the query.",
                compact_text=f"the {name} stands in the {{value}}.",
                alternatives=tables.KINDS,
            )
            for name, kind in self.kinds.items()
        ]
        filings = [
            SkillStatement(
                id=f"filing:{entity_type}",
                keys=(entity_type, "filing"),
                field="filing",
                value=BY_BYNAME if entity_type in self.bynames else BY_NAME,
                text=f"Entries on {plural(entity_type)} are usually filed {{value}}: find that before anything else.",
                compact_text=f"a {entity_type} is filed {{value}}.",
                alternatives=(BY_NAME, BY_BYNAME),
            )
            for entity_type in tables.SIZE_TABLES[self.size].entities
            if self.bynames
        ]
        return (*terms, *kinds, *filings)


def plural(entity_type: str) -> str:
    """Several entities of a type."""
    return {"city": "cities"}.get(entity_type, f"{entity_type}s")


@cache
def regularities(size: str, world_seed: int) -> Regularities:
    """Draw the regularities of a world seed; the draw of one relation does not depend on which others there are."""

    def drawn(what: str, name: str, options: Sequence[str]) -> str:
        return options[int(counted_generator("searchqa", what, size, world_seed, name).integers(len(options)))]

    names = tables.stated_relations(size)
    table = tables.SIZE_TABLES[size]
    order = counted_generator("searchqa", "filing", size, world_seed).permutation(len(table.entities))
    types = list(table.entities)
    return Regularities(
        size=size,
        world_seed=world_seed,
        terms={name: drawn("term", name, tables.relation_of(size, name).terms) for name in names},
        kinds={name: drawn("kind", name, tables.KINDS) for name in names},
        bynames=tuple(sorted(types[int(i)] for i in order[: table.bynames])),
    )
