"""Log-probabilities of sampled tokens under a causal LM, without the full logits tensor.

The backbone runs once over the right-padded batch; hidden states are taken at the loss positions only (the position
*before* each sampled token), and the LM head runs on those, in checkpointed chunks where the vocabulary is large.
Logits are divided by the sampling temperature in float32 before the log-softmax. Right padding under causal
attention cannot reach a real token, so no padding mask is built and the fast causal kernels stay available. Where the
attention keeps rows apart by their positions, they can stand in one row instead, one after another, without padding.
Prompts that rows have in common can be read once (`shared_prompts`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from agents.base import View

from ..batch.transfer import to_device
from .shared_prompts import rest_states, shared_prompts

# With a smaller vocabulary the logits of a micro-batch take little memory, and recomputing them would only cost time.
CHUNKED_VOCABULARY = 8192


# Something else to compute from the logits of a chunk of loss tokens before they are freed: (logits_NV, the chunk's
# place among all loss tokens) -> tensors ``[N, ...]``. Logits are float32 and divided by the temperature.
Look = Callable[[Tensor, slice], tuple[Tensor, ...]]


class Scored(NamedTuple):
    """Per view and sampled token: log-prob, mask (true on real tokens), and what was asked for besides.

    `entropy_BT` is in nats; `looked` is what `Look` returned, ``[N, ...]`` over the loss tokens of all views;
    `hidden_NH` are the hidden states that the head read, where they were asked for.
    """

    logprobs_BT: Tensor
    mask_BT: Tensor
    entropy_BT: Tensor | None
    looked: tuple[Tensor, ...] = ()
    hidden_NH: Tensor | None = None

    def spread(self, values_N: Tensor) -> Tensor:
        """Values ``[N]`` over all loss tokens, one view after another, as ``[B, T]``; 0 outside the mask."""
        return torch.zeros(self.mask_BT.shape, device=values_N.device).masked_scatter(self.mask_BT, values_N)


class LossStates(NamedTuple):
    """The last hidden state before each loss token, one view after another, and the tokens' ids."""

    hidden_NH: Tensor
    targets_N: Tensor
    mask_BT: Tensor


class HeadOutput(NamedTuple):
    """Log-probs ``[N]``, entropies ``[N]`` when asked for, and what a `Look` returned."""

    logprobs_N: Tensor
    entropy_N: Tensor | None
    looked: tuple[Tensor, ...] = ()


def check_head(model: Any) -> None:
    """Refuse models whose logits are not simply a linear head on the last hidden state.

    Raises:
        ValueError: The configuration scales or caps logits; the message names the setting.
    """
    check_logits(type(model).__name__, lambda name: getattr(model.config, name, None))


def check_logits(model: str, setting: Callable[[str], Any]) -> None:
    """`check_head` of a model of which only the configuration is at hand.

    Args:
        model: Its name, for the message.
        setting: A setting of its configuration by name; None where it has none.

    Raises:
        ValueError: The configuration scales or caps logits; the message names the setting.
    """
    for name, neutral in (("final_logit_softcapping", None), ("logit_scale", 1.0), ("logits_scaling", 1.0)):
        value = setting(name)
        if value is not None and value != neutral:
            raise ValueError(
                f"{model}: expected logits that are a linear head on the hidden states, got {name}={value}; such "
                "models are not supported here"
            )


