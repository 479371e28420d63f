"""A teacher's whole next-token distributions, kept from its reading until the update and compared with the student's.

The teacher is the policy that sampled, and most updates of an iteration are made after its parameters have changed, so
something must be stored per loss token:

=================  =======================================================  =======================================
divergence_top_k   stored per loss token, in host memory                    then, at the update
=================  =======================================================  =======================================
0 (all tokens)     the last hidden state, H values; and one copy of the     the old head turns them into logits
                   LM head per iteration, where it has several updates      again, chunk by chunk: exact
k                  k ids, k + 1 log-probs (8 k + 4 bytes)                   compared on k tokens and a tail
=================  =======================================================  =======================================

Hidden states are much smaller than logits (H of 2,048 against a vocabulary of 150,000), and the whole ``[N, V]`` is
never computed at once: with 100 tokens per turn, 50 turns and 128 episodes hidden states are 2.6 GB in bfloat16, and
logits would be 190 GB. Above ``divergence_memory_gb`` an iteration is refused before the teacher's pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from agents.base import View

from ..batch.row import ScoredRow
from ..batch.teacher_tokens import TeacherTokens
from ..batch.transfer import arrived, to_device, to_host
from ..maths.divergences import divergence, with_tail
from ..options import MethodOptions, Options
from .logprobs import Look, Scored, check_head
from .root import PolicyModel


def required_bytes(head: Any, tokens: int, top_k: int) -> int:
    """Host memory in bytes for `tokens` loss tokens: hidden states in the model's precision, or ids and log-probs.

    Args:
        head: The LM head.
        tokens: Loss tokens.
        top_k: Tokens kept of each distribution; 0 (or the whole vocabulary) keeps hidden states.
    """
    weight = head.weight
    vocabulary, hidden = weight.shape
    if 0 < top_k < vocabulary:
        return int(tokens * (8 * top_k + 4))
    return int(tokens * hidden * weight.element_size())


def check_memory(head: Any, views: Sequence[View], options: Options) -> None:
    """Refuse what would take more than ``divergence_memory_gb``, before any forward pass.

    Raises:
        ValueError: The message says what would be stored and names remedies.
    """
    tokens = sum(len(view.loss_positions) for view in views)
    needed = required_bytes(head, tokens, options.divergence_top_k) / 1e9
    if needed <= options.divergence_memory_gb:
        return
    smaller = min(100, max(1, options.divergence_top_k // 2)) if options.divergence_top_k else 100
    raise ValueError(
        f"method {options.method!r} keeps its teacher's next-token distributions until the update: {tokens:,} loss "
        f"tokens take {needed:.2f} GB, expected at most divergence_memory_gb={options.divergence_memory_gb:g}. Set "
        f"divergence_top_k={smaller} ({required_bytes(head, tokens, smaller) / 1e9:.2f} GB), lower tasks_per_step or "
        "num_generations, or raise divergence_memory_gb"
    )


@torch.no_grad()
def read_distributions(
    root: PolicyModel, views: Sequence[View], options: Options, *, pad_id: int, borrowed: bool = False
) -> tuple[list[list[float]], list[TeacherTokens]]:
    """Score the sampled tokens as `passes.score_rows` does, and keep the next-token distributions at their positions.

    Args:
        root: The policy that sampled.
        views: Rows given the privileged prompt.
        options: Temperature, batch options, and how much of a distribution is kept.
        pad_id: Any valid id, for padding.
        borrowed: The root has these parameters only now (`weights.PolicyWeights`), so that its head is copied.

    Returns:
        Per view, the log-probs of its sampled tokens and the kept distributions, in host memory.

    Raises:
        ValueError: They would take more than ``divergence_memory_gb``.
    """
    head = root.head
    check_memory(head, views, options)
    check_head(root.language_model)
    # The head as it is now. The live one changes with every update: until the only one is done, it is the same.
    top_k = options.divergence_top_k if options.divergence_top_k < head.weight.shape[0] else 0
    updates_once = options.num_mini_batches == options.num_iterations == 1 and options.mini_batch_rows is None
    kept = None if top_k else root.head_as_now(stays=updates_once and not borrowed)

    def most_likely(logits_NV: Tensor, part: slice) -> tuple[Tensor, ...]:
        logprobs_NV = torch.log_softmax(logits_NV, -1)
        ids_NK = logprobs_NV.topk(top_k, dim=-1).indices
        return ids_NK.to(torch.int32), with_tail(logprobs_NV, ids_NK)

    scores: list[list[float]] = [[] for _ in views]
    tokens = [TeacherTokens()] * len(views)
    found: list[tuple[list[int], Tensor, list[Tensor]]] = []
    batches = root.cut(views, options.micro_batch_tokens)
    for indices in root.in_step([own for own in batches if any(views[index].loss_positions for index in own)]):
        if not indices:
            root.idle_pass(pad_id)
            continue
        picked = [views[index] for index in indices]
        # One pass: log-probs, and with them either the reduced distributions or the hidden states.
        scored: Scored = root(
            picked,
            temperature=options.temperature,
            pad_id=pad_id,
            chunk=options.logprob_chunk,
            look=most_likely if top_k else None,
            keep_hidden=not top_k,
        )
        kept_N = scored.looked if scored.hidden_NH is None else (scored.hidden_NH,)
        found.append((indices, to_host(scored.logprobs_BT), [to_host(part) for part in kept_N]))
    # Values are read when all passes have been handed to the device, so that it never waits for this loop.
    arrived(head.weight.device)
    for indices, logprobs_BT, parts in found:
        # Loss tokens of all views stand one after another; each view gets its own. All micro-batches are kept until
        # the update, so a view's part of one keeps nothing alive that would go otherwise.
        counts = [len(views[index].loss_positions) for index in indices]
        stored = [part.split(counts) for part in parts]
        logprobs = logprobs_BT.tolist()
        for place, index in enumerate(indices):
            scores[index] = logprobs[place][: counts[place]]
            own = [part[place] for part in stored]
            tokens[index] = TeacherTokens(None, None, *own) if top_k else TeacherTokens(own[0], kept)
    return scores, tokens


def against(rows: Sequence[ScoredRow], options: MethodOptions, device: torch.device, *, temperature: float) -> Look:
    """A function that compares a student's logits with the kept distributions, for the forward pass of an update.

    Rows that the teacher has not read take part with zeros in its place; their loss tokens are outside the teacher's
    mask.

    Args:
        rows: The rows of the micro-batch that is scored, in its order; the teacher has read at least one.
        options: Divergence, its alpha, and the teacher's share in its target.
        device: The student's device.
        temperature: The sampling temperature.

    Returns:
        From the logits of some loss tokens ``[N, V]`` to ``(divergence_N,)`` in nats, with gradient.

    Raises:
        ValueError: No row has been read.
    """
    read = next((row.teacher_tokens for row in rows if row.teacher_tokens is not None), None)
    if read is None:
        raise ValueError("against: expected at least one row with teacher_tokens, got none: score the teacher first")
    kind, alpha, share = options.divergence, options.divergence_alpha, options.divergence_target_share
    if read.hidden_TH is not None:
        hidden_NH, head = to_device(_stack(rows, "hidden_TH"), device), read.head
        assert head is not None

        # Whole distributions: the kept head turns hidden states into the teacher's logits, chunk by chunk.
        def whole(logits_NV: Tensor, part: slice) -> tuple[Tensor, ...]:
            with torch.no_grad():
                teacher_NV = torch.log_softmax(head(hidden_NH[part]).float() / temperature, -1)
            return (divergence(torch.log_softmax(logits_NV, -1), teacher_NV, kind, alpha, share),)

        return whole

    # Reduced distributions: the student's are brought to the same k tokens and a tail.
    ids_NK = to_device(_stack(rows, "top_ids_TK"), device).long()
    logprobs_NK = to_device(_stack(rows, "top_logprobs_TK"), device)

    def reduced(logits_NV: Tensor, part: slice) -> tuple[Tensor, ...]:
        student_NK = with_tail(torch.log_softmax(logits_NV, -1), ids_NK[part])
        return (divergence(student_NK, logprobs_NK[part], kind, alpha, share),)

    return reduced


def _stack(rows: Sequence[ScoredRow], name: str) -> Tensor:
    """One field of all rows, concatenated over their loss tokens; zeros for a row that the teacher has not read."""
    parts = [None if row.teacher_tokens is None else getattr(row.teacher_tokens, name) for row in rows]
    like = next(part for part in parts if part is not None)
    return torch.cat(
        [
            like.new_zeros((len(row), *like.shape[1:])) if part is None else part
            for row, part in zip(rows, parts, strict=True)
        ]
    )
