"""Keys and values of many slots in place: a row per slot, a token in the column of its position, nothing moved.

A row is written from its left end without holes. So whole prompts need no mask, a row can be cut back to any length by
saying so, and a prompt's beginning can stay, or be copied from another row. `SlotCache` (`kv_cache`) is the other
layout: columns shared by all rows, with holes.

A forward pass gets a `RowPass`: where its new tokens' keys and values go, and what they may look at.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn import functional as F
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer


class RowCache:
    """Buffers ``[rows, columns, kv_heads, head_dim]`` per layer, for keys and for values.

    The last column of every row belongs to nobody: what padding writes goes there.

    Args:
        device: Where the buffers live.
        block: Columns are allocated and read in multiples of this.
    """

    def __init__(self, device: torch.device, *, block: int = 64) -> None:
        self.device = device
        self.block = block
        self.rows = 0
        self.columns = 0
        self.generation = 0  # counts allocations: a captured graph holds for one
        self.keys: list[torch.Tensor] = []
        self.values: list[torch.Tensor] = []

    def reach(self, tokens: int) -> int:
        """Columns to read for rows of at most `tokens` tokens."""
        return min(-(-max(tokens, 1) // self.block) * self.block, self.columns)

    def columns_for(self, tokens: int) -> int:
        """Columns that rows of so many tokens take."""
        return -(-(tokens + 1) // self.block) * self.block

    def clear(self) -> None:
        """Give all memory back."""
        self.rows = self.columns = 0
        self.keys, self.values = [], []
        self.generation += 1

    def ensure(self, rows: int, tokens: int) -> None:
        """Have at least so many rows of so many tokens; what is held stays.

        Growth copies what is held: rows are therefore asked for all at once where possible.
        """
        columns = self.columns_for(tokens)
        if rows <= self.rows and columns <= self.columns:
            return
        held = (self.rows, self.columns)
        self.rows, self.columns = max(rows, self.rows), max(columns, self.columns)
        self.generation += 1
        for store in (self.keys, self.values):
            for index, old in enumerate(store):
                # Uninitialised memory would be read under a mask, where NaN times 0 is NaN.
                store[index] = old.new_zeros(self.rows, self.columns, *old.shape[2:])
                store[index][: held[0], : held[1]] = old

    def put(self, layer: int, places: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> None:
        """Write keys and values ``[batch, width, kv_heads, head_dim]`` to `places`, ``row x columns + column``."""
        if layer == len(self.keys):
            for store, states in ((self.keys, keys), (self.values, values)):
                store.append(states.new_zeros(self.rows, self.columns, *states.shape[2:]))
        for buffer, states in ((self.keys[layer], keys), (self.values[layer], values)):
            size = states.shape[2] * states.shape[3]
            buffer.view(-1, size).index_copy_(0, places, states.reshape(-1, size))

    def copy_rows(self, sources: Sequence[int], targets: Sequence[int], tokens: int) -> None:
        """Copy the first `tokens` columns of rows to other rows; rows may change places."""
        source = torch.tensor(list(sources), device=self.device)
        target = torch.tensor(list(targets), device=self.device)
        for buffer in (*self.keys, *self.values):
            buffer[:, :tokens].index_copy_(0, target, buffer[:, :tokens].index_select(0, source))


class RowPass:
    """One forward pass over new tokens of some rows: where they go, and what they look at.

    Args:
        cache: The rows' keys and values.
        places: ``[batch x width]``: where the new tokens go, in `RowCache.put`'s numbers.
        rows: The rows of the batch: the first so many, or an index ``[batch]``; None where the new tokens look at
            nothing but each other.
        reach: Columns that are looked at.
        seen: ``[batch, width, reach]``: columns that each new token may look at; None with `rows` None: each sees those
            before it and itself.
        last: ``[batch]``: the column of each row's last new token, for rows padded on the right; None for the last one.
    """

    def __init__(
        self,
        cache: RowCache,
        places: torch.Tensor,
        *,
        rows: int | torch.Tensor | None = None,
        reach: int = 0,
        seen: torch.Tensor | None = None,
        last: torch.Tensor | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.cache = cache
        self.places = places
        self.rows = rows
        self.reach = reach
        self.last = last
        self.bias: torch.Tensor | None = None  # added to scores: [batch, 1, width, reach]
        if seen is not None:
            self.bias = torch.zeros(seen.shape, dtype=dtype, device=seen.device)
            self.bias = self.bias.masked_fill_(~seen, torch.finfo(dtype).min)[:, None]

    def write(self, layer: int, keys: torch.Tensor, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Write the new ``[batch, width, kv_heads, head_dim]``; returns what is looked at, in the same layout."""
        self.cache.put(layer, self.places, keys, values)
        if self.rows is None:
            return keys, values
        held = self.cache.keys[layer][:, : self.reach], self.cache.values[layer][:, : self.reach]
        if isinstance(self.rows, int):
            return held[0][: self.rows], held[1][: self.rows]
        return held[0].index_select(0, self.rows), held[1].index_select(0, self.rows)

    def at_last(self, states: torch.Tensor) -> torch.Tensor:
        """Each row's last new token of ``[batch, width, ...]``: ``[batch, 1, ...]``."""
        if self.last is None:
            return states[:, -1:]
        return states[torch.arange(len(states), device=states.device), self.last][:, None]

    def attend(
        self, layer: int, query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, *, last_only: bool
    ) -> torch.Tensor:
        """Attention of the new tokens, their keys and values written on the way.

        Args:
            layer: Its number.
            query: ``[batch, width, heads, head_dim]``.
            keys: ``[batch, width, kv_heads, head_dim]``.
            values: Like `keys`.
            last_only: Attend from each row's last token only.

        Returns:
            ``[batch, width or 1, heads x head_dim]``.
        """
        keys, values = (states.transpose(1, 2) for states in self.write(layer, keys, values))
        batch, width, heads, size = query.shape
        shared = heads // keys.shape[1]
        if self.bias is None and not last_only:
            # No mask: the kernels that are made for causal attention apply, and share keys among a group's queries.
            mixed = F.scaled_dot_product_attention(
                query.transpose(1, 2), keys, values, is_causal=True, enable_gqa=shared > 1
            )
            return mixed.transpose(1, 2).flatten(2)
        bias = self._bias_of_last(width, query.dtype) if last_only else self.bias
        if last_only:
            query = self.at_last(query)
        # Queries that share keys stand in the place of further query positions, so that no key is copied.
        width = query.shape[1]
        query = (
            query.view(batch, width, -1, shared, size).permute(0, 2, 3, 1, 4).reshape(batch, -1, shared * width, size)
        )
        assert bias is not None
        if width > 1 and shared > 1:
            bias = bias[:, :, None].expand(-1, -1, shared, -1, -1).flatten(2, 3)
        mixed = F.scaled_dot_product_attention(query, keys, values, attn_mask=bias)
        mixed = mixed.view(batch, -1, shared, width, size).permute(0, 3, 1, 2, 4)
        return mixed.reshape(batch, width, heads * size)

    def _bias_of_last(self, width: int, dtype: torch.dtype) -> torch.Tensor:
        """What each row's last new token may look at, ``[batch, 1, 1, columns]``."""
        if self.bias is not None:
            return self.at_last(self.bias.transpose(1, 2)).transpose(1, 2)
        assert self.last is not None
        columns = torch.arange(width, device=self.last.device)
        bias = torch.zeros(len(self.last), width, dtype=dtype, device=self.last.device)
        return bias.masked_fill_(columns > self.last[:, None], torch.finfo(dtype).min)[:, None, None]


class RowPast(DynamicCache):
    """A `RowPass` in the shape that a model of transformers writes to; its masks are made by us, in four dimensions."""

    def __init__(self, row_pass: RowPass, layers: int) -> None:
        super().__init__()
        self.layers = [_RowLayer(row_pass, layer) for layer in range(layers)]
        self.layer_class_to_replicate = None


class _RowLayer(DynamicLayer):
    def __init__(self, row_pass: RowPass, layer: int) -> None:
        super().__init__()
        self.row_pass = row_pass
        self.layer = layer

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write ``[batch, kv_heads, width, head_dim]``; returns all that the row's tokens look at."""
        keys, values = self.row_pass.write(self.layer, key_states.transpose(1, 2), value_states.transpose(1, 2))
        return keys.transpose(1, 2), values.transpose(1, 2)

    def get_seq_length(self) -> int:
        """Positions are always given, so that nobody counts on this."""
        return self.row_pass.reach
