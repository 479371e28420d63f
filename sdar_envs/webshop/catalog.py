"""Products and catalogues: the store's goods, with no Gymnasium, no pages and no goals.

A product is immutable and complete: what pages show, what search reads and what the reward asks is all in it. Where it
comes from - official files, an own file, the generator - does not show.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Protocol

# What a product costs that has no price (the original's rule).
PRICE_WHEN_MISSING = 100.0
ID_LENGTH = 10
# Between the segments of a category path: a single right-pointing angle quotation mark.
PATH_MARK = "\u203a"


@dataclass(frozen=True, slots=True)
class Review:
    """One customer's word: `score` in stars, 0 to 5."""

    title: str
    score: float
    body: str


def _no_options() -> Mapping[str, tuple[str, ...]]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Product:
    """One listing.

    Attributes:
        asin: Its id: at most ten characters.
        title: As results and item page show it.
        description: The `Description` page.
        bullets: The `Features` page; only the first is searched.
        pricing: No price, one, or the two ends of a range, in dollars.
        category: The department that it was found under.
        query: The search by which it was found; equal queries count as equal type.
        product_category: A path such as ``Home > Bedding > Pillows``, with `PATH_MARK` between the segments.
        options: Group name, in lower case -> values, in lower case; to be chosen from, in this order.
        attributes: What is true of it, as the reward knows it; shown only where `show_attributes` is on.
        image: Address of a picture, or "".
        reviews: The `Reviews` page.
    """

    asin: str
    title: str
    description: str = ""
    bullets: tuple[str, ...] = ()
    pricing: tuple[float, ...] = ()
    category: str = ""
    query: str = ""
    product_category: str = ""
    options: Mapping[str, tuple[str, ...]] = field(default_factory=_no_options)
    attributes: tuple[str, ...] = ()
    image: str = ""
    reviews: tuple[Review, ...] = ()

    @property
    def price_label(self) -> str:
        """The price as shown: ``$35.0``, ``$10.0 to $20.0``, and ``$100.0`` where there is none."""
        return " to ".join(f"${price}" for price in self.pricing[:2] or (PRICE_WHEN_MISSING,))

    @property
    def rating(self) -> str:
        """Stars in the mean, ``N.A.`` without reviews."""
        if not self.reviews:
            return "N.A."
        return f"{sum(review.score for review in self.reviews) / len(self.reviews):.1f}"

    def document(self) -> str:
        """The text that search reads: title, description, first bullet and all option values; nothing else."""
        groups = (f"{name}: {', '.join(values)}" for name, values in self.options.items())
        first = self.bullets[0] if self.bullets else ""
        return " ".join([self.title, self.description, first, ", and ".join(groups)]).lower()


class Catalog(Protocol):
    """An ordered collection of products, immutable."""

    def __len__(self) -> int:
        """How many."""
        ...

    @property
    def asins(self) -> Sequence[str]:
        """The ids, in the catalogue's order."""
        ...

    def product(self, asin: str) -> Product:
        """The product of an id.

        Raises:
            KeyError: There is none.
        """
        ...

    def __iter__(self) -> Iterator[Product]:
        """The products, in order."""
        ...


class ProductCatalog:
    """A catalogue in memory.

    Raises:
        ValueError: Two products have one id.
    """

    def __init__(self, products: Iterable[Product]) -> None:
        self._products: dict[str, Product] = {}
        for product in products:
            if product.asin in self._products:
                raise ValueError(f"a catalogue expects every product id once, got {product.asin!r} twice")
            self._products[product.asin] = product
        self._asins = tuple(self._products)

    def __len__(self) -> int:
        return len(self._asins)

    @property
    def asins(self) -> Sequence[str]:
        """The ids, in order."""
        return self._asins

    def product(self, asin: str) -> Product:
        """The product of an id."""
        return self._products[asin]

    def __iter__(self) -> Iterator[Product]:
        return iter(self._products.values())