def score(
    model: Any,
    views: Sequence[View],
    *,
    temperature: float,
    pad_id: int,
    chunk: int = 1024,
    entropy: bool = False,
    look: Look | None = None,
    keep_hidden: bool = False,
    packed: bool = False,
    share_prompts: bool = False,
) -> Scored:
    """Score the sampled tokens of `views` in one pass of the backbone.

    This is the body of `root.PolicyModel.forward`; other code calls that.

    Args:
        model: A causal LM of transformers (``get_decoder``, ``get_output_embeddings``), on any device and precision.
        views: Sequences with their loss positions; unequal lengths and counts are padded on the right.
        temperature: The sampling temperature, above 0; logits are divided by it.
        pad_id: Any valid id; the values in padding change nothing.
        chunk: Loss tokens per LM-head chunk when the vocabulary is large; 0 never chunks.
        entropy: Whether to return entropies too.
        look: Computes something else from the same logits.
        keep_hidden: Whether to return the hidden states that the head read.
        packed: Put the views one after another instead of padding them. Position ids that begin anew keep them apart:
            flash attention takes them as they are; other attention builds a mask of all tokens by all tokens.
        share_prompts: Read prompts that rows have in common once (`shared_prompts`); not together with `packed`.

    Returns:
        Float32 ``[B, T]`` log-probs (0 outside the mask), the mask, entropies or None, and what `look` returned; T is
        the largest number of loss positions.

    Raises:
        ValueError: No views, a temperature of 0 or less, or a loss position outside its sequence.
    """
    if not views:
        raise ValueError("score: expected at least one view, got none")
    if not temperature > 0:
        raise ValueError(f"temperature: expected above 0 to score samples, got {temperature}")
    check_head(model)
    states = loss_states(model, views, pad_id=pad_id, packed=packed, share_prompts=share_prompts)
    output = head_logprobs(
        model.get_output_embeddings(),
        states.hidden_NH,
        states.targets_N,
        temperature=temperature,
        chunk=chunk,
        entropy=entropy,
        look=look,
    )
    scored = Scored(output.logprobs_N, states.mask_BT, None, output.looked, states.hidden_NH if keep_hidden else None)
    entropy_BT = None if output.entropy_N is None else scored.spread(output.entropy_N)
    return scored._replace(logprobs_BT=scored.spread(output.logprobs_N), entropy_BT=entropy_BT)


def loss_states(
    model: Any, views: Sequence[View], *, pad_id: int, packed: bool = False, share_prompts: bool = False
) -> LossStates:
    """Run the backbone once over `views`, or once over their prompts and once over the rest; take what the head needs.

    Raises:
        ValueError: A loss position outside its sequence.
    """
    device = model.get_output_embeddings().weight.device
    ids_BL, flat_N, counts = _padded(views, pad_id)
    mask_BT = to_device(torch.arange(max(counts))[None, :] < torch.tensor(counts)[:, None], device)
    decoder = model.get_decoder()
    divided = shared_prompts(views) if share_prompts else None
    if divided is not None:
        states_BSH = rest_states(decoder, divided, device=device)
        # A rest begins one token before its row's first loss token, whose predicting state is therefore its first.
        width = states_BSH.shape[1]
        before = [
            row * width + position - view.loss_positions[0]
            for row, view in enumerate(views)
            for position in view.loss_positions
        ]
        states_NH = states_BSH.reshape(-1, states_BSH.shape[-1])[to_device(torch.tensor(before), device)]
        return LossStates(states_NH, to_device(ids_BL.reshape(-1)[flat_N], device), mask_BT)
    position_ids = torch.arange(ids_BL.shape[1], device=device)[None, :]
    if packed and len(views) > 1:
        lengths = [len(view.ids) for view in views]
        ids_BL, flat_N = _packed(ids_BL, flat_N, lengths, counts)
        position_ids = to_device(torch.cat([torch.arange(length) for length in lengths])[None, :], device)
    ids_BL, flat = to_device(ids_BL, device), to_device(flat_N, device)
    hidden_BLH = decoder(input_ids=ids_BL, position_ids=position_ids, use_cache=False).last_hidden_state
    # The token at position p is predicted from the state at p - 1; positions are at least 1, so rows do not mix.
    hidden_NH = hidden_BLH.reshape(-1, hidden_BLH.shape[-1])[flat - 1]
    return LossStates(hidden_NH, ids_BL.reshape(-1)[flat], mask_BT)


def _padded(views: Sequence[View], pad_id: int) -> tuple[Tensor, Tensor, list[int]]:
    """Padded ids ``[B, L]``, the flat index of every loss token in them, and the loss tokens per view."""
    length = max(len(view.ids) for view in views)
    ids: list[list[int]] = []
    flat: list[int] = []
    for row, view in enumerate(views):
        if view.loss_positions and (min(view.loss_positions) < 1 or max(view.loss_positions) >= len(view.ids)):
            raise ValueError(
                f"view {row}: expected loss positions from 1 to {len(view.ids) - 1}, got "
                f"{min(view.loss_positions)} to {max(view.loss_positions)}"
            )
        ids.append(list(view.ids) + [pad_id] * (length - len(view.ids)))
        flat.extend(row * length + position for position in view.loss_positions)
    counts = [len(view.loss_positions) for view in views]
    return torch.tensor(ids, dtype=torch.long), torch.tensor(flat, dtype=torch.long), counts


