"""The generation server of a run: the sampler that asks it, and what an iteration tells and learns of it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agents.sampling.base import Sampler
from agents.sampling.vllm.client import GenerationServerError, ServerClient
from agents.sampling.vllm.nccl import DirectTransfer
from agents.sampling.vllm.sampler import VllmSampler
from agents.sampling.vllm.weights import AdapterLoad, CheckpointReload, WeightTransport, require_routes, served_models

from ..engine.adapters import adapted_layers, save_adapter, save_merged
from ..engine.processes import Place, ProcessesError
from ..engine.single import quiet_transformers
from ..options import Options

FOLDER = "server_weights"  # below output_dir

logger = logging.getLogger(__name__)


def make_server_sampler(
    model: Any, tokenizer: Any, options: Options, *, end_ids: Sequence[int], max_context: int
) -> VllmSampler:
    """The sampler of ``rollout=vllm``; the server is compared with the model's tokenizer here.

    Args:
        model: The model that is trained, prepared by the engine.
        tokenizer: Its tokenizer.
        options: Address, ways and limits.
        end_ids: Ids that end a completion.
        max_context: Tokens per episode at most, prompt and completion.

    Raises:
        GenerationServerError: The server does not answer, is another model's, or lacks what is needed.
        ValueError: Adapters are to be sent of a model that has none.
    """
    client = make_client(options)
    client.require_answer()
    if options.vllm_colocate:
        _bound_memory(model, options.vllm_memory_share)
    return VllmSampler(
        client,
        make_transport(client, model, options),
        encode=lambda text: list(tokenizer.encode(text, add_special_tokens=False)),
        vocabulary=int(model.config.get_text_config().vocab_size),
        end_ids=end_ids,
        max_completion_length=options.max_completion_length,
        max_context=max_context,
        concurrency=options.vllm_concurrency,
        tolerance=options.vllm_tolerance,
        sleeps=options.vllm_colocate,
        before_waking=_free_cached_memory if options.vllm_colocate else None,
    )


def make_client(options: Options) -> ServerClient:
    """The client of a run's server; nobody is asked yet."""
    return ServerClient(
        own_url(options, Place.of()),
        timeout=options.vllm_timeout,
        tries=options.vllm_tries,
        wait=options.vllm_wait,
        say=logger.warning,
    )


def own_url(options: Options, place: Place | None) -> str:
    """The address of this process's server: ``{rank}`` in ``vllm_url`` is its number.

    Args:
        options: The address.
        place: Of this process among several; None where it is alone.

    Raises:
        ProcessesError: Several processes would send their weights to one server.
    """
    if place is None:
        return options.vllm_url
    if "{rank}" not in options.vllm_url:
        raise ProcessesError(
            f"rollout=vllm with {place.world_size} processes: each keeps a server of its own in step, and vllm_url is "
            f"{options.vllm_url!r} for all: expected an address with {{rank}} in it, such as http://gpu-server:80{{rank}}"
        )
    return options.vllm_url.replace("{rank}", str(place.rank))


def make_transport(client: ServerClient, model: Any, options: Options) -> WeightTransport:
    """How weights come to the server.

    Raises:
        GenerationServerError: The server names no model.
        ValueError: Adapters are to be sent of a model that has none, or whole weights over NCCL of one that has.
    """
    served = str(served_models(client)[0]["id"])
    folder = Path(options.output_dir) / FOLDER if options.vllm_folder is None else Path(options.vllm_folder)
    if (place := Place.of()) is not None:
        folder = folder / f"rank-{place.rank}"
    way = options.vllm_weights
    if way == "auto":
        way = "adapter" if has_adapters(model) else "reload"
    if way == "nccl":
        if has_adapters(model):
            raise ValueError("vllm_weights=nccl sends whole weights, and with lora only adapters change: take adapter")
        return DirectTransfer(client, served, timeout=options.vllm_timeout)
    if way == "reload":
        return CheckpointReload(client, served, folder, save_whole)
    if not has_adapters(model):
        raise ValueError("vllm_weights=adapter sends LoRA adapters, and the model has none: set lora, or send reload")
    return AdapterLoad(client, served, folder, save_adapters)


def require_server(options: Options) -> None:
    """Refuse a run whose server does not answer or cannot be kept in step, before anything long begins.

    Raises:
        GenerationServerError: The message names the remedy.
    """
    if options.rollout != "vllm":
        return
    client = make_client(options)
    try:
        client.require_answer()
        served_models(client)
        if options.vllm_weights in ("reload", "nccl"):
            require_routes(client)
    finally:
        client.close()


def has_adapters(model: Any) -> bool:
    """Whether a model has LoRA adapters."""
    return bool(adapted_layers(model))


def save_whole(model: Any, folder: Path) -> None:
    """Write all weights of a model as a server reads them, adapters merged in."""
    with quiet_transformers():
        if has_adapters(model):
            save_merged(model, folder)
        else:
            model.save_pretrained(folder)


def save_adapters(model: Any, folder: Path) -> None:
    """Write the adapters of a model as a server reads them; what base model it serves is compared by a probe."""
    save_adapter(model, folder, base={"model": str(getattr(model, "name_or_path", "")), "fingerprint": ""})


def confirm(sampler: Sampler) -> None:
    """See that a server still holds the weights that the episodes were sampled with, before they are learned from.

    Raises:
        GenerationServerError: It does not.
    """
    if isinstance(sampler, VllmSampler):
        sampler.confirm()


def rest(sampler: Sampler) -> None:
    """Tell a sampler on the trainer's card that nothing is sampled until the next weights come."""
    if isinstance(sampler, VllmSampler):
        sampler.rest()


def close(sampler: Sampler) -> None:
    """Give back what a sampler holds outside of this process."""
    if isinstance(sampler, VllmSampler):
        sampler.close()


def server_metrics(sampler: Sampler) -> dict[str, float]:
    """How the weights came to the server after an update; nothing for other samplers."""
    if not isinstance(sampler, VllmSampler) or sampler.last_sync is None:
        return {}
    return {
        "server/logp_diff_mean": sampler.last_sync.apart.mean,
        "server/logp_diff_max": sampler.last_sync.apart.largest,
        "server/weights_lost": float(sampler.restored),
        "seconds/weights": sampler.last_sync.seconds,
    }


def require_version(sampler: Sampler, version: int) -> None:
    """Refuse to go on where a server samples from other weights than the iteration's.

    Raises:
        GenerationServerError: It does.
    """
    if isinstance(sampler, VllmSampler) and sampler.version != version:
        raise GenerationServerError(
            f"the generation server holds the weights of version {sampler.version}, and iteration {version} learns "
            "from samples of its own: sync_weights comes first"
        )


def _bound_memory(model: Any, share: float) -> None:
    """Leave the server its share of the card."""
    import torch

    device = next(model.parameters()).device
    if device.type == "cuda":
        torch.cuda.set_per_process_memory_fraction(1.0 - share, device)


def _free_cached_memory() -> None:
    """Give back what torch keeps of the card for later, so that the server finds room when it wakes."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()
