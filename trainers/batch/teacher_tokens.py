"""A teacher's whole next-token distributions at the tokens of a row, kept from its reading until the update."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class TeacherTokens:
    """A teacher's next-token distributions at the loss tokens ``T`` of a row, in one of two forms.

    Whole: the last hidden states `hidden_TH`, with the `head` that turns them into logits, shared by all rows of an
    iteration. Reduced: the ids `top_ids_TK` of the most likely tokens, with `top_logprobs_TK` of shape ``[T, K + 1]``,
    whose last column is all other tokens together.
    """

    hidden_TH: Tensor | None = None
    head: nn.Module | None = None
    top_ids_TK: Tensor | None = None
    top_logprobs_TK: Tensor | None = None
