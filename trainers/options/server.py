"""Options of the sampler: in this process, or a generation server."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from agents.sampling.vllm.client import parse_url

from .option import OptionGroup, option
from .reading import ON_ONE_CARD, SERVER

_option = partial(option, group="sampler")

ROLLOUTS = ("local", "vllm")
TRANSPORTS = ("auto", "adapter", "reload", "nccl")


@dataclass(frozen=True, kw_only=True)
class ServerOptions(OptionGroup):
    """Who samples, and how a generation server is reached and kept in step."""

    rollout: str = _option(
        "local",
        "what samples: the model in this process, or a vLLM server that is sent its weights (docs/vllm.md)",
        choices=ROLLOUTS,
        omit_at_default=True,
    )
    vllm_url: str = _option("http://127.0.0.1:8000", "address of the server", maths=False, read=(SERVER,))
    vllm_weights: str = _option(
        "auto",
        "how weights come to it: a LoRA adapter, a checkpoint that it reloads, or tensors over NCCL; auto is adapter "
        "with lora, else reload",
        choices=TRANSPORTS,
        maths=False,
        read=(SERVER,),
    )
    vllm_folder: str | None = _option(
        None,
        "folder for those weights, which the server must see under the same name; none is one in output_dir",
        maths=False,
        read=(SERVER,),
    )
    vllm_colocate: bool = _option(
        False,
        "server and trainer share one card: the server sleeps while the trainer computes",
        maths=False,
        read=(SERVER,),
    )
    vllm_memory_share: float = _option(
        0.4,
        "share of the card's memory that a colocated server keeps (its --gpu-memory-utilization); the trainer takes at "
        "most the rest while the server is awake",
        above=0.0,
        high=0.95,
        maths=False,
        read=(SERVER, ON_ONE_CARD),
    )
    vllm_concurrency: int = _option(64, "requests to the server at once", low=1, maths=False, read=(SERVER,))
    vllm_timeout: float = _option(
        300.0, "seconds for an answer of the server at most", above=0.0, maths=False, read=(SERVER,)
    )
    vllm_tries: int = _option(
        3, "times that a request is sent to the server at most", low=1, maths=False, read=(SERVER,)
    )
    vllm_wait: float = _option(
        300.0, "seconds that a server which was lost is waited for at most", low=0.0, maths=False, read=(SERVER,)
    )
    vllm_tolerance: float | None = _option(
        None,
        "nats per token that server and trainer may differ by, on average over a probe; none is .001 in float32 and "
        ".1 in 16 bits",
        above=0.0,
        maths=False,
        read=(SERVER,),
    )

    def check(self) -> None:
        """Refuse an address that is none."""
        super().check()
        if self.rollout == "vllm":
            parse_url(self.vllm_url)
