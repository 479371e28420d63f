"""The root module of a run: one `forward` through which every pass over given tokens goes.

Wrappers that shard a model or keep copies of it in step (FSDP2, DDP) hook the forward of the module that they wrap. A
pass that called a decoder or a head directly would read parameters that are sharded away, or leave gradients
unsynchronised. So the policy and the reference policy are each wrapped once, by the engine, and everything that scores
tokens calls the wrapped module.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from agents.base import View

from .logprobs import Look, Scored, score


class PolicyModel(nn.Module):
    """A causal language model that scores views.

    Args:
        language_model: A causal LM of transformers (``get_decoder``, ``get_output_embeddings``).
        packs_rows: Rows of a pass stand one after another instead of being padded (`logprobs.score`).
    """

    def __init__(self, language_model: Any, *, packs_rows: bool = False) -> None:
        super().__init__()
        self.language_model = language_model
        self.packs_rows = packs_rows

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
        )

    @property
    def head(self) -> Any:
        """The LM head."""
        return self.language_model.get_output_embeddings()
