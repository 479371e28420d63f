"""Low-rank adapters (LoRA, arXiv 2106.09685) by peft: attached in place, switched off, saved, loaded, merged.

A layer with weight W becomes ``W x + (alpha / rank) B A x``. W is frozen, A and B learn. With the adapters off a model
is the initial policy again, so that a reference policy or a frozen teacher needs no second copy of the weights. The
model keeps its class: everything that takes a causal LM of transformers takes one with adapters.

Files are those of peft (``adapter_config.json``, ``adapter_model.safetensors``), which transformers, peft and vLLM
read, and `BASE`, which says what model the adapters were trained on. Functions take the tensors of the model as an
argument where an engine has to gather them first.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sdar_envs.bounded_files import load_json
from sdar_envs.randomness import counted_generator

from .whole_tensors import copy_into, whole

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
BASE = "base_model.json"
ALL_LINEAR = "all-linear"
_NAME = "default"  # peft's name of the one adapter that a model has here
_PREFIX = "base_model.model."  # of every tensor name in peft's files
_LAYER = ".base_layer"  # what peft puts into the names of a layer's own tensors


class AdapterError(ValueError):
    """Adapters cannot be attached to, or loaded into, this model; the message says what was expected."""


def attach(model: Any, *, rank: int, alpha: float, targets: Sequence[str], seed: int) -> list[str]:
    """Put new adapters on a model, in place, and freeze all else.

    B is 0, so that the model computes what it did before. A is uniform in ``+-1/sqrt(fan_in)``, as in peft, drawn from
    the generator of (seed, name of the layer): no global generator is read or moved.

    Args:
        model: A causal LM of transformers.
        rank: Columns of B, rows of A.
        alpha: Numerator of the scale.
        targets: Ends of the names of linear layers (``q_proj``), or `ALL_LINEAR` alone for all but the head.
        seed: Key of the draws.

    Returns:
        The names of the layers that have adapters now.

    Raises:
        AdapterError: A target is not among the layers of the model, or the model has adapters already.
        ImportError: peft is not installed.
    """
    if adapted_layers(model):
        raise AdapterError("the model has adapters already: merge them (merge_in_place) before new ones are attached")
    linear = sorted({name.rsplit(".", 1)[-1] for name, module in model.named_modules() if _is_linear(module)})
    if missing := [target for target in targets if target != ALL_LINEAR and not _matches(model, target)]:
        raise AdapterError(
            f"lora_targets: {type(model).__name__} has no linear layer whose name ends in {', '.join(missing)}: "
            f"expected {ALL_LINEAR}, or some of {', '.join(linear)}"
        )
    chosen = ALL_LINEAR if ALL_LINEAR in targets else list(targets)
    _inject(model, {"r": rank, "lora_alpha": alpha, "target_modules": chosen})
    with torch.no_grad():
        for name, layer in adapted_layers(model).items():
            first, second = layer.lora_A[_NAME].weight, layer.lora_B[_NAME].weight
            bound = 1.0 / math.sqrt(first.shape[1])
            drawn = counted_generator("lora", seed, name).uniform(-bound, bound, tuple(first.shape))
            first.copy_(torch.from_numpy(drawn))
            second.zero_()
    return list(adapted_layers(model))


def _is_linear(module: nn.Module) -> bool:
    # transformers' Conv1D is a linear layer whose matrix is stored the other way round.
    return isinstance(module, nn.Linear) or type(module).__name__ == "Conv1D"


def _matches(model: Any, target: str) -> bool:
    return any(
        (name == target or name.endswith(f".{target}")) and _is_linear(module) for name, module in model.named_modules()
    )


def _inject(model: Any, settings: Mapping[str, Any]) -> None:
    """Attach peft's layers with whatever values; the global generator stays where it was."""
    peft = require_peft()
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="fan_in_fan_out is set to False")  # peft then sets it itself
        peft.inject_adapter_in_model(peft.LoraConfig(lora_dropout=0.0, bias="none", **settings), model, _NAME)


def require_peft() -> Any:
    """The package peft.

    Raises:
        ImportError: It is not installed; the message names the extra.
    """
    # Packages that peft looks for and that do not fit this torch say so at length when they are imported.
    noisy = logging.getLogger("torchao")
    level = noisy.level
    noisy.setLevel(logging.ERROR)
    try:
        import peft
    except ImportError as error:
        raise ImportError(f'lora needs peft, which is not installed: pip install "sdar-gym[lora]" ({error})') from None
    finally:
        noisy.setLevel(level)
    return peft


def adapted_layers(model: Any) -> dict[str, Any]:
    """The layers with adapters, by name, in the model's order; empty for a model without."""
    if getattr(model, "peft_config", None) is None:
        return {}
    from peft.tuners.lora import LoraLayer

    return {name: module for name, module in model.named_modules() if isinstance(module, LoraLayer)}


@contextmanager
def adapters_off(model: Any) -> Iterator[None]:
    """The scope in which the model computes what it computed before adapters were attached."""
    layers = adapted_layers(model).values()
    for layer in layers:
        layer.enable_adapters(False)
    try:
        yield
    finally:
        for layer in layers:
            layer.enable_adapters(True)


