"""The drill for a GPU: correctness, decoding, updates, whole iterations and memory, with random weights.

    python -m benchmarks.gpu [--shape qwen2.5-3b] [--json] > drill.json
    python -m benchmarks.gpu --device cpu --shape tiny          every part on a CPU, in minutes
    sdar memory --model Qwen/Qwen2.5-3B-Instruct --rates drill.json

Each part takes less than ten minutes; one that fails is reported, and the others are made. Nothing is downloaded. Not
in it: a comparison with TRL and vLLM, which need packages of their own (`benchmarks.peer`).
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from typing import Any

import torch

from trainers.engine.model_shape import built_in_shapes
from trainers.engine.run_time import Rates
from trainers.engine.single import choose_device

from ..measure import emit, parser, table
from . import correctness, decoding, iteration, updating
from .machine import Device, peaks

PARTS = ("machine", "correctness", "decoding", "update", "adapters", "iteration")
# What each part does, by whether it is a real card or the trial on a CPU.
CARD: dict[str, Any] = {
    "peaks": {"size": 8192, "megabytes": 4096},
    "decoding": {"rows": (1, 32, 128), "prompt": 1024, "new": 32},
    "update": {"rows": 32, "row": 2048, "sampled": 512, "micro": 16384},
    "iteration": {
        "tasks_per_step": 16,
        "num_generations": 8,
        "max_turns": 50,
        "max_prompt_length": 2048,
        "max_completion_length": 64,
    },
}
TRIAL: dict[str, Any] = {
    "peaks": {"size": 512, "megabytes": 64},
    "decoding": {"rows": (1, 4), "prompt": 64, "new": 8},
    "update": {"rows": 4, "row": 96, "sampled": 32, "micro": 256},
    "iteration": {
        "tasks_per_step": 1,
        "num_generations": 2,
        "max_turns": 2,
        "max_prompt_length": 900,
        "max_completion_length": 8,
        "prompt_style": "compact",
        "env_kwargs": {"size": "small"},
    },
}


def drill(shape: str, device: Device, parts: list[str], sizes: dict[str, Any]) -> dict[str, Any]:
    """All parts that are asked for; each reads what those before it measured."""
    found: dict[str, Any] = {"card": device.name, "shape": shape, "precision": str(device.dtype).removeprefix("torch.")}
    failures: dict[str, str] = {}
    seconds: dict[str, float] = {}

    def part(name: str, work: Callable[[], dict[str, Any]]) -> None:
        if name not in parts:
            return
        start = time.perf_counter()
        try:
            found[name] = work()
        except Exception as error:  # the others must be made all the same
            failures[name] = f"{type(error).__name__}: {error}"
        seconds[name] = round(time.perf_counter() - start, 1)
        gc.collect()
        if device.on_gpu:
            torch.cuda.empty_cache()

    def update(lora: bool) -> dict[str, Any]:
        fastest = found["machine"]["matmul_flops"]
        return updating.measure(shape, device, matmul_flops=fastest, lora=lora, **sizes["update"])

    def iterate() -> dict[str, Any]:
        fastest = found["machine"]["matmul_flops"]
        return iteration.measure(
            shape,
            device,
            methods=("grpo", "sdar"),
            sizes=sizes["iteration"],
            rates=Rates.of(rates_of(found), "the drill"),
            matmul_flops=fastest,
        )

    part("machine", lambda: peaks(device, **sizes["peaks"]))
    part("correctness", lambda: correctness.measure(shape, device))
    part(
        "decoding",
        lambda: decoding.measure(shape, device, read_bytes=found["machine"]["read_bytes"], **sizes["decoding"]),
    )
    part("update", lambda: update(False))
    part("adapters", lambda: update(True))
    if {"decoding", "update"} <= found.keys():
        found["rates"] = rates_of(found)
    part("iteration", iterate)
    return {**found, "failures": failures, "seconds": seconds}


def rates_of(found: dict[str, Any]) -> dict[str, Any]:
    """The rates that `sdar memory --rates` reads."""
    read, computing = decoding.rates(found["decoding"])
    return {
        "card": found["card"],
        "forward_flops": found["update"]["forward_flops"],
        "update_flops": found["update"]["update_flops"],
        "decode_flops": computing,
        "read_bytes": read,
        "bytes": 2 if found["precision"] == "bfloat16" else 4,
    }


def tables(found: dict[str, Any]) -> list[str]:
    """The figures as text."""
    shown = [f"{found['card']}, {found['shape']} in {found['precision']}"]
    if "correctness" in found:
        shown.append(table(["nats", "value"], [[name, f"{value:.1e}"] for name, value in found["correctness"].items()]))
    if "decoding" in found:
        rows = [
            [int(count), own["tokens_per_second"], own["share_of_bandwidth_bound"], own["prefill_tokens_per_second"]]
            for count, own in found["decoding"].items()
        ]
        shown.append(table(["rows", "decoded tokens/s", "of the bandwidth bound", "prompt tokens/s"], rows))
    rows = [
        [
            name,
            found[name]["update_tokens_per_second"],
            found[name]["update_mfu"],
            found[name]["peak_bytes"] / 1e9,
            found[name]["computed_bytes"] / 1e9,
        ]
        for name in ("update", "adapters")
        if name in found
    ]
    if rows:
        shown.append(table(["step", "tokens/s", "MFU", "peak GB", "computed GB"], rows))
    if "iteration" in found:
        own = found["iteration"]
        rows = [
            [name, each["seconds"], each["computed_seconds"], each["mfu"], each["peak_bytes"] / 1e9,
             each["computed_bytes"] / 1e9, own["over_first"][name]]
            for name, each in own["methods"].items()
        ]  # fmt: skip
        headers = ["iteration", "seconds", "computed s at most", "MFU", "peak GB", "computed GB at most", "over grpo"]
        shown.append(table(headers, rows))
    shown += [f"FAILED {name}: {message}" for name, message in found["failures"].items()]
    return shown


def main() -> int:
    """Measure and print; status 1 when a part failed."""
    options = parser("gpu", str(__doc__).partition("\n")[0], repeats=1)
    options.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:0, ...")
    options.add_argument("--shape", default="qwen2.5-3b", choices=["tiny", *built_in_shapes()])
    options.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    chosen = options.parse_args()
    torch.set_num_threads(chosen.threads)
    place = choose_device(chosen.device)
    device = Device(place, torch.bfloat16 if place.type == "cuda" else torch.float32)
    found = drill(chosen.shape, device, chosen.parts, CARD if device.on_gpu else TRIAL)
    emit("gpu", found, tables(found), as_json=chosen.json)
    return 1 if found["failures"] else 0


if __name__ == "__main__":
    raise SystemExit(main())
