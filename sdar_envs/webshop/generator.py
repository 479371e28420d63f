"""A generated store: families of products until the shelves are full, requests about their targets, and proofs.

Everything is a function of (size, split, seed, number of products): the same arguments give the same bytes in any
process. A split has a store of its own, made of families that belong to it, so that no family of one split is met in
another. What cannot be proved about a family - that its plan scores 1, that nothing else does, that buying the first
hit fails - costs it its request; its products stay on the shelves.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from .catalog import Product, ProductCatalog
from .families import Cues, Draws, Family, cue_combinations, make_family
from .goals import Goal, draw_bound, price_clause
from .instructions import HUMAN, PHRASINGS, word_request
from .purchase import best_options
from .regularities import regularities
from .search import SearchIndex
from .store import Store
from .taxonomy import SIZE_TABLES, Department, SizeTable, taxonomy

# Plans may not be longer, whatever the horizon.
LONGEST_PLAN = 15

# How often a request of a full-size store asks for a colour or a size as well.
EXTRA_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class Request:
    """What a family's target is asked for by; worded in as many ways as there are phrasings.

    Attributes:
        family: The family.
        extra: Group and value of an option beside the part that counts, or nothing.
        bounds: The price bound of each phrasing.
        query: The search that ranks the target best.
        rank: The target's place among its hits, from 0.
    """

    family: Family
    extra: tuple[str, ...]
    bounds: tuple[float, ...]
    query: str
    rank: int

    def goal(self, phrasing: int) -> Goal:
        """The goal, in one of `PHRASINGS`."""
        family = self.family
        return _goal(family, self.extra, self.bounds[phrasing], phrasing)


@dataclass(frozen=True)
class GeneratedStore:
    """A store with its requests, by department, in the order of their families."""

    store: Store
    families: tuple[Family, ...]
    requests: dict[str, tuple[Request, ...]]
    unproved: int

    @property
    def catalog(self) -> ProductCatalog:
        """The goods."""
        assert isinstance(self.store.catalog, ProductCatalog)
        return self.store.catalog


@lru_cache(maxsize=64)
def generate(
    size: str, split: str, *, world_seed: int = 0, regularity: float = 0.85, num_products: int = 1000
) -> GeneratedStore:
    """Generate a store, or hand out the one that was generated before: stores are immutable and shared.

    Args:
        size: ``full`` or ``small``.
        split: ``train``, ``valid`` or ``test``: which families are sold.
        world_seed: Which regularities and which goods.
        regularity: Share of families that obey the regularities.
        num_products: How many products; the last family may be cut short.
    """
    table = SIZE_TABLES[size]
    usual = regularities(size, world_seed).by_department
    families: list[tuple[Family, Draws]] = []
    products: list[Product] = []
    for department, cues, draws in _families_in_turn(size, split, world_seed):
        if len(products) >= num_products:
            break
        family = make_family(department, cues, table, usual=usual[department.name], regularity=regularity, draws=draws)
        families.append((family, draws))
        products += family.products
    catalog = ProductCatalog(products[:num_products])
    index = SearchIndex.build((product.asin, product.document()) for product in catalog)
    prices = {product.asin: product.pricing[0] for product in catalog}
    store = Store(catalog, index, prices, page_size=table.page_size)
    on_sale = set(catalog.asins)
    having = defaultdict(set)
    for product in catalog:
        for attribute in product.attributes:
            having[attribute].add(product.asin)
    proved: dict[str, list[Request]] = {name: [] for name in usual}
    unproved = 0
    for family, draws in families:
        request = _request(store, family, table, draws, having) if family.target.asin in on_sale else None
        if request is None:
            unproved += 1
        else:
            proved[family.department.name].append(request)
    return GeneratedStore(
        store=store,
        families=tuple(family for family, _ in families),
        requests={name: tuple(requests) for name, requests in proved.items()},
        unproved=unproved,
    )


def _families_in_turn(size: str, split: str, world_seed: int) -> Iterator[tuple[Department, Cues, Draws]]:
    """Families of all kinds in turn, departments changing fastest, until every combination was there."""
    shelves = []
    for number in range(SIZE_TABLES[size].types):
        for department in taxonomy(size).departments.values():
            kind = department.types[number]
            draws = Draws("webshop", "kind", size, world_seed, split, kind)
            shelves.append((department, cue_combinations(kind, department.materials, split, draws)))
    while shelves:
        left = []
        for department, combinations in shelves:
            for cues in combinations:
                yield department, cues, Draws("webshop", "family", size, world_seed, cues.family_id)
                left.append((department, combinations))
                break
        shelves = left


def _request(
    store: Store, family: Family, table: SizeTable, draws: Draws, having: dict[str, set[str]]
) -> Request | None:
    """The request for a family's target, None when one of its proofs fails."""
    extra: tuple[str, ...] = ()
    if table.rich and draws.number() < EXTRA_SHARE:
        group = draws.choice(("color", "size"))
        extra = (group, draws.choice(family.target.options[group]))
    rng = random.Random(draws.below(2**31))
    price = family.target.pricing[0]
    bounds = tuple(draw_bound(price, rng)[0] for _ in PHRASINGS)
    goal = _goal(family, extra, max(bounds), 0)
    query, rank = best_query(store, family)
    request = Request(family, extra, bounds, query, rank)
    proved = (
        rank >= 0
        and _plan_length(request, table) <= min(LONGEST_PLAN, table.horizon)
        and _best_score(store, family.target, goal) == 1.0
        and not any(_best_score(store, store.product(asin), goal) == 1.0 for asin in _rivals(family, goal, having))
        and _first_hit_fails(store, (request.goal(HUMAN.start - 1), request.goal(HUMAN.start)))
    )
    return request if proved else None


