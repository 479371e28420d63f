"""What prompts have in common, and which of them are read in one forward pass: pure functions over token ids."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

PASS_TOKENS = 256  # a forward pass costs about as much as so many padded tokens: launches, and weights to be read
SHARED_TOKENS = 32  # beginnings shorter than this are not worth copying from another row


def common(one: Sequence[int], other: Sequence[int], limit: int) -> int:
    """How many of the first `limit` ids two sequences have in common before they differ."""
    limit = min(limit, len(one), len(other))
    if one[:limit] == other[:limit]:
        return limit
    differ = np.asarray(one[:limit]) != np.asarray(other[:limit])
    return int(differ.argmax())


def leaders(prompts: Sequence[Sequence[int]], known: Sequence[int]) -> list[tuple[int | None, int]]:
    """Which of several prompts is read first, so that others can copy its beginning.

    Args:
        prompts: Whole prompts.
        known: Per prompt, how many of its first ids are held already.

    Returns:
        Per prompt the number of the prompt whose beginning it copies and how many ids; (None, 0) where it copies none.
        Whose beginning is copied copies none itself.
    """
    result: list[tuple[int | None, int]] = [(None, 0)] * len(prompts)
    leader: int | None = None
    # In sorted order, prompts that begin alike stand together; equal ones count as whole.
    for index in sorted(range(len(prompts)), key=lambda i: (list(prompts[i]), -known[i], i)):
        if leader is not None:
            shared = common(prompts[leader], prompts[index], len(prompts[index]))
            same = shared == len(prompts[index]) == len(prompts[leader])
            if same or shared >= known[index] + SHARED_TOKENS:
                # At least one token is fed for the logits, unless the leader's are the same.
                result[index] = (leader, shared if same else min(shared, len(prompts[index]) - 1))
                continue
        leader = index
    return result


def length_groups(lengths: Sequence[int], most: int, overhead: int = PASS_TOKENS) -> list[list[int]]:
    """Group rows so that padding them costs least: a pass costs `overhead` and its rows times its longest.

    Args:
        lengths: New tokens per row.
        most: Padded tokens per group at most (a longer row stands alone).
        overhead: What a pass costs, in tokens.

    Returns:
        Groups of row numbers, shorter rows first.
    """
    order = sorted(range(len(lengths)), key=lambda i: lengths[i])
    ordered = [lengths[i] for i in order]
    total = len(ordered) * ordered[-1] if ordered else 0
    if total <= most and total - sum(ordered) <= overhead:
        return [order] if order else []
    # best[i]: the least cost of the first i rows, and where their last group begins.
    best: list[tuple[float, int]] = [(0.0, 0)]
    for end in range(1, len(ordered) + 1):
        choice = (float("inf"), end - 1)
        for start in range(end - 1, -1, -1):
            padded = (end - start) * ordered[end - 1]
            if padded > most and end - start > 1:
                break
            cost = best[start][0] + overhead + padded
            choice = min(choice, (cost, start))
        best.append(choice)
    groups = []
    end = len(ordered)
    while end:
        start = best[end][1]
        groups.append(order[start:end])
        end = start
    return groups[::-1]
