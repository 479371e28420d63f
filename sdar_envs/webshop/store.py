"""A store: catalogue, search index and pages, immutable and shared by everyone who shops in it."""

from __future__ import annotations

from collections.abc import Mapping

from ..bounded_cache import remembered
from .catalog import Catalog
from .goals import Goal
from .matching import TitleTokens, title_nouns
from .pages import PAGE_SIZE, Page, item_page, results_page, sub_page
from .reward import Purchase, judge
from .search import SearchIndex

# The original shows no more hits than these.
MOST_HITS = 50

# Bytes of results, and of pages of each kind, that are kept ready.
_KEPT = 1 << 22


class Store:
    """What a shopper walks through; see `session.Session`.

    Args:
        catalog: The goods.
        index: Their search index.
        prices: What each product costs when it is bought.
        page_size: Products on a page of results.
        show_attributes: Whether item pages have the `Attributes` sub-page.
        strict_options: Whether options are judged strictly, see `reward.judge`.
        title_tokens: The nouns of a title, see `matching.TitleTokens`.
    """

    def __init__(
        self,
        catalog: Catalog,
        index: SearchIndex,
        prices: Mapping[str, float],
        *,
        page_size: int = PAGE_SIZE,
        show_attributes: bool = False,
        strict_options: bool = False,
        title_tokens: TitleTokens = title_nouns,
    ) -> None:
        self.catalog = catalog
        self.index = index
        self.prices = prices
        self.page_size = page_size
        self.show_attributes = show_attributes
        self.strict_options = strict_options
        self.title_tokens = title_tokens
        # Caches of the instance, so that they go when the store goes.
        self.product = remembered(_KEPT)(catalog.product)
        self.hits = remembered(_KEPT)(self._hits)
        self.results_page = remembered(_KEPT)(self._results_page)
        self.item_page = remembered(_KEPT)(self._item_page)
        self.sub_page = remembered(_KEPT)(self._sub_page)

    def variant(self, *, show_attributes: bool, strict_options: bool) -> Store:
        """The same goods under other rules; itself when the rules are the same."""
        if (show_attributes, strict_options) == (self.show_attributes, self.strict_options):
            return self
        return Store(
            self.catalog,
            self.index,
            self.prices,
            page_size=self.page_size,
            show_attributes=show_attributes,
            strict_options=strict_options,
            title_tokens=self.title_tokens,
        )

    @property
    def page_of_last_hit(self) -> int:
        """The last page on which a search lists anything."""
        return -(-MOST_HITS // self.page_size)

    def page_of(self, query: str, asin: str) -> int:
        """The page on which a search lists a product, from 1; 0 where it does not."""
        hits = self.hits(query)
        return hits.index(asin) // self.page_size + 1 if asin in hits else 0

    def judge(self, asin: str, chosen: Mapping[str, str], goal: Goal) -> Purchase:
        """What buying a product with these options is worth for a goal."""
        return judge(
            self.product(asin),
            self.prices[asin],
            chosen,
            goal,
            strict_options=self.strict_options,
            title_tokens=self.title_tokens,
        )

    def _hits(self, query: str) -> tuple[str, ...]:
        return tuple(self.index.search(query, MOST_HITS))

    def _results_page(self, query: str, number: int) -> Page:
        found = self.hits(query)
        listed = found[(number - 1) * self.page_size : number * self.page_size]
        return results_page([self.product(asin) for asin in listed], number, len(found))

    def _item_page(self, asin: str) -> Page:
        return item_page(self.product(asin), show_attributes=self.show_attributes)

    def _sub_page(self, asin: str, name: str) -> Page:
        return sub_page(self.product(asin), name)
