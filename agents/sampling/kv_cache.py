"""Keys and values of many slots in one padded cache: rows are slots, columns are written left to right, holes allowed.

A row's tokens stand in the columns where `SlotCache.mask` is True; position ids count those, so a hole costs memory and
nothing else. Rows can be dropped, repeated, and merged with those of other caches; holes can be closed up.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn import functional as F
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

_GROWTH = 1.5


class GrowingLayer(DynamicLayer):
    """One layer's keys and values ``[rows, heads, columns, head_dim]`` in buffers with spare columns.

    `DynamicLayer` copies everything at each token; here a token writes its own column only.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.columns = 0  # written so far
        self.room = 0  # columns to allocate at least
        self.buffers: list[torch.Tensor] = []  # keys, then values: [rows, heads, allocated columns, head_dim]

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write new columns ``[rows, heads, new, head_dim]``; returns all keys and all values written so far."""
        end = self.columns + key_states.shape[-2]
        if not self.buffers or end > self.buffers[0].shape[2]:
            self._allocate(key_states, value_states, end)
        self.buffers[0][:, :, self.columns : end].copy_(key_states)
        self.buffers[1][:, :, self.columns : end].copy_(value_states)
        return self.show(end)

    def show(self, columns: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Declare how many columns are written; returns their keys and values, which share the buffers' memory."""
        self.columns = columns
        self.keys, self.values = (buffer[:, :, :columns] for buffer in self.buffers)
        self.is_initialized = True
        return self.keys, self.values

    def _allocate(self, keys: torch.Tensor, values: torch.Tensor, end: int) -> None:
        """Buffers for at least `end` columns, with what is written so far copied over."""
        capacity = max(self.room, int(end * _GROWTH))
        old, self.buffers = self.buffers, []
        for index, states in enumerate((keys, values)):
            rows, heads, _, width = states.shape
            # Uninitialised memory is never shown: every column up to `columns` is written for every row.
            buffer = states.new_empty(rows, heads, capacity, width)
            if old:
                buffer[:, :, : self.columns] = old[index][:, :, : self.columns]
            self.buffers.append(buffer)

    def picked(self, index: torch.Tensor, room: int) -> GrowingLayer:
        """A copy of the rows of `index`, with room for at least `room` columns."""
        if self.buffers[0].shape[2] < room:
            keys, values = self.show(self.columns)
            return self.filled(keys[index], values[index], room)
        # The buffers are large enough: one copy of them, spare columns included.
        layer = type(self)()
        layer.room = self.room
        layer.buffers = [buffer.index_select(0, index) for buffer in self.buffers]
        layer.show(self.columns)
        return layer

    @classmethod
    def filled(cls, keys: torch.Tensor, values: torch.Tensor, room: int) -> GrowingLayer:
        """A layer that holds these columns and has room for `room`."""
        layer = cls()
        layer.room = room
        layer.update(keys, values)
        return layer


