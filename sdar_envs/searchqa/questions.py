"""Questions as logical forms: how one is solved on the facts, worded, and taken apart into searches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from . import tables
from .answers import normalise
from .world import Entity, Fact, World

LEAST, GREATEST = 0, 1


@dataclass(frozen=True, slots=True)
class Form:
    """What is asked, without words.

    A lookup follows `path` from the one entity in `starts`: the innermost relation first. A comparison looks up the one
    relation in `path` for every entity in `starts` and asks for the entity with the least or greatest value.
    """

    starts: tuple[int, ...]
    path: tuple[str, ...]
    superlative: int | None = None

    @property
    def task_type(self) -> str:
        """One of `tables.TASK_TYPES`."""
        if self.superlative is not None:
            return "compare"
        return tables.task_type_of(self.path[0]) if len(self.path) == 1 else "multi_hop"


@dataclass(frozen=True, slots=True)
class Step:
    """One search of a plan: what is asked for, and the fact that its passage states."""

    query: str
    fact: Fact


@dataclass(frozen=True, slots=True)
class Question:
    """A question with its unique answer and the searches that lead to it.

    Attributes:
        form: The logical form.
        text: The wording.
        answers: Everything that counts as right, the canonical name first.
        steps: The searches, in an order in which each one's name is known.
        chance: Share of the answers that guessing among named candidates gets right; 0 outside comparisons.
    """

    form: Form
    text: str
    answers: tuple[str, ...]
    steps: tuple[Step, ...]
    chance: float


def evidence(world: World, form: Form) -> list[Fact] | None:
    """The facts that a form reads, in order; None when the world lacks one or an entity would come twice."""
    if form.superlative is not None:
        found = [world.fact(start, form.path[0]) for start in form.starts]
        facts = [fact for fact in found if fact is not None]
        return facts if len(facts) == len(found) else None
    at: int | None = form.starts[0]
    visited = {at}
    facts = []
    for name in form.path:
        fact = None if at is None else world.fact(at, name)
        if fact is None or fact.object in visited:
            return None
        facts.append(fact)
        at = fact.object
        if at is not None:
            visited.add(at)
    return facts


def solve(world: World, form: Form) -> list[tuple[str, ...]]:
    """Every answer that the facts allow, each as its accepted forms: a good question has exactly one."""
    facts = evidence(world, form)
    if not facts:
        return []
    if form.superlative is None:
        return [facts[-1].forms]
    numbers = [fact.number for fact in facts if fact.number is not None]
    if len(numbers) != len(facts):
        return []
    wanted = min(numbers) if form.superlative == LEAST else max(numbers)
    return [names_of(world.entities[fact.subject]) for fact in facts if fact.number == wanted]


def names_of(entity: Entity) -> tuple[str, ...]:
    """What an entity may be called in an answer."""
    return (entity.name, entity.byname) if entity.byname else (entity.name,)


def plan(world: World, facts: Sequence[Fact], topk: int) -> tuple[Step, ...] | None:
    """The searches that show these facts; None when one of them cannot be found among the first `topk` hits.

    Where an entity's sources are filed under its by-name, that is looked up first.
    """
    steps: list[Step] = []
    for fact in facts:
        entity = world.entities[fact.subject]
        needed = [fact]
        if entity.filed_as != entity.name:
            needed.insert(0, world.by_key[(entity.id, tables.BYNAME.name)])
        for part in needed:
            if not 0 <= part.rank < topk:
                return None
            steps.append(Step(part.query, part))
    return tuple(steps)


def word(world: World, form: Form, rng: np.random.Generator) -> str:
    """Put a form into words."""

    def chosen(options: Sequence[str]) -> str:
        return options[int(rng.integers(len(options)))]

    if form.superlative is not None:
        superlatives = tables.relation_of(world.size, form.path[0]).superlatives
        assert superlatives is not None  # only ordered relations are compared
        names = [world.entities[start].name for start in form.starts]
        text = superlatives[form.superlative].format(C=", ".join(names[:-1]) + f" or {names[-1]}")
    else:
        subject = world.entities[form.starts[0]].name
        for name in form.path[:-1]:
            subject = chosen(tables.relation_of(world.size, name).phrases).format(S=subject)
        text = chosen(tables.relation_of(world.size, form.path[-1]).questions).format(S=subject)
    return text


def make_question(world: World, form: Form, rng: np.random.Generator, *, topk: int, searches: int) -> Question | None:
    """The question of a form, or None when it is not a good one.

    A good one has a unique answer, which the question does not give away (a comparison names it among others, with all
    values distinct), and a plan of at most `searches` searches whose passages are among the first `topk` hits.
    """
    facts = evidence(world, form)
    solutions = solve(world, form)
    if facts is None or len(solutions) != 1:
        return None
    if form.superlative is not None and len({fact.number for fact in facts}) < len(facts):
        return None
    steps = plan(world, facts, topk)
    if steps is None or len(steps) > searches:
        return None
    text = word(world, form, rng)
    answers = solutions[0]
    if form.superlative is None:
        asked = f" {normalise(text)} "
        if any(f" {normalise(answer)} " in asked for answer in answers):
            return None
    return Question(form, text, answers, steps, 0.0 if form.superlative is None else 1 / len(form.starts))
