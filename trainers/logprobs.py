"""Log-probabilities of sampled tokens under a causal LM, without the full logits tensor.

The backbone runs once over the right-padded batch; hidden states are taken at the loss positions only (the position
*before* each sampled token), and the LM head runs on those, in checkpointed chunks where a large vocabulary would need
memory. Logits are divided by the sampling temperature in float32 before the log-softmax. Right padding under causal
attention cannot reach a real token, so no padding mask is built and the fast causal kernels stay available.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from agents.base import View

from .batching import micro_batches

# Below this the logits of a micro-batch are small, and recomputing them in the backward pass costs time for nothing.
CHUNKED_VOCABULARY = 8192


class Scored(NamedTuple):
    """Per view and sampled token: log-prob, mask (true on real tokens), and entropy in nats when asked for."""

    logprobs_BT: Tensor
    mask_BT: Tensor
    entropy_BT: Tensor | None


def check_head(model: Any) -> None:
    """Refuse models whose logits are more than a linear head on the last hidden state.

    Raises:
        ValueError: The configuration scales or caps logits; the message names the setting.
    """
    for name, neutral in (("final_logit_softcapping", None), ("logit_scale", 1.0), ("logits_scaling", 1.0)):
        value = getattr(model.config, name, neutral)
        if value is not None and value != neutral:
            raise ValueError(
                f"{type(model).__name__}: expected logits that are a linear head on the hidden states, got "
                f"{name}={value}; such models are not supported by logprobs.score_views"
            )


def score_views(
    model: Any,
    views: Sequence[View],
    *,
    temperature: float,
    pad_id: int,
    chunk: int = 1024,
    grad: bool,
    entropy: bool = False,
) -> Scored:
    """Score the sampled tokens of `views` in one pass of the backbone.

    Args:
        model: A causal LM of transformers (``get_decoder``, ``get_output_embeddings``), on any device and precision.
        views: Sequences with their loss positions; unequal lengths and counts are padded on the right.
        temperature: The sampling temperature, above 0; logits are divided by it.
        pad_id: Any valid id; what stands in padding changes nothing.
        chunk: Loss tokens per LM-head chunk when the vocabulary is large; 0 never chunks.
        grad: Whether gradients are wanted.
        entropy: Whether to return entropies too, with gradients when `grad`.

    Returns:
        Float32 ``[B, T]`` log-probs (0 outside the mask), the mask, and entropies or None; T is the largest number of
        loss positions.

    Raises:
        ValueError: No views, a temperature of 0 or less, or a loss position outside its sequence.
    """
    if not views:
        raise ValueError("score_views: expected at least one view, got none")
    if not temperature > 0:
        raise ValueError(f"temperature: expected above 0 to score samples, got {temperature}")
    check_head(model)
    head = model.get_output_embeddings()
    device = head.weight.device
    ids_BL, rows_N, columns_N, positions_N, counts = _lay_out(views, pad_id)
    ids_BL = ids_BL.to(device)
    width = max(counts)
    mask_BT = (torch.arange(width)[None, :] < torch.tensor(counts)[:, None]).to(device)
    with torch.set_grad_enabled(grad):
        decoder = model.get_decoder()
        position_ids = torch.arange(ids_BL.shape[1], device=device)[None, :]
        hidden_BLH = decoder(input_ids=ids_BL, position_ids=position_ids, use_cache=False).last_hidden_state
        flat = (rows_N * ids_BL.shape[1] + positions_N).to(device)
        targets_N = ids_BL.reshape(-1)[flat]
        hidden_NH = hidden_BLH.reshape(-1, hidden_BLH.shape[-1])[flat - 1]
        logprobs_N, entropy_N = head_logprobs(
            head, hidden_NH, targets_N, temperature=temperature, chunk=chunk, entropy=entropy
        )
        place = (rows_N.to(device), columns_N.to(device))
        logprobs_BT = torch.zeros(mask_BT.shape, device=device).index_put(place, logprobs_N)
        entropy_BT = None
        if entropy_N is not None:
            entropy_BT = torch.zeros(mask_BT.shape, device=device).index_put(place, entropy_N)
    return Scored(logprobs_BT, mask_BT, entropy_BT)


def _lay_out(views: Sequence[View], pad_id: int) -> tuple[Tensor, Tensor, Tensor, Tensor, list[int]]:
    """Padded ids ``[B, L]``, and for every loss token its row, its column in ``[B, T]`` and its position."""
    length = max(len(view.ids) for view in views)
    ids: list[list[int]] = []
    rows: list[int] = []
    columns: list[int] = []
    positions: list[int] = []
    counts: list[int] = []
    for row, view in enumerate(views):
        if view.loss_positions and (min(view.loss_positions) < 1 or max(view.loss_positions) >= len(view.ids)):
            raise ValueError(
                f"view {row}: expected loss positions from 1 to {len(view.ids) - 1}, got "
                f"{min(view.loss_positions)} to {max(view.loss_positions)}"
            )
        ids.append(list(view.ids) + [pad_id] * (length - len(view.ids)))
        count = len(view.loss_positions)
        rows.extend([row] * count)
        columns.extend(range(count))
        positions.extend(view.loss_positions)
        counts.append(count)
    tensors = [torch.tensor(values, dtype=torch.long) for values in (ids, rows, columns, positions)]
    return tensors[0], tensors[1], tensors[2], tensors[3], counts


def head_logprobs(
    head: torch.nn.Module,
    hidden_NH: Tensor,
    targets_N: Tensor,
    *,
    temperature: float,
    chunk: int = 1024,
    entropy: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Log-probs ``[N]`` (and entropies) of target ids from hidden states, in float32, chunked where it pays."""
    vocabulary = head.weight.shape[0]  # type: ignore[index]
    count = hidden_NH.shape[0]
    if chunk <= 0 or count <= chunk or vocabulary < CHUNKED_VOCABULARY:
        return _head_chunk(head, hidden_NH, targets_N, temperature, entropy)
    parts = []
    for start in range(0, count, chunk):
        piece = (head, hidden_NH[start : start + chunk], targets_N[start : start + chunk], temperature, entropy)
        if torch.is_grad_enabled():
            parts.append(checkpoint(_head_chunk, *piece, use_reentrant=False, preserve_rng_state=False))
        else:
            parts.append(_head_chunk(*piece))
    logprobs = torch.cat([part[0] for part in parts])
    return logprobs, torch.cat([part[1] for part in parts]) if entropy else None


