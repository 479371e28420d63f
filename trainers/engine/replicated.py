"""Several processes, each with all parameters (data parallel): gradients are added up once per optimiser step.

torch's DistributedDataParallel reduces while the last backward pass still runs, and expects every process to make the
same number of passes over the same parameters. Here processes have unequal numbers of micro-batches, and gradients of
16-bit parameters are collected in float32 (`updater.MasterWeights`), so they are reduced after the last micro-batch, in
float32 and in large pieces. With several micro-batches per step little of the time could have been hidden.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..forward.root import PolicyModel
from .adapters import state_digest
from .processes import ProcessesError
from .several import SeveralProcesses

# Values per piece of a reduction: 64 MiB of float32.
PIECE = 16 * 2**20


@dataclass(frozen=True, slots=True)
class Replicated(SeveralProcesses):
    """An engine of several processes that hold all parameters each."""

    def prepare(self, model: Any) -> PolicyModel:
        """As in one process: the same model on every device."""
        return self.local.prepare(model)

    def reader(self, model: Any) -> PolicyModel:
        """As in one process."""
        return self.local.reader(model)

    def frozen(self, root: PolicyModel) -> PolicyModel:
        """A copy of the parameters as they are now, without gradients, in every process."""
        return self.local.frozen(root)

    def sampling_model(self, root: PolicyModel) -> Any:
        """The language model itself."""
        return root.language_model

    def whole_state(self, root: PolicyModel, *, learning_only: bool = False) -> Mapping[str, Tensor]:
        """As `SeveralProcesses`; every copy must be the same here.

        Raises:
            ProcessesError: Copies have come apart, so that what one process writes is not what another has.
        """
        found = self.gather(state_digest(root.language_model.state_dict()))
        if len(set(found)) > 1:
            apart = [str(rank) for rank, digest in enumerate(found) if digest != found[0]]
            raise ProcessesError(
                f"the copies of the parameters have come apart: those of rank {', '.join(apart)} are not those of rank "
                "0. A device computes wrongly, or code of the run has changed parameters in one process only; the last "
                "checkpoint was written before"
            )
        return SeveralProcesses.whole_state(self, root, learning_only=learning_only)

    @torch.no_grad()
    def sum_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Add up the gradients of all processes; a parameter that none has a gradient of keeps none."""
        # Processes with nothing to learn from have no gradients, and take part with zeros.
        here = torch.tensor([p.grad is not None for p in parameters], dtype=torch.uint8, device=self.device)
        torch.distributed.all_reduce(here, op=torch.distributed.ReduceOp.MAX)
        wanted = [p for p, used in zip(parameters, here.tolist(), strict=True) if used]
        for parameter in wanted:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        for piece in _pieces([parameter.grad for parameter in wanted if parameter.grad is not None]):
            flat = torch.cat([gradient.reshape(-1) for gradient in piece])
            torch.distributed.all_reduce(flat)
            for gradient, part in zip(piece, flat.split([g.numel() for g in piece]), strict=True):
                gradient.copy_(part.view_as(gradient))


def _pieces(gradients: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """Consecutive gradients of one precision, together of `PIECE` values at most, or one alone."""
    piece: list[Tensor] = []
    for gradient in gradients:
        full = sum(g.numel() for g in piece) + gradient.numel() > PIECE
        if piece and (full or gradient.dtype != piece[0].dtype):
            yield piece
            piece = []
        piece.append(gradient)
    if piece:
        yield piece
