"""How objects are called in text.

ALFWorld's games have mangled ids (``Cabinet_bar__plus_00_dot_10...``) whose display names are numbered per kind, ids
sorted, from the count down to 1. Generated games have ids such as ``cabinet_1``, which are called ``cabinet 1``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

_SEPARATOR = "_bar_"  # what stands for "|" in ALFWorld's ids


def display_names(ids: Iterable[str], facts: Iterable[Sequence[str]]) -> dict[str, str]:
    """The display name of every object of one game.

    Args:
        ids: The objects.
        facts: What holds at first. Mangled ids are numbered among those that facts speak of, and only those are named.
    """
    listed = list(ids)
    if not any(_SEPARATOR in item for item in listed):
        return {item: item.replace("_", " ") for item in listed}
    listed = sorted({item for fact in facts for item in fact[1:]})
    remaining = Counter(_kind(item) for item in listed if _SEPARATOR in item)
    names: dict[str, str] = {}
    for item in listed:
        if _SEPARATOR not in item:
            names[item] = item
            continue
        kind = _kind(item)
        names[item] = f"{kind} {remaining[kind]}"
        remaining[kind] -= 1
    return names


def _kind(item: str) -> str:
    """The kind that a mangled id is of; a basin is told by its part after the separator."""
    head = item.split(_SEPARATOR, 1)[0]
    for mangled, plain in (("_minus_", "-"), ("_plus_", "+"), ("_dot_", "."), ("_comma_", ",")):
        head = head.replace(mangled, plain)
    return head + "basin" if "basin" in item else head
