"""Muon for processors that do not multiply bfloat16 numbers themselves.

`torch.optim.Muon` orthogonalises its updates in bfloat16, whatever the parameters' precision. A processor without
instructions for it takes 8 to 25 times as long over that as in float32 (`python -m benchmarks.muon`; layers of 64 to
256, AVX2), half of a warm start's time at 128. So it is done in float32 there; everything else is PyTorch's.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def orthogonalized(update: Tensor, coefficients: tuple[float, float, float], steps: int, eps: float) -> Tensor:
    """Newton and Schulz's iteration towards the nearest matrix whose singular values are 1.

    ``X <- a X + (b G + c G^2) X`` with ``G = X X^T``, from ``update`` divided by its Frobenius norm; in the precision
    of `update`. Source: Jordan et al., "Muon", 2024, https://kellerjordan.github.io/posts/muon.

    Args:
        update: (rows, columns).
        coefficients: a, b and c.
        steps: Iterations.
        eps: The least norm that is divided by.
    """
    a, b, c = coefficients
    wide = update.shape[0] <= update.shape[1]
    x = update if wide else update.T  # (shorter, longer): the smaller Gram matrix
    x = x / x.norm().clamp(min=eps)
    for _ in range(steps):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x if wide else x.T


class Float32Muon(torch.optim.Muon):
    """`torch.optim.Muon` with its original learning rates, orthogonalising in the precision of the gradients."""

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One step; as PyTorch's, but for the precision."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, parameter.grad, group)
        return loss

    def _update(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(gradient)
        momentum = group["momentum"]
        average = state["momentum_buffer"].lerp_(gradient, 1 - momentum)
        update = gradient.lerp(average, momentum) if group["nesterov"] else average
        update = orthogonalized(update, group["ns_coefficients"], group["ns_steps"], group["eps"])
        rows, columns = parameter.shape
        parameter.mul_(1 - group["lr"] * group["weight_decay"])
        parameter.add_(update, alpha=-group["lr"] * math.sqrt(max(1.0, rows / columns)))
