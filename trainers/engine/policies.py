"""The policies that a run reads besides the live one, each held as cheaply as the run allows."""

from __future__ import annotations

from functools import partial

from ..forward.root import PolicyModel
from ..forward.weights import PolicyWeights
from .adapters import adapted_layers, adapters_off
from .base import Engine


def initial_policy(root: PolicyModel, engine: Engine) -> PolicyWeights:
    """The policy as it is before the first update: the reference.

    With adapters, the same module with these off, which holds nothing a second time; else a frozen copy.
    """
    if adapted_layers(root.language_model):
        return PolicyWeights(root, partial(adapters_off, root.language_model))
    return PolicyWeights(engine.frozen(root))
