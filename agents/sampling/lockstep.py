"""Lockstep sampling over a padded block: all requests of a call are decoded together, and the call waits for the last.

Each turn feeds only what is new, and finished episodes cost nothing. Between calls the keys and values of all slots
stay in one `SlotCache`, or in several: those whose slots a call does not ask for are set aside ("parked") and merged
again when they are asked for. `row_engine` is the other way to sample, in which nobody waits; for tiny models on a CPU
this one makes the fewest calls.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from sdar_envs.randomness import counted_generator

from .base import Sample, SampleRequest, require_finite
from .draws import draw
from .fast_forward import FastForward
from .kv_cache import BlockPass, SlotCache

_PREFILL_TOKENS = 32_768  # padded prompt tokens per forward pass: bounds activation memory
_IDLE_SHARE = 0.25  # rows without a request stay in the cache up to this share: dropping them copies the cache
_HOLE_SHARE = 0.25  # columns beyond the longest row, as a share of all, before the cache is closed up
_SHRINK_SHARE = 0.3  # share of rows still writing below which only they are carried on within a turn


class Lockstep:
    """Samples completions for many slots at once.

    Args:
        model: Any causal language model of transformers, in evaluation mode.
        fast: Its lean pass, where it has one.
        end_ids: Ids that end a completion.
        pad_id: Fills positions without a token; it may equal an end id.
        stops: Whether ids have just come to one of some texts.
    """

    def __init__(
        self,
        model: Any,
        fast: FastForward | None,
        *,
        end_ids: Sequence[int],
        pad_id: int,
        stops: Callable[[Sequence[int], tuple[str, ...]], bool],
    ) -> None:
        self.model = model
        self.fast = fast
        self.end_ids = list(end_ids)
        self.pad_id = pad_id
        self.stops = stops
        parameters = inspect.signature(model.forward).parameters
        self._takes = {name for name in ("position_ids", "logits_to_keep") if name in parameters}
        # A kept cache has holes, which need position ids of their own and attention that a mask controls alone.
        self.keeps_cache = "position_ids" in self._takes and attends_to_everything(model)
        self.cache: SlotCache | None = None
        self._rows: list[int | None] = []  # slot of each row of the cache; None when it was released
        self._parked: list[tuple[SlotCache, list[int | None]]] = []
        self._pending: dict[int, int] = {}  # slot -> its last sampled token, which no forward pass has read yet
        self._lengths: dict[int, int] = {}  # slot -> tokens, the pending one included
        self._histories: dict[int, list[int]] = {}  # slot -> all its ids, for models whose cache cannot be kept
        self._room = 0  # columns that a cache has needed so far: allocated at once, since growing copies everything
        self.forward_rows = 0  # rows x passes so far: what generation cost

    def knows(self, slot: int) -> bool:
        """Whether a slot has sampled before."""
        return slot in self._pending

    def length(self, slot: int) -> int:
        """Tokens that a slot holds: prompts and completions so far; 0 for an unknown slot."""
        return self._lengths.get(slot, 0)

    def release(self, slots: Sequence[int]) -> None:
        """Forget slots; their rows leave the cache."""
        gone = set(slots)
        for slot in gone:
            self._pending.pop(slot, None)
            self._lengths.pop(slot, None)
            self._histories.pop(slot, None)
        self._rows = [None if slot in gone else slot for slot in self._rows]
        self._parked = [(cache, [None if slot in gone else slot for slot in rows]) for cache, rows in self._parked]
        self._parked = [entry for entry in self._parked if any(slot is not None for slot in entry[1])]
        if all(slot is None for slot in self._rows):
            self.cache, self._rows = None, []

    def sample(
        self, requests: Sequence[SampleRequest], limits: Sequence[int], temperatures: Sequence[float], version: int
    ) -> list[Sample]:
        """One completion per request, in their order; the requests are expected to be answerable.

        Args:
            requests: Each of another slot.
            limits: Tokens per request at most.
            temperatures: Of each request; 0 is greedy.
            version: What the samples carry.
        """
        samples = self._sample(requests, limits, temperatures, version)
        # What each slot holds now; its last sampled token enters the cache with the next prompt.
        for request, sample in zip(requests, samples, strict=True):
            before = self._lengths.get(request.slot, 0) if request.continues else 0
            self._lengths[request.slot] = before + len(request.prompt_ids) + len(sample.ids)
            self._pending[request.slot] = sample.ids[-1]
            if not self.keeps_cache:
                past = self._histories[request.slot] if request.continues else []
                self._histories[request.slot] = [*past, *request.prompt_ids, *sample.ids]
        return samples

    def _sample(
        self, requests: Sequence[SampleRequest], limits: Sequence[int], temperatures: Sequence[float], version: int
    ) -> list[Sample]:
        """Feed the prompts and decode, at most `limits` tokens per request."""
        # A slot that starts afresh forgets its earlier episode.
        fresh = {request.slot for request in requests if not request.continues}
        if fresh & self._pending.keys():
            self.release(sorted(fresh & self._pending.keys()))
        going = {request.slot: list(request.prompt_ids) for request in requests if request.continues}
        starting = {request.slot: list(request.prompt_ids) for request in requests if not request.continues}
        if not self.keeps_cache:
            # Without a kept cache every row is read from its beginning.
            starting = {slot: [*self._histories[slot], *ids] for slot, ids in going.items()} | starting
            going = {}
        cache, rows, logits = self._feed(going, starting)
        # `order` has the request that each row of the cache answers; None for an idle row.
        of_slot = {request.slot: index for index, request in enumerate(requests)}
        order = [None if slot is None else of_slot.get(slot) for slot in rows]
        samples = self._decode(cache, logits, order, requests, limits, temperatures, version)
        if self.keeps_cache:
            self.cache, self._rows = cache, rows
            self._room = max(self._room, cache.used)
        return samples

    # Feeding prompts.

    def _feed(
        self, going: dict[int, list[int]], starting: dict[int, list[int]]
    ) -> tuple[SlotCache, list[int | None], torch.Tensor]:
        """Feed each slot its new tokens.

        Args:
            going: Slot to new ids, for rows that go on.
            starting: Slot to the whole prompt, for rows that begin.

        Returns:
            The cache of all rows that were fed, the slot of each row (None for a released one), and the logits
            ``[rows, vocabulary]`` after each row's last token.
        """
        parts: list[tuple[SlotCache, list[int | None], torch.Tensor]] = []
        if going:
            # Idle rows can stay when no others join; in a merge they would be copied for nothing.
            cache, rows = self._working_rows(going, exact=bool(starting))
            new_ids = [[] if slot not in going else [self._pending[slot], *going[slot]] for slot in rows]
            parts.append((cache, rows, self._forward(cache, new_ids)))
        elif self.cache is not None:
            self._park(self.cache, self._rows)
            self.cache, self._rows = None, []
        if starting:
            parts += self._prefill(starting)
        if len(parts) == 1:
            return parts[0]
        merged = SlotCache.merge([part[0] for part in parts])
        return merged, [slot for part in parts for slot in part[1]], torch.cat([part[2] for part in parts])

    def _prefill(self, starting: dict[int, list[int]]) -> list[tuple[SlotCache, list[int | None], torch.Tensor]]:
        """Read whole prompts in forward passes of at most `_PREFILL_TOKENS`; one part per pass, as `_feed` returns."""
        if not self.keeps_cache:
            cache = SlotCache(len(starting), self._device(), past=_own_cache(self.model))
            return [(cache, list(starting), self._forward(cache, list(starting.values())))]
        # Episodes of a group begin with the same prompt: it is read once.
        sharing: dict[tuple[int, ...], list[int]] = {}
        for slot, ids in starting.items():
            sharing.setdefault(tuple(ids), []).append(slot)
        # Prompts of similar length go together, as many as the padded tokens allow.
        prompts = sorted(sharing, key=len)
        parts: list[tuple[SlotCache, list[int | None], torch.Tensor]] = []
        while prompts:
            take = len(prompts)
            while take > 1 and take * len(prompts[take - 1]) > _PREFILL_TOKENS:
                take -= 1
            chunk, prompts = prompts[:take], prompts[take:]
            cache = SlotCache(len(chunk), self._device())
            logits = self._forward(cache, [list(ids) for ids in chunk])
            # One row per slot: the row of a shared prompt is copied for each slot that begins with it.
            repeats = [row for row, ids in enumerate(chunk) for _ in sharing[ids]]
            rows: list[int | None] = [slot for ids in chunk for slot in sharing[ids]]
            if len(repeats) > len(chunk):
                cache, logits = cache.select(repeats, room=self._room), logits[repeats]
            parts.append((cache, rows, logits))
        return parts

    def _working_rows(self, going: dict[int, list[int]], *, exact: bool) -> tuple[SlotCache, list[int | None]]:
        """One cache that holds the slots of `going`, and the slot of each of its rows; with `exact`, no others."""
        stored = [] if self.cache is None else [(self.cache, self._rows)]
        stored += self._parked
        self.cache, self._rows, self._parked = None, [], []
        parts: list[tuple[SlotCache, list[int | None]]] = []
        for cache, rows in stored:
            wanted = [row for row, slot in enumerate(rows) if slot in going]
            if not wanted:
                self._park(cache, rows)
                continue
            # A few idle rows cost less in the forward pass than a copy without them, where nothing else is copied.
            idle = len(rows) - len(wanted)
            if idle and (exact or len(stored) > 1 or idle > _IDLE_SHARE * len(rows)):
                rest = [row for row, slot in enumerate(rows) if slot is not None and slot not in going]
                if rest:
                    self._park(cache.select(rest), [rows[row] for row in rest])
                cache, rows = cache.select(wanted), [rows[row] for row in wanted]
            parts.append((cache, rows))
        merged = SlotCache.merge([cache for cache, _ in parts])
        longest = int(merged.lengths.max())
        if merged.used - longest > _HOLE_SHARE * merged.used:
            merged = merged.compacted()
        return merged, [slot for _, rows in parts for slot in rows]

    def _park(self, cache: SlotCache, rows: list[int | None]) -> None:
        """Set a cache aside, unless all of its slots were released."""
        if any(slot is not None for slot in rows):
            self._parked.append((cache, rows))

    # Sampling.

    def _decode(
        self,
        cache: SlotCache,
        logits: torch.Tensor,
        order: list[int | None],
        requests: Sequence[SampleRequest],
        limits: Sequence[int],
        wanted: Sequence[float],
        version: int,
    ) -> list[Sample]:
        """Sample all completions token by token.

        Args:
            cache: The rows, prompts fed; sampled tokens are written to it, except for each row's last.
            logits: ``[rows, vocabulary]`` after the prompts.
            order: Per row the index of its request; None for an idle row.
            requests: What is asked for.
            limits: Tokens per request at most.
            wanted: Temperature of each request.
            version: What the samples carry.
        """
        # Uniforms [requests, steps]: one generator per request, so that a sample does not depend on the batch.
        longest = max(limits)
        draws = np.empty((len(requests), longest))
        for index, request in enumerate(requests):
            draws[index] = counted_generator(*request.draw).random(longest)
        ids: list[list[int]] = [[] for _ in requests]
        logprobs: list[list[float]] = [[] for _ in requests]
        entropies: list[list[float]] = [[] for _ in requests]
        ended = [False] * len(requests)
        alive = [index is not None for index in order]  # per row: whether it still writes
        chain: list[tuple[SlotCache, list[int]]] = []  # larger caches, and the rows of each that the next one holds
        ends = set(self.end_ids)
        settings = self._settings(order, wanted, draws)
        for step in range(longest):
            # Draw a token per row, and note those of rows that still write.
            tokens, chosen, entropy = draw(logits, settings[0], settings[1], settings[2][:, step])
            columns = (tokens.tolist(), chosen.tolist(), entropy.tolist())
            for row, (asked, token, logprob, h) in enumerate(zip(order, *columns, strict=True)):
                if asked is None or not alive[row]:
                    continue
                index = asked
                ids[index].append(token)
                logprobs[index].append(logprob)
                entropies[index].append(h)
                if token in ends or (requests[index].stop and self.stops(ids[index], requests[index].stop)):
                    ended[index] = True
                    alive[row] = False
                elif step + 1 >= limits[index]:
                    alive[row] = False
            writing = sum(alive)
            if not writing:
                break
            # When few rows are left, go on with a copy of those alone; afterwards it is absorbed again.
            if self.keeps_cache and writing <= _SHRINK_SHARE * len(alive):
                left = [row for row, is_alive in enumerate(alive) if is_alive]
                chain.append((cache, left))
                cache, tokens = cache.select(left), tokens[left]
                order, alive = [order[row] for row in left], [True] * len(left)
                settings = (settings[0][left], settings[1][left], settings[2][left])
            # Feed the tokens; rows that have ended get a hole.
            valid = torch.tensor(alive, device=cache.device)[:, None]
            logits = self._forward_columns(cache, tokens[:, None].masked_fill(~valid, self.pad_id), valid)
        # From the smallest copy back to the cache of all rows, which the caller keeps.
        for whole, left in reversed(chain):
            whole.absorb(cache, left)
            cache = whole
        for request, values in zip(requests, logprobs, strict=True):
            require_finite(values, len(request.prompt_ids))
        return [
            Sample(tuple(ids[i]), tuple(logprobs[i]), tuple(entropies[i]), truncated=not ended[i], version=version)
            for i in range(len(requests))
        ]

    def _settings(
        self, order: list[int | None], wanted: Sequence[float], draws: np.ndarray
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Per row: temperature (1 where greedy), whether it is greedy, and the uniforms ``[rows, steps]``."""
        at = [0 if index is None else index for index in order]
        temperatures = torch.tensor([wanted[index] for index in at], dtype=torch.float32, device=self._device())
        greedy = temperatures == 0
        return temperatures.masked_fill(greedy, 1.0), greedy, torch.from_numpy(draws[at]).to(self._device())

    # The forward pass.

    def _device(self) -> torch.device:
        device: torch.device = self.model.device
        return device

    def _forward(self, cache: SlotCache, new_ids: Sequence[Sequence[int]]) -> torch.Tensor:
        """Feed each row its new ids, right-aligned; returns the last column's logits ``[rows, vocabulary]``."""
        width = max(len(own) for own in new_ids)
        ids = np.full((len(new_ids), width), self.pad_id, dtype=np.int64)
        valid = np.zeros((len(new_ids), width), dtype=bool)
        for row, own in enumerate(new_ids):
            if own:
                ids[row, -len(own) :] = own
                valid[row, -len(own) :] = True
        device = self._device()
        return self._forward_columns(cache, torch.from_numpy(ids).to(device), torch.from_numpy(valid).to(device))

    def _forward_columns(self, cache: SlotCache, ids: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
        """Feed columns ``[rows, width]`` of ids, tokens where `valid`; returns the last column's logits."""
        positions = cache.open_columns(valid)
        self.forward_rows += len(ids)
        if self.fast is not None:
            return self.fast(ids, positions, BlockPass(cache, ids.shape[1]), cache.used)
        options: dict[str, Any] = {}
        if "position_ids" in self._takes:
            options["position_ids"] = positions
        if "logits_to_keep" in self._takes:
            options["logits_to_keep"] = 1
        output = self.model(
            input_ids=ids, attention_mask=cache.mask.long(), past_key_values=cache.past, use_cache=True, **options
        )
        logits: torch.Tensor = output.logits[:, -1]
        return logits


def attends_to_everything(model: Any) -> bool:
    """Whether all layers are full attention: a sliding window or a recurrent state would count holes as tokens."""
    config = model.config.get_text_config()
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    window = getattr(config, "sliding_window", None) if getattr(config, "use_sliding_window", True) else None
    return kinds == {"full_attention"} and (window is None or hasattr(config, "layer_types"))


def _own_cache(model: Any) -> Any:
    """A cache of the kinds of layers that the model has, such as sliding windows."""
    from transformers import DynamicCache

    return DynamicCache(config=model.config.get_text_config())
