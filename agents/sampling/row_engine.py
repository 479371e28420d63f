"""Continuous batching over rows kept in place: requests join between decoding steps, samples leave as they are done.

A slot has a row of a `RowCache` from its first request until it is released. Rows that write stand in front, so that a
step computes few others; the rest wait for their environments and cost memory alone. What a prompt has in common with
the slot's earlier one, or with another slot's, is not read again. Where memory for rows is bounded, requests of further
slots wait; a slot that waits between turns gives up its row only when nothing else can go on, and is read anew later.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch

from sdar_envs.randomness import counted_generator

from .base import Sample, SampleRequest, require_finite
from .decode_graphs import DecodeGraphs
from .decode_state import DecodeState
from .draft_index import DraftIndex
from .prefix import SHARED_TOKENS, common
from .prompt_reading import read_prompts
from .row_forward import RowForward

_FRONT_SHARE = 0.75  # rows that write, as a share of those computed, below which rows change places


@dataclass(slots=True)
class _Slot:
    """What is known of a slot: all its ids, how many of the first stand in its row, and its row."""

    ids: list[int] = field(default_factory=list)
    held: int = 0
    row: int | None = None
    used: int = 0  # when it last finished a request


@dataclass(slots=True)
class _Asked:
    """A request under way: `ids` are all ids in front of its first token, `limit` its tokens at most."""

    request: SampleRequest
    temperature: float
    limit: int
    ids: list[int] = field(default_factory=list)
    sampled: int = 0  # tokens at the last look
    tail: list[int] = field(default_factory=list)  # those tokens, where guesses are made from them
    read: int = 0  # tokens that were searched for stop texts


class RowEngine:
    """Samples for slots by continuous batching.

    Args:
        forward: Passes over the rows.
        end_ids: Ids that end a completion.
        vocabulary: Number of logits.
        max_steps: Tokens per completion at most.
        stops: Whether ids have just come to one of some texts.
        most_rows: Rows that memory is there for; None for as many as are asked for.
        most_tokens: Tokens per slot at most: allocated at once where rows are bounded.
        sync_steps: Decoding steps between two looks at which rows are done: each look waits for the device.
        lookup: Tokens guessed ahead at most, from what was sampled before, and checked in one pass; 0 guesses none.
        graphs: Captures steps; None runs them one by one.
        version: The version that samples carry.
    """

    def __init__(
        self,
        forward: RowForward,
        *,
        end_ids: Sequence[int],
        vocabulary: int,
        max_steps: int,
        stops: Callable[[Sequence[int], tuple[str, ...]], bool],
        most_rows: int | None,
        most_tokens: int,
        sync_steps: int = 1,
        lookup: int = 0,
        graphs: DecodeGraphs | None = None,
        version: Callable[[], int] = lambda: 0,
    ) -> None:
        self.forward = forward
        self.cache = forward.cache
        self.stops = stops
        self.most_rows = most_rows
        self.most_tokens = most_tokens
        self.sync_steps = sync_steps
        self.graphs = graphs
        self.lookup = lookup
        self.version = version
        self.ends = torch.zeros(vocabulary, dtype=torch.bool, device=self.cache.device)
        self.ends[[token for token in end_ids if token < vocabulary]] = True
        self._max_steps = max_steps + lookup  # guesses are noted beyond a completion's last token
        self.state = DecodeState.empty(0, self._max_steps, self.cache.device)
        self._drafts = DraftIndex()
        self._slots: dict[int, _Slot] = {}
        self._rows: list[int | None] = []  # slot of each row
        self._waiting: deque[_Asked] = deque()
        self._live: dict[int, _Asked] = {}  # slot -> request, those with a row
        self._begun: dict[tuple[int, ...], int] = {}  # first ids of a prompt -> a slot that began so
        self._clock = 0
        self.graphs_depend_on: Hashable = None  # what captured graphs hold for, beside the tensors that are known here

    # Slots.

    @property
    def busy(self) -> bool:
        """Whether a request is under way."""
        return bool(self._waiting or self._live)

    def is_pending(self, slot: int) -> bool:
        """Whether a slot's request is under way."""
        return slot in self._live or any(asked.request.slot == slot for asked in self._waiting)

    def knows(self, slot: int) -> bool:
        """Whether a slot has sampled before."""
        return slot in self._slots and bool(self._slots[slot].ids)

    def length(self, slot: int) -> int:
        """Tokens of a slot, its last sampled one included; 0 for an unknown slot."""
        return len(self._slots[slot].ids) if slot in self._slots else 0

    def release(self, slots: Sequence[int]) -> None:
        """Forget slots, and drop their requests."""
        gone = set(slots)
        self._waiting = deque(asked for asked in self._waiting if asked.request.slot not in gone)
        for slot in gone & self._slots.keys():
            known = self._slots.pop(slot)
            if known.row is not None:
                self._rows[known.row] = None
                if self._live.pop(slot, None) is not None:
                    with torch.inference_mode():
                        self.state.alive[known.row] = False
        self._begun = {key: slot for key, slot in self._begun.items() if slot in self._slots}
        if not self._slots and self._rows:
            # Between rollouts the memory belongs to others.
            self._rows = []
            self.cache.clear()
            if self.graphs is not None:
                self.graphs.valid_for(None)
            self.state = DecodeState.empty(0, self._max_steps, self.cache.device)

    def forget_columns(self) -> None:
        """The parameters have changed: nothing that was read before is used for a new prompt.

        Rows that go on go on, as they do in every layout: their earlier columns are those of earlier parameters.
        """
        self._begun.clear()
        for known in self._slots.values():
            known.used = -1

    # Requests.

    def submit(self, request: SampleRequest, temperature: float, limit: int) -> None:
        """Take a request, which `advance` will answer; it is expected to be answerable."""
        self._waiting.append(_Asked(request, temperature, limit))

    def advance(self) -> list[tuple[int, Sample]]:
        """Read the prompts of new requests, and take decoding steps up to the next look at what is done.

        Returns:
            Slot and sample of each request that this finished.
        """
        self._admit()
        done = self._collect()  # the first token may have ended some
        if self._live:
            self._close_ranks()
            if self.lookup:
                self._decode_ahead()
            else:
                self._decode()
            done += self._collect()
        return done

    # Admission: rows, shared beginnings, prompts.

    def _admit(self) -> None:
        """Give waiting requests rows, as far as there are any, and read their prompts."""
        admitted: list[_Asked] = []
        missing = {asked.request.slot for asked in self._waiting if self._row_of(asked.request.slot) is None}
        while self._waiting:
            slot = self._waiting[0].request.slot
            row = self._row_of(slot)
            if row is None:
                row = self._free_row(len(missing), may_evict=not self._live and not admitted)
                if row is None:
                    break
                missing.discard(slot)
            asked = self._waiting.popleft()
            known = self._slots.setdefault(slot, _Slot())
            known.row, self._rows[row] = row, slot
            asked.ids = (
                [*known.ids, *asked.request.prompt_ids] if asked.request.continues else [*asked.request.prompt_ids]
            )
            admitted.append(asked)
        if admitted:
            self._read(admitted)

    def _row_of(self, slot: int) -> int | None:
        known = self._slots.get(slot)
        return None if known is None else known.row

    def _free_row(self, wanted: int, *, may_evict: bool) -> int | None:
        """A row for a slot without one; None where it has to wait."""
        for row, slot in enumerate(self._rows):
            if slot is None:
                return row
        # More rows, for all that wait and half as many again later, as far as memory is there for.
        rows = len(self._rows) + wanted
        if self._rows:
            rows = max(rows, len(self._rows) * 3 // 2)
        if self.most_rows is not None:
            rows = min(rows, self.most_rows)
        if rows > len(self._rows):
            self._rows += [None] * (rows - len(self._rows))
            return self._rows.index(None)
        if not may_evict:
            return None
        # Nothing writes and nothing is free: the slot that has waited longest is read anew when it goes on.
        idle = min(self._slots.values(), key=lambda known: (known.row is None, known.used))
        assert idle.row is not None
        row, idle.row, idle.held = idle.row, None, 0
        self._rows[row] = None
        return row

    def _read(self, admitted: list[_Asked]) -> None:
        """Read prompts into their rows, and draw each first token."""
        needed = max(len(asked.ids) + asked.limit for asked in admitted)
        most = self.most_tokens if self.most_rows is not None else needed
        self.cache.ensure(len(self._rows), most + self.lookup)
        if self.cache.rows > len(self.state.ids):
            self.state = self.state.grown(self.cache.rows)
        self.forward.prepare()
        known = [self._slots[asked.request.slot] for asked in admitted]
        starts = [self._kept(asked, slot) for asked, slot in zip(admitted, known, strict=True)]
        rows = [slot.row for slot in known if slot.row is not None]
        logits = read_prompts(self.forward, rows, [asked.ids for asked in admitted], starts)
        for asked, slot in zip(admitted, known, strict=True):
            slot.ids, slot.held = asked.ids, len(asked.ids)
            self._live[asked.request.slot] = asked
            if not asked.request.continues:
                self._begun[tuple(asked.ids[:SHARED_TOKENS])] = asked.request.slot
        self._begin(admitted, rows, logits)

    def _kept(self, asked: _Asked, slot: _Slot) -> int:
        """How many of a request's first ids its row holds already, or can copy from a row that is there."""
        if asked.request.continues:
            return slot.held
        most = len(asked.ids) - 1  # at least one token is fed, for the logits
        own = common(slot.ids, asked.ids, min(slot.held, most)) if slot.used >= 0 else 0
        other = self._slots.get(self._begun.get(tuple(asked.ids[:SHARED_TOKENS]), -1))
        if other is not None and other is not slot and other.row is not None and slot.row is not None:
            shared = common(other.ids, asked.ids, min(other.held, most))
            if shared >= own + SHARED_TOKENS:
                self.cache.copy_rows([other.row], [slot.row], tokens=shared)
                own = shared
        return own

    def _begin(self, admitted: Sequence[_Asked], rows: Sequence[int], logits: torch.Tensor) -> None:
        """Set the state of rows that begin to write, and draw their first tokens from the logits of their prompts."""
        uniforms = np.zeros((len(admitted), self._max_steps + 1))
        for index, asked in enumerate(admitted):
            uniforms[index, : asked.limit] = counted_generator(*asked.request.draw).random(asked.limit)
        numbers = np.asarray([[len(asked.ids), asked.limit] for asked in admitted], dtype=np.int64)
        temperatures = torch.tensor([asked.temperature for asked in admitted], dtype=torch.float32)
        device = self.cache.device
        begun = DecodeState.empty(len(admitted), self._max_steps, device)
        lengths_limits = torch.from_numpy(numbers).to(device)
        begun.lengths, begun.limits = lengths_limits[:, 0].contiguous(), lengths_limits[:, 1].contiguous()
        begun.alive.fill_(True)
        greedy = temperatures == 0
        begun.greedy = greedy.to(device)
        begun.temperatures = temperatures.masked_fill(greedy, 1.0).to(device)
        begun.uniforms = torch.from_numpy(uniforms).to(device)
        begun.note(logits, self.ends, any_greedy=bool(greedy.any()))
        if self.lookup:
            for asked, token in zip(admitted, begun.tokens.tolist(), strict=True):
                asked.tail = [token]
        self.state.store(torch.tensor(list(rows), device=device), begun)

    # Decoding.

    def _close_ranks(self) -> None:
        """Bring rows that write to the front where too many others stand among them."""
        live = sorted(row for slot in self._live if (row := self._slots[slot].row) is not None)
        if len(live) >= _FRONT_SHARE * (live[-1] + 1):
            return
        late = [row for row in live if row >= len(live)]
        holes = [row for row in range(len(live)) if self._rows[row] is None or self._rows[row] not in self._live]
        sources, targets = [*late, *holes], [*holes, *late]
        slots = [self._rows[row] for row in sources]
        tokens = max(self.length(slot) + self._max_steps for slot in slots if slot is not None)
        self.cache.copy_rows(sources, targets, min(tokens, self.cache.columns))
        self.state.move(sources, targets)
        for slot, row in zip(slots, targets, strict=True):
            self._rows[row] = slot
            if slot is not None:
                self._slots[slot].row = row

    def _decode(self) -> None:
        """Take steps up to the next look."""
        rows = [self._slots[slot].row or 0 for slot in self._live]
        front = max(rows) + 1
        longest = max(len(asked.ids) + asked.sampled for asked in self._live.values())
        greedy = any(asked.temperature == 0 for asked in self._live.values())
        if self.graphs is not None:
            front = min(self.graphs.rounded(front), self.cache.rows)
            fast = self.forward.fast
            self.graphs.valid_for(
                (self.graphs_depend_on, self.cache.generation, None if fast is None else fast.generation)
            )
        state = self.state.first(front)
        for ahead in range(self.sync_steps):
            reach = self.cache.reach(longest + ahead)
            step = partial(state.step, self.forward.decode, reach, self.ends, any_greedy=greedy)
            if self.graphs is None:
                step()
            else:
                self.graphs.run((front, reach, greedy), step)

    def _decode_ahead(self) -> None:
        """Take one step over each row's last token and guesses of what follows it."""
        live = [(asked, self._slots[slot].row or 0) for slot, asked in self._live.items()]
        front = max(row for _, row in live) + 1
        drafts: list[list[int]] = [[] for _ in range(front)]
        for asked, row in live:
            most = min(self.lookup, asked.limit - len(asked.tail) - 1)
            drafts[row] = self._drafts.guess([*asked.ids[-8:], *asked.tail], most)
        width = 1 + max(map(len, drafts))
        state = self.state.first(front)
        longest = max(len(asked.ids) + len(asked.tail) for asked, _ in live) + width - 1
        greedy = any(asked.temperature == 0 for asked, _ in live)
        padded = torch.tensor([[*draft, *[-1] * (width - 1 - len(draft))] for draft in drafts], dtype=torch.long)
        fed = torch.cat([state.tokens[:, None], padded.view(front, width - 1).to(self.cache.device)], dim=1)
        logits = self.forward.ahead(fed.clamp(min=0), state.lengths, self.cache.reach(longest))
        before = [len(asked.tail) for asked, _ in live]
        tokens = state.note_ahead(logits, fed, self.ends, any_greedy=greedy)
        told = torch.cat([state.steps[:, None], tokens], dim=1).tolist()
        for (asked, row), known in zip(live, before, strict=True):
            asked.tail += told[row][1 : 1 + told[row][0] - known]

    # What is done.

    def _collect(self) -> list[tuple[int, Sample]]:
        """Slot and sample of each request whose row is done; the rows wait for their next request."""
        if not self._live:
            return []
        alive, steps = torch.stack([self.state.alive.long(), self.state.steps]).tolist()
        done: list[tuple[int, Sample]] = []
        ended = []
        for slot, asked in self._live.items():
            row = self._slots[slot].row
            assert row is not None
            asked.sampled = steps[row]
            stopped = self._stopped(asked, row, steps[row]) if asked.request.stop else None
            if stopped is not None or not alive[row]:
                ended.append((slot, asked, row, steps[row] if stopped is None else stopped, stopped is not None))
        if ended:
            longest = max(count for *_, count, _ in ended)
            index = torch.tensor([row for _, _, row, *_ in ended], device=self.cache.device)
            ids = self.state.ids[index, :longest].tolist()
            logprobs = self.state.logprobs[index, :longest].tolist()
            entropies = self.state.entropies[index, :longest].tolist()
            final = self.ends[self.state.ids[index, [count - 1 for *_, count, _ in ended]]].tolist()
            self.state.alive[index] = False
            self.state.lengths[index] = torch.tensor(
                [len(asked.ids) + count - 1 for _, asked, _, count, _ in ended], device=self.cache.device
            )
            for number, (slot, asked, _, count, stopped) in enumerate(ended):
                require_finite(logprobs[number][:count], len(asked.ids))
                self._clock += 1
                known = self._slots[slot]
                known.ids = [*asked.ids, *ids[number][:count]]
                known.held, known.used = len(known.ids) - 1, self._clock
                if self.lookup:
                    self._drafts.learn(known.ids, len(asked.ids))
                del self._live[slot]
                done.append(
                    (
                        slot,
                        Sample(
                            tuple(ids[number][:count]),
                            tuple(logprobs[number][:count]),
                            tuple(entropies[number][:count]),
                            truncated=not (stopped or final[number]),
                            version=self.version(),
                        ),
                    )
                )
        return done

    def _stopped(self, asked: _Asked, row: int, count: int) -> int | None:
        """How many tokens a completion has up to its stop text; None where none has come."""
        ids = self.state.ids[row, :count].tolist()
        while asked.read < count:
            asked.read += 1
            if self.stops(ids[: asked.read], asked.request.stop):
                return asked.read
        return None
