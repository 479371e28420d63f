"""A lean forward pass for Llama, Qwen2 and Qwen3 models, for generation only.

With a model of 0.2 million parameters, most of the time of a decoding step is overhead of calls. This pass makes fewer
calls: the projections of a layer are joined, and the last layer computes only what the last token needs. Large models
keep their projections, adapters included, since joined copies would cost as much memory as the model. It reads the
model's own parameters again for every turn and gives the same log-probs as the model's `forward` (a test bounds the
difference by 1e-5 in fp32). `FastForward.supports` names the models that this holds for; all others take the general
path.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch.nn import functional as F

_LARGEST_JOINED = 100_000_000  # parameters; beyond, calls cost little and joined copies of the parameters much
_ARCHITECTURES = ("LlamaForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM")


class Attending(Protocol):
    """Where keys and values go and what tokens look at: `kv_cache.BlockPass`, `row_cache.RowPass`."""

    def attend(
        self, layer: int, query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, *, last_only: bool
    ) -> torch.Tensor:
        """``[batch, width, heads, head_dim]`` each; returns ``[batch, width, or 1 if last_only, hidden]``."""
        ...

    def at_last(self, states: torch.Tensor) -> torch.Tensor:
        """Each row's last new token of ``[batch, width, ...]``: ``[batch, 1, ...]``."""
        ...


@dataclass(slots=True)
class _Layer:
    """The parameters of one layer; joined matrices are ``[out, in]``, None where the block's own are called."""

    block: Any
    norm_in: torch.Tensor
    qkv: torch.Tensor | None  # queries, keys and values joined: [(heads + 2 kv_heads) head_dim, hidden]
    qkv_bias: torch.Tensor | None
    qk_norm: torch.Tensor | None  # [heads + kv_heads, head_dim]
    norm_mlp: torch.Tensor
    gate_up: torch.Tensor | None  # joined: [2 intermediate, hidden]