class SlotCache:
    """The cache of one batch of rows.

    Args:
        rows: Number of rows.
        device: Where the mask and the lengths live; keys and values live where the model writes them.
        room: Columns to allocate at least.
        past: A cache of transformers to use instead of growing layers.

    Attributes:
        past: What Hugging Face's forward pass reads and writes.
        used: Columns written.
        lengths: Tokens per row, ``[rows]``.
    """

    def __init__(self, rows: int, device: torch.device, *, room: int = 0, past: Any = None) -> None:
        self.rows = rows
        self.device = device
        self.room = room
        self.used = 0
        self.lengths = torch.zeros(rows, dtype=torch.long, device=device)
        self._mask = torch.zeros(rows, max(room, 64), dtype=torch.bool, device=device)
        self.past: Any = past if past is not None else DynamicCache()
        if past is None:
            self.past.layer_class_to_replicate = self._new_layer

    def _new_layer(self) -> GrowingLayer:
        """An empty layer; transformers calls this for layers that it meets first."""
        layer = GrowingLayer()
        layer.room = self.room
        return layer

    @property
    def mask(self) -> torch.Tensor:
        """``[rows, used]``: where tokens stand."""
        return self._mask[:, : self.used]

    def layer(self, index: int) -> GrowingLayer:
        """The layer `index`, made at its first use."""
        while len(self.past.layers) <= index:
            self.past.layers.append(self._new_layer())
        layer: GrowingLayer = self.past.layers[index]
        return layer

    def open_columns(self, valid: torch.Tensor) -> torch.Tensor:
        """Reserve columns for tokens about to be fed; returns their position ids.

        Args:
            valid: ``[rows, width]``: True where a row has a token, False where its column stays a hole.

        Returns:
            ``[rows, width]`` position ids (0 where there is no token).
        """
        end = self.used + valid.shape[1]
        if end > self._mask.shape[1]:
            grown = self._mask.new_zeros(self.rows, int(end * _GROWTH))
            grown[:, : self.used] = self.mask
            self._mask = grown
        self._mask[:, self.used : end] = valid
        self.used = end
        # Position ids count a row's tokens, so holes do not shift them. One column, the usual case, needs no cumsum.
        counts = valid.long()
        if valid.shape[1] == 1:
            positions = self.lengths[:, None].clone()
            self.lengths = self.lengths + counts[:, 0]
        else:
            positions = (self.lengths[:, None] + counts.cumsum(1) - 1).clamp_(min=0)
            self.lengths = self.lengths + counts.sum(1)
        return positions

    def select(self, rows: Sequence[int], *, room: int = 0) -> SlotCache:
        """A copy of some rows, in the order asked for (a row may be repeated), with room for `room` columns."""
        index = torch.tensor(list(rows), dtype=torch.long, device=self.device)
        result = SlotCache(len(rows), self.device, room=max(self.room, room))
        result._write_mask(self.mask[index], self.lengths[index])
        result.past.layers = [layer.picked(index, room) for layer in self.past.layers]
        return result

    def absorb(self, part: SlotCache, rows: Sequence[int]) -> None:
        """Take back the columns that were written in a copy of `rows` made by `select`; other rows get holes.

        Args:
            part: The copy; its first columns are those of this cache.
            rows: The rows of this cache that it holds, in its order.
        """
        index = torch.tensor(list(rows), dtype=torch.long, device=self.device)
        start, end = self.used, part.used
        if end > start:
            valid = torch.zeros(self.rows, end - start, dtype=torch.bool, device=self.device)
            valid[index] = part.mask[:, start:end]
            self.open_columns(valid)
            # Keys and values of the new columns: zeros in the holes, which the mask hides.
            for mine, theirs in zip(self.past.layers, part.past.layers, strict=True):
                shape = (self.rows, mine.keys.shape[1], end - start, mine.keys.shape[3])
                keys, values = mine.keys.new_zeros(shape), mine.values.new_zeros(shape)
                keys[index] = theirs.keys[:, :, start:end]
                values[index] = theirs.values[:, :, start:end]
                mine.update(keys, values)

    def compacted(self) -> SlotCache:
        """A copy without holes: each row's tokens stand at the left."""
        width = int(self.lengths.max()) if self.rows else 0
        # A stable sort of the mask brings a row's tokens to the left in their order: the columns to gather, per row.
        order = self.mask.to(torch.uint8).argsort(dim=1, descending=True, stable=True)[:, :width]
        mask = torch.arange(width, device=self.device)[None, :] < self.lengths[:, None]
        index = order[:, None, :, None]  # [rows, 1, width, 1], for every head and channel alike

        def close_up(states: torch.Tensor) -> torch.Tensor:
            return states.gather(2, index.expand(-1, states.shape[1], -1, states.shape[3]))

        result = SlotCache(self.rows, self.device, room=self.room)
        result._write_mask(mask, self.lengths)
        result.past.layers = [
            GrowingLayer.filled(close_up(layer.keys), close_up(layer.values), self.room) for layer in self.past.layers
        ]
        return result

    def _write_mask(self, mask: torch.Tensor, lengths: torch.Tensor) -> None:
        """Take the mask ``[rows, used]`` and the lengths ``[rows]`` of columns that another cache wrote."""
        self.used = mask.shape[1]
        if self.used > self._mask.shape[1]:
            self._mask = self._mask.new_zeros(self.rows, int(self.used * _GROWTH))
        self._mask[:, : self.used] = mask
        self.lengths = lengths.clone()

    @staticmethod
    def merge(parts: Sequence[SlotCache]) -> SlotCache:
        """One cache with the rows of all parts, in order."""
        if len(parts) == 1:
            return parts[0]
        # Shorter parts get holes on the right, up to the columns of the longest.
        used = max(part.used for part in parts)
        room = max(part.room for part in parts)
        rows = sum(part.rows for part in parts)

        def widened(states: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.pad(states, (0, 0, 0, used - states.shape[2]))

        result = SlotCache(rows, parts[0].device, room=room)
        masks = [torch.nn.functional.pad(part.mask, (0, used - part.used)) for part in parts]
        result._write_mask(torch.cat(masks), torch.cat([part.lengths for part in parts]))
        result.past.layers = [
            GrowingLayer.filled(
                torch.cat([widened(layer.keys) for layer in layers]),
                torch.cat([widened(layer.values) for layer in layers]),
                room,
            )
            for layers in zip(*(part.past.layers for part in parts), strict=True)
        ]
        return result


class BlockPass:
    """One forward pass over columns that were opened last in a `SlotCache`: what its tokens look at.

    Args:
        cache: The rows' keys and values; those of the new tokens are written to it.
        width: Columns that the pass feeds.
    """

    def __init__(self, cache: SlotCache, width: int) -> None:
        self.cache = cache
        # Added to scores, [rows, 1, width, columns]: 0 where a query may look and a very low finite number elsewhere,
        # since minus infinity would give NaN for a row without any token.
        mask = cache.mask
        seen = mask[:, None, None, :]
        if width > 1:
            columns = torch.arange(mask.shape[1], device=mask.device)
            seen = seen & (columns[None, :] <= columns[-width:, None])
        bias = torch.zeros(seen.shape, device=mask.device)
        self.bias = bias.masked_fill_(~seen, torch.finfo(torch.float32).min)

    def attend(
        self, layer: int, query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, *, last_only: bool
    ) -> torch.Tensor:
        """Attention of the new tokens ``[rows, width, heads, head_dim]``; keys and values are written on the way.

        Returns:
            ``[rows, width, heads x head_dim]``; with `last_only` of the last column alone.
        """
        shared = query.shape[2] != keys.shape[2]
        keys, values = self.cache.layer(layer).update(keys.transpose(1, 2), values.transpose(1, 2))
        bias = self.bias
        if last_only:
            query, bias = query[:, -1:], bias[:, :, -1:]
        mixed = F.scaled_dot_product_attention(query.transpose(1, 2), keys, values, attn_mask=bias, enable_gqa=shared)
        return mixed.transpose(1, 2).flatten(2)

    def at_last(self, states: torch.Tensor) -> torch.Tensor:
        """The last column of ``[rows, width, ...]``: ``[rows, 1, ...]``."""
        return states[:, -1:]
