"""What the generated store sells: the tables of ``assets/webshop/taxonomy.toml``, and how large stores are."""

from __future__ import annotations

import dataclasses
import tomllib
from dataclasses import dataclass
from functools import cache
from typing import Any

from ..assets import asset_text

SIZES = ("full", "small")

# What a request says about the kind of thing it asks for, by which it can be searched.
CUES = ("use", "material", "style")
# The sub-pages on which an attribute can stand.
PAGES = ("description", "features", "reviews")
PRICES = ("cheapest", "dearest")


@dataclass(frozen=True, slots=True)
class Department:
    """One of the seven.

    Attributes:
        name: E.g. ``footwear``; also the task type and the name of its skill.
        label: How a sentence calls it.
        category: The official field.
        path: The first segments of its category path; other departments share at most one.
        article: What stands before a thing in a sentence.
        types: The kinds of things.
        materials: What they can be made of.
        attributes: What can be true of one and not of its lookalikes.
        parts: The two parts that come in styles, each an option group.
        sizes: Values of the size group.
    """

    name: str
    label: str
    category: str
    path: tuple[str, ...]
    article: str
    types: tuple[str, ...]
    materials: tuple[str, ...]
    attributes: tuple[str, ...]
    parts: tuple[str, ...]
    sizes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Taxonomy:
    """All tables; uses, styles, basics (styles that nobody asks for) and colours are common to all departments."""

    departments: dict[str, Department]
    uses: tuple[str, ...]
    styles: tuple[str, ...]
    basics: tuple[str, ...]
    colors: tuple[str, ...]
    makers: tuple[str, ...]
    models: tuple[str, ...]
    praise: tuple[str, ...]
    remarks: tuple[str, ...]
    official_categories: dict[str, str]
    official_words: dict[str, tuple[str, ...]]

    def department_of(self, kind: str) -> Department:
        """The department that sells a kind of thing."""
        return next(department for department in self.departments.values() if kind in department.types)


@dataclass(frozen=True, slots=True)
class SizeTable:
    """How large a store is and how hard it is to shop in.

    Attributes:
        types: Kinds of things per department.
        page_size: Products on a page of results.
        horizon: Steps until truncation.
        twins: Lookalikes of a target that lack its attribute.
        lures: Products that a wrong search brings up first.
        styles: Styles in which each part comes.
        rich: Whether products have makers, colours, sizes and several sentences of text.
    """

    types: int
    page_size: int
    horizon: int
    twins: int
    lures: int
    styles: int
    rich: bool


SIZE_TABLES = {
    "full": SizeTable(types=6, page_size=10, horizon=15, twins=2, lures=5, styles=3, rich=True),
    # A page of results holds a family's lures and no more, so that a wrong search shows nothing but lures. The horizon
    # is chosen with scripted shoppers: what they know of the store decides, see docs/webshop.md.
    "small": SizeTable(types=4, page_size=3, horizon=10, twins=2, lures=3, styles=1, rich=False),
}


@cache
def taxonomy(size: str = "full") -> Taxonomy:
    """The tables as they stand in the file, for stores of a size."""
    content = tomllib.loads(asset_text("webshop", "taxonomy.toml"))
    small = _frozen(content.pop("small"))
    departments = {}
    for name, entry in content.pop("departments").items():
        department = Department(name=name, article=entry.pop("article", "a"), **_frozen(entry))
        if size == "small":
            kinds = department.types[: SIZE_TABLES[size].types]
            department = dataclasses.replace(department, types=kinds, **small)
        departments[name] = department
    words = _frozen(content.pop("official_words"))
    return Taxonomy(departments=departments, official_words=words, **_frozen(content))


def _frozen(entry: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in entry.items()}