def _head_chunk(
    head: torch.nn.Module, hidden_NH: Tensor, targets_N: Tensor, temperature: float, entropy: bool
) -> tuple[Tensor, Tensor | None]:
    logits_NV = head(hidden_NH).float()
    if temperature != 1.0:
        logits_NV = logits_NV / temperature
    normaliser_N = torch.logsumexp(logits_NV, dim=-1)
    logprobs_N = logits_NV.gather(-1, targets_N[:, None]).squeeze(-1) - normaliser_N
    if not entropy:
        return logprobs_N, None
    probabilities_NV = torch.exp(logits_NV - normaliser_N[:, None])
    # A logit of -inf has probability 0; its product with the logit would be NaN.
    expected_N = (probabilities_NV * logits_NV.clamp(min=torch.finfo(torch.float32).min)).sum(-1)
    return logprobs_N, normaliser_N - expected_N


@torch.no_grad()
def score_rows(
    model: Any,
    views: Sequence[View],
    *,
    temperature: float,
    pad_id: int,
    token_budget: int,
    chunk: int = 1024,
) -> list[list[float]]:
    """Score many views without gradients, in length-sorted micro-batches; one list of log-probs per view.

    Used for the teacher's reading and the reference policy.
    """
    results: list[list[float]] = [[] for _ in views]
    for indices in micro_batches([len(view.ids) for view in views], token_budget):
        picked = [views[index] for index in indices]
        if not any(view.loss_positions for view in picked):
            continue
        scored = score_views(model, picked, temperature=temperature, pad_id=pad_id, chunk=chunk, grad=False)
        for index, view, values in zip(indices, picked, scored.logprobs_BT.tolist(), strict=True):
            results[index] = values[: len(view.loss_positions)]
    return results
