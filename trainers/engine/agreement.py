"""What all processes of a run must have in common, compared before the first iteration.

Processes that were given different options, weights or versions would go on for hours and add up gradients of different
losses. So each states the facts that it goes by, and all compare all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .base import Ranks
from .processes import ProcessesError


class RanksDifferError(ProcessesError):
    """The processes of a run were given different things; the message names what differs, by rank."""


def require_agreement(ranks: Ranks, facts: Mapping[str, Any]) -> None:
    """Refuse processes whose facts are not the same.

    Args:
        ranks: The processes.
        facts: Name to a value that compares and prints.

    Raises:
        RanksDifferError: In every process.
    """
    all_facts = ranks.gather(dict(facts))
    names = list(dict.fromkeys(name for own in all_facts for name in own))
    different = [name for name in names if any(own.get(name) != all_facts[0].get(name) for own in all_facts)]
    if different:
        shown = "; ".join(f"{name} is {_by_rank([own.get(name) for own in all_facts])}" for name in different[:5])
        more = f"; and {len(different) - 5} more" if len(different) > 5 else ""
        raise RanksDifferError(
            f"the {ranks.world_size} processes of a run must be given the same, and {shown}{more}: start all of them "
            "with one command, one installation and one model"
        )


def _by_rank(values: Sequence[Any]) -> str:
    """Each value with the ranks that have it."""
    ranks: dict[str, list[int]] = {}
    for rank, value in enumerate(values):
        ranks.setdefault(repr(value), []).append(rank)
    return ", ".join(
        f"{text} on rank{'s' if len(own) > 1 else ''} {', '.join(map(str, own))}" for text, own in ranks.items()
    )
