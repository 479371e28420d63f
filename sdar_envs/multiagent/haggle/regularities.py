"""What can be learned about a market: the usual limits of both sides, and the skill statements about them.

The regularities of a world seed are a floor (what sellers need at least) and a ceiling (what shoppers pay at most) per
kind of thing in the small size, per department in the full one. All splits share them. A statement names a side's
*limit* and never its behaviour: behaviour changes when that side learns, and the statement would become a lie.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from ...randomness import counted_generator
from ...skills import SkillStatement
from ...webshop.taxonomy import taxonomy
from .tables import SELLER, SHOPPER, SIZE_TABLES, usual_limits

# Role -> (sentence, short sentence) about the other side's limit.
DOLLAR_SENTENCES: Mapping[str, tuple[str, str]] = {
    SHOPPER: ("Sellers part with {thing} for {{value}} dollars.", "{thing}: sellers take {{value}}."),
    SELLER: ("Shoppers pay up to {{value}} dollars for {thing}.", "{thing}: shoppers pay {{value}}."),
}
SHARE_SENTENCES: Mapping[str, tuple[str, str]] = {
    SHOPPER: (
        "Sellers of {thing} usually part with a lot for about {{value}} per cent of its listed price.",
        "{thing}: sellers take about {{value}} per cent.",
    ),
    SELLER: (
        "Shoppers usually pay up to about {{value}} per cent of the listed price for a lot of {thing}.",
        "{thing}: shoppers pay about {{value}} per cent.",
    ),
}


def things(size: str) -> tuple[str, ...]:
    """What regularities are about: kinds of things in the small size, departments' labels in the full one."""
    departments = taxonomy("small" if size == "small" else "full").departments.values()
    if size == "small":
        return tuple(kind for department in departments for kind in department.types)
    return tuple(department.label for department in departments)


def skill_key(role: str, thing: str) -> str:
    """What a role's bank is asked with; the words stand in the role's instruction, and no other role has the key."""
    return f"{role.partition('_')[0]} of {thing}"


@dataclass(frozen=True)
class Regularities:
    """The regularities of one world seed: thing -> usual (floor, ceiling), in levels."""

    size: str
    world_seed: int
    limits: Mapping[str, tuple[int, int]]

    def statements(self, role: str) -> tuple[SkillStatement, ...]:
        """What a role can be told: the other side's usual limits, all true."""
        table = SIZE_TABLES[self.size]
        side = 0 if role == SHOPPER else 1
        first, last = table.floors if role == SHOPPER else table.ceilings
        values = [level * table.level for level in range(first + table.spread, last - table.spread + 1)]
        text, short = (SHARE_SENTENCES if table.relative else DOLLAR_SENTENCES)[role]
        field = ("floor", "ceiling")[side]
        return tuple(
            SkillStatement(
                id=f"{field}:{thing}",
                keys=(skill_key(role, thing), field),
                field=field,
                value=str(pair[side] * table.level),
                text=text.format(thing=thing),
                compact_text=short.format(thing=thing),
                alternatives=tuple(str(value) for value in values),
            )
            for thing, pair in self.limits.items()
        )


@cache
def regularities(size: str, world_seed: int) -> Regularities:
    """Draw the regularities of a world seed; those of one thing do not depend on which others there are."""
    pairs = usual_limits(SIZE_TABLES[size])
    drawn = {}
    for thing in things(size):
        generator = counted_generator("haggle", "regularity", size, world_seed, thing)
        drawn[thing] = pairs[int(generator.integers(len(pairs)))]
    return Regularities(size, world_seed, drawn)
