"""The best that can be made of a product: which options to choose for a goal, and what the purchase then scores."""

from __future__ import annotations

from .catalog import Product
from .goals import Goal
from .pages import choosable
from .reward import option_matches


def best_options(product: Product, goal: Goal, *, strict: bool = False) -> dict[str, str]:
    """The fewest options that meet as many of the goal's as the product can; group -> value, in the product's order."""
    if not goal.options:
        return {}
    # Which of the goal's options are met -> the shortest choice that meets them; groups are independent.
    reached: dict[frozenset[int], dict[str, str]] = {frozenset(): {}}
    # Of values that count alike, the one that was asked for in these words comes first.
    asked = {option if isinstance(option, str) else option[1] for option in goal.options}
    for group, values in choosable(product.options).items():
        for met, chosen in list(reached.items()):
            for value in sorted(values, key=lambda one: one not in asked):
                wanted = enumerate(goal.options)
                new = met | {n for n, one in wanted if option_matches(group, value, one, strict=strict)}
                if len(new) > len(met) and (new not in reached or len(reached[new]) > len(chosen) + 1):
                    reached[new] = {**chosen, group: value}
    return max(reached.items(), key=lambda item: (len(item[0]), -len(item[1])))[1]
