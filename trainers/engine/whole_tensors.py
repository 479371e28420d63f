"""Tensors of which each process holds a part (DTensor): whole, and cut like another.

Code that reads parameters or optimiser state calls these and need not know whether a model is sharded; for an ordinary
tensor they return what they were given.
"""

from __future__ import annotations

import torch
from torch import Tensor


def is_sharded(tensor: Tensor) -> bool:
    """Whether this process holds a part of the tensor only."""
    return hasattr(tensor, "full_tensor")


def whole(tensor: Tensor) -> Tensor:
    """The whole tensor. For a sharded one all processes must call this, and all get it."""
    return tensor.full_tensor() if is_sharded(tensor) else tensor  # type: ignore[attr-defined]


def cut_like(tensor: Tensor, like: Tensor) -> Tensor:
    """A whole tensor on the device of `like`, and cut over the processes as that is; nothing is communicated.

    Args:
        tensor: Whole, and the same in all processes; or cut like `like` already.
        like: A parameter, sharded or not.
    """
    moved = tensor.to(like.device)
    if is_sharded(tensor) or not is_sharded(like):
        return moved
    from torch.distributed.tensor import distribute_tensor

    # Without a source rank each process takes its own part of what it has.
    return distribute_tensor(moved, like.device_mesh, like.placements, src_data_rank=None)  # type: ignore[attr-defined]


@torch.no_grad()
def copy_into(parameter: Tensor, tensor: Tensor) -> None:
    """Overwrite a parameter, sharded or not, by a whole tensor in any precision."""
    parameter.copy_(cut_like(tensor.to(parameter.dtype), parameter))
