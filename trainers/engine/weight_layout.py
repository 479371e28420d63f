"""How the weights of linear layers lie in a CPU's memory, which decides what a step of sampling costs."""

from __future__ import annotations

import torch
from torch import nn

# Below it a product takes no longer than the call.
WORTHWHILE = 1 << 16


@torch.no_grad()
def lay_out_for_few_rows(model: nn.Module) -> int:
    """Store the weights of large linear layers by input, in place; returns how many were.

    ``linear`` multiplies by the transpose of its weight, (outputs, inputs). A matrix product on the CPU first brings
    that into an order of its own, and with the few rows of a step of sampling it takes as long over this as over the
    product. Where the numbers of one input lie together, it need not: sampling with a model of SmolLM2's shape, its
    prompts included, takes .91 of the CPU-seconds with 8 rows and .92 with 32, and passes over whole rows as many as
    ever (`benchmarks.weight_layout`). Shapes, names and values stay, and so do products. A sum over all of a tensor, as
    the norm of its gradient, is taken in another order, and may differ in its last digits.

    A weight shared with the embedding stays: there the numbers of one token belong together.
    """
    embedded = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    weights = {
        id(module.weight): module.weight
        for module in model.modules()
        if isinstance(module, nn.Linear) and id(module.weight) not in embedded
    }
    found = [weight for weight in weights.values() if weight.numel() >= WORTHWHILE and weight.is_contiguous()]
    for weight in found:
        weight.data = weight.data.t().contiguous().t()
    return len(found)