# Tensors by name.


def adapter_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The adapters' tensors of a model's state, by their names in peft's files.

    Args:
        state: All tensors of the model, by its own names.
    """
    return {
        _PREFIX + name.replace(f".{_NAME}.", "."): tensor for name, tensor in state.items() if _is_adapter_tensor(name)
    }


def base_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A model's tensors without its adapters, by the names that they have without."""
    return {name.replace(_LAYER, ""): tensor for name, tensor in state.items() if not _is_adapter_tensor(name)}


def merged_state(model: Any, state: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
    """A model's tensors with ``(alpha / rank) B A`` added to each W, by the names that they have without adapters.

    The sum is computed in float32 and rounded once to the precision of W.

    Args:
        model: With or without adapters; says scale and orientation of each layer.
        state: Its tensors, where they are not in this process's modules; None takes those.
    """
    whole = model.state_dict() if state is None else state
    merged = base_state(whole)
    for name, layer in adapted_layers(model).items():
        first = whole[f"{name}.lora_A.{_NAME}.weight"].float()
        second = whole[f"{name}.lora_B.{_NAME}.weight"].float()
        change = layer.scaling[_NAME] * (second @ first)
        weight = merged[f"{name}.weight"]
        merged[f"{name}.weight"] = (weight.float() + (change.T if layer.fan_in_fan_out else change)).to(weight.dtype)
    return merged


def _is_adapter_tensor(name: str) -> bool:
    return f".lora_A.{_NAME}." in name or f".lora_B.{_NAME}." in name


def state_digest(state: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, shapes and 64 evenly spaced values of every tensor: a cheap identity of models."""
    digest = hashlib.sha256()
    for name, tensor in sorted(state.items()):
        flat = whole(tensor.detach()).reshape(-1)
        # In float64: float32 would round the last index of a tensor with more than 2**24 values to one past its end.
        picks = torch.linspace(0, max(flat.numel() - 1, 0), min(64, flat.numel()), dtype=torch.float64).round().long()
        digest.update(f"{name}{tuple(tensor.shape)}".encode())
        digest.update(flat[picks.to(flat.device)].float().cpu().numpy().tobytes())
    return digest.hexdigest()


def base_norm(model: Any) -> float:
    """The Frobenius norm of all weights that have adapters, which are frozen."""
    with torch.no_grad():
        weights = (layer.get_base_layer().weight for layer in adapted_layers(model).values())
        return math.sqrt(sum(float(whole(weight).float().square().sum()) for weight in weights))


def change_norm(model: Any) -> float:
    """The Frobenius norm of the adapters' change of those weights, ``scale B A`` over all layers.

    The product is not formed: ``|B A|^2`` is the sum of ``(B^T B) * (A A^T)``, two matrices of rank x rank.
    """
    change = 0.0
    with torch.no_grad():
        for layer in adapted_layers(model).values():
            first, second = whole(layer.lora_A[_NAME].weight).float(), whole(layer.lora_B[_NAME].weight).float()
            inner = ((second.T @ second) * (first @ first.T)).sum()
            change += float(inner.clamp(min=0.0)) * layer.scaling[_NAME] ** 2
    return math.sqrt(change)


# Files.


def save_adapter(
    model: Any, folder: str | os.PathLike[str], *, base: Mapping[str, str], state: Mapping[str, Tensor] | None = None
) -> None:
    """Write the adapters of a model as peft's files.

    Args:
        model: With adapters.
        folder: Made when missing.
        base: ``model`` (where the base model is) and ``fingerprint`` (`state_digest` of its tensors as they are loaded,
            see `base_identity`).
        state: The model's tensors, where they are not in this process's modules; None takes those.

    Raises:
        AdapterError: The model has no adapters.
    """
    from safetensors.torch import save_file

    layers = adapted_layers(model)
    if not layers:
        raise AdapterError("save_adapter: expected a model with adapters, got one without")
    path = Path(folder)
    path.mkdir(parents=True, exist_ok=True)
    tensors = adapter_state(model.state_dict() if state is None else state)
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, path / WEIGHTS)
    layer = next(iter(layers.values()))
    config = require_peft().LoraConfig(
        r=layer.r[_NAME],
        lora_alpha=layer.lora_alpha[_NAME],
        target_modules=_target_names(model, list(layers)),
        fan_in_fan_out=layer.fan_in_fan_out,
        task_type="CAUSAL_LM",
        base_model_name_or_path=base["model"],
        inference_mode=True,
    )
    # Sorted and with ends of lines of our own: the same adapters are the same bytes.
    content = {name: sorted(value) if isinstance(value, set) else value for name, value in config.to_dict().items()}
    (path / CONFIG).write_text(json.dumps(content, indent=1, sort_keys=True, default=str) + "\n", encoding="utf-8")
    (path / BASE).write_text(json.dumps(dict(base), indent=1, sort_keys=True) + "\n", encoding="utf-8")


def _target_names(model: Any, layers: Sequence[str]) -> list[str]:
    """The shortest names that mean exactly these layers: their last parts where no other layer has one of them."""
    ends = {name.rsplit(".", 1)[-1] for name in layers}
    meant = [name for name, module in model.named_modules() if name.rsplit(".", 1)[-1] in ends]
    return sorted(ends) if set(meant) == set(layers) else sorted(layers)


def save_merged(model: Any, folder: str | os.PathLike[str], *, state: Mapping[str, Tensor] | None = None) -> None:
    """Write the model with its adapters merged in, as transformers' files; the model stays as it is.

    Args:
        model: With or without adapters.
        folder: Made when missing.
        state: The model's tensors, where they are not in this process's modules; None takes those.
    """
    model.save_pretrained(folder, state_dict=merged_state(model, state))


def base_identity(model: Any, name: str) -> dict[str, str]:
    """What `save_adapter` is told of a base model: where it is, and its fingerprint as it is now."""
    return {"model": name, "fingerprint": state_digest(base_state(model.state_dict()))}


def load_into(model: Any, folder: str | os.PathLike[str]) -> None:
    """Load saved adapters into a model that has adapters of the same rank on the same layers.

    Raises:
        AdapterError: They are of another model, another rank, or other layers.
    """
    tensors = read_tensors(folder)
    own = adapter_state(model.state_dict())
    require_alike(own, tensors, str(folder))
    for name, tensor in own.items():
        copy_into(tensor, tensors[name])


def read_tensors(folder: str | os.PathLike[str]) -> dict[str, Tensor]:
    """The tensors of an adapter folder, by peft's names.

    Raises:
        AdapterError: There is no such file.
    """
    from safetensors.torch import load_file

    path = Path(folder) / WEIGHTS
    if not path.is_file():
        raise AdapterError(f"{folder}: expected adapters in {WEIGHTS}, which is not there")
    return dict(load_file(path))


def require_alike(own: Mapping[str, Tensor], given: Mapping[str, Tensor], where: str) -> None:
    """Refuse adapters that do not fit those of a model, tensor by tensor.

    Raises:
        AdapterError: The message names the first tensor that is missing, left over, or of another shape.
    """
    for name in sorted(own.keys() | given.keys()):
        shapes = [tuple(side[name].shape) if name in side else "none" for side in (own, given)]
        if shapes[0] != shapes[1]:
            raise AdapterError(
                f"{where}: these adapters are of another model, rank or set of layers: {name.removeprefix(_PREFIX)} is "
                f"expected with shape {shapes[0]}, got {shapes[1]}"
            )


def same_base(model: Any, folder: str | os.PathLike[str], *, unknown: bool = False) -> bool:
    """Whether saved adapters belong to the weights of this model, in the precision that these were loaded in.

    Args:
        model: With or without adapters.
        folder: Of the adapters.
        unknown: The answer where the folder does not say (peft itself does not).
    """
    path = Path(folder) / BASE
    if not path.is_file():
        return unknown
    fingerprint = load_json(path)["fingerprint"]
    return bool(fingerprint == state_digest(base_state(model.state_dict())))


def attach_saved(model: Any, folder: str | os.PathLike[str]) -> None:
    """Put saved adapters on their base model, in place.

    Raises:
        AdapterError: The model is not the one that they were trained on, or the files are not those of plain LoRA.
    """
    path = Path(folder)
    if not same_base(model, path, unknown=True):
        base = load_json(path / BASE)
        raise AdapterError(
            f"{path}: these adapters were trained on another model: the weights of {base['model']} are not those that "
            "they belong to"
        )
    config = load_json(path / CONFIG)
    plain = {"peft_type": "LORA", "use_dora": False, "use_rslora": False, "bias": "none", "rank_pattern": {}}
    plain |= {"alpha_pattern": {}, "modules_to_save": None}
    for key, value in plain.items():
        if config.get(key, value) != value:
            raise AdapterError(f"{path / CONFIG}: expected plain LoRA ({key}={value}), got {key}={config[key]}")
    try:
        _inject(model, {key: config[key] for key in ("r", "lora_alpha", "target_modules")})
    except ValueError as error:
        raise AdapterError(f"{path}: these adapters are of another model: {error}") from None
    load_into(model, path)


def merge_in_place(model: Any) -> Any:
    """The same model as one without adapters, these merged in; `model` itself is used up.

    A new shell of the model's class takes over its tensors, so that nothing is held twice.
    """
    merged = merged_state(model)
    with torch.device("meta"):
        shell = type(model)(model.config)
    shell.load_state_dict(merged, strict=False, assign=True)
    shell.tie_weights()
    if left := [name for name, tensor in shell.named_parameters() if tensor.is_meta]:
        raise AdapterError(f"merge_in_place: {type(model).__name__} has tensors that were not found: {left[:3]}")
    # Buffers that are not saved (rotary frequencies) are computed, not loaded.
    own = dict(model.named_buffers())
    for name, buffer in list(shell.named_buffers()):
        if buffer.is_meta:
            holder, _, key = name.rpartition(".")
            shell.get_submodule(holder).register_buffer(key, own[name], persistent=False)
    shell.generation_config = model.generation_config
    return shell.train(model.training)
