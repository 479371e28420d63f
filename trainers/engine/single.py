"""One process on one device: precision, gradient checkpointing, and the preparation of models."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from sdar_envs.model_files import adapter_base, config_of, load_causal_lm, load_tokenizer

from ..forward.logprobs import check_logits
from ..forward.root import PolicyModel
from ..options import MachineOptions, Options
from ..options.option import AUTO
from .adapters import attach_saved, base_state, state_digest
from .finite_weights import require_finite_weights
from .hardware import host_bytes
from .host_memory import give_freed_blocks_back, memory_is_scarce
from .weight_layout import lay_out_for_few_rows

SDAROptions = TypeVar("SDAROptions", bound=Options)
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
    packing: bool | str = AUTO
    share_prompts: bool = False

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
        return cls(device, torch.bfloat16 if bf16 else torch.float32, recompute, options.packing, options.share_prompts)

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

        With dropout, the log-probs of sampling and of training would be those of two different policies. Buffers keep
        their precision: rotary frequencies of 16 bits are wrong by up to .2 %, which at position 1,000 is a radian.

        Raises:
            ValueError: ``packing`` is on, and the model's attention does not keep rows apart by their positions; or
                ``share_prompts`` is on, and cannot be (`shares_prompts`).
        """
        parameters = sum(parameter.numel() for parameter in model.parameters())
        if self.device.type == "cpu" and memory_is_scarce(parameters, host_bytes()):
            give_freed_blocks_back()
        exact = {id(module): dict(module._buffers) for module in model.modules() if module._buffers}
        model.to(device=self.device, dtype=self.dtype)
        for module in model.modules():
            for name, buffer in exact.get(id(module), {}).items():
                if buffer is not None and buffer.is_floating_point():
                    module._buffers[name] = buffer.to(self.device)
        if self.device.type == "cpu" and self.dtype == torch.float32:
            lay_out_for_few_rows(model)
        disable_dropout(model)
        if self.gradient_checkpointing:
            recompute_activations(model)
        packs = packs_rows(model, self.packing)
        shares = shares_prompts(model, self.share_prompts, packs=packs, recompute=self.gradient_checkpointing)
        return PolicyModel(model, packs_rows=packs, shares_prompts=shares).eval()

    def reader(self, model: Any) -> PolicyModel:
        """A root module around a model of its own that only reads."""
        return self.prepare(model).requires_grad_(False)

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

    def whole_state(self, root: PolicyModel, *, learning_only: bool = False) -> Mapping[str, torch.Tensor]:
        """All parameters of the language model, by its own names; nothing has to be gathered."""
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


# Parameters above which a CPU's memory is taken by activations sooner than by weights: without recomputation they are
# 47.6 KB per token and layer at a width of 576, 23 GB in a pass of 16,384 tokens over 30 layers.
LARGE_ON_CPU = 50_000_000
MICRO_BATCH_TOKENS_ON_CPU = 1024


def fitted(options: SDAROptions, model: Any, device: torch.device) -> SDAROptions:
    """The options with what nobody chose fitted to the size of a model: tokens per pass of a large one on a CPU.

    On a CPU passes of 1,024 tokens are as fast per token as longer ones. A row that is longer is a pass of its own.
    """
    return fitted_to(options, sum(parameter.numel() for parameter in model.parameters()), on_cpu=device.type == "cpu")


def fitted_to(options: SDAROptions, parameters: int, *, on_cpu: bool) -> SDAROptions:
    """`fitted` for a model of which only the number of parameters is known."""
    if not on_cpu or parameters <= LARGE_ON_CPU or options.was_given("micro_batch_tokens"):
        return options
    return dataclasses.replace(options, micro_batch_tokens=MICRO_BATCH_TOKENS_ON_CPU)


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


def check_before_loading(model: str | Path) -> None:
    """Refuse, by its configuration alone, a model that cannot be trained; one that cannot be read yet is let through.

    Raises:
        ValueError: It is no decoder of text, or its logits are scaled or capped.
    """
    config = config_of(model)
    if config is None:
        return
    named = [str(each) for each in config.get("architectures") or ()]
    ours = any(each.endswith(("ForCausalLM", "LMHeadModel", "ForConditionalGeneration")) for each in named)
    if config.get("is_encoder_decoder") or (named and not ours):
        raise ValueError(
            f"{model}: expected a causal language model, got {', '.join(named) or 'an encoder and a decoder'}: choose "
            "a model whose config.json names an architecture ...ForCausalLM"
        )
    inner = config.get("text_config")
    check_logits(str(model), (inner if isinstance(inner, dict) else config).get)


