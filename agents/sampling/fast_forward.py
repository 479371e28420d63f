"""A lean forward pass for small Qwen2 and Qwen3 models, for generation only.

With a model of 0.2 million parameters, most of the time of a decoding step is overhead of calls. This pass makes fewer
calls: the projections of a layer are joined, and the last layer computes only what the last token needs. It reads the
model's own parameters again for every turn and gives the same log-probs as the model's `forward` (a test bounds the
difference by 1e-5). `FastForward.supports` names the models that this holds for; all others take the general path.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional as F

from .kv_cache import SlotCache

_LARGEST = 100_000_000  # parameters; beyond, calls cost little and joined copies of the parameters much


@dataclass(slots=True)
class _Layer:
    """The parameters of one layer; matrices are ``[out, in]``."""

    norm_in: torch.Tensor
    qkv: torch.Tensor  # queries, keys and values joined: [(heads + 2 kv_heads) head_dim, hidden]
    qkv_bias: torch.Tensor | None
    qk_norm: torch.Tensor | None  # [heads + kv_heads, head_dim]
    out: torch.Tensor
    norm_mlp: torch.Tensor
    gate_up: torch.Tensor  # joined: [2 intermediate, hidden]
    down: torch.Tensor


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
        self.layers: list[_Layer] = []
        self._cos = self._sin = torch.empty(0)
        self.refresh()

    @staticmethod
    def supports(model: Any) -> bool:
        """Whether this pass is tested to give what the model itself gives."""
        if type(model).__name__ not in ("Qwen2ForCausalLM", "Qwen3ForCausalLM"):
            return False
        config = model.config
        rope = getattr(config, "rope_parameters", None) or {}
        return (
            type(model).__module__.startswith("transformers.")
            and rope.get("rope_type", "default") == "default"
            and set(getattr(config, "layer_types", None) or ["full_attention"]) == {"full_attention"}
            and config.hidden_act == "silu"
            and all(parameter.dtype == torch.float32 for parameter in model.parameters())
            and len({parameter.device for parameter in model.parameters()}) == 1
            and sum(parameter.numel() for parameter in model.parameters()) <= _LARGEST
            and all(
                type(module) in (torch.nn.Linear, torch.nn.Embedding)
                for name, module in model.named_modules()
                if name.endswith(("_proj", "lm_head", "embed_tokens"))
            )
        )

    def refresh(self) -> None:
        """Read the parameters again: they change with every optimiser step."""
        self.layers = []
        for block in self.model.model.layers:
            attention, mlp = block.self_attn, block.mlp
            projections = (attention.q_proj, attention.k_proj, attention.v_proj)
            biased = attention.q_proj.bias is not None
            normed = hasattr(attention, "q_norm")
            self.layers.append(
                _Layer(
                    norm_in=block.input_layernorm.weight,
                    qkv=torch.cat([p.weight for p in projections]),
                    qkv_bias=torch.cat([p.bias for p in projections]) if biased else None,
                    qk_norm=torch.cat(
                        [
                            attention.q_norm.weight.expand(self.heads, -1),
                            attention.k_norm.weight.expand(self.kv_heads, -1),
                        ]
                    )
                    if normed
                    else None,
                    out=attention.o_proj.weight,
                    norm_mlp=block.post_attention_layernorm.weight,
                    gate_up=torch.cat([mlp.gate_proj.weight, mlp.up_proj.weight]),
                    down=mlp.down_proj.weight,
                )
            )

    def __call__(self, ids: torch.Tensor, positions: torch.Tensor, cache: SlotCache) -> torch.Tensor:
        """Feed tokens whose columns are already opened in `cache`.

        Args:
            ids: ``[rows, width]`` token ids.
            positions: ``[rows, width]`` position ids, from `SlotCache.open_columns`.
            cache: The rows' keys and values; those of the new tokens are written to it.

        Returns:
            The logits ``[rows, vocabulary]`` of the last column.
        """
        rows, width = ids.shape
        bias = self._attention_bias(cache.mask, width)
        cos, sin = self._rotation(positions, cache.used)
        both = self.heads + self.kv_heads
        x = F.embedding(ids, self.model.model.embed_tokens.weight)
        for index, layer in enumerate(self.layers):
            # Attention. Queries and keys are normalised and rotated together: [rows, width, both, head_dim].
            h = F.rms_norm(x, (x.shape[-1],), layer.norm_in, self.eps)
            qkv = F.linear(h, layer.qkv, layer.qkv_bias).view(rows, width, both + self.kv_heads, self.head_dim)
            qk = qkv[:, :, :both]
            if layer.qk_norm is not None:
                qk = F.rms_norm(qk, (self.head_dim,), None, self.eps) * layer.qk_norm
            qk = torch.addcmul(qk * cos, qk.roll(self.head_dim // 2, -1), sin)
            keys, values = cache.layer(index).update(
                qk[:, :, self.heads :].transpose(1, 2), qkv[:, :, both:].transpose(1, 2)
            )
            query = qk[:, :, : self.heads]
            if index == len(self.layers) - 1 and width > 1:
                # Only the last column's logits are asked for, and no later layer reads the others.
                query, bias, x = query[:, -1:], bias[:, :, -1:], x[:, -1:]
            mixed = F.scaled_dot_product_attention(
                query.transpose(1, 2), keys, values, attn_mask=bias, enable_gqa=self.heads != self.kv_heads
            )
            x = x + F.linear(mixed.transpose(1, 2).flatten(2), layer.out)
            # The gated MLP.
            h = F.rms_norm(x, (x.shape[-1],), layer.norm_mlp, self.eps)
            gate, up = F.linear(h, layer.gate_up).split(self.intermediate, dim=-1)
            x = x + F.linear(F.silu(gate) * up, layer.down)
        last = F.rms_norm(x[:, -1], (x.shape[-1],), self.model.model.norm.weight, self.eps)
        return F.linear(last, self.model.lm_head.weight)

    def _attention_bias(self, mask: torch.Tensor, width: int) -> torch.Tensor:
        """The mask that is added to attention scores, ``[rows, 1, width (or 1), columns]``.

        0 where a query may look and a very low finite number elsewhere: minus infinity would give NaN for a row
        without any token.
        """
        seen = mask[:, None, None, :]
        if width > 1:
            columns = torch.arange(mask.shape[1], device=mask.device)
            causal = columns[None, :] <= columns[-width:, None]
            seen = seen & causal
        bias = torch.zeros(seen.shape, device=mask.device)
        return bias.masked_fill_(~seen, torch.finfo(torch.float32).min)

    def _rotation(self, positions: torch.Tensor, used: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Cosines, and sines signed for ``roll``: ``rotate_half(x) * sin == roll(x, d/2) * signed``."""
        if self._cos.shape[0] < used or self._cos.device != positions.device:
            everything = torch.arange(max(256, 2 * used), device=positions.device)[None]
            like = self.model.model.embed_tokens.weight[:1, :1].detach()
            cos, sin = self.model.model.rotary_emb(like, everything)
            half = self.head_dim // 2
            self._cos = cos[0]
            self._sin = torch.cat([-sin[0, :, :half], sin[0, :, half:]], dim=-1)
        return self._cos[positions][:, :, None], self._sin[positions][:, :, None]
