"""Filters: which episodes of an iteration a method learns from, as pure functions over their outcomes."""

from __future__ import annotations

from collections.abc import Sequence

from ..batch.outcome import EpisodeOutcome
from ..options import MethodOptions


def successes(episodes: Sequence[EpisodeOutcome], options: MethodOptions) -> list[bool]:
    """Every episode that succeeded."""
    return [episode.success and not episode.failed for episode in episodes]


def best_successes(episodes: Sequence[EpisodeOutcome], options: MethodOptions) -> list[bool]:
    """Of each task, the ``keep_per_task`` best episodes that succeeded: by return, then by fewest turns, then in order.

    Without the bound, easy tasks, which succeed often, would outweigh hard ones.
    """
    won = [index for index, kept in enumerate(successes(episodes, options)) if kept]
    won.sort(key=lambda index: (-episodes[index].return_, episodes[index].turns, index))
    left: dict[int, int] = {}
    flags = [False] * len(episodes)
    for index in won:
        group = episodes[index].group_id
        left[group] = left.get(group, options.keep_per_task) - 1
        flags[index] = left[group] >= 0
    return flags