def _packed(ids_BL: Tensor, flat_N: Tensor, lengths: Sequence[int], counts: Sequence[int]) -> tuple[Tensor, Tensor]:
    """What `_padded` returned without its padding: ids ``[1, sum of lengths]``, and the loss tokens' places in them."""
    real_BL = torch.arange(ids_BL.shape[1])[None, :] < torch.tensor(lengths)[:, None]
    # A row moves to the left by the padding of all rows before it.
    padding = torch.tensor([0, *(ids_BL.shape[1] - length for length in lengths[:-1])]).cumsum(0)
    return ids_BL[real_BL][None, :], flat_N - padding.repeat_interleave(torch.tensor(counts))


def head_logprobs(
    head: torch.nn.Module,
    hidden_NH: Tensor,
    targets_N: Tensor,
    *,
    temperature: float,
    chunk: int = 1024,
    entropy: bool = False,
    look: Look | None = None,
) -> HeadOutput:
    """Log-probs (and entropies) of target ids from hidden states, in float32, in chunks for a large vocabulary.

    Args:
        head: The LM head.
        hidden_NH: Last hidden states before the loss tokens.
        targets_N: Ids of the loss tokens.
        temperature: The sampling temperature, above 0.
        chunk: Loss tokens per chunk; 0 never chunks.
        entropy: Whether to return entropies too.
        look: Computes something else from the same logits.
    """
    vocabulary = head.weight.shape[0]  # type: ignore[index]
    count = hidden_NH.shape[0]
    step = count if chunk <= 0 or count <= chunk or vocabulary < CHUNKED_VOCABULARY else chunk
    parts: list[HeadOutput] = []
    for start in range(0, max(count, 1), max(step, 1)):
        part = slice(start, start + step)
        piece = (head, hidden_NH[part], targets_N[part], temperature, entropy, look, part)
        if torch.is_grad_enabled() and step < count:
            # Recomputed in the backward pass, so that the logits of only one chunk exist at a time.
            parts.append(checkpoint(_head_chunk, *piece, use_reentrant=False, preserve_rng_state=False))
        else:
            parts.append(_head_chunk(*piece))
    if len(parts) == 1:
        return parts[0]
    return HeadOutput(
        torch.cat([part.logprobs_N for part in parts]),
        torch.cat([part.entropy_N for part in parts if part.entropy_N is not None]) if entropy else None,
        tuple(torch.cat(pieces) for pieces in zip(*(part.looked for part in parts), strict=True)),
    )


def _head_chunk(
    head: torch.nn.Module,
    hidden_NH: Tensor,
    targets_N: Tensor,
    temperature: float,
    entropy: bool,
    look: Look | None,
    part: slice,
) -> HeadOutput:
    """`head_logprobs` of one chunk, which is `part` of all loss tokens."""
    logits_NV = head(hidden_NH).float()
    if temperature != 1.0:
        logits_NV = logits_NV / temperature
    normaliser_N = torch.logsumexp(logits_NV, dim=-1)
    logprobs_N = logits_NV.gather(-1, targets_N[:, None]).squeeze(-1) - normaliser_N
    looked = () if look is None else look(logits_NV, part)
    if not entropy:
        return HeadOutput(logprobs_N, None, looked)
    # H = log Z - E[logit], with Z the normaliser.
    probabilities_NV = torch.exp(logits_NV - normaliser_N[:, None])
    # A logit of -inf has probability 0; its product with the logit would be NaN.
    expected_N = (probabilities_NV * logits_NV.clamp(min=torch.finfo(torch.float32).min)).sum(-1)
    return HeadOutput(logprobs_N, normaliser_N - expected_N, looked)
