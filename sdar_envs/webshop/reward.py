"""What a purchase is worth: the original's formula with its parts.

    reward = r_type * (attributes found + options found + price within bound) / (attributes + options + 1)

`r_type` is about the kind of thing: 1, or less where neither the query nor the category nor the title is related.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .catalog import PATH_MARK, Product
from .matching import COLORS, TitleTokens, base_color, similar, title_nouns

if TYPE_CHECKING:
    from .goals import Goal, GoalOption


@dataclass(frozen=True, slots=True)
class TypeMatch:
    """How the kind of thing was judged."""

    r_type: float
    query_match: bool
    category_match: bool
    title_score: float


@dataclass(frozen=True, slots=True)
class Purchase:
    """A judged purchase: which attributes and options of the goal were met, by position."""

    reward: float
    type_match: TypeMatch
    attributes_met: tuple[bool, ...]
    options_met: tuple[bool, ...]
    price_met: bool

    def parts(self) -> dict[str, float | bool]:
        """The verbose parts, under the names of the original: r_* are shares met, w_* are weights."""
        n_attributes, n_options = len(self.attributes_met), len(self.options_met)
        total = n_attributes + n_options + 1
        parts: dict[str, float | bool] = {
            "r_type": self.type_match.r_type,
            "query_match": self.type_match.query_match,
            "category_match": self.type_match.category_match,
            "title_score": self.type_match.title_score,
        }
        if n_attributes:
            parts |= {"r_att": sum(self.attributes_met) / n_attributes, "w_att": n_attributes / total}
        if n_options:
            parts |= {"r_option": sum(self.options_met) / n_options, "w_option": n_options / total}
        return parts | {"r_price": self.price_met, "w_price": 1 / total}


def judge(
    product: Product,
    price: float,
    chosen: Mapping[str, str],
    goal: Goal,
    *,
    strict_options: bool = False,
    title_tokens: TitleTokens = title_nouns,
) -> Purchase:
    """Judge the purchase of `product` at `price` dollars with the `chosen` options (group -> value).

    Args:
        product: What is bought.
        price: What it costs; the bound is compared with this, not with the label.
        chosen: The options that were selected.
        goal: What was wanted.
        strict_options: Options must be equal, in their own group where the goal names one, instead of similar.
        title_tokens: The nouns of a title, see `matching.TitleTokens`.
    """
    type_match = match_type(product, goal, title_tokens)
    attributes_met = tuple(has_attribute(product, wanted) for wanted in goal.attributes)
    options_met = tuple(
        any(option_matches(group, value, wanted, strict=strict_options) for group, value in chosen.items())
        for wanted in goal.options
    )
    price_met = price <= goal.price_upper
    met = sum(attributes_met) + sum(options_met) + price_met
    reward = type_match.r_type * (met / (len(attributes_met) + len(options_met) + 1))
    return Purchase(reward, type_match, attributes_met, options_met, price_met)


def match_type(product: Product, goal: Goal, title_tokens: TitleTokens = title_nouns) -> TypeMatch:
    """Judge the kind of thing: by query, by shared segments of the category path, and by nouns of the titles.

    The title score is the original's: different nouns that both titles have, divided by all nouns of the wanted one,
    repeated ones counted. So a title that names a thing twice scores below 1 even with itself.
    """
    query_match = product.query == goal.query
    category_match = len(_segments(product.product_category) & _segments(goal.product_category)) >= 2
    wanted = title_tokens(goal.name)
    shared = set(title_tokens(product.title)) & set(wanted)
    title_score = len(shared) / len(wanted) if wanted else 0.2
    r_type = 1.0 if query_match or category_match or title_score > 0.2 else 0.5
    # Unrelated titles weigh more than a shared query.
    if title_score < 0.1:
        r_type = 0.1
    if title_score == 0.0:
        r_type = 0.0
    return TypeMatch(r_type, query_match, category_match, title_score)


def _segments(path: str) -> frozenset[str]:
    return frozenset(segment.strip() for segment in path.split(PATH_MARK))


def has_attribute(product: Product, wanted: str) -> bool:
    """Whether an attribute is among the product's own, or stands word for word in what its pages say."""
    return any(similar(own, wanted) for own in product.attributes) or (
        wanted in product.title.lower()
        or wanted in " ".join(product.bullets).lower()
        or wanted in product.description.lower()
    )


def option_matches(group: str, value: str, wanted: GoalOption, *, strict: bool = False) -> bool:
    """Whether a chosen option meets one of the goal.

    A goal's option is a value, or a pair of group and value. By the official rule the group does not matter: of a pair,
    either an exact colour word counts, or both words together are compared with the value.
    """
    if strict:
        return value == wanted if isinstance(wanted, str) else (group, value) == wanted
    return similar(base_color(value), _wanted_text(wanted))


def _wanted_text(wanted: GoalOption) -> str:
    if isinstance(wanted, str):
        return base_color(wanted)
    return next((color for color in COLORS if color in wanted), f"{wanted[0]} {wanted[1]}")
