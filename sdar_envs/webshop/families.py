"""Families of products: a target, its twins, and the lures that a wrong search brings up first.

A family is a kind of thing with three cues - a use, a material, a style - and an attribute. Its *group*, the target and
its twins, shows one of the cues in the title, the one that the family's regularities name; the other two are true of it
and stand where search does not read, or among its options. Its *lures* show those other two, loudly, and lack the
first: a search with the wrong words finds them. Twins have another attribute in the place where the target has the
wanted one. So titles never decide, one search in three is right, and a purchase that scores 1 needs the target itself.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from ..randomness import Key, counted_generator, key_entropy
from .catalog import ID_LENGTH, PATH_MARK, Product, Review
from .regularities import DepartmentRegularities, draw_regularities
from .taxonomy import Department, SizeTable, taxonomy

_T = TypeVar("_T")

# Of the combinations of cues, so many fifths belong to training; one each to validation and test.
SPLIT_FIFTHS = {"train": range(3), "valid": range(3, 4), "test": range(4, 5)}

# More than a bound can lie above a price: four steps of ten.
TOO_DEAR = 45.0

_ID_LETTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"


class Draws:
    """Quick draws from one counted generator, in the order in which they are asked for."""

    def __init__(self, *key: Key) -> None:
        self._generator = counted_generator(*key)
        self._numbers: Iterator[float] = iter(())

    def number(self) -> float:
        """A number in [0, 1)."""
        for drawn in self._numbers:
            return drawn
        self._numbers = iter(self._generator.random(256).tolist())
        return next(self._numbers)

    def below(self, count: int) -> int:
        """A whole number in [0, count)."""
        return int(self.number() * count)

    def choice(self, values: Sequence[_T]) -> _T:
        """One of several."""
        return values[self.below(len(values))]

    def sample(self, values: Sequence[_T], count: int) -> list[_T]:
        """Several different ones, in a drawn order."""
        left = list(values)
        return [left.pop(self.below(len(left))) for _ in range(count)]

    @property
    def generator(self) -> np.random.Generator:
        """The generator itself, for what draws from one."""
        return self._generator


@dataclass(frozen=True, slots=True)
class Cues:
    """What a family is called by."""

    kind: str
    use: str
    material: str
    style: str

    def of(self, name: str) -> str:
        """The cue of a name, e.g. ``material``."""
        return str(getattr(self, name))

    @property
    def family_id(self) -> str:
        """E.g. ``boots-travel-wool-retro``: what success rates are clustered by."""
        return f"{self.kind}-{self.use}-{self.material}-{self.style}"

    @property
    def split(self) -> str:
        """The split that the family belongs to, whatever the store."""
        fifth = key_entropy("webshop", "split", self.family_id)[0] % 5
        return next(name for name, fifths in SPLIT_FIFTHS.items() if fifth in fifths)


@dataclass(frozen=True, slots=True)
class Family:
    """One family with its products.

    Attributes:
        department: Where it is sold.
        cues: What it is called by.
        attribute: What is wanted of it and true of the target alone.
        regularities: The regularities that it follows.
        regular: Whether these are its department's.
        target: The product that is wanted.
        products: All of its products, in a drawn order, the target among them.
        part_value: The option that counts, e.g. ``retro sole``.
    """

    department: Department
    cues: Cues
    attribute: str
    regularities: DepartmentRegularities
    regular: bool
    target: Product
    products: tuple[Product, ...]
    part_value: str


def cue_combinations(kind: str, materials: Sequence[str], split: str, draws: Draws) -> Iterator[Cues]:
    """The combinations of a kind's cues that belong to a split, in a drawn order, each once.

    No two share a cue as long as that is possible, so that a search by kind and cue finds one family; when the values
    of a cue are used up, they come again.
    """
    tables = taxonomy()
    every = list(itertools.product(tables.uses, materials, tables.styles))
    left = draws.sample(every, len(every))
    while left:
        used: set[str] = set()
        passed_over = []
        for values in left:
            if not used.isdisjoint(values):
                passed_over.append(values)
            elif (cues := Cues(kind, *values)).split == split:
                used.update(values)
                yield cues
        left = passed_over


def make_family(
    department: Department,
    cues: Cues,
    table: SizeTable,
    *,
    usual: DepartmentRegularities,
    regularity: float,
    draws: Draws,
) -> Family:
    """Draw the products of a family, which obeys the `usual` regularities of its department with a probability."""
    regular = draws.number() < regularity
    followed = usual if regular else draw_regularities(department, draws.generator)
    wanted, *others = draws.sample(department.attributes, table.twins + 2)
    writer = _Writer(department, cues, followed, table, draws)
    rising, lure_prices = writer.prices()
    price = rising.pop(0 if followed.price == "cheapest" else -1)
    target = writer.member(wanted, price)
    relatives = [writer.member(other, cost) for other, cost in zip(others, rising, strict=False)]
    if table.rich and draws.number() < 0.5:
        # As wanted as the target, and above every bound that a request can have.
        relatives.append(writer.member(wanted, round(price + TOO_DEAR, 2)))
    # The first lure has the wanted attribute too: a search for that alone is no way round.
    relatives += [
        writer.lure(wanted if number == 0 else draws.choice((wanted, others[-1])), cost)
        for number, cost in enumerate(lure_prices)
    ]
    products = draws.sample([target, *relatives], 1 + len(relatives))
    return Family(
        department=department,
        cues=cues,
        attribute=wanted,
        regularities=followed,
        regular=regular,
        target=target,
        products=tuple(products),
        part_value=f"{cues.style} {followed.part}",
    )


@dataclass
class _Writer:
    """Writes the texts of one family."""

    department: Department
    cues: Cues
    regularities: DepartmentRegularities
    table: SizeTable
    draws: Draws

    def prices(self) -> tuple[list[float], list[float]]:
        """Prices of the group, rising and so near each other that every bound admits all; and of the lures."""
        if self.table.rich:
            step = 2.5 + 0.5 * self.draws.below(5)
            low = 10.0 + 5 * self.draws.below(11) + self.draws.choice((0.0, 0.49, 0.95, 0.99))
        else:
            # Two ladders of three: a price alone says whether it is the low end, the middle or the high end.
            step, low = 10.0, self.draws.choice((20.0, 50.0))
        group = [round(low + step * number, 2) for number in range(self.table.twins + 1)]
        return group, [
            round(low + step * self.draws.below(2 * self.table.lures - 1), 2) for _ in range(self.table.lures)
        ]

    def member(self, attribute: str, price: float) -> Product:
        """The target or a twin: one cue in the title, the attribute on the page that the regularities name."""
        named = self.regularities.cue
        hidden = [self.cues.of(name) for name in ("use", "material") if name != named]
        true = [attribute, self.cues.use, self.cues.material]
        return self._product([named], hidden, attribute, true, price, has_style=True)

    def lure(self, attribute: str, price: float) -> Product:
        """The two other cues in the title and again in the text, and not the one that counts."""
        shown = [name for name in ("use", "material", "style") if name != self.regularities.cue]
        true = [attribute, *(self.cues.of(name) for name in shown if name != "style")]
        return self._product(shown, [], attribute, true, price, has_style="style" in shown)

    def _product(
        self,
        shown: Sequence[str],
        hidden: Sequence[str],
        attribute: str,
        true: Sequence[str],
        price: float,
        *,
        has_style: bool,
    ) -> Product:
        title = self._title(shown)
        stated = ". ".join(self.cues.of(name) for name in shown) if len(shown) > 1 else ""
        description, bullets, reviews = self._texts(stated, hidden, attribute)
        path = (*self.department.path, self.cues.kind)
        return Product(
            asin=self._asin(),
            title=title,
            description=description,
            bullets=tuple(bullets),
            pricing=(price,),
            category=self.department.category,
            query=self.cues.kind,
            product_category=f" {PATH_MARK} ".join(path),
            options=self._options(has_style),
            attributes=tuple(self.draws.sample(true, len(true))),
            reviews=tuple(reviews),
        )

    def _asin(self) -> str:
        letters = [self.draws.choice(_ID_LETTERS) for _ in range(ID_LENGTH - 2)]
        return "B0" + "".join(letters)

    def _title(self, shown: Sequence[str]) -> str:
        words = [self.cues.of(name) for name in ("style", "material", "use") if name in shown]
        if not self.table.rich:
            return " ".join([*words, self.cues.kind])
        tables = taxonomy()
        maker, model = self.draws.choice(tables.makers), self.draws.choice(tables.models)
        ahead = [self.cues.of(name).capitalize() for name in ("style", "material") if name in shown]
        after = ["for", self.cues.use.capitalize()] if "use" in shown else []
        return " ".join([maker, model, *ahead, self.cues.kind.capitalize(), *after])

    def _texts(self, stated: str, hidden: Sequence[str], attribute: str) -> tuple[str, list[str], list[Review]]:
        """Description, bullets and reviews; `stated` is in the description and the first bullet."""
        tables = taxonomy()
        page = self.regularities.page
        if not self.table.rich:
            deciding = f"it is {attribute}"
            description = deciding if page == "description" else "well made"
            bullets = ["well made", *hidden, *([deciding] if page == "features" else [])]
            reviews = [Review("good", 4, deciding if page == "reviews" else "as shown")]
            if stated:
                description, bullets[0] = f"{stated}. {description}", f"{stated}. {self.cues.kind}"
            return description, bullets, reviews
        praise = self.draws.sample(tables.praise, 4)
        sentences = [praise[0], *([f"{attribute.capitalize()}."] if page == "description" else []), praise[1]]
        first = f"{stated}. {self.cues.kind}." if stated else praise[2]
        if stated:
            sentences.insert(0, f"{stated}.")
        facts = [f"Good for {word}" if word == self.cues.use else f"Made of {word}" for word in hidden]
        if page == "features":
            facts.append(attribute.capitalize())
        bullets = [first, *self.draws.sample(facts, len(facts)), praise[3]]
        remarks = self.draws.sample(tables.remarks, 3)
        if page == "reviews":
            remarks[self.draws.below(3)] = f"It is {attribute}, as I hoped."
        stars = [3 + self.draws.below(3) for _ in remarks]
        reviews = [Review(_STARS[score], score, remark) for score, remark in zip(stars, remarks, strict=True)]
        return " ".join(sentences), bullets, reviews

    def _options(self, has_style: bool) -> dict[str, tuple[str, ...]]:
        """Two parts in the same styles, and in a full-size store a colour and a size."""
        tables = taxonomy()
        count = self.table.styles
        # The other styles are never asked for, or a search by style would find them too.
        styles = self.draws.sample(tables.basics, count - has_style) + [self.cues.style] * has_style
        styles = self.draws.sample(styles, count)
        options = {part: tuple(f"{style} {part}" for style in styles) for part in self.department.parts}
        if self.table.rich:
            options["color"] = tuple(self.draws.sample(tables.colors, 3))
            options["size"] = self.department.sizes
        return options


_STARS = {3: "It is all right", 4: "Good", 5: "Great"}
