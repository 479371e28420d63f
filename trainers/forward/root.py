"""The root module of a run: one `forward` through which every pass over given tokens goes.

Wrappers that shard a model or keep copies of it in step (FSDP2, DDP) hook the forward of the module that they wrap. A
pass that called a decoder or a head directly would read parameters that are sharded away, or leave gradients
unsynchronised. So the policy and the reference policy are each wrapped once, by the engine, and everything that scores
tokens calls the wrapped module.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from agents.base import View

from ..batch.token_batch import micro_batches
from .logprobs import Look, Scored, score
from .shared_prompts import prompt_key


def _as_many(passes: int) -> int:
    return passes


class PolicyModel(nn.Module):
    """A causal language model that scores views.

    Args:
        language_model: A causal LM of transformers (``get_decoder``, ``get_output_embeddings``).
        packs_rows: Rows of a pass stand one after another instead of being padded (`logprobs.score`).
        shares_prompts: Prompts that rows of a pass have in common are read once (`shared_prompts`).

    Attributes:
        passes_of_all: From the passes that this process needs to those that every process makes. Where parameters are
            sharded, each pass gathers them from all processes, so all must make the same number.
    """

    passes_of_all: Callable[[int], int]

    def __init__(self, language_model: Any, *, packs_rows: bool = False, shares_prompts: bool = False) -> None:
        super().__init__()
        self.language_model = language_model
        self.packs_rows = packs_rows
        self.shares_prompts = shares_prompts
        self.passes_of_all = _as_many

    def cut(self, views: Sequence[View], token_budget: int) -> list[list[int]]:
        """The micro-batches of `views`: indices of those that one pass reads; see `token_batch.micro_batches`."""
        lengths = [len(view.ids) for view in views]
        together = [prompt_key(view) for view in views] if self.shares_prompts else ()
        return micro_batches(lengths, token_budget, packed=self.packs_rows, together=together)

    def in_step(self, batches: Sequence[list[int]]) -> list[list[int]]:
        """The micro-batches of this process, and empty ones for the passes that only others need (`idle_pass`)."""
        return [*batches, *([] for _ in range(self.passes_of_all(len(batches)) - len(batches)))]

    def idle_pass(self, pad_id: int) -> None:
        """A pass over two tokens that changes no gradient, for an empty micro-batch of `in_step`."""
        scored: Scored = self([View([pad_id, pad_id], [1])], temperature=1.0, pad_id=pad_id)
        if torch.is_grad_enabled():
            (0.0 * scored.logprobs_BT.sum()).backward()

    def forward(
        self,
        views: Sequence[View],
        *,
        temperature: float,
        pad_id: int,
        chunk: int = 1024,
        entropy: bool = False,
        look: Look | None = None,
        keep_hidden: bool = False,
    ) -> Scored:
        """Score the sampled tokens of `views`; see `logprobs.score`."""
        return score(
            self.language_model,
            views,
            temperature=temperature,
            pad_id=pad_id,
            chunk=chunk,
            entropy=entropy,
            look=look,
            keep_hidden=keep_hidden,
            packed=self.packs_rows,
            share_prompts=self.shares_prompts,
        )

    @property
    def head(self) -> Any:
        """The LM head."""
        return self.language_model.get_output_embeddings()

    def head_as_now(self, *, stays: bool) -> Any:
        """The LM head as it is now, to be called outside of a pass.

        Args:
            stays: It will not change while it is needed, so that the live one will do; else a copy without gradients.
        """
        return self.head if stays else copy.deepcopy(self.head).requires_grad_(False)
