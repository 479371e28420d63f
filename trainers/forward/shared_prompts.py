"""Prompts that rows of a pass have in common, read once: for groups of episodes that begin with the same task.

Rows with the same tokens before their first sampled one have the same keys and values there. So the backbone reads each
such prompt once, and then the rest of every row behind the keys and values of its own prompt; gradients of all rows add
up in the prompt. What is computed is what a pass over whole rows computes, up to rounding: a prompt of `P` tokens that
`R` rows share costs `P` tokens instead of `R * P`.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from agents.base import View

from ..batch.token_batch import pad_rows
from ..batch.transfer import to_device

# A second pass of the backbone has costs of its own: sharing must spare at least this share of a pass's padded tokens.
WORTH_A_PASS = 0.1


@dataclass(frozen=True, slots=True)
class SharedPrompts:
    """How the rows of a pass divide into prompts and rests.

    Attributes:
        prompts: The different prompts, each without its last token. That token begins the rests, because the state
            above it predicts the first sampled token.
        prompt_of_row: The place in `prompts` of every row's own.
        rests: What follows in every row.
    """

    prompts: list[list[int]]
    prompt_of_row: list[int]
    rests: list[list[int]]

    @property
    def spares(self) -> float:
        """The share of padded tokens that need not be read."""
        pairs = zip(self.prompt_of_row, self.rests, strict=True)
        whole = max(len(self.prompts[own]) + len(rest) for own, rest in pairs)
        read = len(self.prompts) * max(map(len, self.prompts)) + len(self.rests) * max(map(len, self.rests))
        return 1 - read / (len(self.rests) * whole)


def prompt_key(view: View) -> Hashable:
    """What rows that share a prompt have in common: the tokens before the first sampled one."""
    return tuple(view.ids[: view.loss_positions[0]]) if view.loss_positions else ()


def shared_prompts(views: Sequence[View]) -> SharedPrompts | None:
    """Divide the rows of a pass; None where reading whole rows is as good.

    Args:
        views: The rows, each with loss positions of at least 1.
    """
    cuts = [view.loss_positions[0] - 1 if view.loss_positions else 0 for view in views]
    found: dict[tuple[int, ...], int] = {}
    own = [found.setdefault(tuple(view.ids[:cut]), len(found)) for view, cut in zip(views, cuts, strict=True)]
    divided = SharedPrompts(
        prompts=[list(prompt) for prompt in found],
        prompt_of_row=own,
        rests=[list(view.ids[cut:]) for view, cut in zip(views, cuts, strict=True)],
    )
    # An empty prompt beside others would be a row of padding alone, which attention cannot read.
    if not all(found) or divided.spares < WORTH_A_PASS:
        return None
    return divided


def rest_states(decoder: Any, divided: SharedPrompts, *, device: torch.device) -> Tensor:
    """The last hidden states above every row's rest: ``[B, S, H]``, S the longest rest, values in padding undefined.

    Args:
        decoder: The backbone of a causal LM of transformers, with full attention and rotary positions.
        divided: The rows.
        device: Of the model.
    """
    from transformers import DynamicCache

    lengths_U = torch.tensor([len(prompt) for prompt in divided.prompts])
    prompts_UP = pad_rows(divided.prompts, int(lengths_U.max()), torch.long, device)
    rests_BS = pad_rows(divided.rests, max(map(len, divided.rests)), torch.long, device)
    real_UP = torch.arange(prompts_UP.shape[1])[None, :] < lengths_U[:, None]
    rows = torch.tensor(divided.prompt_of_row)
    cache = DynamicCache(config=decoder.config)
    decoder(
        input_ids=prompts_UP,
        position_ids=to_device(torch.arange(prompts_UP.shape[1])[None, :], device),
        past_key_values=cache,
        use_cache=True,
    )
    # Every row gets the keys and values of its own prompt.
    cache.batch_select_indices(to_device(rows, device))
    positions_BS = lengths_U[rows][:, None] + torch.arange(rests_BS.shape[1])[None, :]
    # Padding of shorter prompts stands before the rests, so it must not be seen; padding of rests comes last.
    seen_BL = torch.cat([real_UP[rows], torch.ones(rests_BS.shape, dtype=torch.bool)], dim=1)
    found = decoder(
        input_ids=rests_BS,
        position_ids=to_device(positions_BS, device),
        attention_mask=None if bool(real_UP.all()) else to_device(seen_BL.long(), device),
        past_key_values=cache,
        use_cache=True,
    )
    states_BSH: Tensor = found.last_hidden_state
    return states_BSH
