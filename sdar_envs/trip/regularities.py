"""What can be learned about trips: the regularities of a world seed, and the skill statements about them.

A regularity is not a fact about one trip. Each company has a district where its meetings usually are, something that
its people usually need in a hotel, and a cuisine that its guests usually want; of each airline one departure is usually
full; and on each weekday one district is usually closed. Each holds in a trip with probability `regularity`. What a
company's policy says holds always, and nobody states it: it has to be read, or met. All splits share all of this.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from ..skills import SkillStatement
from .draws import Draws
from .tables import FIRST, LAST, SIZE_TABLES, WEEKDAYS

DEPARTURES = (FIRST, LAST)

# field -> what a teacher reads, and the same for tiny models.
SENTENCES = {
    "office": (
        "Meetings of {key} are usually in the {{value}} district, whatever the city: take a hotel near it.",
        "{key} meets in {{value}}.",
    ),
    "feature": (
        "People who travel for {key} usually need a hotel with the feature {{value}}.",
        "{key} needs {{value}}.",
    ),
    "cuisine": (
        "Guests of {key} usually want {{value}} food.",
        "{key} eats {{value}}.",
    ),
    "full": (
        "The {{value}} flight that {key} offers on a day is usually sold out.",
        "{key} {{value}} is full.",
    ),
    "closed": (
        "On {key} the restaurants of the {{value}} district are usually closed.",
        "{key} {{value}} is closed.",
    ),
}


@dataclass(frozen=True, slots=True)
class Policy:
    """What a company lets its people book.

    Attributes:
        most_per_night: Highest price of a hotel for a night, in cents.
        fares: The fares that are allowed.
        margin: How long before a meeting one has to be at the office, in minutes.
    """

    most_per_night: int
    fares: tuple[str, ...]
    margin: int


@dataclass(frozen=True)
class Regularities:
    """The regularities of one world seed in a size; `usual` is field -> key -> value."""

    size: str
    world_seed: int
    usual: dict[str, dict[str, str]]
    policies: dict[str, Policy]

    def statements(self) -> tuple[SkillStatement, ...]:
        """The regularities as skill statements, all true, under the company, airline or weekday that they are about."""
        return tuple(
            SkillStatement(
                id=f"{field}:{key}",
                keys=(key, field),
                field=field,
                value=value,
                text=SENTENCES[field][0].format(key=key),
                compact_text=SENTENCES[field][1].format(key=key),
                alternatives=values_of(self.size, field),
            )
            for field, values in self.usual.items()
            for key, value in values.items()
        )


def values_of(size: str, field: str) -> tuple[str, ...]:
    """What a regularity can be."""
    table = SIZE_TABLES[size]
    return {
        "office": table.districts,
        "feature": table.features,
        "cuisine": table.cuisines,
        "full": DEPARTURES,
        "closed": table.districts,
    }[field]


@cache
def regularities(size: str, world_seed: int) -> Regularities:
    """Draw the regularities of a world seed; what is drawn for one key does not depend on which others there are."""
    table = SIZE_TABLES[size]
    keys = {
        "office": table.companies,
        "feature": table.companies,
        "cuisine": table.companies,
        "full": table.airlines,
        "closed": WEEKDAYS[:5],
    }
    usual = {
        field: {key: Draws("trip", "usual", size, world_seed, field, key).choice(values_of(size, field)) for key in of}
        for field, of in keys.items()
    }
    policies = {}
    for company in table.companies:
        draws = Draws("trip", "policy", size, world_seed, company)
        policies[company] = Policy(
            draws.between(13_000, 17_000, 1_000), draws.choice(table.fares), draws.choice(table.margins)
        )
    return Regularities(size, world_seed, usual, policies)
