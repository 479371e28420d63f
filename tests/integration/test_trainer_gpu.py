"""The same trainer on a GPU: bfloat16 weights with float32 masters, recomputed activations, small differences."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from small_runs import make_trainer, weights

from trainers.run.directory import read_json_lines

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


def test_a_gpu_is_found_and_used_with_sixteen_bit_weights(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, method="sdar", beta=0.05, device="auto", bf16="auto", test_episodes=4)
    parameter = next(trainer.model.parameters())
    assert parameter.device.type == "cuda" and parameter.dtype == torch.bfloat16
    assert trainer.engine.gradient_checkpointing
    before = weights(trainer)
    summary = trainer.train()
    last = read_json_lines(tmp_path / "run" / "metrics.jsonl")[-1]
    assert summary["updates"] == 2 and last["updates_skipped"] == 0.0
    assert last["sampling/logp_diff_mean"] < 0.05
    assert math.isfinite(last["grad_norm"]) and 0.0 < last["distill/weight"] < 1.0
    assert any(not torch.equal(before[name], tensor) for name, tensor in weights(trainer).items())


def test_in_float32_the_samplers_log_probs_are_the_trainers_and_the_cpus(tmp_path: Path) -> None:
    on_gpu = make_trainer(tmp_path, method="sdar", device="cuda", bf16=False).iteration()
    on_cpu = make_trainer(tmp_path, method="sdar", device="cpu").iteration()
    assert on_gpu["sampling/logp_diff_max"] < 1e-3
    assert on_gpu["distill/weight"] == pytest.approx(on_cpu["distill/weight"], abs=0.02)


def test_a_run_resumes_on_a_gpu(tmp_path: Path) -> None:
    make_trainer(tmp_path, method="grpo", device="cuda", bf16=True, max_steps=2).train()
    longer = make_trainer(tmp_path, method="grpo", device="cuda", bf16=True, max_steps=3)
    assert longer.train(resume_from_checkpoint=True)["steps"] == 3


@pytest.mark.parametrize("top_k", [0, 4])
def test_whole_distributions_wait_in_host_memory_and_are_compared_on_the_gpu(tmp_path: Path, top_k: int) -> None:
    options = {"method": "grpo+full", "divergence_top_k": top_k, "num_mini_batches": 2}
    on_gpu = make_trainer(tmp_path, device="cuda", bf16=False, **options).iteration()
    on_cpu = make_trainer(tmp_path, device="cpu", **options).iteration()
    assert on_gpu["distill/divergence"] == pytest.approx(on_cpu["distill/divergence"], abs=0.02)
    in_bf16 = make_trainer(tmp_path, device="cuda", bf16=True, **options).iteration()
    assert math.isfinite(in_bf16["grad_norm"]) and in_bf16["distill/divergence"] > 0
