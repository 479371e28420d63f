"""How the weights that are trained come to the server, and how it is known which of them it holds.

`CheckpointReload` writes a checkpoint and has the server read it; `AdapterLoad` does the same with a LoRA adapter, and
the base model stays as the server has it. (`nccl.DirectTransfer` sends tensors from GPU to GPU.) In each, the server
itself says afterwards which version it holds: a name that no other run uses. A server that was restarted, or that
somebody else sent weights to, says another one.
"""

from __future__ import annotations

import contextlib
import secrets
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from sdar_envs.files import replaced_folder

from .client import GenerationServerError, Refused, ServerClient

_RESETS = 20  # tries to empty the prefix cache, which fails while a request still holds a block
_RESET_PAUSE = 0.1

SaveModel = Callable[[Any, Path], None]


class WeightTransport(Protocol):
    """Brings weights to the server."""

    @property
    def name(self) -> str:
        """As the option calls it."""
        ...

    @property
    def discards_in_sleep(self) -> bool:
        """Whether the server may forget its weights when it sleeps, since all of them are sent again."""
        ...

    def check(self) -> None:
        """Refuse a server that lacks what this way needs.

        Raises:
            GenerationServerError: It does; the message names the flag.
        """
        ...

    def take(self, model: Any, version: int) -> None:
        """Make the parameters of `model` as they are now the ones that `load` loads."""
        ...

    def load(self) -> None:
        """Have the server hold what was taken last; also after it has lost it.

        Raises:
            GenerationServerError: It cannot.
        """
        ...

    def model_name(self) -> str:
        """The name under which the server samples from what was loaded."""
        ...

    def difference(self) -> str | None:
        """What the server says it holds instead of what was loaded last; None where it says that it holds that."""
        ...

    def close(self) -> None:
        """Remove what was written for the server."""
        ...


class Label:
    """A name for each version of the weights that no other run uses, and the server's word for what it holds.

    The names begin with a random mark, so that a server that another run has sent its version 3 to is not taken for one
    that holds ours.
    """

    def __init__(self, client: ServerClient) -> None:
        self._client = client
        self._mark = secrets.token_hex(4)
        self.expected = ""

    def of(self, version: int) -> str:
        """The name of a version."""
        return f"sdar-{self._mark}-v{version}"

    def begin(self, version: int) -> None:
        """Say that weights are being replaced: whatever the server holds meanwhile is no version."""
        self.expected = ""
        self._set(f"{self.of(version)}-loading")

    def finish(self, version: int) -> None:
        """Say that the server holds this version."""
        self._set(self.of(version))
        self.expected = self.of(version)

    def difference(self) -> str | None:
        """What the server says it holds instead."""
        answer = self._client.get("/weight_info")
        held = answer.get("weight_version") if isinstance(answer, dict) else None
        if held == self.expected:
            return None
        return f"it holds {'the weights that it was started with' if held == 'default' else repr(held)}"

    def _set(self, name: str) -> None:
        self._client.post("/update_weight_version", {"new_version": name})


class CheckpointReload:
    """Writes a checkpoint into a folder that the server reads, too, and has it reload that.

    Args:
        client: Asks the server.
        served: Its name of the model.
        folder: Holds the checkpoint of the newest version; older ones are removed.
        save: Writes the model in Hugging Face's format.
    """

    name = "reload"
    discards_in_sleep = True

    def __init__(self, client: ServerClient, served: str, folder: Path, save: SaveModel) -> None:
        self._client, self._served, self._save = client, served, save
        self._folder = _Versions(folder)
        self._label = Label(client)
        self._version = 0

    def check(self) -> None:
        """See `WeightTransport`."""
        require_routes(self._client)

    def take(self, model: Any, version: int) -> None:
        """Write the checkpoint."""
        self._folder.write(version, lambda path: self._save(model, path))
        self._version = version

    def load(self) -> None:
        """Have the server read it, and forget what it had computed with the weights before."""
        path = str(self._folder.path(self._version))
        self._label.begin(self._version)
        try:
            self._client.post("/collective_rpc", {"method": "reload_weights", "kwargs": {"weights_path": path}})
        except GenerationServerError as error:
            raise GenerationServerError(
                f"the generation server did not load the weights from {path}: {error}. It must see that folder under "
                "this name (vllm_folder), and serve the same architecture as the model that is trained"
            ) from error
        empty_prefix_cache(self._client)
        self._label.finish(self._version)

    def model_name(self) -> str:
        """The served model's."""
        return self._served

    def difference(self) -> str | None:
        """See `WeightTransport`."""
        return self._label.difference()

    def close(self) -> None:
        """Remove the checkpoints."""
        self._folder.close()


