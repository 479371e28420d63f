"""The checks of `sdar doctor`: each is a function that returns what it found, and raises where something is broken.

A model with random weights and a small environment stand for the real ones, so that nothing is downloaded and the
whole takes a quarter of a minute on two free cores. Not here: how they are shown (`doctor`).
"""

from __future__ import annotations

import math
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from .doctor_answers import Answer, Failed, Skipped, Subject
from .doctor_server import check_server

ENV_ID = "sdar/Household-v0"
# A small decoder: large enough that what it takes stands out of what a process takes anyway.
SHAPE: dict[str, Any] = {
    "model_type": "qwen2",
    "hidden_size": 384,
    "intermediate_size": 1024,
    "num_hidden_layers": 6,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "vocab_size": 16_000,
    "tie_word_embeddings": True,
    "max_position_embeddings": 2048,
}
PACKAGES = ("torch", "transformers", "tokenizers", "safetensors", "gymnasium", "numpy", "textworld", "faiss-cpu")
# Extra -> the package that it brings; without it one thing is missing, and the rest works.
EXTRAS = {
    "lora": "peft",
    "adam8bit": "torchao",
    "parquet": "pyarrow",
    "web": "starlette",
    "report": "matplotlib",
    "tensorboard": "tensorboard",
    "reference": "alfworld",
    "spacy": "spacy",
}
FREE_DISK = 20 * 2**30  # below it a warning: a checkpoint of a 3B run with its optimiser is 40 GB
LOGPROB_TOLERANCE = 1e-3  # nats, float32 on both
MEMORY_TOLERANCE = 0.25  # of the estimate, for a model that is small beside its process
# Of `check_decode` on a CPU: two free cores gave 247 tokens/s, and a fifth of that is other work, or a slow machine.
SLOW_TOKENS = 50
THREADS_MATTER = 2.0  # by how much one thread has to be faster than all for advice


def check_machine(subject: Subject) -> Answer:
    """Processor, memory, GPU, driver."""
    import torch

    from ..engine.hardware import gib, host_bytes, processor_name
    from ..engine.single import choose_device

    values: dict[str, Any] = {
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "processor": processor_name(),
        "cores": os.cpu_count(),
        "host_bytes": host_bytes(),
        "cuda": torch.version.cuda,
        "driver": _driver(),
        "gpus": [
            {"name": (found := torch.cuda.get_device_properties(number)).name, "bytes": found.total_memory}
            for number in range(torch.cuda.device_count())
        ],
    }
    try:
        choose_device(subject.device)
    except ValueError as error:
        raise Failed(str(error), "name a device that torch sees, or leave --device at auto") from None
    if values["driver"] and not values["gpus"]:
        build = "a build of torch for CUDA" if torch.version.cuda is None else "a driver that fits torch's CUDA"
        raise Failed(
            f"the driver {values['driver']} is there, and torch {torch.__version__} sees no GPU",
            f"install {build}: see pytorch.org for the command",
        )
    cards = ", ".join(f"{card['name']} ({gib(card['bytes'])})" for card in values["gpus"]) or "no GPU"
    line = f"{values['processor']}, {values['cores']} cores, {gib(values['host_bytes'])}; {cards}"
    return Answer(line + (f", driver {values['driver']}" if values["driver"] else ""), values)