class FastForward:
    """The lean pass over one model's present parameters.

    Args:
        model: A model for which `supports` is True.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        config = model.config
        self.heads: int = config.num_attention_heads
        self.kv_heads: int = config.num_key_value_heads
        self.head_dim: int = getattr(config, "head_dim", None) or config.hidden_size // self.heads
        self.eps: float = config.rms_norm_eps
        self.intermediate: int = config.intermediate_size
        self.joined = FastForward.joins(model)
        self.layers: list[_Layer] = []
        self.generation = 0  # counts new tables and copies of parameters: a captured graph holds for one
        self._cos = self._sin = torch.empty(0)
        self.refresh()

    @staticmethod
    def supports(model: Any) -> bool:
        """Whether this pass is tested to give what the model itself gives."""
        if type(model).__name__ not in _ARCHITECTURES:
            return False
        config = model.config
        rope = getattr(config, "rope_parameters", None) or {}
        parameters = list(model.parameters())
        return (
            type(model).__module__.startswith("transformers.")
            and rope.get("rope_type", "default") == "default"
            and set(getattr(config, "layer_types", None) or ["full_attention"]) == {"full_attention"}
            and config.hidden_act == "silu"
            and not getattr(config, "mlp_bias", False)
            and len({parameter.dtype for parameter in parameters}) == 1
            and len({parameter.device for parameter in parameters}) == 1
            # Not a parameter that is spread over processes, whose modules gather it in hooks of their own.
            and all(type(parameter.data) is torch.Tensor for parameter in parameters)
            and all(
                _is_plain(module) or _is_adapted(module)
                for name, module in model.named_modules()
                if name.endswith(("_proj", "lm_head", "embed_tokens"))
            )
        )

    @staticmethod
    def joins(model: Any) -> bool:
        """Whether projections are joined: in small models in fp32 without adapters."""
        parameters = list(model.parameters())
        return (
            all(parameter.dtype == torch.float32 for parameter in parameters)
            and sum(parameter.numel() for parameter in parameters) <= _LARGEST_JOINED
            and all(
                _is_plain(module)
                for name, module in model.named_modules()
                if name.endswith(("_proj", "lm_head", "embed_tokens"))
            )
        )

    @torch.inference_mode()
    def refresh(self) -> None:
        """Read the parameters again: they change with every optimiser step."""
        # Adapters may have been put in since: joined parameters would leave them out.
        self.joined = self.joined and all(map(_is_plain, self._projections()))
        before, self.layers = self.layers, []
        for index, block in enumerate(self.model.model.layers):
            attention, mlp = block.self_attn, block.mlp
            projections = (attention.q_proj, attention.k_proj, attention.v_proj)
            old = before[index] if before else None
            qkv = qkv_bias = gate_up = None
            if self.joined:
                qkv = _joined([p.weight for p in projections], None if old is None else old.qkv)
                gate_up = _joined([mlp.gate_proj.weight, mlp.up_proj.weight], None if old is None else old.gate_up)
                if attention.q_proj.bias is not None:
                    qkv_bias = _joined([p.bias for p in projections], None if old is None else old.qkv_bias)
            normed = hasattr(attention, "q_norm")
            self.layers.append(
                _Layer(
                    block=block,
                    norm_in=block.input_layernorm.weight,
                    qkv=qkv,
                    qkv_bias=qkv_bias,
                    qk_norm=_joined(
                        [
                            attention.q_norm.weight.expand(self.heads, -1),
                            attention.k_norm.weight.expand(self.kv_heads, -1),
                        ],
                        None if old is None else old.qk_norm,
                    )
                    if normed
                    else None,
                    norm_mlp=block.post_attention_layernorm.weight,
                    gate_up=gate_up,
                )
            )
        if before and any(old.qkv is not new.qkv for old, new in zip(before, self.layers, strict=True)):
            self.generation += 1

    def _projections(self) -> Iterator[Any]:
        yield self.model.lm_head
        for block in self.model.model.layers:
            attention, mlp = block.self_attn, block.mlp
            yield from (attention.q_proj, attention.k_proj, attention.v_proj, attention.o_proj)
            yield from (mlp.gate_proj, mlp.up_proj, mlp.down_proj)

    def __call__(
        self, ids: torch.Tensor, positions: torch.Tensor, attention: Attending, longest: int, *, every: bool = False
    ) -> torch.Tensor:
        """Feed tokens; their keys and values are written where `attention` says.

        Args:
            ids: ``[rows, width]`` token ids.
            positions: ``[rows, width]`` position ids.
            attention: What each token looks at.
            longest: All positions are below this.
            every: Whether all tokens' logits are wanted, and not each row's last token's alone.

        Returns:
            The logits ``[rows, vocabulary]``; with `every` ``[rows, width, vocabulary]``.
        """
        rows, width = ids.shape
        cos, sin = self._rotation(positions, longest)
        both = self.heads + self.kv_heads
        x = F.embedding(ids, self.model.model.embed_tokens.weight)
        for index, layer in enumerate(self.layers):
            # Attention. Queries and keys are normalised and rotated together: [rows, width, both, head_dim].
            h = F.rms_norm(x, (x.shape[-1],), layer.norm_in, self.eps)
            block = layer.block.self_attn
            if layer.qkv is not None:
                qkv = F.linear(h, layer.qkv, layer.qkv_bias)
            else:
                qkv = torch.cat([block.q_proj(h), block.k_proj(h), block.v_proj(h)], dim=-1)
            qkv = qkv.view(rows, width, both + self.kv_heads, self.head_dim)
            qk = qkv[:, :, :both]
            if layer.qk_norm is not None:
                qk = F.rms_norm(qk, (self.head_dim,), None, self.eps) * layer.qk_norm
            qk = torch.addcmul(qk * cos, qk.roll(self.head_dim // 2, -1), sin)
            # Only the last column's logits are asked for, and no layer after the last reads the others.
            last_only = index == len(self.layers) - 1 and width > 1 and not every
            mixed = attention.attend(
                index, qk[:, :, : self.heads], qk[:, :, self.heads :], qkv[:, :, both:], last_only=last_only
            )
            if last_only:
                x = attention.at_last(x)
            x = x + (F.linear(mixed, block.o_proj.weight) if self.joined else block.o_proj(mixed))
            # The gated MLP.
            h = F.rms_norm(x, (x.shape[-1],), layer.norm_mlp, self.eps)
            mlp = layer.block.mlp
            if layer.gate_up is not None:
                gate, up = F.linear(h, layer.gate_up).split(self.intermediate, dim=-1)
                x = x + F.linear(F.silu(gate) * up, mlp.down_proj.weight)
            else:
                x = x + mlp.down_proj(F.silu(mlp.gate_proj(h)) * mlp.up_proj(h))
        read = x if every else x[:, -1]
        last = F.rms_norm(read, (x.shape[-1],), self.model.model.norm.weight, self.eps)
        logits: torch.Tensor = F.linear(last, self.model.lm_head.weight) if self.joined else self.model.lm_head(last)
        return logits

    def prepare(self, longest: int) -> None:
        """Make the tables of rotations for positions below `longest`."""
        weight = self.model.model.embed_tokens.weight
        if self._cos.shape[0] < longest or self._cos.device != weight.device:
            everything = torch.arange(max(256, 2 * longest), device=weight.device)[None]
            cos, sin = self.model.model.rotary_emb(weight[:1, :1].detach(), everything)
            half = self.head_dim // 2
            self._cos = cos[0]
            self._sin = torch.cat([-sin[0, :, :half], sin[0, :, half:]], dim=-1)
            self.generation += 1

    def _rotation(self, positions: torch.Tensor, longest: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Cosines, and sines signed for ``roll``: ``rotate_half(x) * sin == roll(x, d/2) * signed``."""
        self.prepare(longest)
        return self._cos[positions][:, :, None], self._sin[positions][:, :, None]


def _joined(parts: list[torch.Tensor], into: torch.Tensor | None) -> torch.Tensor:
    """The parts below one another, in the memory of `into` where there is one."""
    return torch.cat(parts) if into is None else torch.cat(parts, out=into)


def _is_plain(module: Any) -> bool:
    return type(module) in (torch.nn.Linear, torch.nn.Embedding)


def _is_adapted(module: Any) -> bool:
    """Whether a projection is a linear one with adapters, which its own call applies."""
    kind = type(module)
    return kind.__module__.startswith("peft.tuners.lora") and isinstance(
        getattr(module, "base_layer", None), torch.nn.Linear
    )


def adapters_of(model: Any) -> Mapping[str, object]:
    """Which adapters of a model are in use: what a captured graph of it depends on beside its tensors."""
    for module in model.modules():
        if _is_adapted(module):
            return {
                "active": tuple(module.active_adapters),
                "disabled": bool(module.disable_adapters),
                "merged": tuple(getattr(module, "merged_adapters", ())),
            }
    return {}
