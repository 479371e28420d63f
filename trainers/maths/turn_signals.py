"""Signals of whole turns, and of a token with its neighbours: formulas of tensors, all detached.

A turn is one decision of the agent. A method that weighs turns needs sums over the tokens of each, in the order of its
episode, wherever its rows stand in a batch; `Turns` indexes them. A value per counted token has the suffix ``_N``, per
turn ``_K``, per episode ``_E``. Not here: which method uses what (`methods.successors`).
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass

import torch
from torch import Tensor

from ..batch.token_batch import TokenBatch

BELIEF_LIMIT = 1e-6  # beliefs stay this far from 0 and 1
PRIOR_LIMIT = 1e-4  # and prior beliefs this far
STD_EPSILON = 1e-6


@dataclass(frozen=True, slots=True)
class Turns:
    """The turns of a batch that have counted tokens, sorted by episode and then by turn.

    Attributes:
        turn_N: The turn of each counted token, numbered from 0; tokens in the order of ``values_BT[where_BT]``.
        episode_K: The episode of each turn, numbered from 0.
        row_E: The index of one row of each episode, for values that are the same in all of its rows.
    """

    turn_N: Tensor
    episode_K: Tensor
    row_E: Tensor

    @classmethod
    def of(cls, batch: TokenBatch, where_BT: Tensor) -> Turns:
        """Index the tokens that `where_BT` marks."""
        device = where_BT.device
        # Turns are the distinct pairs (episode, turn id), which `unique` sorts; then the episodes among them.
        row_N = torch.arange(where_BT.shape[0], device=device)[:, None].expand_as(where_BT)[where_BT]
        pairs_N2 = torch.stack([batch.episode_ids_B.to(device)[row_N], batch.turn_ids_BT[where_BT]], dim=1)
        pairs_K2, turn_N = torch.unique(pairs_N2, dim=0, return_inverse=True)
        ids_E, episode_K = torch.unique(pairs_K2[:, 0], return_inverse=True)
        # Any row of an episode will do.
        row_E = torch.zeros(len(ids_E), dtype=torch.long, device=device)
        row_E[episode_K[turn_N]] = row_N
        return cls(turn_N, episode_K, row_E)

    @property
    def row_K(self) -> Tensor:
        """A row of each turn's episode."""
        return self.row_E[self.episode_K]

    def sums(self, values_N: Tensor) -> Tensor:
        """Sum over the tokens of each turn, in double precision."""
        zeros = torch.zeros(len(self.episode_K), dtype=torch.float64, device=values_N.device)
        return zeros.index_add(0, self.turn_N, values_N.double())

    def means(self, values_N: Tensor) -> Tensor:
        """Mean over the tokens of each turn."""
        return self.sums(values_N) / self.sums(torch.ones_like(values_N))


def mean_within(values_K: Tensor, group_K: Tensor, weights_K: Tensor | None = None) -> Tensor:
    """The (weighted) mean of each group, at every member of it.

    Args:
        values_K: Values of the members.
        group_K: Group of each member, numbered from 0.
        weights_K: Weights of the members; None weighs them equally.
    """
    weights = torch.ones_like(values_K) if weights_K is None else weights_K
    size = int(group_K.max()) + 1 if len(group_K) else 0
    totals = values_K.new_zeros(size).index_add(0, group_K, weights * values_K)
    counts = values_K.new_zeros(size).index_add(0, group_K, weights)
    return (totals / counts.clamp(min=torch.finfo(values_K.dtype).tiny))[group_K]


def standardised_within(values_K: Tensor, group_K: Tensor, *, floor: float = 0.0) -> Tensor:
    """``(x - mean) / (std + 1e-6)`` within each group, with n in the denominator of std; 0 for a group of one.

    Args:
        values_K: Values of the members.
        group_K: Group of each member, numbered from 0.
        floor: Added to the variance, so that a group that hardly varies stays near 0.
    """
    centred = values_K - mean_within(values_K, group_K)
    return centred / ((mean_within(centred.square(), group_K) + floor).sqrt() + STD_EPSILON)


def placed(values_N: Tensor, where_BT: Tensor, like_BT: Tensor) -> Tensor:
    """Values per counted token ``[N]`` at the tokens that `where_BT` marks, zeros elsewhere: ``[B, T]``."""
    full = torch.zeros_like(like_BT)
    full[where_BT] = values_N.to(full.dtype)
    return full


