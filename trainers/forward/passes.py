"""Forward passes over views: one micro-batch with or without gradients, or many micro-batches without."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from agents.base import View

from ..batch.transfer import arrived, to_host
from .logprobs import Look, Scored
from .root import PolicyModel


def score_views(
    root: PolicyModel,
    views: Sequence[View],
    *,
    temperature: float,
    pad_id: int,
    chunk: int = 1024,
    grad: bool,
    entropy: bool = False,
    look: Look | None = None,
) -> Scored:
    """Score the sampled tokens of `views` in one pass; see `logprobs.score`.

    Args:
        root: The policy, or the reference policy.
        views: Sequences with their loss positions.
        temperature: The sampling temperature, above 0.
        pad_id: Any valid id.
        chunk: Loss tokens per LM-head chunk when the vocabulary is large; 0 never chunks.
        grad: Whether gradients are wanted.
        entropy: Whether to return entropies too, with gradients when `grad`.
        look: Computes something else from the same logits, with gradients when `grad`.

    Raises:
        ValueError: As `logprobs.score`.
    """
    with torch.set_grad_enabled(grad):
        scored: Scored = root(views, temperature=temperature, pad_id=pad_id, chunk=chunk, entropy=entropy, look=look)
    return scored


@torch.no_grad()
def score_rows(
    root: PolicyModel,
    views: Sequence[View],
    *,
    temperature: float,
    pad_id: int,
    token_budget: int,
    chunk: int = 1024,
) -> list[list[float]]:
    """Score many views without gradients, in length-sorted micro-batches: for the teacher and the reference policy.

    Args:
        root: The policy, or the reference policy.
        views: Sequences with their loss positions.
        temperature: The sampling temperature, above 0.
        pad_id: Any valid id, for padding.
        token_budget: Padded tokens per micro-batch at most.
        chunk: Loss tokens per LM-head chunk when the vocabulary is large; 0 never chunks.

    Returns:
        Per view, the log-probs of its sampled tokens, in the order of `views`.
    """
    results: list[list[float]] = [[] for _ in views]
    found: list[tuple[list[int], torch.Tensor]] = []
    batches = root.cut(views, token_budget)
    for indices in root.in_step([own for own in batches if any(views[index].loss_positions for index in own)]):
        if not indices:
            root.idle_pass(pad_id)
            continue
        picked = [views[index] for index in indices]
        scored = score_views(root, picked, temperature=temperature, pad_id=pad_id, chunk=chunk, grad=False)
        found.append((indices, to_host(scored.logprobs_BT)))
    # Values are read when all passes have been handed to the device, so that it never waits for this loop.
    arrived(root.head.weight.device)
    for indices, logprobs_BT in found:
        for index, values in zip(indices, logprobs_BT.tolist(), strict=True):
            results[index] = values[: len(views[index].loss_positions)]
    return results
