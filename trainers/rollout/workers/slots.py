"""`WorkerBatchEnv`: episodes in slots whose environments are in worker processes, replaced and replayed.

When a worker hangs or dies, another one takes its place and the episodes that it held are replayed there, from their
reset and the actions so far. Every reply of a replay must equal the recorded one to the byte: observation, reward,
flags and the whole of `info`. The episode whose call it was has a number of replays and then counts as failed; others
of the same worker lose nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from sdar_envs.text_only import not_text

from ..faults import FAILED_EPISODES, FAULT_TEXTS, Fault
from ..replies import FaultKind, Reply, reported_failure
from .packing import loads
from .pool import Outcome, WorkerPool


@dataclass(slots=True)
class _Episode:
    """An episode: what is recorded of it, and how much of that its environment has played."""

    task_id: str
    worker: int
    replays_left: int
    exposes: tuple[bool, bool]  # whether `info` gets its privileged part: at the reset, at steps
    actions: list[str] = field(default_factory=list)
    digests: list[str] = field(default_factory=list)  # of the replies; the first is the reset's
    wanted: str | None = None  # the action that is asked for; None is the reset
    waiting: bool = False  # whether a reply is asked for
    generation: int = -1  # of the worker's process that holds the environment
    played: int = 0  # replies that it has given
    afresh: bool = False  # whether it begins again in a new environment


class WorkerBatchEnv:
    """Environments in slots, each in the worker that its number gives, and answered in any order.

    `reset` and `step` are the lockstep face: all slots are answered when they return. `begin`, `send` and `poll` are
    the asynchronous one.

    Args:
        pool: The workers.
        slots: Episodes that can run at once; with fewer workers several share one and wait for each other.
        split: The split that environments are made for.
        enumerates: Whether they have task ids.
        privileged_turns: When `info` gets its privileged part: one of `replies.PRIVILEGED_TURNS`.
        success_threshold: The return from which an episode without ``info["success"]`` counts as success.
    """

    def __init__(
        self,
        pool: WorkerPool,
        slots: int,
        *,
        split: str,
        enumerates: bool,
        privileged_turns: str = "every",
        success_threshold: float = 1.0,
    ) -> None:
        self.slots = slots
        self.name = pool.name
        self.success_threshold = success_threshold
        self.privileged_turns = privileged_turns
        self.replayed = 0
        self._pool = pool
        self._split = split
        self._enumerates = enumerates
        self._episodes: dict[int, _Episode] = {}
        self._finished: list[tuple[int, Reply]] = []
        self._seen_text = False

    # In lockstep.

    def reset(self, slots: Sequence[int], task_ids: Sequence[str]) -> list[Reply]:
        """Begin one task per slot."""
        for slot, task_id in zip(slots, task_ids, strict=True):
            self.begin(slot, task_id)
        return self._all_of(slots)

    def step(self, slots: Sequence[int], actions: Sequence[str]) -> list[Reply]:
        """Play one action per slot."""
        for slot, action in zip(slots, actions, strict=True):
            self.send(slot, action)
        return self._all_of(slots)

    def _all_of(self, slots: Sequence[int]) -> list[Reply]:
        found: dict[int, Reply] = {}
        while len(found) < len(slots):
            found.update(self.poll(None))
        return [found[slot] for slot in slots]

    # Asynchronously.

    def begin(self, slot: int, task_id: str) -> None:
        """Ask for the reset of a task; `poll` returns the reply."""
        exposes = self.privileged_turns != "never", self.privileged_turns == "every"
        worker = slot % len(self._pool)
        episode = _Episode(task_id, worker, self._pool.limits.replays, exposes, waiting=True)
        self._episodes[slot] = episode
        self._ask(slot, episode)

    def send(self, slot: int, action: str) -> None:
        """Ask for a step; `poll` returns the reply."""
        episode = self._episodes[slot]
        episode.wanted, episode.waiting = action, True
        self._ask(slot, episode)

    def poll(self, timeout: float | None = 0.0) -> list[tuple[int, Reply]]:
        """The replies that have come, waiting for the first for `timeout` seconds at most (None: as long as it takes).

        Raises:
            NotTextError: The environment's observations are not text.
            WorkerStartError: No worker can be started.
        """
        while not self._finished:
            outcomes = self._pool.poll(timeout)
            for outcome in outcomes:
                self._take(outcome)
            if not self._finished and (timeout is not None or not self._pool.busy):
                break
        found, self._finished = self._finished, []
        return found

    def close(self) -> None:
        """Close this split's environments; the workers stay. What was asked for and has not come is given up."""
        self._episodes.clear()
        self._finished.clear()
        self._pool.abandon()
        self._pool.tell({"do": "close", "split": self._split})

    # One slot.

    def _ask(self, slot: int, episode: _Episode, *, first: bool = False) -> None:
        """Ask for the next reply of an episode."""
        self._pool.submit(episode.worker, (slot, episode), partial(self._request, slot, episode), first=first)

    def _request(self, slot: int, episode: _Episode) -> tuple[Mapping[str, Any], float]:
        """A reply that is replayed, as long as the environment is behind, or the wanted one; and its time limit."""
        if episode.generation != self._pool.generation(episode.worker):
            episode.played = 0
        turn, recorded = episode.played, len(episode.digests)
        action = None if turn == 0 else (episode.actions[turn - 1] if turn < recorded else episode.wanted)
        request = {
            "do": "play",
            "split": self._split,
            "enumerates": self._enumerates,
            "slot": slot,
            "task": episode.task_id,
            "action": action,
            "privileged": episode.exposes[min(turn, 1)],
            "afresh": episode.afresh and action is None,
        }
        limits = self._pool.limits
        return request, limits.reset_timeout if action is None else limits.step_timeout

    def _take(self, outcome: Outcome) -> None:
        """An answer or a fault of one slot."""
        slot: int = outcome.owner[0]
        episode: _Episode = outcome.owner[1]
        if self._episodes.get(slot) is not episode:  # of an episode that was given up, here or in other slots
            return
        fault = fault_in(outcome)
        if fault is not None:
            observed = str(outcome.answer.get("observed", ""))
            if observed and not self._seen_text:
                raise not_text(observed, _where(self.name, episode), self.name)
            self._broken(slot, episode, fault)
            return
        self._seen_text = True
        episode.generation = outcome.generation
        turn, digest = episode.played, str(outcome.answer["digest"])
        if turn < len(episode.digests):  # a replayed reply
            if digest != episode.digests[turn]:
                where = f"the replay differs from the episode at step {turn}: not deterministic"
                self._broken(slot, episode, Fault(FaultKind.DIVERGED, where))
                return
            episode.played += 1
            self._ask(slot, episode, first=True)
            return
        if turn:
            assert episode.wanted is not None
            episode.actions.append(episode.wanted)
        episode.digests.append(digest)
        episode.played += 1
        episode.waiting = False
        self._finished.append((slot, self._reply(episode, outcome.payload)))

    def _reply(self, episode: _Episode, payload: bytes) -> Reply:
        observation, reward, terminated, truncated, info = loads(payload)
        where = f"{self.name}, task {episode.task_id}, step {len(episode.actions)}"
        return reported_failure(Reply(observation, reward, terminated, truncated, info), where)

    def _broken(self, slot: int, episode: _Episode, fault: Fault) -> None:
        """The environment of an episode broke: replay it in a new one, or fail it."""
        FAULT_TEXTS.say(self.name, fault)
        episode.generation, episode.played, episode.afresh = -1, 0, True
        if episode.replays_left > 0:
            episode.replays_left -= 1
            self.replayed += 1
            self._ask(slot, episode, first=True)
            return
        failure = f"{_where(self.name, episode)}: {fault}"
        FAILED_EPISODES.warn(self.name, failure, fault, self._pool.limits.replays)
        episode.waiting = False
        self._finished.append((slot, Reply(failure=failure, fault=fault.kind, detail=fault.text)))


def _where(name: str, episode: _Episode) -> str:
    """Environment, task and step of what an episode waits for."""
    turn = len(episode.digests)
    return f"{name}, task {episode.task_id}, " + ("reset" if turn == 0 else f"step {turn}")


def describe(pool: WorkerPool, splits: Sequence[str], seeds: Sequence[str]) -> Mapping[str, Any] | Fault:
    """What an environment states about itself, asked in a worker: the fields of `making.Statement`, or its fault."""
    request = {"do": "state", "splits": list(splits), "seeds": list(seeds)}
    pool.submit(0, None, lambda: (request, pool.limits.reset_timeout))
    (outcome,) = pool.poll(None)
    fault = fault_in(outcome)
    if fault is not None:
        return fault
    stated: Mapping[str, Any] = loads(outcome.payload)
    return stated


def fault_in(outcome: Outcome) -> Fault | None:
    """What went wrong with a request: of its process, or in its environment; None where nothing did."""
    said = outcome.answer.get("fault")
    if outcome.fault is not None or said is None:
        return outcome.fault
    kind, what, text = said
    return Fault(FaultKind(kind), what, text)