def _driver() -> str | None:
    """The version of the NVIDIA driver; None without one."""
    words = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        asked = subprocess.run(words, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return asked.stdout.splitlines()[0].strip() if asked.stdout.strip() else None


def check_versions(subject: Subject) -> Answer:
    """Versions of what a result depends on, and which extras are there."""
    import sdar_envs

    found = {"sdar-gym": sdar_envs.__version__, **{name: _version(name) for name in PACKAGES}}
    extras = {extra: _version(package) for extra, package in EXTRAS.items()}
    extras["flash-attn"], extras["vllm"] = _version("flash-attn"), _version("vllm")
    there = ", ".join(name for name, known in extras.items() if known) or "none"
    line = f"torch {found['torch']}, transformers {found['transformers']}; extras: {there}"
    return Answer(line, {"packages": found, "extras": extras})


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def check_disk(subject: Subject) -> Answer:
    """Room for checkpoints and the cache."""
    from sdar_envs.cache import cache_folder

    from ..engine.hardware import gib

    free = {}
    for name, place in (("runs", subject.output_dir), ("cache", cache_folder()), ("temporary", tempfile.gettempdir())):
        there = next(path for path in (Path(place).resolve(), *Path(place).resolve().parents) if path.exists())
        free[name] = shutil.disk_usage(there).free
        if not os.access(there, os.W_OK):
            raise Failed(
                f"nothing may be written in the folder for {name}", "choose another --output-dir, or its rights"
            )
    if free["runs"] < 2**30:
        raise Failed(f"{gib(free['runs'])} are free for runs", "free some space, or choose another --output-dir")
    small = " (little: a checkpoint of a 3B run with its optimiser is 40 GB)" if free["runs"] < FREE_DISK else ""
    return Answer(", ".join(f"{name} {gib(size)} free" for name, size in free.items()) + small, free)


def check_data(subject: Subject) -> Answer:
    """Which published data the environment variables name, and how much of it there is."""
    from sdar_envs.official_sources import data_sets, look, places

    values: dict[str, Any] = {}
    for name, data in data_sets().items():
        found = [each for folder in places(data) for each in look(data, folder)]
        values[name] = {each.what: {"count": each.count, "of": each.expected} for each in found}
    if not any(values.values()):
        raise Skipped("none is named by $ALFWORLD_DATA or $SDAR_OFFICIAL_DATA: generated worlds need none")
    parts = [
        f"{name}: " + ", ".join(f"{what} {own['count']}" for what, own in found.items() if own["count"] is not None)
        for name, found in values.items()
        if found
    ]
    return Answer("; ".join(parts), values)


def check_threads(subject: Subject) -> Answer:
    """Whether torch's threads wait for one another; where they do, the checks that follow compute with one."""
    import torch

    from ..engine.single import choose_device
    from .threads import CHOICES, set_threads

    threads = torch.get_num_threads()
    if choose_device(subject.device).type != "cpu":
        raise Skipped("a GPU computes")
    if chosen := [name for name in CHOICES if os.environ.get(name)]:
        raise Skipped(f"{threads}, chosen by {chosen[0]}")
    if threads == 1:
        raise Skipped("there is one")
    rates = {number: _products_per_second(number) for number in (1, threads)}
    values = {"threads": threads, "products_per_second": {str(number): rate for number, rate in rates.items()}}
    line = f"{rates[1]:,.0f} small products/s with one thread, {rates[threads]:,.0f} with {threads}"
    if rates[1] < THREADS_MATTER * rates[threads]:
        return Answer(line, values)
    set_threads(1)
    return Answer(
        line,
        values,
        f"other work has the cores, and {threads} threads wait for one another: set {CHOICES[0]}=1 (commands do so "
        "themselves where a model is tiny). The checks below compute with one",
    )


def _products_per_second(threads: int, least_seconds: float = 0.3) -> float:
    """Products of small matrices, as a tiny model's are, with a number of threads; that is put back."""
    import time

    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        left, right = torch.ones(16, 384), torch.ones(384, 1024)
        left @ right
        done, start = 0, time.perf_counter()
        while (seconds := time.perf_counter() - start) < least_seconds or done == 0:
            left @ right
            done += 1
        return done / seconds
    finally:
        torch.set_num_threads(before)


def small_model(device: Any, dtype: Any) -> tuple[Any, Any]:
    """The model that stands for the real one, drawn on the CPU so that every device gets the same."""
    import torch

    from ..warm_start.random_model import random_model

    model, tokenizer = random_model(SHAPE, ENV_ID, dtype=torch.float32)
    return model.to(device=device, dtype=dtype).eval(), tokenizer


def check_logprobs(subject: Subject) -> Answer:
    """The same log-probs on the GPU as on the CPU, in float32; and how far bfloat16 is from them."""
    import torch

    from agents.base import View

    from ..engine.single import choose_device
    from ..forward.passes import score_rows
    from ..forward.root import PolicyModel

    device = choose_device(subject.device)
    if device.type != "cuda":
        raise Skipped("there is no GPU to compare with the CPU")
    views = [View([(7 * i + row) % 900 for i in range(length)], list(range(8, length))) for row, length in
             enumerate((40, 64, 23, 57))]  # fmt: skip
    found = {}
    for name, place, dtype in (
        ("cpu", torch.device("cpu"), torch.float32),
        ("gpu", device, torch.float32),
        ("gpu_bf16", device, torch.bfloat16),
    ):
        root = PolicyModel(small_model(place, dtype)[0])
        rows = score_rows(root, views, temperature=1.0, pad_id=0, token_budget=4096)
        found[name] = torch.tensor([value for row in rows for value in row])
    exact = float((found["gpu"] - found["cpu"]).abs().max())
    rounded = float((found["gpu_bf16"] - found["cpu"]).abs().mean())
    values = {"float32_max": exact, "bfloat16_mean": rounded}
    if not exact < LOGPROB_TOLERANCE:
        raise Failed(
            f"log-probs of GPU and CPU differ by {exact:.2g} nats in float32, expected below {LOGPROB_TOLERANCE:g}",
            "update the driver and torch; until then train with --device cpu, or trust no ratio",
        )
    return Answer(
        f"GPU and CPU differ by {exact:.1e} nats at most in float32, {rounded:.1e} on average in bf16", values
    )


def check_decode(subject: Subject) -> Answer:
    """The batch sampler, greedy, gives what transformers' own ``generate`` gives for each prompt alone."""
    import time

    import torch

    from agents.sampling.base import SampleRequest
    from agents.sampling.local import BatchSampler

    from ..engine.single import choose_device

    device = choose_device(subject.device)
    model, _ = small_model(device, torch.float32)
    prompts = [[1 + (5 * i + row) % 900 for i in range(length)] for row, length in enumerate((12, 30, 21))]
    new = 12
    sampler = BatchSampler(model, end_ids=[], pad_id=0, temperature=0.0, max_completion_length=new, max_context=128)
    start = time.perf_counter()
    samples = sampler.sample(
        [SampleRequest(slot, prompt, False, ("doctor", slot, 0)) for slot, prompt in enumerate(prompts)]
    )
    seconds = time.perf_counter() - start
    for prompt, sample in zip(prompts, samples, strict=True):
        ids = torch.tensor([prompt], device=device)
        whole = model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=new, do_sample=False, eos_token_id=None,
            pad_token_id=0,
        )  # fmt: skip
        expected = whole[0, len(prompt) :].tolist()
        if list(sample.ids) != expected:
            raise Failed(
                f"the sampler's greedy answer {list(sample.ids)} is not that of generate, {expected}",
                "report it with this JSON; --attn-implementation eager may be right meanwhile",
            )
    rate = len(prompts) * new / seconds
    advice = ""
    if device.type == "cpu" and rate < SLOW_TOKENS:
        advice = (
            f"that is slow: two free cores give some 250 tokens/s, and runs here take {250 / rate:.0f} times as long; "
            "look whether other work has the cores (`top`), and let it end first"
        )
    return Answer(
        f"{len(prompts)} greedy answers equal those of generate ({rate:.0f} tokens/s)",
        {"tokens_per_second": rate},
        advice,
    )


