"""Whether a model's parameters are numbers: a damaged file, or an overflow, is named before anything is computed."""

from __future__ import annotations

import math

import torch
from torch import nn

_CHECKED = (torch.float32, torch.float64, torch.float16, torch.bfloat16)


class NonFiniteWeightsError(ValueError):
    """A model holds parameters that are not finite: nothing that it computes means anything."""


def require_finite_weights(model: nn.Module) -> None:
    """Check every parameter of a model; least and greatest value are looked at, so that no copy is made.

    Raises:
        NonFiniteWeightsError: One holds NaN or infinity; the message names it.
    """
    for name, parameter in model.named_parameters():
        values = parameter.detach()
        if values.is_meta or values.dtype not in _CHECKED or not values.numel():
            continue
        low, high = torch.aminmax(values)
        if not (math.isfinite(float(low)) and math.isfinite(float(high))):
            bad = int((~torch.isfinite(values)).sum())
            raise NonFiniteWeightsError(
                f"{name}: {bad:,} of {values.numel():,} weights are not finite ({values.dtype}): the model is damaged, "
                "or was saved in a precision that is too small for it; take an earlier checkpoint, or load another copy"
            )
