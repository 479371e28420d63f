"""When a process of a run ends: the others end too, and one of them says which it was and why.

A process that ends by an exception writes the reason where all can read it, before its connections close. A process
that is killed can write nothing: the others see their collectives fail, each says that it is alive, and whoever has not
said so is the one that was lost. Only one process prints (`says`), so that a mistake of eight processes is one message.
"""

from __future__ import annotations

import json
import os
import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .processes import ProcessesError, ProcessGroup, joined

# Seconds in which the living answer. They notice within moments of one another, because every connection to the lost
# process closes; a process that is busy with its own work (playing episodes) notices at its next collective.
ROLL_CALL = 10.0

_FAILURE = "sdar/failure"
_SPEAKER = "sdar/speaker"
# What gloo, NCCL and the store write when a peer is gone or does not answer.
_OF_COLLECTIVES = re.compile(
    r"gloo|nccl|process ?group|connection (was )?(closed|reset|refused)|broken pipe|socket|timed? ?out", re.IGNORECASE
)


class RankLostError(ProcessesError):
    """Another process of the run has ended; the message names it and its reason, as far as it is known."""


def is_of_collectives(error: BaseException) -> bool:
    """Whether an exception is how torch reports that another process is gone."""
    import torch

    if isinstance(error, ProcessesError) or not isinstance(error, RuntimeError):
        return False
    return isinstance(error, torch.distributed.DistError) or bool(_OF_COLLECTIVES.search(str(error)))


@contextmanager
def shared_failures() -> Iterator[None]:
    """Within the ``with`` block an exception of one process ends all of them; nothing happens in a run of one process.

    Raises:
        RankLostError: In the place of an error of a collective.
    """
    try:
        yield
    except BaseException as error:
        group = joined()
        if group is None or isinstance(error, RankLostError):
            raise
        if is_of_collectives(error):
            raise RankLostError(_describe(group, error)) from error
        _post(group, error)
        raise


def says(error: BaseException) -> bool:
    """Whether this process is the one that prints an error: the first that asks, and always in a run of one.

    Before the processes have met it is the first of each machine.
    """
    group = joined()
    if group is None:
        return not isinstance(error, ProcessesError) or os.environ.get("LOCAL_RANK", "0") == "0"
    own = f"rank {group.rank}"
    try:
        return bool(group.store.compare_set(_SPEAKER, "", own).decode() == own)
    except RuntimeError:  # the store was served by the process that is gone
        return True


def _post(group: ProcessGroup, error: BaseException) -> None:
    """Write why this process ends, unless another has before."""
    text = json.dumps({"rank": group.rank, "host": socket.gethostname(), "why": f"{type(error).__name__}: {error}"})
    try:
        group.store.compare_set(_FAILURE, "", text)
    except RuntimeError:
        return


def _describe(group: ProcessGroup, error: BaseException) -> str:
    """Which process was lost, and why."""
    first = _first_sentence(error)
    try:
        group.store.set(f"sdar/alive/{group.rank}", "1")
        deadline = time.monotonic() + ROLL_CALL
        while True:
            found = _posted(group)
            if found is not None:
                return f"rank {found['rank']} of {group.world_size} (on {found['host']}) ended the run: {found['why']}"
            others = [rank for rank in range(group.world_size) if not group.store.check([f"sdar/alive/{rank}"])]
            if not others:
                return f"the processes lost their connection, and all {group.world_size} are alive: {first}"
            if time.monotonic() > deadline:
                break
            time.sleep(0.1)
    except RuntimeError:
        return (
            f"rank 0 of {group.world_size}, where the processes meet, is gone: it was killed, or ended by an error "
            f"that it printed itself ({first}). Go on from the last checkpoint with the same command and --resume"
        )
    names = ", ".join(map(str, others))
    return (
        f"rank {names} of {group.world_size} is gone without a word: killed from outside or by the operating system, "
        f"for lack of memory perhaps; the launcher's lines name the signal ({first}). Go on from the last checkpoint "
        "with the same command and --resume"
    )


def _first_sentence(error: BaseException) -> str:
    """What torch says of a lost connection, without the place in its source and without its advice."""
    text = re.sub(r"^\[[^\]]*\]\s*", "", str(error).strip().partition("\n")[0])
    return text.partition(". ")[0][:200] or type(error).__name__


def _posted(group: ProcessGroup) -> dict[str, Any] | None:
    if not group.store.check([_FAILURE]):
        return None
    found: dict[str, Any] = json.loads(group.store.get(_FAILURE).decode())
    return found
