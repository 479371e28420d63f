"""The sampler of a model in this process: one class over two ways to decode.

`Lockstep` decodes the requests of a call together over a padded block and makes the fewest calls, which is what counts
with a tiny model on a CPU. `RowEngine` keeps rows in place, takes requests between decoding steps, reads what prompts
have in common once, and waits for an accelerator rarely. Both draw alike: token i of a request takes the i-th uniform
of that request's generator, by inverse CDF, so that a sample does not depend on what else is in the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from sdar_envs.choices import require_choice

from .base import LAYOUTS, LOCAL_ENGINE, Sample, SampleRequest, SampleStream
from .batched_stream import BatchedStream
from .decode_graphs import CudaCapture, DecodeGraphs
from .fast_forward import FastForward, adapters_of
from .lockstep import Lockstep
from .row_cache import RowCache
from .row_engine import RowEngine
from .row_forward import RowForward, bytes_per_token

_SMALL = 20_000_000  # parameters up to which a CPU samples over a padded block
_SYNC_STEPS = 4  # decoding steps between two waits for an accelerator


class BatchSampler:
    """Samples completions for many slots at once, or as they come.

    Args:
        model: Any causal language model of transformers. It is used in evaluation mode and left as it was.
        end_ids: Ids that end a completion.
        pad_id: Fills positions without a token; it may equal an end id.
        temperature: Of requests that name none. 0 is greedy.
        max_completion_length: Tokens per completion, of requests that name no number.
        longest_completion: Tokens that a request may name at most; None for `max_completion_length`.
        max_context: Tokens per slot, prompt and completions together.
        decode: Token ids to text, for requests with stop texts.
        fast: Use the lean forward pass where it is supported.
        layout: What `sample` decodes over: ``block``, ``rows``, or by itself (``auto``): rows on an accelerator, for
            models above 20 million parameters, and where `cache_gib` is given. A stream is always over rows, where
            the model's attention allows it.
        cache_gib: Memory for keys and values at most, in GiB: requests of further slots wait. None for no bound.
        sync_steps: Decoding steps between two looks at which rows are done; None for 1 on a CPU, else 4.
        prompt_lookup_num_tokens: Tokens guessed ahead at most, from what was sampled before, and checked in one pass
            over rows. Fewer passes where completions repeat forms; the draws are the same, and log-probs up to rounding
            (which moves with what was sampled before, so that a resumed run agrees up to rounding, too).

    Raises:
        ValueError: A number out of range, or a layout that the model does not allow.
    """

    def __init__(
        self,
        model: Any,
        *,
        end_ids: Sequence[int],
        pad_id: int,
        temperature: float = 1.0,
        max_completion_length: int,
        max_context: int,
        longest_completion: int | None = None,
        decode: Callable[[Sequence[int]], str] | None = None,
        fast: bool = True,
        layout: str = "auto",
        cache_gib: float | None = None,
        sync_steps: int | None = None,
        prompt_lookup_num_tokens: int = 0,
    ) -> None:
        if temperature < 0:
            raise ValueError(f"BatchSampler expects temperature >= 0, got {temperature}")
        if max_completion_length < 1:
            raise ValueError(f"BatchSampler expects max_completion_length >= 1, got {max_completion_length}")
        if cache_gib is not None and not cache_gib > 0:
            raise ValueError(f"BatchSampler expects cache_gib > 0, or None for no bound, got {cache_gib}")
        if sync_steps is not None and sync_steps < 1:
            raise ValueError(f"BatchSampler expects sync_steps >= 1, got {sync_steps}")
        if prompt_lookup_num_tokens < 0:
            raise ValueError(f"BatchSampler expects prompt_lookup_num_tokens >= 0, got {prompt_lookup_num_tokens}")
        self.model = model
        self.end_ids = list(end_ids)
        self.pad_id = pad_id
        self.temperature = temperature
        self.max_completion_length = max_completion_length
        self.longest_completion = max(max_completion_length, longest_completion or 0)
        self.max_context = max_context
        self.decode = decode
        self.layout = require_choice("layout", layout, LAYOUTS, "BatchSampler")
        self.cache_gib = cache_gib
        self.sync_steps = sync_steps
        self.lookup = prompt_lookup_num_tokens
        self.fast = FastForward(model) if fast and FastForward.supports(model) else None
        self.version = 0  # of the parameters, as the last `sync_weights` named it
        # Over a padded block the lean pass is for fp32 alone, as it always was: its masks are.
        full = self.fast is not None and next(model.parameters()).dtype == torch.float32
        self.lockstep = Lockstep(model, self.fast if full else None, end_ids=end_ids, pad_id=pad_id, stops=self._stops)
        self._rows: RowEngine | None = None
        self._stream: LocalStream | None = None
        self._read_from: tuple[int, ...] = ()  # versions of the parameters that rows were read with
        if layout == "rows" and not self.has_rows:
            raise ValueError(
                "BatchSampler expects layout='block' for a model with sliding windows, without position ids, or with "
                f"attention of kind {model.config._attn_implementation!r}: rows need full attention and masks"
            )

    @property
    def exact_draws(self) -> bool:
        """Always: token i of a request takes the i-th uniform of the request's key."""
        return True

    @property
    def engine(self) -> str:
        """The trainer's own modules, in its process."""
        return LOCAL_ENGINE

    @property
    def dtype(self) -> str:
        """The precision of the model, such as ``float32``."""
        return str(next(self.model.parameters()).dtype).removeprefix("torch.")

    @property
    def has_rows(self) -> bool:
        """Whether the model can be sampled over rows kept in place."""
        own = getattr(self.model.config, "_attn_implementation", "sdpa")
        return self.lockstep.keeps_cache and (self.fast is not None or own in ("sdpa", "eager"))

    @property
    def uses_rows(self) -> bool:
        """Whether `sample` decodes over rows."""
        if self.layout != "auto" or not self.has_rows:
            return self.layout == "rows"
        large = sum(parameter.numel() for parameter in self.model.parameters()) > _SMALL
        return large or self.cache_gib is not None or self.lookup > 0 or self.model.device.type != "cpu"

    @property
    def forward_rows(self) -> int:
        """Rows x passes so far: what generation cost."""
        return self.lockstep.forward_rows + (0 if self._rows is None else self._rows.forward.forward_rows)

    def sync_weights(self, model: Any, version: int) -> None:
        """Sample from `model`, whose parameters are read again at every call; samples carry `version`.

        Raises:
            ValueError: It is another model than the one that the sampler was made for.
        """
        if model is not self.model:
            raise ValueError("BatchSampler samples from the model it was made with: make another sampler for this one")
        self._require_idle("sync_weights")
        self.version = version
        if self._rows is not None:
            self._rows.forget_columns()

    def length(self, slot: int) -> int:
        """Tokens that a slot holds: prompts and completions so far; 0 for an unknown slot."""
        held = 0 if self._rows is None else self._rows.length(slot)
        return held or self.lockstep.length(slot)

    def release(self, slots: Sequence[int]) -> None:
        """Forget slots; their rows leave the cache, and their pending requests are dropped."""
        self.lockstep.release(slots)
        if self._rows is not None:
            self._rows.release(slots)

    def sample(self, requests: Sequence[SampleRequest]) -> list[Sample]:
        """Sample one completion per request, in their order.

        Raises:
            ValueError: A slot is asked for twice, continues without a past, has an empty new prompt, or no room; or a
                stream has pending requests.
        """
        if not requests:
            return []
        self._require_idle("sample")
        rows = self.uses_rows
        limits = [self._limit(request, rows=rows) for request in requests]
        if len({request.slot for request in requests}) != len(requests):
            raise ValueError("BatchSampler.sample expects each slot once per call")
        temperatures = [self._temperature(request) for request in requests]
        if not rows:
            with self.sampling():
                if self.lockstep.fast is not None:
                    self.lockstep.fast.refresh()
                return self.lockstep.sample(requests, limits, temperatures, self.version)
        engine = self.row_engine()
        self.read_weights()
        for request, limit, temperature in zip(requests, limits, temperatures, strict=True):
            engine.submit(request, temperature, limit)
        samples: dict[int, Sample] = {}
        with self.sampling():
            try:
                while engine.busy:
                    samples.update(engine.advance())
            finally:  # after an exception nothing is left half done
                engine.release([request.slot for request in requests if request.slot not in samples])
        return [samples[request.slot] for request in requests]

    def stream(self) -> SampleStream:
        """Requests join between decoding steps; where the model's attention forbids rows, they are gathered.

        Raises:
            ValueError: An earlier stream has pending requests.
        """
        self._require_idle("stream")
        if not self.has_rows or self.layout == "block":
            return BatchedStream(self)
        self._stream = LocalStream(self)
        return self._stream

    # What both ways to decode, and the stream, need.

    @contextmanager
    def sampling(self) -> Iterator[None]:
        """The model in evaluation mode, nothing recorded for gradients."""
        was_training = self.model.training
        self.model.eval()
        try:
            with torch.inference_mode():
                yield
        finally:
            self.model.train(was_training)

    def row_engine(self) -> RowEngine:
        """The engine over rows, made at its first use."""
        if self._rows is None:
            device: torch.device = self.model.device
            on_gpu = device.type == "cuda"
            cache = RowCache(device, block=256 if on_gpu else 64)
            self._rows = RowEngine(
                RowForward(self.model, self.fast, cache, self.pad_id),
                end_ids=self.end_ids,
                vocabulary=self.model.get_output_embeddings().weight.shape[0],
                max_steps=self.longest_completion,
                stops=self._stops,
                most_rows=self._most_rows(cache),
                most_tokens=self.max_context,
                sync_steps=self.sync_steps or (1 if device.type == "cpu" else _SYNC_STEPS),
                lookup=self.lookup,
                graphs=DecodeGraphs(CudaCapture) if on_gpu and self.fast is not None and not self.lookup else None,
                version=lambda: self.version,
            )
        return self._rows

    def _most_rows(self, cache: RowCache) -> int | None:
        """Rows of full length that the memory bound has room for."""
        if self.cache_gib is None:
            return None
        row = cache.columns_for(self.max_context) * bytes_per_token(self.model)
        rows = int(self.cache_gib * 2**30 // row)
        if rows < 1:
            raise ValueError(
                f"cache_gib={self.cache_gib:g} holds no slot of {self.max_context} tokens, which takes "
                f"{row / 2**30:.3g} GiB: give more, or shorten prompts and completions"
            )
        return rows

    def read_weights(self) -> None:
        """Read the parameters again if nothing is under way, and forget what was read with others."""
        engine = self.row_engine()
        if engine.busy:
            return
        versions = tuple(parameter._version for parameter in self.model.parameters())
        if versions != self._read_from:
            self._read_from = versions
            engine.forget_columns()
        if self.fast is not None:
            self.fast.refresh()
        if engine.graphs is not None:
            pointers = hash(tuple(parameter.data_ptr() for parameter in self.model.parameters()))
            engine.graphs_depend_on = (pointers, tuple(adapters_of(self.model).items()))

    def _temperature(self, request: SampleRequest) -> float:
        return self.temperature if request.temperature is None else request.temperature

    def _require_idle(self, what: str) -> None:
        if self._stream is not None and self._stream.pending:
            raise ValueError(
                f"BatchSampler.{what} is expected without pending requests, and a stream has {self._stream.pending}: "
                "advance it until they have come back, or release their slots"
            )

    def _limit(self, request: SampleRequest, *, rows: bool) -> int:
        """Tokens that a request may sample at most; a `ValueError` for one that cannot be answered."""
        where = f"slot {request.slot}"
        holder = self.row_engine() if rows else self.lockstep
        if request.continues and not holder.knows(request.slot):
            raise ValueError(f"{where} is expected to hold an earlier turn to continue, and is empty: begin it afresh")
        if not request.continues and not request.prompt_ids:
            raise ValueError(f"{where} is expected to begin with a prompt, got no ids")
        held = holder.length(request.slot) if request.continues else 0
        room = self.max_context - held - len(request.prompt_ids)
        if room < 1:
            raise ValueError(
                f"{where} holds {held} tokens and {len(request.prompt_ids)} more leave no room to answer within "
                f"max_context={self.max_context}: cut the history, or end the episode"
            )
        wanted = self.max_completion_length if request.max_tokens is None else request.max_tokens
        if not 1 <= wanted <= self.longest_completion:
            raise ValueError(
                f"{where} is expected to ask for 1 to {self.longest_completion} tokens, got {wanted}: make the sampler "
                "with a larger longest_completion, or ask for fewer"
            )
        return min(wanted, room)

    def _stops(self, ids: Sequence[int], stop: tuple[str, ...]) -> bool:
        """Whether a completion has just come to a stop text.

        Every token that adds text adds a byte of it, so the text of a stop lies in so many last tokens as it has bytes,
        and one more for a character that began before.
        """
        if self.decode is None:
            raise ValueError("BatchSampler expects decode= to honour stop texts, got none")
        longest = max(len(text.encode()) for text in stop)
        tail = self.decode(ids[-(longest + 1) :])
        return any(text in tail for text in stop)


class LocalStream:
    """Continuous batching: requests join between decoding steps, made by `BatchSampler.stream`.

    Args:
        sampler: Whose slots these are.
    """

    def __init__(self, sampler: BatchSampler) -> None:
        self._sampler = sampler
        self._engine = sampler.row_engine()
        self._tickets: dict[int, int] = {}  # slot -> ticket

    @property
    def pending(self) -> int:
        """Requests that were submitted, have not come back, and whose slots were not released."""
        self._tickets = {slot: ticket for slot, ticket in self._tickets.items() if self._engine.is_pending(slot)}
        return len(self._tickets)

    def submit(self, ticket: int, request: SampleRequest) -> None:
        """Take a request; its first token is drawn at the next `advance`.

        Raises:
            ValueError: The ticket or the slot is taken, or the request cannot be answered, as in `BatchSampler.sample`.
        """
        if self.pending and ticket in self._tickets.values():
            raise ValueError(
                f"ticket {ticket} is pending: expected another number for the request of slot {request.slot}"
            )
        if request.slot in self._tickets:
            raise ValueError(f"slot {request.slot} has a pending request: expected one request per slot at a time")
        limit = self._sampler._limit(request, rows=True)
        if request.stop and self._sampler.decode is None:
            raise ValueError("BatchSampler expects decode= to honour stop texts, got none")
        self._sampler.read_weights()
        self._engine.submit(request, self._sampler._temperature(request), limit)
        self._tickets[request.slot] = ticket

    def advance(self) -> list[tuple[int, Sample]]:
        """Read the prompts of new requests and decode; returns tickets and samples of those that are done."""
        if not self._engine.busy:
            return []
        with self._sampler.sampling():
            done = self._engine.advance()
        return [(self._tickets.pop(slot), sample) for slot, sample in done]
