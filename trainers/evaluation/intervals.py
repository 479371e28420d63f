"""Intervals for success rates: Wilson, by cluster, and of paired differences. Pure functions of counts and outcomes.

All intervals are two-sided at 95 % unless `z` says otherwise, and stay inside the range of what they estimate.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence

Z95 = 1.959963984540054  # the normal distribution's 97.5 % quantile

Interval = tuple[float, float]


def wilson(wins: int, episodes: int, *, z: float = Z95) -> Interval:
    """Wilson's score interval of a success rate (E. B. Wilson, 1927); (0, 1) without episodes.

    Raises:
        ValueError: `wins` is not between 0 and `episodes`.
    """
    if not 0 <= wins <= episodes:
        raise ValueError(f"wilson: expected 0 <= wins <= episodes, got {wins} of {episodes}")
    if episodes == 0:
        return 0.0, 1.0
    rate = wins / episodes
    scale = 1.0 + z * z / episodes
    centre = (rate + z * z / (2 * episodes)) / scale
    half = z / scale * math.sqrt(rate * (1.0 - rate) / episodes + z * z / (4 * episodes * episodes))
    # Without a win the lower bound is exactly 0, without a loss the upper one exactly 1; rounding would miss by 1e-17.
    return (0.0 if wins == 0 else max(0.0, centre - half)), (1.0 if wins == episodes else min(1.0, centre + half))


def clustered(outcomes: Sequence[float], clusters: Sequence[Hashable], *, z: float = Z95) -> Interval | None:
    """Interval of a success rate whose episodes share clusters (layouts): the linearised variance of a ratio of sums.

    With c clusters, residual totals ``d_k = sum_k (y - mean)``: ``var = c / (c - 1) sum_k d_k^2 / n^2``.

    Args:
        outcomes: One value in [0, 1] per episode.
        clusters: The cluster of each episode.
        z: Normal quantile.

    Returns:
        The interval, cut to [0, 1]; None with fewer than two clusters, where the spread between them is unknown.

    Raises:
        ValueError: The lengths differ.
    """
    if len(outcomes) != len(clusters):
        raise ValueError(f"clustered: expected a cluster per outcome, got {len(clusters)} for {len(outcomes)}")
    mean = sum(outcomes) / max(len(outcomes), 1)
    residuals: dict[Hashable, float] = {}
    for outcome, cluster in zip(outcomes, clusters, strict=True):
        residuals[cluster] = residuals.get(cluster, 0.0) + outcome - mean
    count = len(residuals)
    if count < 2:
        return None
    variance = count / (count - 1) * sum(d * d for d in residuals.values()) / len(outcomes) ** 2
    half = z * math.sqrt(variance)
    return max(0.0, mean - half), min(1.0, mean + half)


def paired_difference(
    before: Sequence[float | None],
    after: Sequence[float | None],
    clusters: Sequence[Hashable] | None = None,
    *,
    z: float = Z95,
) -> tuple[float, Interval] | None:
    """Mean of ``after - before`` over the same tasks, with its interval; pairs with a None (a failed one) are left out.

    Args:
        before: One outcome per task.
        after: Likewise, in the same order.
        clusters: Cluster per task; None makes each task its own cluster.
        z: Normal quantile.

    Returns:
        ``(difference, (low, high))``, cut to [-1, 1]; None with fewer than two complete pairs or clusters.

    Raises:
        ValueError: The lengths differ.
    """
    labels: Sequence[Hashable] = range(len(before)) if clusters is None else clusters
    if not len(before) == len(after) == len(labels):
        raise ValueError(f"paired_difference: lengths differ: {len(before)}, {len(after)}, {len(labels)}")
    pairs = [(b - a, c) for a, b, c in zip(before, after, labels, strict=True) if a is not None and b is not None]
    if not pairs:
        return None
    mean = sum(d for d, _ in pairs) / len(pairs)
    residuals: dict[Hashable, float] = {}
    for difference, cluster in pairs:
        residuals[cluster] = residuals.get(cluster, 0.0) + difference - mean
    count = len(residuals)
    if count < 2:
        return None
    half = z * math.sqrt(count / (count - 1) * sum(d * d for d in residuals.values())) / len(pairs)
    return mean, (max(-1.0, mean - half), min(1.0, mean + half))
