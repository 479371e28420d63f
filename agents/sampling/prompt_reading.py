"""Reads prompts into rows: what several begin with is read once, and rows of like length go together."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from .prefix import leaders, length_groups
from .row_forward import RowForward

_PREFILL_TOKENS = 32_768  # padded prompt tokens per forward pass: bounds activation memory


def read_prompts(
    forward: RowForward, rows: Sequence[int], prompts: Sequence[Sequence[int]], held: Sequence[int]
) -> torch.Tensor:
    """Read prompts into their rows.

    Args:
        forward: Passes over the rows.
        rows: The row of each prompt.
        prompts: Whole prompts.
        held: How many of its first ids each row holds already, less than all.

    Returns:
        The logits ``[len(prompts), vocabulary]`` after each prompt's last id.
    """
    starts = list(held)
    copies = leaders(prompts, starts)
    first = [i for i, (leader, _) in enumerate(copies) if leader is None]
    logits = _read_rest(forward, first, rows, prompts, starts)
    # Those that begin like another copy its columns, and read the rest.
    followers = [(i, leader, shared) for i, (leader, shared) in enumerate(copies) if leader is not None]
    if followers:
        longest = max(shared for *_, shared in followers)
        forward.cache.copy_rows([rows[leader] for _, leader, _ in followers], [rows[i] for i, *_ in followers], longest)
        rest = []
        for i, leader, shared in followers:
            starts[i] = shared
            if shared == len(prompts[i]):
                logits[i] = logits[leader]
            else:
                rest.append(i)
        logits |= _read_rest(forward, rest, rows, prompts, starts)
    return torch.stack([logits[i] for i in range(len(prompts))])


def _read_rest(
    forward: RowForward,
    which: Sequence[int],
    rows: Sequence[int],
    prompts: Sequence[Sequence[int]],
    starts: Sequence[int],
) -> dict[int, torch.Tensor]:
    """Read what rows do not hold yet; per number of `which` the logits ``[vocabulary]`` after its last id."""
    logits: dict[int, torch.Tensor] = {}
    # Whole prompts and continued rows apart: the former need no mask.
    for part in ([i for i in which if not starts[i]], [i for i in which if starts[i]]):
        for group in length_groups([len(prompts[i]) - starts[i] for i in part], _PREFILL_TOKENS):
            members = [part[number] for number in group]
            result = forward.prefill(
                [rows[i] for i in members], [starts[i] for i in members], [prompts[i][starts[i] :] for i in members]
            )
            logits |= dict(zip(members, result, strict=True))
    return logits
