"""What a teacher thinks of every next token of a row, kept from its reading until the update."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor, nn


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
