"""Who lived when and did what: the facts of a world, drawn so that none contradicts another in time.

People are born in cities that have their charter, are taught by people who are older and alive, study where there is a
school already, found things as grown-ups and in their lifetime; mayors are alive when the sources are written, and a
work appears with a publisher that exists. Lives end, but no source says when: they only keep the rest honest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from . import tables
from .names import NamePool
from .regularities import Regularities
from .world import Entity, Fact

_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)


@dataclass(frozen=True, slots=True)
class Calendar:
    """The years of a size: first and last of charters and births, years to grow up in, years of a life, the present."""

    charter: tuple[int, int]
    birth: tuple[int, int]
    adult: int
    life: tuple[int, int]
    present: int

    def wording(self, year: int) -> tuple[str, ...]:
        """How a year is written, first as sources do."""
        return (f"era {year}", str(year)) if self.present < 1000 else (str(year),)


CALENDARS = {
    "full": Calendar(charter=(1000, 1420), birth=(1480, 1612), adult=18, life=(50, 90), present=tables.PRESENT),
    # Few years, each a token of its own; lives are short in eras.
    "small": Calendar(charter=(10, 40), birth=(41, 92), adult=3, life=(20, 60), present=99),
}

# The share of people who are born late enough to be alive in the present.
_RECENT = 0.55


@dataclass(frozen=True, slots=True)
class Life:
    """Years of a person; `died` is the present's successor for the living."""

    born: int
    died: int


@dataclass
class History:
    """Entities, facts without their sources' wording, and the lives that they agree with."""

    entities: list[Entity] = field(default_factory=list)
    facts: list[Fact] = field(default_factory=list)
    lives: dict[int, Life] = field(default_factory=dict)