def belief_revisions(evidence_K: Tensor, episode_K: Tensor, prior_E: Tensor) -> Tensor:
    """``V_k - V_{k-1}`` with ``logit V_k = logit V_0 + D_1 + ... + D_k``: how far turn k moves the belief in success.

    Args:
        evidence_K: D, in nats, turns in the order of their episode.
        episode_K: Episode of each turn, rising.
        prior_E: V_0 of each episode; clamped to [1e-4, 1 - 1e-4].
    """
    prior_E = prior_E.clamp(PRIOR_LIMIT, 1.0 - PRIOR_LIMIT)
    # A cumulative sum per episode: one over all turns, less what it is at the first turn of the episode.
    total_K = evidence_K.cumsum(0)
    first_K = torch.ones_like(episode_K, dtype=torch.bool)
    first_K[1:] = episode_K[1:] != episode_K[:-1]
    before_E = (total_K - evidence_K)[first_K]  # the sum over earlier episodes
    belief_K = torch.sigmoid(torch.logit(prior_E)[episode_K] + total_K - before_E[episode_K])
    belief_K = belief_K.clamp(BELIEF_LIMIT, 1.0 - BELIEF_LIMIT)
    previous_K = torch.where(first_K, prior_E[episode_K], belief_K.roll(1))
    return belief_K - previous_K


def group_returns(batch: TokenBatch) -> tuple[Tensor, Tensor]:
    """Mean and deviation (n - 1 in the denominator) of the returns of each row's group, every episode counted once.

    Returns:
        Two tensors ``[B]`` in double precision; a group of one has the deviation 0.
    """
    episodes = zip(batch.episode_ids_B.tolist(), batch.group_ids_B.tolist(), batch.returns_B.tolist(), strict=True)
    returns: dict[int, dict[int, float]] = {}
    for episode, group, value in episodes:
        returns.setdefault(group, {})[episode] = value
    moments = {}
    for group, own in returns.items():
        values = list(own.values())
        # By comparison: the mean of equal floats may differ from them in the last bit.
        spread = statistics.stdev(values) if len(values) > 1 and min(values) < max(values) else 0.0
        moments[group] = (math.fsum(values) / len(values), spread)
    per_row = torch.tensor([moments[group] for group in batch.group_ids_B.tolist()], dtype=torch.float64)
    mean_B, spread_B = per_row.to(batch.behaviour_BT.device).unbind(1)
    return mean_B, spread_B


@dataclass(frozen=True, slots=True)
class Neighbourhood:
    """Statistics of a window of tokens: each token and those before it in its own turn, `longest` at most.

    Attributes:
        mean_BT: Mean of the values, with weights that decay with the distance.
        variance_BT: Their variance (n in the denominator); 0 for a window of one.
        trend_BT: Correlation of value and position, in [-1, 1]; 0 where either does not vary.
    """

    mean_BT: Tensor
    variance_BT: Tensor
    trend_BT: Tensor


def neighbourhood(
    values_BT: Tensor, turn_ids_BT: Tensor, where_BT: Tensor, *, longest: int, decay: float
) -> Neighbourhood:
    """Look back over at most `longest` tokens of the same turn.

    Args:
        values_BT: Token values.
        turn_ids_BT: Turn of each token.
        where_BT: Tokens that count.
        longest: Tokens of a window at most; 1 is the token alone.
        decay: Factor of the weight per token of distance, for the mean.
    """
    values = torch.where(where_BT, values_BT.detach(), 0.0).double()
    zeros = torch.zeros_like(values)
    # Sums over the window, [B, T] each: of decayed weights and weighted values for the mean, and of values x, positions
    # p and their products for variance and trend.
    weight, weighted, count = zeros, zeros, zeros
    sums = dict.fromkeys(("x", "xx", "p", "pp", "px"), zeros)
    for distance in range(min(longest, values.shape[1])):
        # The value `distance` tokens back, where that token counts and belongs to the same turn.
        shifted = torch.roll(values, distance, dims=1)
        alive = torch.roll(where_BT, distance, dims=1) & where_BT
        alive = alive & (torch.roll(turn_ids_BT, distance, dims=1) == turn_ids_BT)
        alive[:, :distance] = False  # `roll` wraps the last tokens round to the front
        one = alive.double()
        weight = weight + decay**distance * one
        weighted = weighted + decay**distance * one * shifted
        count = count + one
        # Relative to the token itself: equal values then have no variance to the last bit.
        x, p = one * (shifted - values), -distance * one
        for name, term in (("x", x), ("xx", x * x), ("p", p), ("pp", p * p), ("px", p * x)):
            sums[name] = sums[name] + term
    # Moments from the sums; rounding may leave a variance slightly below 0.
    n = count.clamp(min=1.0)
    variance = (sums["xx"] / n - (sums["x"] / n).square()).clamp(min=0.0)
    spread = (sums["pp"] / n - (sums["p"] / n).square()).clamp(min=0.0)
    covariance = sums["px"] / n - sums["p"] * sums["x"] / n.square()
    scale = (variance * spread).sqrt()
    trend = torch.where(scale > 0.0, covariance / scale.clamp(min=torch.finfo(scale.dtype).tiny), zeros)
    mean = weighted / weight.clamp(min=torch.finfo(weight.dtype).tiny)
    dtype = values_BT.dtype
    return Neighbourhood(mean.to(dtype), variance.to(dtype), trend.clamp(-1.0, 1.0).to(dtype))
