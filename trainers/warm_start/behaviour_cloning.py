"""Behaviour cloning: the language-model loss on demonstrated actions, with a small weight on observations.

From random parameters, the loss on observations teaches a model to copy names before it acts; the loss on actions
teaches the rest.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from agents.base import View
from sdar_envs.randomness import Key, counted_generator

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


@dataclass(frozen=True, slots=True)
class CloningConfig:
    """Optimiser of the warm start: Muon on the matrices of the layers, AdamW on embeddings and norms.

    `observation_weight` is the loss weight of all tokens but those of actions, which have 1.
    """

    batch_size: int = 24
    muon_learning_rate: float = 0.02
    adamw_learning_rate: float = 3e-3
    observation_weight: float = 0.1
    max_grad_norm: float = 1.0


class Cloner:
    """Cloning steps over a fixed set of token rows; their order is drawn with the counted `key`.

    Args:
        model: The model to train, in place.
        views: Demonstrations as token rows; their `loss_positions` are the action tokens.
        config: Optimiser settings.
        key: Key of the counted shuffle.
        pad_id: Token id that fills short rows; it has no loss.

    Raises:
        ValueError: There are no demonstrations.
    """

    def __init__(
        self, model: PreTrainedModel, views: Sequence[View], config: CloningConfig, *, key: tuple[Key, ...], pad_id: int
    ) -> None:
        import torch

        if not views:
            raise ValueError("Cloner expects at least one demonstration, got none")
        self.model, self.views, self.config, self.key, self.pad_id = model, list(views), config, key, pad_id
        self.steps = 0
        # Muon takes matrices only; embeddings are lookup tables, and norms are vectors.
        matrices = [p for name, p in model.named_parameters() if p.ndim == 2 and "embed" not in name]
        chosen = {id(p) for p in matrices}
        others = [p for p in model.parameters() if id(p) not in chosen]
        self._optimizers: list[torch.optim.Optimizer] = [
            torch.optim.Muon(matrices, lr=config.muon_learning_rate, weight_decay=0.0),
            torch.optim.AdamW(others, lr=config.adamw_learning_rate, betas=(0.9, 0.95), weight_decay=0.0),
        ]
        self._base_rates = [config.muon_learning_rate, config.adamw_learning_rate]
        self._order = self._batches()

    def _batches(self) -> Iterator[list[View]]:
        """Batches without end: a new counted shuffle per epoch, an incomplete last batch left out."""
        epoch = 0
        size = self.config.batch_size
        while True:
            order = counted_generator(*self.key, "epoch", epoch).permutation(len(self.views))
            for start in range(0, max(len(order) - size + 1, 1), size):
                yield [self.views[i] for i in order[start : start + size]]
            epoch += 1

    def step(self, rate: float = 1.0) -> float:
        """One optimiser step at `rate` times the base learning rates; returns the loss in nats per weighted token."""
        import torch

        ids, weights = self._padded(next(self._order))
        self.model.train()
        hidden = self.model.get_decoder()(input_ids=ids, use_cache=False).last_hidden_state
        # Right padding with causal attention: pads come after every real token, and their targets have weight 0.
        keep = weights[:, 1:] > 0
        logits = self.model.get_output_embeddings()(hidden[:, :-1][keep]).float()
        losses = torch.nn.functional.cross_entropy(logits, ids[:, 1:][keep], reduction="none")
        kept = weights[:, 1:][keep]
        loss = (losses * kept).sum() / kept.sum()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.max_grad_norm)
        for optimizer, base in zip(self._optimizers, self._base_rates, strict=True):
            for group in optimizer.param_groups:
                group["lr"] = base * rate
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self.steps += 1
        return float(loss.detach())

    def _padded(self, views: Sequence[View]) -> tuple[torch.Tensor, torch.Tensor]:
        """Token ids and their loss weights, ``[batch, length]`` each."""
        import torch

        width = max(len(view.ids) for view in views)
        ids = np.full((len(views), width), self.pad_id, dtype=np.int64)
        weights = np.zeros((len(views), width), dtype=np.float32)
        for row, view in enumerate(views):
            ids[row, : len(view.ids)] = view.ids
            weights[row, : len(view.ids)] = self.config.observation_weight
            weights[row, view.loss_positions] = 1.0
        device = self.model.device
        return torch.from_numpy(ids).to(device), torch.from_numpy(weights).to(device)
