"""One process on one device: precision, gradient checkpointing, and the preparation of models."""

from __future__ import annotations

import copy
import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from sdar_envs.model_files import load_causal_lm, load_tokenizer

from ..forward.root import PolicyModel
from ..options import MachineOptions
from ..options.option import AUTO
from .whole_tensors import whole

_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True)
class SingleProcess:
    """An engine of one process; `base.Engine` has the contract.

    With a 16-bit `dtype` the parameters that sample and learn are 16-bit, and the optimiser keeps float32 masters of
    them (`updater.MasterWeights`), because at learning rates of 1e-6 most updates are smaller than a bfloat16 step.
    """

    device: torch.device
    dtype: torch.dtype
    gradient_checkpointing: bool

    @classmethod
    def of(cls, options: MachineOptions) -> SingleProcess:
        """The engine of a configuration.

        ``auto`` is a GPU where there is one, and bfloat16 and gradient checkpointing on a GPU.

        Raises:
            ValueError: The machine has no such device.
        """
        device = choose_device(options.device)
        on_gpu = device.type == "cuda"
        bf16 = on_gpu if options.bf16 == AUTO else bool(options.bf16)
        recompute = on_gpu if options.gradient_checkpointing == AUTO else bool(options.gradient_checkpointing)
        return cls(device, torch.bfloat16 if bf16 else torch.float32, recompute)

    @property
    def rank(self) -> int:
        """Always 0."""
        return 0

    @property
    def world_size(self) -> int:
        """Always 1."""
        return 1

    @property
    def is_writer(self) -> bool:
        """Always: this process writes the run directory."""
        return True

    def prepare(self, model: Any) -> PolicyModel:
        """Move a model to the device and precision, without dropout and without a cache in the forward pass.

        With dropout, the log-probs of sampling and of training would be those of two different policies.
        """
        model.to(device=self.device, dtype=self.dtype)
        disable_dropout(model)
        if self.gradient_checkpointing:
            recompute_activations(model)
        return PolicyModel(model).eval()

    def sampling_model(self, root: PolicyModel) -> Any:
        """The language model itself."""
        return root.language_model

    @contextmanager
    def learning(self, root: PolicyModel) -> Iterator[None]:
        """The scope of a forward pass with gradients and its backward pass.

        Transformers recomputes activations only in training mode, and keeps no cache in that mode, so sampling and
        scoring stay in evaluation mode. Without dropout both modes compute the same.
        """
        root.train(self.gradient_checkpointing)
        try:
            yield
        finally:
            root.eval()

    def frozen(self, root: PolicyModel) -> PolicyModel:
        """A copy of the parameters as they are now, without gradients."""
        copied = copy.deepcopy(root)
        copied.requires_grad_(False)
        return copied.eval()

    def sum_over_ranks(self, value: float) -> float:
        """The number itself, since there is one process."""
        return value

    def max_over_ranks(self, value: float) -> float:
        """The number itself."""
        return value

    def gather(self, value: _Value) -> list[_Value]:
        """The value alone."""
        return [value]

    def sum_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Nothing to add."""

    def clip(self, parameters: Sequence[nn.Parameter], max_norm: float) -> float:
        """Scale gradients to a norm of at most `max_norm`; returns the norm before."""
        return float(torch.nn.utils.clip_grad_norm_(parameters, max_norm))

    def whole_state(self, root: PolicyModel) -> Mapping[str, torch.Tensor]:
        """All parameters of the language model, by its own names."""
        state: Mapping[str, torch.Tensor] = root.language_model.state_dict()
        return state

    def whole(self, tensors: Mapping[str, torch.Tensor]) -> Mapping[str, torch.Tensor]:
        """The tensors themselves."""
        return tensors

    def load_whole(self, root: PolicyModel, state: Mapping[str, torch.Tensor]) -> None:
        """Load what `whole_state` returned."""
        root.language_model.load_state_dict(state)

    def clock(self) -> float:
        """A wall clock that waits for the device first."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()


def choose_device(name: str) -> torch.device:
    """The device of a configuration.

    Raises:
        ValueError: No such device on this machine.
    """
    if name == AUTO:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"device: expected auto, cpu, cuda or cuda:N, got {name!r} ({error})") from None
    if device.type == "cuda" and (not torch.cuda.is_available() or (device.index or 0) >= torch.cuda.device_count()):
        raise ValueError(f"device: got {name!r}, but torch sees {torch.cuda.device_count()} GPUs: use auto or cpu")
    return device


def load_model(model: Any, processing_class: Any = None, *, trust_remote_code: bool = False) -> tuple[Any, Any]:
    """A causal LM and its tokenizer: by name or folder, or as given.

    Raises:
        ValueError: A model object without a tokenizer, or a folder or name that is no model (`model_files`).
    """
    if isinstance(model, (str, Path)):
        tokenizer = processing_class
        if tokenizer is None:
            tokenizer = load_tokenizer(model, trust_remote_code=trust_remote_code)
        with quiet_transformers():
            return load_causal_lm(model, trust_remote_code=trust_remote_code), tokenizer
    if processing_class is None:
        raise ValueError(
            "a model object was given without its tokenizer: pass processing_class=, or the model's name or folder"
        )
    return model, processing_class


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Switch off transformers' progress bars of loading and saving, which would break up a run's own."""
    from transformers.utils import logging as transformers_logging

    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()


def recompute_activations(model: Any) -> None:
    """Switch on gradient checkpointing, by the name of transformers 5.23 and later or the one before it."""
    enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
    enable({"use_reentrant": False})


def disable_dropout(model: nn.Module) -> None:
    """Set every dropout probability to 0, in modules and in the attention's own setting."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        if isinstance(getattr(module, "attention_dropout", None), float):
            module.attention_dropout = 0.0  # type: ignore[assignment]


def fingerprint(model: nn.Module) -> str:
    """SHA-256 over names, shapes and 64 evenly spaced values of every tensor: a cheap identity of initial models."""
    digest = hashlib.sha256()
    for name, tensor in _tensors(model):
        flat = whole(tensor).detach().reshape(-1)
        # In float64: float32 would round the last index of a tensor with more than 2**24 values to one past its end.
        picks = torch.linspace(0, max(flat.numel() - 1, 0), min(64, flat.numel()), dtype=torch.float64).round().long()
        digest.update(f"{name}{tuple(tensor.shape)}".encode())
        digest.update(flat[picks.to(flat.device)].float().cpu().numpy().tobytes())
    return digest.hexdigest()


def _tensors(model: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    yield from sorted(model.state_dict().items())
