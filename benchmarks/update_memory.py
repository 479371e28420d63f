"""Peak memory of one optimiser step on this machine: ``python -m benchmarks.update_memory [--lora] [options]``.

A model of SmolLM2-135M's shape with random weights learns from rows of random tokens, so nothing is downloaded. One
process measures one setting, because a peak of resident memory never falls. Prints one JSON line: GiB resident after
the model was built, at the peak of the step, and CPU-seconds of the step.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import time
from typing import Any

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from agents.base import View
from trainers.batch.row import ScoredRow
from trainers.config import SDARConfig
from trainers.engine.adapters import attach
from trainers.engine.single import SingleProcess, fitted
from trainers.engine.updater import Updater
from trainers.methods import METHODS, weigh

SHAPE = {
    "vocab_size": 49_152,
    "hidden_size": 576,
    "intermediate_size": 1_536,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "tie_word_embeddings": True,
}


def resident() -> float:
    """GiB resident now."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**30


def measure(rows: int, length: int, options: dict[str, Any]) -> dict[str, float]:
    """One optimiser step of grpo."""
    config = SDARConfig(method="grpo", beta=0.0, device="cpu", bf16=False, **options)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = LlamaForCausalLM(LlamaConfig(**SHAPE))
    if config.lora:
        attach(model, rank=config.lora_rank, alpha=config.alpha, targets=config.lora_targets, seed=0)
    engine = SingleProcess.of(config)
    config = fitted(config, model, engine.device)
    root = engine.prepare(model)
    updater = Updater(root, config, engine, pad_id=0)
    draw = np.random.default_rng(0)
    learned = length // 8
    made = [
        ScoredRow(
            index=index,
            student=View(draw.integers(0, SHAPE["vocab_size"], length).tolist(), list(range(length - learned, length))),
            behaviour_logprobs_T=[-10.0] * learned,
            turn_ids_T=[0] * learned,
            episode_id=index,
            group_id=0,
            invalid_T=[False] * learned,
        )
        for index in range(rows)
    ]
    plan = METHODS["grpo"].at(0, config)
    weighed = weigh(plan, made, {row.index: [1.0] * learned for row in made}, mask_truncated=False)
    built, start = resident(), time.process_time()
    updater.update(weighed, plan)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {
        "built_gib": round(built, 2),
        "peak_gib": round(peak, 2),
        "cpu_s": round(time.process_time() - start, 1),
        "micro_batch_tokens": config.micro_batch_tokens,
    }


def main() -> None:
    """Measure what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=8)
    parser.add_argument("--length", type=int, default=500)
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE")
    parser.add_argument("--lora", action="store_true")
    given = parser.parse_args()
    options: dict[str, Any] = dict(pair.split("=", 1) for pair in given.set)
    print(
        json.dumps(options | {"lora": given.lora} | measure(given.rows, given.length, {**options, "lora": given.lora}))
    )


if __name__ == "__main__":
    main()
