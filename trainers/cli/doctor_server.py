"""The check of `sdar doctor` that asks a generation server, and sends it weights."""

from __future__ import annotations

import json
import tempfile
import urllib.request
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from .doctor_answers import Answer, Failed, Skipped, Subject


def check_server(subject: Subject) -> Answer:
    """A generation server: that it answers, and with which version."""
    if subject.vllm_url is None:
        installed = _installed("vllm")
        raise Skipped(
            "no server is named (--vllm-url)" + (f"; vllm {installed} is installed" if installed else "; not installed")
        )
    values = {}
    for name, path in (("version", "/version"), ("models", "/v1/models")):
        try:
            with urllib.request.urlopen(subject.vllm_url.rstrip("/") + path, timeout=10) as answer:
                values[name] = json.loads(answer.read(1 << 20))
        except (OSError, ValueError) as error:
            raise Failed(
                f"{subject.vllm_url}{path} does not answer as vLLM does ({error})",
                "start the server, or leave --vllm-url out",
            ) from None
    served = [str(model.get("id")) for model in values["models"].get("data", [])]
    line = f"vLLM {values['version'].get('version')} serves {', '.join(served) or 'nothing'}"
    if subject.model is None:
        return Answer(line + "; no weights were sent (--model names the model that it serves)", values)
    report = _send_weights(subject)
    return Answer(
        f"{line}; weights sent in {report.seconds:.1f} s, log-probs {report.apart.mean:.1e} nats apart",
        {**values, "sync_seconds": report.seconds, "apart_mean": report.apart.mean},
    )


def _send_weights(subject: Subject) -> Any:
    """Send the model's weights to the server, which must then give the trainer's log-probs."""
    from agents.chat import end_ids
    from agents.rendering import ChatRenderer
    from agents.sampling.vllm.client import GenerationServerError

    from ..config import SDARConfig
    from ..engine.single import SingleProcess, load_model
    from ..rollout.generation_server import make_server_sampler

    assert subject.model is not None and subject.vllm_url is not None
    with tempfile.TemporaryDirectory() as folder:
        config = SDARConfig(device=subject.device, rollout="vllm", vllm_url=subject.vllm_url, output_dir=folder)
        engine = SingleProcess.of(config)
        loaded, tokenizer = load_model(subject.model, dtype=engine.dtype)
        model = engine.prepare(loaded).language_model
        try:
            sampler = make_server_sampler(
                model, tokenizer, config, end_ids=end_ids(ChatRenderer(tokenizer), model), max_context=256
            )
            sampler.sync_weights(model, 1)
        except GenerationServerError as error:
            raise Failed(f"weights did not reach the server: {error}", str(error)) from None
        return sampler.last_sync


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
