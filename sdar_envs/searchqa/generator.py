"""From a seed to a world: regularities, history, sources, and for every fact a search that finds it.

A world is a function of (size, split, world seed, regularity). What can be found depends on the searcher as well, so
the searches are proved with the very retriever that the world will be played with: `with_queries` tries every wording
that plans may use and keeps, for each fact, the one that ranks its passage best. Nothing asks for a fact that none of
them finds, and so a plan that is followed always arrives.
"""

from __future__ import annotations

from dataclasses import replace

from ..choices import require_choice, require_number
from ..core import resolve_split
from ..randomness import counted_generator
from . import tables
from .history import Historian, with_wording
from .passages import Writer
from .regularities import regularities
from .retriever import Retriever
from .world import Entity, Fact, World

# Hits among which a fact's passage must stand to be asked for at all.
PROVED_TOPK = 3
_BATCH = 512

_WHERE = "the generated world"


def draw_world(size: str, split: str, world_seed: int, regularity: float) -> World:
    """A world with its texts; the facts have no searches yet.

    Raises:
        ValueError: An unknown choice or a number out of range.
    """
    require_choice("size", size, tables.SIZES, _WHERE)
    split = resolve_split(split, _WHERE)
    require_number("world_seed", world_seed, _WHERE, whole=True)
    require_number("regularity", regularity, _WHERE, low=0, high=1)
    usual = regularities(size, world_seed)
    key = ("searchqa", "world", size, split, world_seed)
    history = Historian(size, split, usual, regularity, counted_generator(*key, "history")).draw()
    facts = with_wording(history.facts, usual, regularity, counted_generator(*key, "wording"))
    passages, facts = Writer(size, facts, counted_generator(*key, "passages")).write(history.entities)
    return World(size, split, world_seed, regularity, tuple(history.entities), tuple(facts), tuple(passages))


def label_of(entity: Entity, relation: str) -> str:
    """What the sources call an entity where they state this relation: its own name where they give the other one."""
    return entity.name if relation == tables.BYNAME.name else entity.filed_as


def queries_of(world: World, fact: Fact) -> list[str]:
    """The searches that a plan may name for a fact, the plainest first."""
    label = label_of(world.entities[fact.subject], fact.relation)
    return [form.format(S=label, term=fact.term, kind=fact.kind) for form in tables.QUERIES[world.size]]


def with_queries(world: World, retriever: Retriever) -> World:
    """The same world, each fact with the search that ranks its passage best, as this retriever ranks."""
    facts = list(world.facts)
    for form in range(len(tables.QUERIES[world.size])):
        wanting = [place for place, fact in enumerate(facts) if fact.rank != 0]
        for start in range(0, len(wanting), _BATCH):
            places = wanting[start : start + _BATCH]
            queries = [queries_of(world, facts[place])[form] for place in places]
            for place, query, hits in zip(places, queries, retriever.search(queries, PROVED_TOPK), strict=True):
                rows = [hit.passage.id for hit in hits]
                fact = facts[place]
                if fact.passage in rows and not 0 <= fact.rank <= rows.index(fact.passage):
                    facts[place] = replace(fact, query=query, rank=rows.index(fact.passage))
    return replace(world, facts=tuple(facts))
