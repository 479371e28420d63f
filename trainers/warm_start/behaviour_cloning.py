"""Behaviour cloning: the language-model loss on demonstrated actions, and optionally on what stands between them.

From random parameters, the loss on observations teaches a model to copy names before it acts; the loss on actions
teaches the rest. A pretrained model can copy already: it needs the loss on actions alone, so that its head runs on a
fifth of the tokens. Both are trained by the same steps here, with optimisers of their own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from agents.base import View
from sdar_envs.choices import require_choice
from sdar_envs.randomness import Key, counted_generator

from ..batch.token_batch import micro_batches

if TYPE_CHECKING:
    import torch
    from torch.optim import Optimizer
    from transformers import PreTrainedModel


class Tuning(Protocol):
    """How a `Cloner` steps."""

    @property
    def batch_size(self) -> int:
        """Demonstrations, or turns of them in a window, per optimiser step."""
        ...

    @property
    def observation_weight(self) -> float:
        """The loss weight of all tokens but those of actions, which have 1."""
        ...

    @property
    def max_grad_norm(self) -> float:
        """Where gradients are clipped."""
        ...

    @property
    def micro_batch_tokens(self) -> int | None:
        """Padded tokens per forward pass at most, which bounds the activations; None for a step at once."""
        ...

    @property
    def warmup_steps(self) -> int:
        """Steps over which the learning rate rises."""
        ...

    def optimizers(self, model: PreTrainedModel) -> list[Optimizer]:
        """The optimisers of the parameters that require gradients, at their base learning rates."""
        ...

    def precision(self, device: torch.device) -> AbstractContextManager[object]:
        """The scope of a forward pass."""
        ...


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

    @property
    def micro_batch_tokens(self) -> None:
        """None: a step of a tiny model fits any memory."""
        return None

    @property
    def warmup_steps(self) -> int:
        """0: random parameters have nothing to lose in the first steps."""
        return 0

    def precision(self, device: torch.device) -> AbstractContextManager[object]:
        """Nothing: float32."""
        return nullcontext()

    def optimizers(self, model: PreTrainedModel) -> list[Optimizer]:
        """Muon on matrices, AdamW on the rest."""
        import torch

        from .muon import Float32Muon

        muon = torch.optim.Muon if _multiplies_bfloat16(model.device) else Float32Muon
        # Muon takes matrices only; embeddings are lookup tables, and norms are vectors.
        matrices = [p for name, p in model.named_parameters() if p.ndim == 2 and "embed" not in name]
        chosen = {id(p) for p in matrices}
        others = [p for p in model.parameters() if id(p) not in chosen]
        return [
            muon(matrices, lr=self.muon_learning_rate, weight_decay=0.0),
            torch.optim.AdamW(others, lr=self.adamw_learning_rate, betas=(0.9, 0.95), weight_decay=0.0),
        ]


# The number of parameters that `FineTuningConfig.learning_rate` is meant for, and from which it is scaled.
MEANT_FOR_PARAMETERS = 135_000_000


@dataclass(frozen=True, slots=True)
class FineTuningConfig:
    """Optimiser of a pretrained model's warm start: AdamW on whatever requires gradients, no loss on observations.

    Attributes:
        batch_size: Rows per optimiser step.
        learning_rate: For a model of 135 million parameters; with all weights trained it falls with the square root of
            the number of parameters, and for adapters it is taken as it is.
        warmup_steps: Steps over which the learning rate rises.
        max_grad_norm: Where gradients are clipped.
        micro_batch_tokens: Padded tokens per forward pass.
        autocast: Matrix products in bfloat16 with float32 weights: ``auto`` where the hardware multiplies bfloat16
            numbers itself (GPUs, CPUs with AMX or AVX-512's BF16), ``on`` or ``off``.
    """

    batch_size: int = 4
    learning_rate: float = 3e-4
    warmup_steps: int = 8
    max_grad_norm: float = 1.0
    micro_batch_tokens: int = 768
    autocast: str = "auto"

    @property
    def observation_weight(self) -> float:
        """0: a pretrained model copies names already."""
        return 0.0

    def rate_for(self, model: PreTrainedModel) -> float:
        """The base learning rate of a model."""
        sizes = [(parameter.numel(), parameter.requires_grad) for parameter in model.parameters()]
        whole, trained = sum(size for size, _ in sizes), sum(size for size, learns in sizes if learns)
        adapters = trained < 0.1 * whole
        return self.learning_rate * (1.0 if adapters else min(1.0, (MEANT_FOR_PARAMETERS / whole) ** 0.5))

    def optimizers(self, model: PreTrainedModel) -> list[Optimizer]:
        """AdamW without weight decay."""
        import torch

        learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
        return [torch.optim.AdamW(learning, lr=self.rate_for(model), betas=(0.9, 0.95), weight_decay=0.0)]

    def precision(self, device: torch.device) -> AbstractContextManager[object]:
        """The scope of a forward pass.

        Raises:
            ValueError: `autocast` is none of its choices.
        """
        import torch

        require_choice("autocast", self.autocast, ("auto", "on", "off"), "fine-tuning")
        wanted = self.autocast == "on" or (self.autocast == "auto" and _multiplies_bfloat16(device))
        return torch.autocast(device.type, dtype=torch.bfloat16) if wanted else nullcontext()


def _multiplies_bfloat16(device: torch.device) -> bool:
    """Whether a device has instructions for products of bfloat16 numbers; emulated ones are slower than float32."""
    import torch

    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and bool(torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported())


class Cloner:
    """Cloning steps over a fixed set of token rows; their order is drawn with the counted `key`.

    Args:
        model: The model to train, in place: those of its parameters that require gradients.
        views: Demonstrations as token rows; their `loss_positions` are the action tokens.
        config: Optimiser settings.
        key: Key of the counted shuffle.
        pad_id: Token id that fills short rows; it has no loss.

    Raises:
        ValueError: There are no demonstrations.
    """

    def __init__(
        self, model: PreTrainedModel, views: Sequence[View], config: Tuning, *, key: tuple[Key, ...], pad_id: int
    ) -> None:
        if not views:
            raise ValueError("Cloner expects at least one demonstration, got none")
        self.model, self.views, self.config, self.key, self.pad_id = model, list(views), config, key, pad_id
        self.steps = 0
        self.tokens = 0  # read so far, padding not counted
        self._optimizers = config.optimizers(model)
        self._base_rates = [float(optimizer.param_groups[0]["lr"]) for optimizer in self._optimizers]
        self._order = self._batches()

    @property
    def optimizer(self) -> Optimizer:
        """The only optimiser, for a checkpoint of fine-tuning."""
        [optimizer] = self._optimizers
        return optimizer

    def skip_to(self, steps: int, tokens: int) -> None:
        """Go on after a step that was made before: the batches of earlier ones are drawn and left out."""
        for _ in range(steps - self.steps):
            next(self._order)
        self.steps, self.tokens = steps, tokens

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

        views = next(self._order)
        parts = self._parts(views)
        self.model.train()
        totals = [weights[:, 1:][weights[:, 1:] > 0].sum() for _, weights in parts]
        total = sum(totals[1:], start=totals[0])
        loss = sum(self._backward(ids, weights, total) for ids, weights in parts)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.max_grad_norm)
        warmed = min(1.0, (self.steps + 1) / max(self.config.warmup_steps, 1))
        for optimizer, base in zip(self._optimizers, self._base_rates, strict=True):
            for group in optimizer.param_groups:
                group["lr"] = base * rate * warmed
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self.steps += 1
        self.tokens += sum(len(view.ids) for view in views)
        return loss

    def _parts(self, views: Sequence[View]) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """The step's micro-batches, padded; rows of like length stand together."""
        limit = self.config.micro_batch_tokens
        if limit is None:
            return [self._padded(views)]
        cut = micro_batches([len(view.ids) for view in views], limit)
        return [self._padded([views[index] for index in indices]) for indices in cut]

    def _backward(self, ids: torch.Tensor, weights: torch.Tensor, total: torch.Tensor) -> float:
        """Add the gradients of a micro-batch; returns its part of the loss of a step with `total` loss weight."""
        import torch

        with self.config.precision(ids.device):
            hidden = self.model.get_decoder()(input_ids=ids, use_cache=False).last_hidden_state
            # Right padding with causal attention: pads come after every real token, and their targets have weight 0.
            keep = weights[:, 1:] > 0
            logits = self.model.get_output_embeddings()(hidden[:, :-1][keep])
        losses = torch.nn.functional.cross_entropy(logits.float(), ids[:, 1:][keep], reduction="none")
        loss = (losses * weights[:, 1:][keep]).sum() / total
        loss.backward()
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