def check_update(subject: Subject) -> Answer:
    """One iteration of SDAR from rollout to update: finite, with the sampler's log-probs those of the trainer."""
    import torch

    from ..config import SDARConfig
    from ..trainer import SDARTrainer
    from ..warm_start.random_model import random_model

    model, tokenizer = random_model(SHAPE, ENV_ID)
    with tempfile.TemporaryDirectory() as folder:
        config = SDARConfig(
            output_dir=str(Path(folder) / "run"),
            method="sdar",
            device=subject.device,
            tasks_per_step=1,
            num_generations=2,
            max_turns=2,
            max_prompt_length=1200,
            max_completion_length=8,
            prompt_style="compact",
            learning_rate=1e-3,
            max_steps=1,
            test_episodes=0,
            env_kwargs={"size": "small"},
        )
        trainer = SDARTrainer(model, ENV_ID, config, processing_class=tokenizer)
        before = [parameter.detach().clone() for parameter in trainer.model.parameters()]
        metrics = trainer.iteration()
        trainer.collector.close()
        moved = any(not torch.equal(old, new) for old, new in zip(before, trainer.model.parameters(), strict=True))
    apart, norm = metrics["sampling/logp_diff_mean"], metrics["grad_norm"]
    values = {"logp_diff_mean": apart, "grad_norm": norm, "seconds": metrics["seconds/update"]}
    if not math.isfinite(norm) or metrics["updates_skipped"]:
        raise Failed(f"the gradient norm of one update is {norm}", "report it with this JSON; try --no-bf16")
    if not moved:
        raise Failed("an update changed no parameter", "report it with this JSON")
    if apart > 0.1:
        raise Failed(
            f"sampler and trainer differ by {apart:.3f} nats a token on a fresh model",
            "use the same precision in both (--no-bf16), and report it with this JSON",
        )
    return Answer(
        f"one iteration of sdar: gradient norm {norm:.3g}, sampler and trainer {apart:.1e} nats apart", values
    )


def check_memory(subject: Subject) -> Answer:
    """The peak of an optimiser step against the estimate of `sdar memory`, on this device."""
    from ..engine.hardware import gib
    from .doctor_memory import measured_step

    measured, estimated = measured_step(subject.device, SHAPE, ENV_ID)
    off = measured / estimated - 1
    values = {"measured_bytes": measured, "estimated_bytes": estimated}
    if off > MEMORY_TOLERANCE:
        raise Failed(
            f"an optimiser step took {gib(measured)}, and {gib(estimated)} were computed ({off:+.0%})",
            "leave that much more room than `sdar memory` says, and report it with this JSON",
        )
    return Answer(f"an optimiser step took {gib(measured)}, computed {gib(estimated)} ({off:+.0%})", values)


# name -> check, in the order in which they are made: what is cheap and explains the rest comes first.
CHECKS: dict[str, Callable[[Subject], Answer]] = {
    "machine": check_machine,
    "versions": check_versions,
    "disk": check_disk,
    "published data": check_data,
    "threads": check_threads,
    "memory": check_memory,  # before the others, whose memory it would find free and use again
    "log-probs, CPU and GPU": check_logprobs,
    "decoding": check_decode,
    "update": check_update,
    "generation server": check_server,
}