class Historian:
    """Draws the history of one world.

    Args:
        size: ``full`` or ``small``.
        split: Whose names are used.
        usual: The world's regularities, among them what is filed under by-names.
        regularity: How often an entity is filed as usual.
        rng: Where the draws come from.
    """

    def __init__(self, size: str, split: str, usual: Regularities, regularity: float, rng: np.random.Generator) -> None:
        self._size = size
        self._table = tables.SIZE_TABLES[size]
        self._calendar = CALENDARS[size]
        self._relations = frozenset(tables.SIZE_RELATIONS[size])
        self._usual = usual
        self._regularity = regularity
        self._rng = rng
        self._pool = NamePool(size, split, rng)
        self._history = History()
        self._founded: dict[int, int] = {}
        self._of_type: dict[str, list[int]] = {}

    def draw(self) -> History:
        """The whole history."""
        for entity_type, count in self._table.entities.items():
            self._of_type[entity_type] = [self._entity(entity_type) for _ in range(count)]
        self._lives()
        self._cities()
        self._organisations()
        self._people()
        self._works()
        for entity in self._history.entities:
            if entity.byname:
                self._say(entity.id, tables.BYNAME.name, (entity.byname,))
        return self._history

    # Draws.

    def _chance(self, probability: float) -> bool:
        return bool(self._rng.random() < probability)

    def _between(self, low: int, high: int) -> int:
        return int(self._rng.integers(low, high + 1))

    def _choice(self, options: Sequence[int]) -> int:
        return options[int(self._rng.integers(len(options)))]

    def _shuffled(self, options: Sequence[int]) -> list[int]:
        return [options[int(i)] for i in self._rng.permutation(len(options))]

    # Entities.

    def _entity(self, entity_type: str) -> int:
        number = len(self._history.entities)
        if entity_type == "person":
            others = [entity.name for entity in self._history.entities]
            shared = bool(others) and self._chance(self._table.colliding)
            name = self._pool.person(others[self._choice(range(len(others)))].split()[-1] if shared else None)
        elif entity_type == "organisation":
            name = self._pool.organisation()
        elif entity_type == "work":
            name = self._pool.work()
        else:
            name = self._pool.word()
        obeys = self._chance(self._regularity)
        under_byname = bool(self._table.bynames) and (entity_type in self._usual.bynames) == obeys
        byname = ""
        if under_byname or self._chance(self._table.spare_bynames):
            byname = f"{self._pool.word()} {self._pool.word()}"
        self._history.entities.append(Entity(number, entity_type, name, byname, byname if under_byname else name))
        return number

    def _say(
        self, subject: int, relation: str, forms: Sequence[str], *, object: int | None = None, number: int | None = None
    ) -> None:
        if relation in self._relations or relation == tables.BYNAME.name:
            self._history.facts.append(Fact(subject, relation, forms[0], tuple(forms), object, number, "", ""))

    def _say_entity(self, subject: int, relation: str, object: int) -> None:
        entity = self._history.entities[object]
        forms = [entity.name, entity.byname] if entity.byname else [entity.name]
        self._say(subject, relation, forms, object=object)

    def _say_year(self, subject: int, relation: str, year: int) -> None:
        self._say(subject, relation, self._calendar.wording(year), number=year)

    def _say_word(self, subject: int, relation: str) -> None:
        if relation not in self._relations:
            return
        words = tables.values_of(self._size, relation)
        self._say(subject, relation, (words[self._choice(range(len(words)))],))

    # Facts.

    def _lives(self) -> None:
        calendar = self._calendar
        first, last = calendar.birth
        recent = calendar.present - calendar.life[0] - calendar.adult // 2
        for person in self._of_type["person"]:
            born = self._between(recent, last) if self._chance(_RECENT) else self._between(first, recent - 1)
            died = born + self._between(*calendar.life)
            self._history.lives[person] = Life(born, min(died, calendar.present + 1))

    def _cities(self) -> None:
        calendar, cities = self._calendar, self._of_type["city"]
        regions = self._of_type.get("region", [])
        # The first cities go one to each region, so that every region has a capital of its own.
        in_region: dict[int, int] = {}
        if regions:
            later = [self._choice(regions) for _ in cities[len(regions) :]]
            in_region = dict(zip(cities, [*regions, *later], strict=True))
        mayors = self._shuffled(
            [
                person
                for person, life in self._history.lives.items()
                if life.died > calendar.present and life.born + calendar.adult < calendar.present
            ]
        )
        rivers = [self._pool.word() for _ in range(max(24, len(cities) // 2))] if "river" in self._relations else []
        for city in cities:
            if regions:
                self._say_entity(city, "region", in_region[city])
            if rivers:
                self._say(city, "river", (rivers[self._choice(range(len(rivers)))],))
            self._say_year(city, "charter", self._between(*calendar.charter))
            people = round(float(np.exp(self._rng.uniform(np.log(800), np.log(95_000)))))
            self._say(city, "population", (f"{people:,}", str(people)), number=people)
            if mayors:
                self._say_entity(city, "mayor", mayors.pop())
        for region in regions:
            self._say_entity(region, "capital", self._choice([c for c in cities if in_region[c] == region]))
            self._say_word(region, "emblem")

    def _organisations(self) -> None:
        calendar = self._calendar
        founders = [p for p, life in self._history.lives.items() if life.born + calendar.adult < calendar.present - 1]
        for organisation in self._of_type["organisation"]:
            founder = self._choice(founders)
            life = self._history.lives[founder]
            year = self._between(life.born + calendar.adult, min(life.died, calendar.present) - 1)
            self._founded[organisation] = year
            self._say_entity(organisation, "headquarters", self._choice(self._of_type["city"]))
            self._say_entity(organisation, "founder", founder)
            self._say_year(organisation, "founding", year)
            self._say_word(organisation, "business")

    def _people(self) -> None:
        calendar, lives = self._calendar, self._history.lives
        unmarried = self._shuffled(self._of_type["person"]) if "spouse" in self._relations else []
        spouses: dict[int, int] = {}
        while len(unmarried) > 1:
            person = unmarried.pop()
            fitting = [other for other in unmarried if abs(lives[other].born - lives[person].born) <= calendar.adult]
            if fitting:
                other = self._choice(fitting)
                unmarried.remove(other)
                spouses |= {person: other, other: person}
        for person in self._of_type["person"]:
            life = lives[person]
            self._say_entity(person, "birthplace", self._choice(self._of_type["city"]))
            month, day = self._between(1, 12), self._between(1, 28)
            forms = (
                f"{day} {_MONTHS[month - 1]} {life.born}",
                f"{_MONTHS[month - 1]} {day}, {life.born}",
                f"{life.born}-{month:02d}-{day:02d}",
            )
            self._say(person, "birthdate", forms, number=(life.born * 12 + month) * 31 + day)
            self._say_word(person, "occupation")
            if person in spouses:
                self._say_entity(person, "spouse", spouses[person])
            schools = [o for o, year in self._founded.items() if year <= life.born + calendar.adult - 2]
            if schools:
                self._say_entity(person, "school", self._choice(schools))
            # Old enough to know something, and alive when the pupil was half grown.
            mentors = [
                other
                for other, older in lives.items()
                if older.born + calendar.adult <= life.born + calendar.adult // 2
                and older.died >= life.born + calendar.adult
            ]
            if mentors:
                self._say_entity(person, "mentor", self._choice(mentors))

    def _works(self) -> None:
        calendar = self._calendar
        creators = [p for p, life in self._history.lives.items() if life.born + calendar.adult < calendar.present - 1]
        oldest = min(self._founded.values(), default=calendar.present)
        for work in self._of_type["work"]:
            while True:
                creator = self._choice(creators)
                life = self._history.lives[creator]
                year = self._between(life.born + calendar.adult, min(life.died, calendar.present) - 1)
                if year >= oldest or "publisher" not in self._relations:
                    break
            self._say_entity(work, "creator", creator)
            self._say_year(work, "completion", year)
            self._say_word(work, "genre")
            if "publisher" in self._relations:
                houses = [organisation for organisation, founded in self._founded.items() if founded <= year]
                self._say_entity(work, "publisher", self._choice(houses))
            self._say_entity(work, "setting", self._choice(self._of_type["city"]))


def with_wording(facts: Sequence[Fact], usual: Regularities, regularity: float, rng: np.random.Generator) -> list[Fact]:
    """The same facts, each with the term and the kind of source that will state it: mostly the usual ones."""

    def drawn(preferred: str, options: Sequence[str]) -> str:
        if rng.random() < regularity:
            return preferred
        others = [option for option in options if option != preferred]
        return others[int(rng.integers(len(others)))]

    return [
        replace(
            fact,
            term=drawn(usual.terms[fact.relation], tables.relation_of(usual.size, fact.relation).terms),
            kind=drawn(usual.kinds[fact.relation], tables.KINDS),
        )
        for fact in facts
    ]
