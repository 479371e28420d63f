"""Several processes that hold a part of the parameters each (FSDP2, torch's `fully_shard`).

Every process keeps ``1 / world_size`` of parameters, gradients and optimiser state, in float32. For a pass the
parameters of one layer at a time are gathered in the precision that computes; gradients are added up in float32 and cut
again. Each pass is therefore made by all processes together: one that has fewer micro-batches than another makes idle
passes (`PolicyModel.in_step`).

*Sampling* decodes token by token, at different lengths in every process, so it can gather nothing on the way. It has a
whole copy of the parameters in the precision that computes: 2 bytes per parameter and process in bfloat16, filled once
per update by one all-gather of all parameters. With a server that samples (vLLM) it is not needed.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from ..forward.root import PolicyModel
from .several import SeveralProcesses
from .single import disable_dropout, packs_rows, recompute_activations
from .whole_tensors import copy_into, whole


class ShardedPolicy(PolicyModel):
    """A root module whose parameters are cut over the processes."""

    computes_in: torch.dtype

    def head_as_now(self, *, stays: bool) -> Any:
        """A whole copy of the LM head as it is now, in every process."""
        head = self.head
        bias = getattr(head, "bias", None)
        copied = nn.Linear(head.in_features, head.out_features, bias=bias is not None, device="meta")
        copied.weight = nn.Parameter(whole(head.weight.detach()).to(self.computes_in, copy=True), requires_grad=False)
        if bias is not None:
            copied.bias = nn.Parameter(whole(bias.detach()).to(self.computes_in, copy=True), requires_grad=False)
        return copied


@dataclass(frozen=True, slots=True)
class FullySharded(SeveralProcesses):
    """An engine of several processes that hold a part of the parameters each.

    Attributes:
        samplers: The whole copy for sampling, by the identity of the sharded root.
    """

    samplers: dict[int, Any] = field(default_factory=dict)

    def prepare(self, model: Any) -> PolicyModel:
        """Cut a model over the processes, layer by layer, so that no device ever holds all of it in float32.

        The parameters begin as they are in the precision that computes, as those of other engines do.

        Raises:
            ValueError: ``share_prompts`` is on, or ``packing`` cannot be.
        """
        if self.local.share_prompts:
            raise ValueError(
                "share_prompts: expected the whole model in every process, got sharding fsdp, which gathers parameters "
                "anew for each reading of a prompt: set sharding to ddp, or leave share_prompts out"
            )
        packs = packs_rows(model, self.local.packing)
        disable_dropout(model)
        _round(model, self.dtype)
        sampler = copy.deepcopy(model).to(self.device).requires_grad_(False).eval()
        _round(model, torch.float32)
        if self.local.gradient_checkpointing:
            recompute_activations(model)
        root = self._cut(model, master=torch.float32, packs=packs)
        self.samplers[id(root)] = sampler
        return root

    def reader(self, model: Any) -> PolicyModel:
        """Cut over the processes in the precision that computes."""
        disable_dropout(model)
        _round(model, self.dtype)
        packs = packs_rows(model, self.local.packing)
        return self._cut(model.requires_grad_(False), master=self.dtype, packs=packs)

    def frozen(self, root: PolicyModel) -> PolicyModel:
        """The parameters as they are now, cut over the processes in the precision that computes."""
        return self.reader(copy.deepcopy(self.sampling_model(root)))

    @torch.no_grad()
    def sampling_model(self, root: PolicyModel) -> Any:
        """The whole copy for sampling, with the parameters as they are now. All processes call this."""
        sampler = self.samplers[id(root)]
        copies = dict(sampler.named_parameters())
        for name, parameter in root.language_model.named_parameters():
            if parameter.requires_grad:  # with adapters, all others are what they were
                copy_into(copies[name], whole(parameter.detach()))
        return sampler

    def sum_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Nothing: every backward pass has added its gradients up already."""

    def _cut(self, model: Any, *, master: torch.dtype, packs: bool) -> PolicyModel:
        """A root module around a model whose parameters, in the precision `master`, are cut over all processes."""
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard

        mesh = init_device_mesh(self.device.type, (self.world_size,))
        computes = None if self.dtype == master else self.dtype
        policy = MixedPrecisionPolicy(param_dtype=computes, reduce_dtype=torch.float32)
        root = ShardedPolicy(model, packs_rows=packs)
        root.computes_in = self.dtype
        for layer in _layers(model):
            fully_shard(layer, mesh=mesh, mp_policy=policy)
        # Cut again after each pass, as layers are: parameters may be exchanged between passes (`held_weights`).
        fully_shard(root, mesh=mesh, mp_policy=policy, reshard_after_forward=True)
        for module in root.modules():
            if isinstance(module, FSDPModule):
                # Sums, not means: a loss is divided by the tokens of all processes before the backward pass.
                module.set_gradient_divide_factor(1.0)
                module.set_force_sum_reduction_for_comms(True)
        root.passes_of_all = lambda passes: int(self.max_over_ranks(passes))
        return root.eval()


def _layers(model: Any) -> list[nn.Module]:
    """The layers whose parameters are gathered together, as the model's class names them."""
    names = set(getattr(model, "_no_split_modules", None) or ())
    return [module for module in model.modules() if type(module).__name__ in names]


@torch.no_grad()
def _round(model: Any, dtype: torch.dtype) -> None:
    """Bring parameters, not buffers such as rotary frequencies, to a precision."""
    for parameter in model.parameters():
        parameter.data = parameter.data.to(dtype)


def resident_bytes(model: Any) -> float:
    """Bytes that training holds per process without sharding: 16-bit weights, float32 masters, two moments, gradients.

    At 2 + 4 + 8 + 4 bytes per parameter, activations and the reference policy not counted.
    """
    return 18.0 * math.fsum(parameter.numel() for parameter in model.parameters())
