"""Weights from GPU to GPU: vLLM's own weight transfer over NCCL, without a file in between.

The control calls (`/init_weight_transfer_engine`, `/start_weight_update`, `/update_weights`, `/finish_weight_update`)
go over this suite's client; the tensors go through the sender that vLLM brings for trainers, so vLLM must be installed
beside this suite, too. The server is started with ``--weight-transfer-config '{"backend": "nccl"}'``.
"""

from __future__ import annotations

import ipaddress
import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Any, Protocol

from .client import GenerationServerError, ServerClient, parse_url
from .weights import Label, empty_prefix_cache, require_routes

LEAVE_S = 10.0  # for leaving a group whose other processes may be dead


class Sender(Protocol):
    """The trainer's end of a transfer, as `NCCLTrainerWeightTransferEngine` of vLLM."""

    def send_weights(self) -> None:
        """Start an update, send every parameter, and finish it, by the calls of its control."""
        ...

    def shutdown(self) -> None:
        """Leave the group of processes."""
        ...


class Control:
    """The calls that a sender makes to the server; vLLM calls it a weight sync client.

    Args:
        client: Asks the server.
    """

    def __init__(self, client: ServerClient) -> None:
        self._client = client
        self.version_name: str | None = None  # what the weights are called once they are there

    def init_weight_transfer_engine(self, init_info: Mapping[str, Any]) -> None:
        """Have the server's workers join the group; returns when all have."""
        self._client.post("/init_weight_transfer_engine", {"init_info": dict(init_info)})

    def shutdown_weight_transfer_engine(self) -> None:
        """Have them leave it."""
        self._client.post("/shutdown_weight_transfer_engine")

    def start_weight_update(self) -> None:
        """Have the server make ready for new weights."""
        self._client.post("/start_weight_update")

    def update_weights(self, update_info: Any) -> None:
        """Have the workers receive what the sender sends meanwhile."""
        self._client.post("/update_weights", {"update_info": update_info})

    def finish_weight_update(self, weight_version: str | None = None) -> None:
        """Have the server use the new weights, under their name."""
        name = self.version_name if weight_version is None else weight_version
        self._client.post("/finish_weight_update", {} if name is None else {"weight_version": name})


# (model, control, address and port of the meeting, processes in the group) -> a sender that has met the workers
MakeSender = Callable[[Any, Control, str, int, int], Sender]


class DirectTransfer:
    """Sends the parameters over NCCL.

    Args:
        client: Asks the server.
        served: Its name of the model.
        make_sender: Makes the sender; None takes vLLM's.
        timeout: Seconds per transfer at most: NCCL itself would wait for ever for a server that has died.
    """

    name = "nccl"
    discards_in_sleep = True

    def __init__(
        self, client: ServerClient, served: str, *, make_sender: MakeSender | None = None, timeout: float = 300.0
    ) -> None:
        self._client, self._served, self._timeout = client, served, timeout
        self._make_sender = make_sender or vllm_sender
        self._label = Label(client)
        self._control = Control(client)
        self._sender: Sender | None = None
        self._model: Any = None
        self._version = 0

    def check(self) -> None:
        """See `WeightTransport`."""
        require_routes(self._client)
        if self._make_sender is vllm_sender:
            _require_vllm()

    def take(self, model: Any, version: int) -> None:
        """Remember the model; its parameters are read when they are sent."""
        self._model, self._version = model, version

    def load(self) -> None:
        """Send the parameters; the group is made anew where the server has lost what it held."""
        known = bool(self._label.expected) and self._label.difference() is None
        if not known and self._sender is not None:
            # A restarted server knows of no group, and the old one would wait for its workers.
            old, self._sender = self._sender, None
            with suppress(GenerationServerError):
                self._in_time(old.shutdown, "to leave a group", limit=LEAVE_S)
        self._label.begin(self._version)
        self._control.version_name = self._label.of(self._version)
        self._in_time(self._send, "to send the weights over NCCL")
        empty_prefix_cache(self._client)
        self._label.finish(self._version)

    def model_name(self) -> str:
        """The served model's."""
        return self._served

    def difference(self) -> str | None:
        """See `WeightTransport`."""
        return self._label.difference()

    def close(self) -> None:
        """Leave the group."""
        if self._sender is not None:
            self._sender.shutdown()
            self._sender = None

    def _send(self) -> None:
        if self._sender is None:
            answer = self._client.get("/get_world_size")
            workers = int(answer["world_size"])
            address = own_address(self._client.url)
            self._sender = self._make_sender(self._model, self._control, address, free_port(address), 1 + workers)
        self._sender.send_weights()

    def _in_time(self, work: Callable[[], None], what: str, limit: float | None = None) -> None:
        """Do something that may wait for a process which has died.

        Raises:
            GenerationServerError: It failed, or took too long.
        """
        failed: list[BaseException] = []

        def attempt() -> None:
            try:
                with _device_of(self._model):
                    work()
            except BaseException as error:
                failed.append(error)

        thread = threading.Thread(target=attempt, daemon=True)
        thread.start()
        limit = self._timeout if limit is None else limit
        thread.join(limit)
        if thread.is_alive() or failed:
            self._sender = None
            why = "it took too long" if not failed else f"{type(failed[0]).__name__}: {failed[0]}"
            raise GenerationServerError(
                f"{self._client.url}: failed {what} ({why}; {limit:g} s is the limit, vllm_timeout). Look at "
                'the server\'s log, and start it again with --weight-transfer-config \'{"backend": "nccl"}\'; or send '
                "weights with vllm_weights=reload"
            ) from (failed[0] if failed else None)


def vllm_sender(model: Any, control: Control, address: str, port: int, processes: int) -> Sender:
    """The sender that vLLM brings.

    Raises:
        GenerationServerError: vLLM is not installed here.
    """
    _require_vllm()
    from vllm.distributed.weight_transfer.base import ModuleSource
    from vllm.distributed.weight_transfer.nccl_engine import NCCLTrainerInitInfo, NCCLTrainerWeightTransferEngine

    info = NCCLTrainerInitInfo(master_address=address, master_port=port, world_size=processes, rank=0)
    sender: Sender = NCCLTrainerWeightTransferEngine.trainer_init(info, client=control, source=ModuleSource(model))
    return sender


def _require_vllm() -> None:
    try:
        import vllm.distributed.weight_transfer.nccl_engine  # noqa: F401
    except ImportError as error:
        raise GenerationServerError(
            f"vllm_weights=nccl sends with vLLM's own sender, and it cannot be imported here ({error}): install vLLM "
            "beside this suite, or send weights with vllm_weights=reload"
        ) from error


def own_address(url: str) -> str:
    """The address of this machine that a server's machine can reach it by."""
    _, _, host, port, _ = parse_url(url)
    if host == "localhost" or _is_loopback(host):
        return "127.0.0.1"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:  # nothing is sent: it only chooses a way
        asking.connect((host, port))
        return str(asking.getsockname()[0])


def free_port(address: str) -> int:
    """A port that nobody listens on at this moment."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.bind((address, 0))
        return int(listener.getsockname()[1])


def _device_of(model: Any) -> AbstractContextManager[Any]:
    """The scope of a model's GPU, which another thread does not have by itself."""
    import torch

    device = next(model.parameters()).device
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
