"""What can be learned about a store: the regularities of a department, and the skill statements about them.

A regularity is not a fact about a request. In each department the things that are wanted are found by one kind of word,
what tells them from their lookalikes stands on one sub-page, a style is meant for one part, and the wanted one is the
cheapest or the dearest of those that look alike. Families of products obey all regularities of their department with
probability `regularity`; in the others each regularity is drawn anew. All splits share the regularities.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from ..randomness import counted_generator
from ..skills import SkillStatement
from .taxonomy import CUES, PAGES, PRICES, Department, taxonomy


@dataclass(frozen=True, slots=True)
class DepartmentRegularities:
    """The regularities of one department, or those that a family of products follows.

    Attributes:
        cue: The kind of word to search by, beside the kind of thing.
        page: The sub-page on which the deciding attribute stands.
        part: The part whose style counts.
        price: Which of the lookalikes is wanted.
    """

    cue: str
    page: str
    part: str
    price: str


_SENTENCES = {
    "cue": (
        "In {label}, search for the kind of thing together with its {{value}}: other words bring up lookalikes first.",
        "search by the {value}.",
    ),
    "page": (
        "In {label}, what tells lookalikes apart is usually said on the page {{value}}.",
        "look in the {value}.",
    ),
    "part": (
        "In {label}, a style that is asked for is usually meant for the {{value}}: choose that option.",
        "the {value} counts.",
    ),
    "price": (
        "In {label}, of several that look alike, the {{value}} is usually the right one.",
        "take the {value}.",
    ),
}


@dataclass(frozen=True)
class Regularities:
    """The regularities of one world seed for stores of one size, by department."""

    size: str
    world_seed: int
    by_department: dict[str, DepartmentRegularities]

    def statements(self) -> tuple[SkillStatement, ...]:
        """The regularities as skill statements, all true: four per department, under the department's name."""
        return tuple(
            SkillStatement(
                id=f"{field}:{department.name}",
                keys=(department.name, field),
                field=field,
                value=getattr(self.by_department[department.name], field),
                text=sentence.format(label=department.label),
                compact_text=short,
                alternatives=choices(department)[field],
            )
            for department in taxonomy(self.size).departments.values()
            for field, (sentence, short) in _SENTENCES.items()
        )


def choices(department: Department) -> dict[str, tuple[str, ...]]:
    """What each regularity of a department can be."""
    return {"cue": CUES, "page": PAGES, "part": department.parts, "price": PRICES}


def draw_regularities(department: Department, rng: np.random.Generator) -> DepartmentRegularities:
    """Regularities of a department, drawn evenly."""
    drawn = {field: values[int(rng.integers(len(values)))] for field, values in choices(department).items()}
    return DepartmentRegularities(**drawn)


@cache
def regularities(size: str, world_seed: int) -> Regularities:
    """The regularities of a world seed.

    A department's do not depend on which other departments there are, and hardly on the size.
    """
    drawn = {}
    for name, department in taxonomy(size).departments.items():
        drawn[name] = draw_regularities(department, counted_generator("webshop", "laws", world_seed, name))
    return Regularities(size, world_seed, drawn)
