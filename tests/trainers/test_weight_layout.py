"""Large weights on the CPU lie so that a step of sampling need not bring them into order; nothing else changes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from transformers import Qwen3Config, Qwen3ForCausalLM

from trainers.engine.single import SingleProcess
from trainers.engine.weight_layout import WORTHWHILE, lay_out_for_few_rows

CPU = torch.device("cpu")


def model(*, tied: bool = True) -> Qwen3ForCausalLM:
    """A model whose layers have one weight below the bound (key, value) and the others above it."""
    torch.manual_seed(0)
    return Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=512,
            hidden_size=256,
            intermediate_size=512,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=1,
            head_dim=64,
            tie_word_embeddings=tied,
        )
    ).eval()


def by_input(weight: torch.Tensor) -> bool:
    return weight.t().is_contiguous() and not weight.is_contiguous()


@pytest.mark.parametrize("rows", [1, 8, 33])
def test_logits_and_gradients_are_the_same(rows: int) -> None:
    ids_BT = torch.arange(rows * 5).reshape(rows, 5) % 512
    plain, laid_out = model(), model()
    assert lay_out_for_few_rows(laid_out) == 2 * 5
    for one in (plain, laid_out):
        one(ids_BT).logits.logsumexp(-1).sum().backward()
    torch.testing.assert_close(laid_out(ids_BT).logits, plain(ids_BT).logits, rtol=0, atol=1e-6)
    for (name, parameter), (_, other) in zip(laid_out.named_parameters(), plain.named_parameters(), strict=True):
        assert parameter.shape == other.shape
        assert torch.equal(parameter, other), name
        assert parameter.grad is not None and other.grad is not None
        assert parameter.grad.stride() == parameter.stride(), f"the gradient of {name} is copied at every sum"
        torch.testing.assert_close(parameter.grad, other.grad, rtol=1e-5, atol=1e-5)


def test_small_weights_and_those_of_an_embedding_stay() -> None:
    for tied in (True, False):
        laid_out = model(tied=tied)
        lay_out_for_few_rows(laid_out)
        assert laid_out.model.embed_tokens.weight.is_contiguous()
        assert by_input(laid_out.lm_head.weight) is not tied
        for name, parameter in laid_out.model.layers.named_parameters():
            assert by_input(parameter) is (parameter.dim() == 2 and parameter.numel() >= WORTHWHILE), name
        assert lay_out_for_few_rows(laid_out) == 0, "laid out twice"


def test_the_engine_lays_out_what_computes_in_float32_and_keeps_it_when_weights_are_loaded() -> None:
    engine = SingleProcess(CPU, torch.float32, gradient_checkpointing=False)
    root = engine.prepare(model())
    weights = [module.weight for module in root.language_model.model.layers.modules() if isinstance(module, nn.Linear)]
    laid_out = [by_input(weight) for weight in weights]
    assert sum(laid_out) == 10
    engine.load_whole(root, {name: torch.ones_like(value) for name, value in engine.whole_state(root).items()})
    assert [by_input(weight) for weight in weights] == laid_out
    assert all(bool((weight == 1).all()) for weight in weights)
    copied = engine.frozen(root)
    assert sum(by_input(parameter) for parameter in copied.parameters()) == 10
    halves = SingleProcess(CPU, torch.bfloat16, gradient_checkpointing=False).prepare(model())
    assert not any(by_input(parameter) for parameter in halves.parameters())


@pytest.mark.parametrize("optimizer", [torch.optim.AdamW, torch.optim.Muon])
def test_an_optimiser_takes_the_same_step(optimizer: type[torch.optim.Optimizer]) -> None:
    stepped = []
    for laid_out in (False, True):
        linear = nn.Linear(256, 512, bias=False)
        with torch.no_grad():
            linear.weight.copy_(torch.linspace(-1, 1, 256 * 512).reshape(512, 256).sin())
        if laid_out:
            lay_out_for_few_rows(linear)
        steps = optimizer([linear.weight], lr=1e-2)  # type: ignore[call-arg]
        for step in range(3):
            steps.zero_grad()
            linear(torch.full((4, 256), 0.1 * (step + 1))).square().sum().backward()
            steps.step()
        stepped.append(linear.weight.detach().clone())
    torch.testing.assert_close(stepped[1], stepped[0], rtol=0, atol=1e-6)


def test_weights_are_saved_as_ever(tmp_path: Path) -> None:
    laid_out = model()
    lay_out_for_few_rows(laid_out)
    laid_out.save_pretrained(tmp_path)
    plain = model().state_dict()
    for name, saved in load_file(tmp_path / "model.safetensors").items():
        assert saved.is_contiguous() and torch.equal(saved, plain[name]), name
