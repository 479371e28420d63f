"""What a purchase missed, in words: the kind of thing, the attributes, the options, the price."""

from __future__ import annotations

from collections.abc import Sequence

from .goals import NO_BOUND, Goal, GoalOption
from .reward import Purchase

_KINDS = {
    1.0: "what was wanted",
    0.5: "not related to what was wanted, so all else counts a half",
    0.1: "hardly a word of the title is that of what was wanted, so all else counts a tenth",
    0.0: "no word of the title is that of what was wanted, so nothing else counts",
}


def verdict(bought: Purchase, goal: Goal) -> tuple[str, ...]:
    """Four lines on a purchase, one for each part of its score."""
    bound = "no bound" if goal.price_upper >= NO_BOUND else f"the bound of {goal.price_upper:.2f} dollars"
    return (
        f"Kind of thing: {_KINDS[bought.type_match.r_type]}",
        _part("Attributes", goal.attributes, bought.attributes_met),
        _part("Options", [said(option) for option in goal.options], bought.options_met),
        f"Price: {'within' if bought.price_met else 'above'} {bound}",
    )


def said(option: GoalOption) -> str:
    """An option of a goal as a person says it."""
    return option if isinstance(option, str) else f"{option[0]}: {option[1]}"


def _part(name: str, wanted: Sequence[str], met: Sequence[bool]) -> str:
    if not wanted:
        return f"{name}: none was asked for"
    missed = [one for one, found in zip(wanted, met, strict=True) if not found]
    return f"{name}: {sum(met)} of {len(met)}{'; missed: ' + ', '.join(missed) if missed else ''}"
