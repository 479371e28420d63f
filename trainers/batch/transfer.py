"""Copies between host and device that a GPU need not wait for; between tensors of one device nothing is copied."""

from __future__ import annotations

import torch
from torch import Tensor


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor on `device`; to a GPU from page-locked memory and without waiting.

    The copy is ordered before all later work on that GPU, so whoever uses the result there need not wait either.
    """
    if device.type != "cuda" or tensor.device.type != "cpu":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def to_host(tensor: Tensor) -> Tensor:
    """A tensor in host memory; from a GPU without waiting: call `arrived` before its values are read."""
    if tensor.device.type != "cuda":
        return tensor.cpu()
    host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
    return host.copy_(tensor, non_blocking=True)


def arrived(device: torch.device) -> None:
    """Wait until what `to_host` copied from `device` is there."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
