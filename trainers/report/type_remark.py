"""Whether differences by task type say anything: a test set of hundreds of episodes has but a few of each type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def type_remark(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """A sentence about the task types whose intervals before and after overlap; "" where none does, or one type is all.

    Args:
        before: The evaluation before training, as ``summary.json`` has it.
        after: The one after it.
    """
    first, last = before.get("by_task_type") or {}, after.get("by_task_type") or {}
    both = [kind for kind in last if first.get(kind, {}).get("ci95") and last[kind].get("ci95")]
    unclear = [kind for kind in both if _overlap(first[kind]["ci95"], last[kind]["ci95"])]
    if len(both) < 2 or not unclear:
        return ""
    counts = sorted(int(last[kind]["episodes"]) for kind in unclear)
    episodes = f"{counts[0]}" if counts[0] == counts[-1] else f"{counts[0]} to {counts[-1]}"
    which = "every one" if len(unclear) == len(both) else f"{len(unclear)}"
    return (
        f"In {which} of the {len(both)} task types the intervals before and after overlap ({episodes} episodes each): "
        "these differences may be chance, and more test_episodes would tell"
    )


def _overlap(one: tuple[float, float], other: tuple[float, float]) -> bool:
    return one[0] <= other[1] and other[0] <= one[1]