class AdapterLoad:
    """Writes the LoRA adapter into a folder that the server reads, too, and has it load that under a name of its own.

    Requests name the adapter, so a server without it refuses them: it cannot answer with other weights.

    Args:
        client: Asks the server.
        served: Its name of the base model.
        folder: Holds the adapters of the newest versions; older ones are removed.
        save: Writes the adapter in peft's format.
    """

    name = "adapter"
    discards_in_sleep = False  # the base model is never sent

    def __init__(self, client: ServerClient, served: str, folder: Path, save: SaveModel) -> None:
        self._client, self._served, self._save = client, served, save
        self._folder = _Versions(folder)
        self._label = Label(client)
        self._version = 0
        self._loaded: list[str] = []  # names that the server was told of

    def check(self) -> None:
        """See `WeightTransport`."""
        try:
            self._client.post("/v1/unload_lora_adapter", {"lora_name": self._label.of(-1)})
        except Refused as refused:
            if "Not Found" in refused.reason and "lora" not in refused.reason.lower():  # the route, not the adapter
                raise GenerationServerError(
                    f"{self._client.url} takes no adapters while it runs: start it with --enable-lora --max-lora-rank "
                    "RANK and the variable VLLM_ALLOW_RUNTIME_LORA_UPDATING=True, or send whole weights with "
                    "vllm_weights=reload"
                ) from None

    def take(self, model: Any, version: int) -> None:
        """Write the adapter."""
        self._folder.write(version, lambda path: self._save(model, path))
        self._version = version

    def load(self) -> None:
        """Have the server load it, and unload the ones before."""
        name, path = self._label.of(self._version), str(self._folder.path(self._version))
        try:
            self._client.post("/v1/load_lora_adapter", {"lora_name": name, "lora_path": path})
        except Refused as refused:
            if "already" not in refused.reason:  # it was loaded, and the answer was lost
                raise GenerationServerError(
                    f"the generation server did not load the adapter from {path}: {refused.reason}. It must see that "
                    "folder under this name (vllm_folder), serve the base model that is trained, and allow the "
                    "adapter's rank (--max-lora-rank)"
                ) from refused
        self._loaded = [name, *(each for each in self._loaded if each != name)]
        for old in self._loaded[1:]:
            self._unload(old)
        self._loaded = [name]

    def model_name(self) -> str:
        """The adapter's."""
        return self._label.of(self._version)

    def difference(self) -> str | None:
        """See `WeightTransport`."""
        names = model_names(self._client)
        return (
            None if self.model_name() in names else f"it has the models {', '.join(names)}, and no adapter of this run"
        )

    def close(self) -> None:
        """Remove the adapters, and have the server forget them if it is there."""
        for name in self._loaded:
            self._unload(name)
        self._folder.close()

    def _unload(self, name: str) -> None:
        with contextlib.suppress(Refused):  # a server that was restarted has forgotten it already
            self._client.post("/v1/unload_lora_adapter", {"lora_name": name})


class _Versions:
    """Folders of versions below one folder: the newest, whole or not at all."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.absolute()

    def path(self, version: int) -> Path:
        return self._folder / f"v{version:06d}"

    def write(self, version: int, fill: Callable[[Path], None]) -> None:
        with replaced_folder(self.path(version), keep_existing=False) as partial:
            fill(partial)
        for other in self._folder.glob("v*"):
            if other != self.path(version):
                shutil.rmtree(other, ignore_errors=True)

    def close(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)


def model_names(client: ServerClient) -> list[str]:
    """What a server has models and adapters under."""
    return [str(card["id"]) for card in served_models(client)]


def served_models(client: ServerClient) -> list[dict[str, Any]]:
    """The cards of a server's models; the base model is the first.

    Raises:
        GenerationServerError: It is no server of models.
    """
    try:
        answer = client.get("/v1/models")
    except Refused as refused:
        raise GenerationServerError(f"expected a generation server such as vLLM at {client.url}: {refused}") from None
    cards = answer.get("data") if isinstance(answer, dict) else None
    if not isinstance(cards, list) or not cards or not all(isinstance(c, dict) and "id" in c for c in cards):
        raise GenerationServerError(f"{client.url}: expected a list of models at /v1/models, got {repr(answer)[:120]}")
    return cards


def require_routes(client: ServerClient) -> None:
    """Refuse a server that cannot be told to reload, or cannot say which weights it holds.

    Raises:
        GenerationServerError: It lacks a route.
    """
    if not client.has("/weight_info"):
        version = server_version(client)
        raise GenerationServerError(
            f"{client.url} (vLLM {version}) has no /weight_info, so that nobody could tell which weights it samples "
            "from: start it with the variable VLLM_SERVER_DEV_MODE=1; if that is set, it is a version of vLLM "
            "without that route: take 0.32.0"
        )


def server_version(client: ServerClient) -> str:
    """The version that a server names; ``unknown`` where it names none."""
    try:
        answer = client.get("/version")
    except Refused:
        return "unknown"
    return str(answer.get("version", "unknown")) if isinstance(answer, dict) else "unknown"


def empty_prefix_cache(client: ServerClient) -> None:
    """Have the server forget keys and values that older weights computed.

    Raises:
        GenerationServerError: It does not, in all tries.
    """
    for _ in range(_RESETS):
        answer = client.post("/reset_prefix_cache")
        if not isinstance(answer, dict) or answer.get("success", True):
            return
        time.sleep(_RESET_PAUSE)  # a request of somebody else still runs
    raise GenerationServerError(
        f"{client.url} does not empty its prefix cache, which older weights filled: requests of another client run on "
        "it. A run needs a server of its own"
    )
