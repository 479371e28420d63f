"""Forward passes over a `RowCache`: whole prompts, what follows a row, and one decoding step."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from .fast_forward import FastForward
from .row_cache import RowCache, RowPass, RowPast


class RowForward:
    """Reads prompts into rows and continues them, by the lean pass or by the model's own.

    Args:
        model: A causal language model that attends to everything before a token and takes `position_ids`.
        fast: Its lean pass, where it has one.
        cache: The rows.
        pad_id: Fills positions without a token.
    """

    def __init__(self, model: Any, fast: FastForward | None, cache: RowCache, pad_id: int) -> None:
        self.model = model
        self.fast = fast
        self.cache = cache
        self.pad_id = pad_id
        config = model.config.get_text_config()
        self._layers: int = config.num_hidden_layers
        self._positions: int | None = getattr(config, "max_position_embeddings", None)
        self._keeps_last = "logits_to_keep" in inspect.signature(model.forward).parameters
        self._dtype: torch.dtype = next(model.parameters()).dtype
        self._made_for = -1  # the cache's allocation that the next two tensors belong to
        self._row_starts = self._columns = torch.empty(0, dtype=torch.long)
        self.forward_rows = 0  # rows x passes so far
        self.passes = 0

    def prepare(self) -> None:
        """Make what depends on the cache's size, after it has grown."""
        if self._made_for != self.cache.generation:
            self._made_for = self.cache.generation
            self._columns = torch.arange(self.cache.columns, device=self.cache.device)
            self._row_starts = torch.arange(self.cache.rows, device=self.cache.device) * self.cache.columns
            if self.fast is not None:
                self.fast.prepare(self.cache.columns)

    def decode(self, tokens: torch.Tensor, positions: torch.Tensor, reach: int) -> torch.Tensor:
        """Feed one token to each of the first rows; nothing here waits for the device.

        Args:
            tokens: ``[rows]``.
            positions: ``[rows]``; the token's keys and values go to this column.
            reach: Columns that are looked at, more than any position of a row that counts.

        Returns:
            Logits ``[rows, vocabulary]``.
        """
        rows = len(tokens)
        row_pass = RowPass(
            self.cache,
            self._row_starts[:rows] + positions,
            rows=rows,
            reach=reach,
            seen=(self._columns[:reach] <= positions[:, None])[:, None],
            dtype=self._dtype,
        )
        return self._run(tokens[:, None], positions[:, None], row_pass)

    def ahead(self, ids: torch.Tensor, positions: torch.Tensor, reach: int) -> torch.Tensor:
        """Feed several tokens to each of the first rows.

        Args:
            ids: ``[rows, width]``.
            positions: ``[rows]``: of the first token; the others follow.
            reach: Columns that are looked at.

        Returns:
            Logits ``[rows, width, vocabulary]`` after each token.
        """
        rows, width = ids.shape
        columns = (positions[:, None] + self._columns[:width]).clamp(max=self.cache.columns - 1)
        row_pass = RowPass(
            self.cache,
            (self._row_starts[:rows, None] + columns).flatten(),
            rows=rows,
            reach=reach,
            seen=self._columns[:reach] <= columns[:, :, None],
            dtype=self._dtype,
        )
        return self._run(ids, columns, row_pass, every=True)

    def prefill(self, rows: Sequence[int], starts: Sequence[int], new_ids: Sequence[Sequence[int]]) -> torch.Tensor:
        """Feed each row its new ids, in one pass.

        Args:
            rows: Rows of the cache.
            starts: Tokens that each holds before.
            new_ids: At least one id each.

        Returns:
            Logits ``[len(rows), vocabulary]`` after each row's last id.
        """
        width = max(len(ids) for ids in new_ids)
        whole = not any(starts)
        # The lean pass takes padding on the right, so that whole prompts need no mask; a model's own pass gives the
        # last column's logits, and has it on the left.
        left = self.fast is None
        host = np.full((len(rows), width), self.pad_id, dtype=np.int64)
        columns = np.full((len(rows), width), self.cache.columns - 1, dtype=np.int64)  # padding writes there
        positions = np.zeros((len(rows), width), dtype=np.int64)
        for index, (start, ids) in enumerate(zip(starts, new_ids, strict=True)):
            at = slice(width - len(ids), width) if left else slice(0, len(ids))
            host[index, at] = ids
            positions[index, at] = columns[index, at] = np.arange(start, start + len(ids))
        places = columns + np.asarray(rows)[:, None] * self.cache.columns
        # One transfer for all that the pass needs.
        packed = torch.from_numpy(np.stack([host, positions, places])).to(self.cache.device)
        last = None if left else torch.tensor([len(ids) - 1 for ids in new_ids], device=self.cache.device)
        options: dict[str, Any] = {"last": last, "dtype": self._dtype}
        if left or not whole:
            reach = self.cache.reach(max(start + len(ids) for start, ids in zip(starts, new_ids, strict=True)))
            chosen = torch.tensor(list(rows), device=self.cache.device)
            options |= {"rows": chosen, "reach": reach, "seen": self._columns[:reach] <= packed[1][:, :, None]}
        return self._run(packed[0], packed[1], RowPass(self.cache, packed[2].flatten(), **options))

    def _run(
        self, ids: torch.Tensor, positions: torch.Tensor, row_pass: RowPass, *, every: bool = False
    ) -> torch.Tensor:
        """Logits ``[rows, vocabulary]`` after each row's last token, or ``[rows, width, vocabulary]`` after every."""
        self.forward_rows += len(ids)
        self.passes += 1
        if self.fast is not None:
            return self.fast(ids, positions, row_pass, self.cache.columns, every=every)
        # Rows that are done feed rubbish, perhaps beyond a model's learned positions.
        if self._positions is not None:
            positions = positions.clamp(max=self._positions - 1)
        options: dict[str, Any] = {"logits_to_keep": 1} if self._keeps_last and not every else {}
        past = RowPast(row_pass, self._layers)
        output = self.model(
            input_ids=ids,
            position_ids=positions,
            attention_mask=row_pass.bias,
            past_key_values=past,
            use_cache=True,
            **options,
        )
        logits: torch.Tensor = output.logits if every else output.logits[:, -1]
        return logits


def bytes_per_token(model: Any) -> int:
    """Memory of one token's keys and values over all layers."""
    config = model.config.get_text_config()
    heads = config.num_attention_heads
    kv_heads = getattr(config, "num_key_value_heads", None) or heads
    size = getattr(config, "head_dim", None) or config.hidden_size // heads
    width = next(model.parameters()).element_size()
    return int(config.num_hidden_layers * 2 * kv_heads * size * width)
