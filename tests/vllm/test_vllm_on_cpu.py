"""Real vLLM on the CPU as the generation server of runs: log-probs are the trainer's after every change of weights."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from real_server import VllmProcess

from agents.sampling.base import SampleRequest
from agents.sampling.vllm.sampler import VllmSampler
from sdar_envs.demonstrations import script_of
from trainers.config import SDARConfig
from trainers.run.directory import read_json_lines
from trainers.trainer import SDARTrainer
from trainers.warm_start.tiny_model import TinyModelConfig, build_model, build_tokenizer, save_model

pytestmark = pytest.mark.vllm
ENVIRONMENT = os.environ.get("SDAR_VLLM")
ENV_ID = "sdar/Household-v0"
Serve = Callable[..., VllmProcess]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model of the shape that the warm start trains, its head tied to the embeddings."""
    folder = tmp_path_factory.mktemp("model")
    tokenizer = build_tokenizer(list(script_of(ENV_ID).texts()), 400)
    save_model(build_model(tokenizer, TinyModelConfig(), seed=0), tokenizer, folder)
    return folder


@pytest.fixture
def serve(model: Path, tmp_path: Path) -> Iterator[Serve]:
    if ENVIRONMENT is None:
        pytest.skip("SDAR_VLLM names no environment with vLLM: tests/vllm/make_environment.sh makes one")
    started: list[VllmProcess] = []

    def start(*flags: str) -> VllmProcess:
        started.append(VllmProcess(Path(ENVIRONMENT or ""), model, tmp_path / "vllm.log", list(flags)).start())
        return started[-1]

    yield start
    for process in started:
        process.stop()


def trainer_on(server: VllmProcess, model: Path, folder: Path, **changes: Any) -> SDARTrainer:
    options: dict[str, Any] = {
        "output_dir": str(folder),
        "rollout": "vllm",
        "vllm_url": server.url,
        "vllm_wait": 600.0,
        "env_kwargs": {"size": "small", "horizon": 3},
        "prompt_style": "compact",
        "max_steps": 2,
        "tasks_per_step": 2,
        "num_generations": 4,
        "max_completion_length": 8,
        "max_prompt_length": 700,
        "teacher_budget": 200,
        "learning_rate": 1e-3,
        "eval_steps": 0,
        "eval_episodes": 2,
        "test_episodes": 0,
        "save_steps": 0,
        "device": "cpu",
        "bf16": False,
    }
    return SDARTrainer(str(model), ENV_ID, SDARConfig(**{**options, **changes}))


def require_agreement(folder: Path, iterations: int) -> None:
    """Every iteration's tokens, and the server after every update, within 1e-4 nats of the trainer."""
    lines = [line for line in read_json_lines(folder / "metrics.jsonl") if "loss" in line]
    assert len(lines) == iterations
    for line in lines:
        assert line["tokens/sampled"] > 0
        assert line["sampling/logp_diff_max"] < 1e-4
        assert line["server/logp_diff_max"] < 1e-4


def test_runs_of_whole_weights_and_a_server_that_is_killed(serve: Serve, model: Path, tmp_path: Path) -> None:
    server = serve("--max-logprobs", "-1")
    for method in ("grpo", "sdar"):
        trainer_on(server, model, tmp_path / method, method=method).train()
        require_agreement(tmp_path / method, 2)
        entropies = [line.get("sampling/entropy") for line in read_json_lines(tmp_path / method / "metrics.jsonl")]
        assert all(value is not None and value > 0.0 for value in entropies if value is not None) and any(entropies)

    # Killed with its workers between two calls, it comes back with the weights that it was started with.
    trainer = trainer_on(server, model, tmp_path / "killed", method="grpo")
    trainer._sync_sampler(0)
    sampler = trainer.policies.sampler
    assert isinstance(sampler, VllmSampler)
    asked = [SampleRequest(slot, [20, 21, 22], False, ("killed", slot), 1.0) for slot in range(6)]
    before = sampler.sample(asked)
    server.kill()
    server.start(wait=False)
    after = sampler.sample(asked)
    assert sampler.restored == 1
    for one, other in zip(before, after, strict=True):
        assert one.ids == other.ids and one.logprobs == pytest.approx(other.logprobs, abs=1e-4)
    sampler.close()


def test_a_run_of_adapters(serve: Serve, model: Path, tmp_path: Path) -> None:
    pytest.importorskip("peft")
    server = serve("--enable-lora", "--max-lora-rank", "16")
    trainer_on(server, model, tmp_path / "lora", method="sdar", lora=True, lora_rank=8, learning_rate=1e-2).train()
    require_agreement(tmp_path / "lora", 2)
