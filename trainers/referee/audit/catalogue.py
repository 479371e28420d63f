"""All items of the audit by name, and what they measured as plain values."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from sdar_envs.choices import require_choice

from . import (
    contaminated_split,
    duplicate_games,
    finished_episodes,
    left_truncation,
    moving_sets,
    one_seed,
    prices_per_worker,
    products_in_train,
    single_member_groups,
    step_statistics,
)
from .item import AuditItem, Figure, KeyPart

ITEMS: Mapping[str, AuditItem] = {
    module.ITEM.name: module.ITEM
    for module in (
        contaminated_split,
        moving_sets,
        duplicate_games,
        prices_per_worker,
        one_seed,
        step_statistics,
        single_member_groups,
        left_truncation,
        finished_episodes,
        products_in_train,
    )
}


def item(name: str) -> AuditItem:
    """The item of a name.

    Raises:
        ValueError: Unknown; the message lists the choices and the nearest.
    """
    return ITEMS[require_choice("item", name, ITEMS, "sdar audit")]


def to_json(found: AuditItem, figures: Iterable[Figure]) -> dict[str, Any]:
    """An item with its figures, as plain values."""
    content = {each.name: getattr(found, each.name) for each in dataclasses.fields(found) if each.name != "measure"}
    content["threads"] = [dataclasses.asdict(thread) for thread in found.threads]
    return content | {"figures": [dataclasses.asdict(figure) for figure in figures]}


def measured(names: Iterable[str], key: KeyPart) -> list[tuple[AuditItem, tuple[Figure, ...]]]:
    """Items with what their simulations give for a key."""
    return [(found, found.measure(key)) for found in map(item, names)]
