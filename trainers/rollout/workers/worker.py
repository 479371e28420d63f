"""The program of a worker process: environments by slot, one request after another, one answer to each.

Started as ``python -m trainers.rollout.workers.worker`` by `process`. Requests and answers travel over a socket of
their own, so that whatever an environment prints reaches standard error and nothing else. Exceptions of an environment
are answers; what ends the process is noticed by the trainer. A child that an environment forks loses the socket, and
ends where it would go on as a second worker.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import socket
import sys
import threading
import time
from collections.abc import Mapping
from typing import Any

from ..faults import Fault, fault_of, lacks_memory
from ..making import Environment, Recipe, advance, has_switch, make, statement_of
from ..replies import FaultKind, InvalidReplyError
from .channel import MAX_MESSAGE, ChannelClosedError, WaitingChannel
from .packing import PackingError, digest, dumps, loads

_PR_SET_PDEATHSIG = 1
_LOOK_FOR_PARENT = 0.5  # seconds between looks


class Host:
    """The environments of a worker.

    Args:
        recipe: How they are made.
    """

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self._envs: dict[tuple[str, int], tuple[Environment, bool]] = {}  # (split, slot) -> environment, its switch

    def answer(self, request: Mapping[str, Any]) -> tuple[dict[str, Any], bytes]:
        """Do what a request asks; whatever the environment raises is part of the answer.

        Returns:
            What happened, and the packed reply or statement, empty where there is none.
        """
        key = (request.get("split", ""), request.get("slot", -1))
        try:
            if request["do"] == "state":
                return self._state(request)
            return self._play(request, key)
        except PackingError as error:
            self._discard(key)
            return _answer_of(Fault(FaultKind.UNSENDABLE, str(error))), b""
        except BaseException as error:
            self._discard(key)
            observed = error.observed if isinstance(error, InvalidReplyError) else ""
            ends = lacks_memory(error)
            return {**_answer_of(fault_of(error)), "observed": observed, "ends": ends}, b""

    def close(self, split: str | None = None) -> None:
        """Close the environments of a split, or all."""
        for key in [key for key in self._envs if split is None or key[0] == split]:
            self._discard(key)

    def _play(self, request: Mapping[str, Any], key: tuple[str, int]) -> tuple[dict[str, Any], bytes]:
        action, task_id, enumerates = request["action"], request["task"], request["enumerates"]
        if request["afresh"]:
            self._discard(key)
        if key not in self._envs:
            if action is not None:
                raise RuntimeError("a step was asked for in a slot without an episode")
            env = make(self._recipe, key[0] if enumerates else None)
            self._envs[key] = (env, has_switch(env))
        env, switch = self._envs[key]
        reply = advance(env, task_id, action, enumerates=enumerates, exposes=request["privileged"] if switch else None)
        content = [reply.observation, reply.reward, reply.terminated, reply.truncated, dict(reply.info)]
        packed = dumps(content)
        if len(packed) > MAX_MESSAGE // 2:
            raise InvalidReplyError(f"info: expected at most {MAX_MESSAGE // 2:,} bytes, got {len(packed):,}")
        return {"digest": digest(packed)}, packed

    def _state(self, request: Mapping[str, Any]) -> tuple[dict[str, Any], bytes]:
        env = make(self._recipe)
        stated = statement_of(env, request["splits"], request["seeds"])
        with contextlib.suppress(Exception):
            env.close()
        fields = {name: getattr(stated, name) for name in type(stated).__dataclass_fields__}
        return {}, dumps(fields)

    def _discard(self, key: tuple[str, int]) -> None:
        env, _ = self._envs.pop(key, (None, False))
        if env is not None:
            with contextlib.suppress(Exception, SystemExit):
                env.close()


def _answer_of(fault: Fault) -> dict[str, Any]:
    return {"fault": [str(fault.kind), fault.what, fault.text]}


def serve(channel: WaitingChannel) -> None:
    """Answer requests until the trainer closes its end."""
    own = os.getpid()
    opening = loads(channel.receive())
    host = Host(Recipe(**opening["recipe"]))
    channel.send(dumps({"ready": own}) + b"\n")
    while True:
        try:
            request = loads(channel.receive())
        except ChannelClosedError:
            host.close()
            return
        if request["do"] == "close":
            host.close(request["split"])
            continue
        answer, payload = host.answer(request)
        if os.getpid() != own:  # a child of the environment that came out of its call
            os._exit(0)
        channel.send(dumps({"ticket": request["ticket"], **answer}) + b"\n" + payload)
        if answer.get("ends"):  # out of memory: what is left of this process is of no use
            os._exit(1)


def end_with_parent(parent: int, *, by_kernel: bool) -> None:
    """End this process and its group when the trainer is gone.

    Args:
        parent: The trainer's process.
        by_kernel: Ask the kernel too, which works while an environment never returns to the interpreter. It counts the
            end of the *thread* that started this process, so only the trainer's main thread may ask for it.
    """
    if by_kernel and sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_LOOK_FOR_PARENT)
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=watch, name="parent", daemon=True).start()


def main(words: list[str]) -> None:
    """Serve one trainer.

    Args:
        words: File descriptor of the socket, process id of the trainer, bytes of address space (0 for no limit), and
            whether the trainer's main thread started this process.
    """
    descriptor, parent, memory, main_thread = (int(word) for word in words)
    end_with_parent(parent, by_kernel=bool(main_thread))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the trainer's to handle
    with contextlib.suppress(OSError):
        os.dup2(2, 1)  # what environments print does not mix with the trainer's own output
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    if memory:
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    connection = socket.socket(fileno=descriptor)
    connection.set_inheritable(False)
    os.register_at_fork(after_in_child=connection.close)
    with contextlib.suppress(ChannelClosedError, OSError):
        serve(WaitingChannel(connection))
    sys.stderr.flush()
    os._exit(0)  # threads and exit handlers of an environment keep nobody waiting


if __name__ == "__main__":
    main(sys.argv[1:])