def best_query(store: Store, family: Family) -> tuple[str, int]:
    """The search by kind and one cue that ranks the target best, and the rank; -1 when none finds it."""
    cues = family.cues
    names = sorted(("use", "material", "style"), key=lambda name: name != family.regularities.cue)
    ranked = []
    for query in (f"{cues.of(name)} {cues.kind}" for name in names):
        hits = store.hits(query)
        if family.target.asin in hits:
            ranked.append((hits.index(family.target.asin), query))
    if not ranked:
        return "", -1
    rank, query = min(ranked, key=lambda found: found[0] // store.page_size)
    return query, rank


def _plan_length(request: Request, table: SizeTable) -> int:
    options = 2 if request.extra else 1
    return 1 + request.rank // table.page_size + 1 + options + 1


def _rivals(family: Family, goal: Goal, having: dict[str, set[str]]) -> set[str]:
    """Products that have all wanted attributes; texts say nothing that a product does not have."""
    return set.intersection(*(having[attribute] for attribute in goal.attributes)) - {family.target.asin}


def _best_score(store: Store, product: Product, goal: Goal) -> float:
    return store.judge(product.asin, best_options(product, goal), goal).reward


def _first_hit_fails(store: Store, goals: Iterable[Goal]) -> bool:
    """Whether a search for the whole request, and a purchase of its first hit with the best options, fails.

    Words that belong to a phrasing occur in no product, so one wording of each way of speaking stands for all.
    """
    for goal in goals:
        hits = store.hits(goal.instruction.lower())
        if not hits or _best_score(store, store.product(hits[0]), goal) == 1.0:
            return False
    return True


def _goal(family: Family, extra: tuple[str, ...], bound: float, phrasing: int) -> Goal:
    cues, target = family.cues, family.target
    text = word_request(
        phrasing,
        article=family.department.article,
        kind=cues.kind,
        style=cues.style,
        material=cues.material,
        use=cues.use,
        attribute=family.attribute,
        extra=extra,
    )
    return Goal(
        asin=target.asin,
        instruction=text + price_clause(bound),
        attributes=(family.attribute, cues.use, cues.material),
        options=(family.part_value, *extra[1:]),
        price_upper=bound,
        name=target.title,
        query=target.query,
        category=target.category,
        product_category=target.product_category,
    )