def packs_rows(model: Any, packing: bool | str) -> bool:
    """Whether rows of a pass stand one after another: asked for, or (``auto``) where it costs no mask.

    Raises:
        ValueError: It is asked for, and the model's attention does not keep rows apart by their positions.
    """
    config = model.config.get_text_config()
    attention = str(getattr(config, "_attn_implementation", None))
    takes = "position_ids" in inspect.signature(model.get_decoder().forward).parameters
    layers = set(getattr(config, "layer_types", None) or ["full_attention"])
    apart = takes and hasattr(config, "rope_parameters") and layers <= {"full_attention", "sliding_attention"}
    if packing == AUTO:
        return apart and attention.startswith("flash_attention")
    if packing and not apart:
        raise ValueError(
            f"packing: expected a model that keeps rows apart by rotary positions, got {type(model).__name__} with "
            f"layers of {', '.join(sorted(layers))}: leave packing at auto"
        )
    return bool(packing)


def shares_prompts(model: Any, asked: bool, *, packs: bool, recompute: bool) -> bool:
    """Whether prompts that rows have in common are read once.

    Args:
        model: A causal LM of transformers.
        asked: The option ``share_prompts``.
        packs: Whether rows stand one after another.
        recompute: Whether activations are recomputed.

    Raises:
        ValueError: It is asked for, and the rest of a row cannot be read behind kept keys and values.
    """
    if not asked:
        return False
    layers = set(getattr(model.config.get_text_config(), "layer_types", None) or ["full_attention"])
    rotary = hasattr(model.config.get_text_config(), "rope_parameters")
    for wrong, expected, remedy in (
        (recompute, "kept activations, got gradient_checkpointing, which keeps no keys and values", "switch one off"),
        (packs, "padded rows, got packed ones", "set packing to false, or leave share_prompts out"),
        (
            layers != {"full_attention"} or not rotary,
            "full attention in every layer and rotary positions, got "
            f"{type(model).__name__} with layers of {', '.join(sorted(layers))}",
            "leave it out",
        ),
    ):
        if wrong:
            raise ValueError(f"share_prompts: expected {expected}: {remedy}")
    return True


def load_model(
    model: Any,
    processing_class: Any = None,
    *,
    trust_remote_code: bool = False,
    dtype: torch.dtype | None = None,
    attn_implementation: str = AUTO,
) -> tuple[Any, Any]:
    """A causal LM and its tokenizer: by name or folder, or as given.

    A folder of adapters stands for their base model with the adapters attached; that is read as it is stored, since
    adapters know their base model by its values.

    Args:
        model: Folder, name, or the model itself.
        processing_class: The tokenizer; None loads the model's.
        trust_remote_code: Whether code that the model brings may run.
        dtype: The precision to load parameters in, so that no copy in another one is made; None takes the file's.
        attn_implementation: Of transformers; ``auto`` leaves the choice to it.

    Raises:
        ValueError: A model object without a tokenizer, a folder or name that is no model (`model_files`), adapters of
            another model, attention kernels that are not installed, or weights that are not finite.
    """
    if isinstance(model, (str, Path)):
        tokenizer = processing_class
        if tokenizer is None:
            tokenizer = load_tokenizer(model, trust_remote_code=trust_remote_code)
        options: dict[str, Any] = {} if attn_implementation == AUTO else {"attn_implementation": attn_implementation}
        base = adapter_base(model)
        if base is None and dtype is not None:
            options["dtype"] = dtype
        with quiet_transformers():
            try:
                loaded = load_causal_lm(base or model, trust_remote_code=trust_remote_code, **options)
            except ImportError as error:  # transformers' answer to kernels that are not there, over several lines
                if attn_implementation == AUTO:
                    raise
                raise ValueError(
                    f"attn_implementation: {attn_implementation} is not to be had here "
                    f"({str(error).splitlines()[0]}): install it, or leave attn_implementation at auto"
                ) from None
            if base is not None:
                attach_saved(loaded, model)
        require_finite_weights(loaded)
        return loaded, tokenizer
    if processing_class is None:
        raise ValueError(
            "a model object was given without its tokenizer: pass processing_class=, or the model's name or folder"
        )
    require_finite_weights(model)
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
    """A cheap identity of initial models (`adapters.state_digest`); adapters are left out, names and all."""
    return state_digest(base_state(model.state_dict()))
