"""What a teacher thinks of *every* next token, kept from its reading until the update and compared with the student.

The teacher is the weights that sampled, and most updates of an iteration come after those weights are gone, so
something must be stored per loss token:

=================  =======================================================  =======================================
divergence_top_k   stored per loss token, in host memory                    then, at the update
=================  =======================================================  =======================================
0 (all tokens)     the last hidden state, H values; and one copy of the     the old head turns them into logits
                   LM head per iteration                                    again, chunk by chunk: exact
k                  k ids, k + 1 log-probs (8 k + 4 bytes)                   compared on k tokens and a tail
=================  =======================================================  =======================================

Hidden states are a small part of what logits would be (H of 2,048 against a vocabulary of 150,000), and the whole
``[N, V]`` never exists: with 100 tokens per turn, 50 turns and 128 episodes they are 2.6 GB in bfloat16 where logits
would be 190 GB. Above ``divergence_memory_gb`` a run is refused before anything is read.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from agents.base import View

from .batching import micro_batches
from .divergences import divergence, with_tail
from .logprobs import Look, check_head, head_logprobs, loss_states

if TYPE_CHECKING:
    from .batch import Row
    from .config import SDARConfig


@dataclass(frozen=True, slots=True)
class TeacherTokens:
    """A teacher's next-token distributions at the loss tokens ``T`` of a row, in one of two forms.

    Whole: `hidden_TH` with the `head` that reads it, shared by all rows of an iteration. Reduced: `top_ids_TK` with
    `top_logprobs_TK`, whose last column is all other tokens together.
    """

    hidden_TH: Tensor | None = None
    head: nn.Module | None = None
    top_ids_TK: Tensor | None = None
    top_logprobs_TK: Tensor | None = None


def required_bytes(model: Any, tokens: int, top_k: int) -> int:
    """Host memory of `tokens` loss tokens: hidden states in the model's precision, or ids and log-probs."""
    weight = model.get_output_embeddings().weight
    vocabulary, hidden = weight.shape
    if 0 < top_k < vocabulary:
        return int(tokens * (8 * top_k + 4))
    return int(tokens * hidden * weight.element_size())


def check_memory(model: Any, views: Sequence[View], config: SDARConfig) -> None:
    """Refuse what would not fit, before any forward pass.

    Raises:
        ValueError: Over ``divergence_memory_gb``; the message says what would be stored and what can be done.
    """
    tokens = sum(len(view.loss_positions) for view in views)
    needed = required_bytes(model, tokens, config.divergence_top_k) / 1e9
    if needed <= config.divergence_memory_gb:
        return
    smaller = min(100, max(1, config.divergence_top_k // 2)) if config.divergence_top_k else 100
    raise ValueError(
        f"method {config.method!r} keeps its teacher's next-token distributions until the update: {tokens:,} loss "
        f"tokens take {needed:.2f} GB, expected at most divergence_memory_gb={config.divergence_memory_gb:g}. Set "
        f"divergence_top_k={smaller} ({required_bytes(model, tokens, smaller) / 1e9:.2f} GB), lower tasks_per_step or "
        "num_generations, or raise divergence_memory_gb"
    )


@torch.no_grad()
def read_distributions(
    model: Any, views: Sequence[View], config: SDARConfig, *, pad_id: int
) -> tuple[list[list[float]], list[TeacherTokens]]:
    """Score the sampled tokens as `logprobs.score_rows` does, and keep the distributions they were drawn against.

    Raises:
        ValueError: They would take more than ``divergence_memory_gb``.
    """
    check_memory(model, views, config)
    check_head(model)
    head = model.get_output_embeddings()
    top_k = config.divergence_top_k if config.divergence_top_k < head.weight.shape[0] else 0
    kept = None if top_k else copy.deepcopy(head).requires_grad_(False)

    def most_likely(logits_NV: Tensor, part: slice) -> tuple[Tensor, ...]:
        logprobs_NV = torch.log_softmax(logits_NV, -1)
        ids_NK = logprobs_NV.topk(top_k, dim=-1).indices
        return ids_NK.to(torch.int32), with_tail(logprobs_NV, ids_NK)

    scores: list[list[float]] = [[] for _ in views]
    tokens = [TeacherTokens()] * len(views)
    for indices in micro_batches([len(view.ids) for view in views], config.micro_batch_tokens):
        picked = [views[index] for index in indices]
        if not any(view.loss_positions for view in picked):
            continue
        states = loss_states(model, picked, pad_id=pad_id)
        output = head_logprobs(
            head,
            states.hidden_NH,
            states.targets_N,
            temperature=config.temperature,
            chunk=config.logprob_chunk,
            look=most_likely if top_k else None,
        )
        counts = [len(view.loss_positions) for view in picked]
        logprobs = output.logprobs_N.cpu().split(counts)
        stored = [part.cpu().split(counts) for part in output.looked or (states.hidden_NH,)]
        for place, index in enumerate(indices):
            scores[index] = logprobs[place].tolist()
            # Copies: a part of a split would keep its whole micro-batch in memory.
            own = [part[place].clone() for part in stored]
            tokens[index] = TeacherTokens(None, None, *own) if top_k else TeacherTokens(own[0], kept)
    return scores, tokens


def against(rows: Sequence[Row], config: SDARConfig, device: torch.device) -> Look:
    """What compares a student's logits with the kept distributions: ``(divergence_N,)``, with gradient.

    Rows that the teacher has not read count with zeros in its place; their loss tokens are outside the teacher's mask.

    Args:
        rows: The rows of the micro-batch that is scored, in its order; at least one was read.
        config: Divergence, its alpha, temperature.
        device: The student's.

    Raises:
        ValueError: No row has been read.
    """
    read = next((row.teacher_tokens for row in rows if row.teacher_tokens is not None), None)
    if read is None:
        raise ValueError("against: expected at least one row with teacher_tokens, got none: score the teacher first")
    kind, alpha = config.divergence, config.divergence_alpha
    if read.hidden_TH is not None:
        hidden_NH, head = _stack(rows, "hidden_TH").to(device), read.head
        assert head is not None

        def whole(logits_NV: Tensor, part: slice) -> tuple[Tensor, ...]:
            with torch.no_grad():
                teacher_NV = torch.log_softmax(head(hidden_NH[part]).float() / config.temperature, -1)
            return (divergence(torch.log_softmax(logits_NV, -1), teacher_NV, kind, alpha),)

        return whole
    ids_NK = _stack(rows, "top_ids_TK").to(device).long()
    logprobs_NK = _stack(rows, "top_logprobs_TK").to(device)

    def reduced(logits_NV: Tensor, part: slice) -> tuple[Tensor, ...]:
        student_NK = with_tail(torch.log_softmax(logits_NV, -1), ids_NK[part])
        return (divergence(student_NK, logprobs_NK[part], kind, alpha),)

    return reduced


def _stack(rows: Sequence[Row], name: str) -> Tensor:
    """One field of all rows under each other; zeros for a row that was not read."""
    parts = [None if row.teacher_tokens is None else getattr(row.teacher_tokens, name) for row in rows]
    like = next(part for part in parts if part is not None)
    return torch.cat(
        [
            like.new_zeros((len(row), *like.shape[1:])) if part is None else part
            for row, part in zip(rows, parts, strict=True)
        ]
    )
