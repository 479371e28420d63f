"""The processes of a run: read from the environment that torchrun sets, joined into a group, and left again.

`torchrun` and `accelerate launch` start the same command several times and tell each process its place by environment
variables. `join` makes the group: gloo on CPUs, NCCL on GPUs with gloo beside it for episodes and numbers. What is
wrong with a place is said before anything is waited for. Not here: what happens when a process of the group ends
(`rank_failures`).
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch

from ..options import MachineOptions
from ..options.option import AUTO

_Value = TypeVar("_Value")

# Seconds within which all processes of a run must have come: they start together, and import at different speeds.
START_TIMEOUT = 120.0

_LAUNCH = "torchrun --nproc-per-node N -m trainers train ..."


class ProcessesError(RuntimeError):
    """The processes of a run cannot work together; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Place:
    """Which of a run's processes this is, in the whole run and on its machine."""

    rank: int
    world_size: int
    local_rank: int
    local_world_size: int

    @classmethod
    def of(cls, environ: Mapping[str, str] | None = None) -> Place | None:
        """The place that a launcher has set; None where there is one process.

        Args:
            environ: Environment variables; the process's own by default.

        Raises:
            ProcessesError: Several processes, and not all of what a launcher sets, or no numbers, or no such rank.
        """
        given = os.environ if environ is None else environ
        size = given.get("WORLD_SIZE", "").strip()
        if size in ("", "1"):
            return None
        needed = ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
        missing = [name for name in needed if not given.get(name, "").strip()]
        if missing:
            raise ProcessesError(
                f"WORLD_SIZE={size} says that this is one of {size} processes, but {', '.join(missing)} "
                f"{'is' if len(missing) == 1 else 'are'} not set, so it cannot find the others: start them with a "
                f"launcher that sets all of them ({_LAUNCH}), or unset WORLD_SIZE"
            )
        numbers = {}
        for name in ("WORLD_SIZE", "RANK", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_PORT"):
            text = given.get(name, "").strip() or given["WORLD_SIZE"]  # without a number of its own: one machine
            if not re.fullmatch(r"\d+", text):
                raise ProcessesError(f"{name}: expected a whole number, got {text!r}: start with {_LAUNCH}")
            numbers[name] = int(text)
        place = cls(*(numbers[name] for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")))
        if place.rank >= place.world_size:
            raise ProcessesError(
                f"RANK: expected from 0 to {place.world_size - 1} in a run of WORLD_SIZE={place.world_size} processes, "
                f"got {place.rank}: start with {_LAUNCH}"
            )
        return place

    def device(self, name: str) -> torch.device:
        """The device of this process: a GPU of its own, or the CPU.

        Args:
            name: The option ``device``; ``auto`` is GPUs where the machine has any.

        Raises:
            ProcessesError: Fewer GPUs than processes on this machine, or one GPU named for all.
        """
        if name == "cpu" or (name == AUTO and not torch.cuda.is_available()):
            return torch.device("cpu")
        if name not in (AUTO, "cuda"):
            raise ProcessesError(
                f"device: with {self.world_size} processes each takes a GPU of its own: expected auto, cuda or cpu, "
                f"got {name!r}"
            )
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if count < self.local_world_size:
            raise ProcessesError(
                f"{self.local_world_size} processes on this machine, and torch sees {count} "
                f"GPU{'' if count == 1 else 's'}: each process takes one. Start fewer processes (--nproc-per-node "
                f"{max(count, 1)}), show more GPUs (CUDA_VISIBLE_DEVICES), or train on CPUs (--device cpu)"
            )
        return torch.device("cuda", self.local_rank)


@dataclass(frozen=True, slots=True)
class ProcessGroup:
    """The processes of a run, joined; `base.Ranks` has the contract.

    Attributes:
        place: Of this process.
        device: Of this process.
        store: Keys and values that all processes see; it also works where a collective does not.
        messages: The group over which Python objects go, on CPUs.
    """

    place: Place
    device: torch.device
    store: Any
    messages: Any

    @property
    def rank(self) -> int:
        """The number of this process, from 0."""
        return self.place.rank

    @property
    def world_size(self) -> int:
        """How many processes take part."""
        return self.place.world_size

    def gather(self, value: _Value) -> list[_Value]:
        """The values of all processes, by rank. They are pickled: between processes of one run, never from a file."""
        found: list[Any] = [None] * self.world_size
        torch.distributed.all_gather_object(found, value, group=self.messages)
        return found

    @contextmanager
    def first_here(self, name: str) -> Iterator[None]:
        """Within the ``with`` block the first process of each machine is done before the others of it begin.

        For what is made once and found by the others, such as a cached model, however long it takes.

        Args:
            name: Of what is made; used once per run.
        """
        key = f"sdar/made/{name}/{self.place.rank - self.place.local_rank}"
        if self.place.local_rank:
            self.store.wait([key], timedelta(days=7))
        yield
        if not self.place.local_rank:
            self.store.set(key, "1")

    def sum(self, value: float) -> float:
        """The sum over all processes, the same to the last bit in each of them."""
        return math.fsum(self.gather(value))


_joined: ProcessGroup | None = None


def joined() -> ProcessGroup | None:
    """The group that this process has joined; None in a run of one process."""
    return _joined


def join(options: MachineOptions) -> ProcessGroup | None:
    """Join the processes of the run, once; None where there is one process.

    Raises:
        ProcessesError: As `Place`; or the port is taken, or the others did not come.
    """
    global _joined
    place = Place.of()
    if place is None or _joined is not None:
        return _joined
    device = place.device(options.device)
    distributed = torch.distributed
    if not distributed.is_available():
        raise ProcessesError(f"{place.world_size} processes: this build of torch has no torch.distributed")
    store = _meet(place)
    timeout = timedelta(seconds=options.process_timeout)
    backend = "gloo"
    if device.type == "cuda":
        torch.cuda.set_device(device)
        backend = "cpu:gloo,cuda:nccl"
    _wait_for_all(store, place)
    distributed.init_process_group(backend, store=store, rank=place.rank, world_size=place.world_size, timeout=timeout)
    messages = distributed.new_group(backend="gloo", timeout=timeout)
    _joined = ProcessGroup(place, device, store, messages)
    return _joined


def _meet(place: Place) -> Any:
    """The store of keys and values at MASTER_ADDR:MASTER_PORT, which rank 0 or the launcher serves.

    Raises:
        ProcessesError: The port is taken, or nobody answers there.
    """
    from torch.distributed.rendezvous import rendezvous

    where = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
    try:
        store, _, _ = next(rendezvous("env://", timeout=timedelta(seconds=START_TIMEOUT)))
    except (RuntimeError, ValueError, OSError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        if "EADDRINUSE" in str(error) or "already in use" in str(error):
            raise ProcessesError(
                f"rank {place.rank} of {place.world_size}: the port of MASTER_ADDR:MASTER_PORT, {where}, is taken by "
                "another program or another run: choose another one (torchrun --master-port, or --standalone, which "
                "finds a free one)"
            ) from None
        raise ProcessesError(
            f"rank {place.rank} of {place.world_size}: the processes did not meet at {where} within "
            f"{START_TIMEOUT:.0f} s: {first}. Check that all were started, and that the address and the port can be "
            "reached from this machine"
        ) from None
    return store


def _wait_for_all(store: Any, place: Place) -> None:
    """Wait until every process has come; later waits have the limit of the option.

    Raises:
        ProcessesError: Some have not; the message names them.
    """
    keys = [f"sdar/here/{rank}" for rank in range(place.world_size)]
    store.set(keys[place.rank], "1")
    try:
        store.wait(keys, timedelta(seconds=START_TIMEOUT))
    except RuntimeError:
        missing = [str(rank) for rank, key in enumerate(keys) if not store.check([key])]
        raise ProcessesError(
            f"of {place.world_size} processes, rank {', '.join(missing)} did not come within {START_TIMEOUT:.0f} s: "
            "check that all were started, and what they said"
        ) from None


def leave() -> None:
    """Leave the group at the orderly end of a run; nothing in a run of one process."""
    global _joined
    if _joined is not None:
        _joined = None
        torch.distributed.destroy_process_group()
