"""Options that trade memory for something else: each is read, and none but the masters' changes what is learned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import make_trainer, save_model, weights
from test_lora_runs import LORA, StopAfter
from tiny_models import CHATML, make_model, make_tokenizer

from trainers.config import SDARConfig
from trainers.engine import single
from trainers.engine.checkpoint import open_checkpoint
from trainers.engine.optimizers import is_eight_bit


def after(folder: Path, **options: Any) -> tuple[Any, dict[str, Any], dict[str, float]]:
    """A trainer after two iterations, its weights, and the last metrics."""
    trainer = make_trainer(folder, method="sdar", beta=0.0, **options)
    for step in range(2):
        trainer.state.step = step
        metrics = trainer.iteration()
    return trainer, weights(trainer), metrics


def equal(left: dict[str, Any], right: dict[str, Any]) -> bool:
    return all(torch.equal(left[name], tensor) for name, tensor in right.items())


@pytest.mark.parametrize("bf16", [False, True])
def test_an_offloaded_optimiser_learns_the_same(tmp_path: Path, bf16: bool) -> None:
    _, plain, _ = after(tmp_path, bf16=bf16)
    trainer = make_trainer(tmp_path, method="sdar", beta=0.0, bf16=bf16, offload_optimizer=True)
    state, seen = trainer.updater.host_state, []
    assert state.on_host
    step = trainer.updater.optimizer.step

    def watched() -> Any:
        seen.append(state.on_host)
        return step()

    trainer.updater.optimizer.step = watched
    for number in range(2):
        trainer.state.step = number
        trainer.iteration()
        assert state.on_host
    assert seen == [False, False] and equal(plain, weights(trainer))
    assert make_trainer(tmp_path).updater.host_state is None


def test_recomputed_activations_give_the_same_update_on_a_cpu(tmp_path: Path) -> None:
    plain_trainer, plain, _ = after(tmp_path)
    trainer, found, _ = after(tmp_path, gradient_checkpointing=True)
    assert trainer.engine.gradient_checkpointing and not plain_trainer.engine.gradient_checkpointing
    assert all(torch.allclose(found[name], tensor, atol=1e-6) for name, tensor in plain.items())
    calls = []
    layer = trainer.model.model.layers[0]
    layer.mlp.register_forward_pre_hook(lambda *_: calls.append(torch.is_grad_enabled()))
    before = trainer.model.training
    trainer.state.step = 0
    update = trainer.updater.update

    def kept(given: Any, plan: Any) -> Any:
        calls.clear()
        return update(given, plan)

    trainer.updater.update = kept
    trainer.iteration()
    # Once in the forward pass, and once more in the backward pass.
    assert len([each for each in calls if each]) >= 2 and trainer.model.training == before


def test_adapters_learn_with_recomputed_activations(tmp_path: Path) -> None:
    pytest.importorskip("peft")
    _, plain, _ = after(tmp_path, **LORA)
    _, found, _ = after(tmp_path, gradient_checkpointing=True, **LORA)
    assert all(torch.allclose(found[name], tensor, atol=1e-5) for name, tensor in plain.items())


def save_wide_model(folder: Path) -> None:
    """A model with matrices that are large enough for moments in 8 bits."""
    tokenizer = make_tokenizer(CHATML)
    config = make_model("qwen2", len(tokenizer)).config
    config.update({"hidden_size": 64, "intermediate_size": 128})
    model = make_model("qwen2", len(tokenizer))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = type(model)(config)
    model.generation_config.eos_token_id = list(range(3, len(tokenizer), 3))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def test_eight_bit_adam_runs_and_goes_on_to_the_last_bit(tmp_path: Path) -> None:
    pytest.importorskip("torchao")
    options = {"method": "sdar", "optim": "adamw_8bit", "max_steps": 3, "save_steps": 2, "beta": 0.0}
    for folder in (tmp_path, tmp_path / "straight"):
        save_wide_model(folder / "model")
    straight = make_trainer(tmp_path / "straight", **options)
    straight.train()
    state = straight.updater.optimizer.state.values()
    assert any(is_eight_bit(value) for own in state for value in own.values())
    make_trainer(tmp_path, trainer={"callbacks": [StopAfter(2)]}, **options).train()
    resumed = make_trainer(tmp_path, **options)
    resumed.train(resume_from_checkpoint=True)
    assert equal(weights(straight), weights(resumed))
    saved = open_checkpoint(tmp_path / "run" / "checkpoints" / "step-00000003").path
    assert (saved / "optimizer.safetensors").stat().st_size < 0.5 * (
        2 * sum(p.numel() * 4 for p in resumed.model.parameters())
    )


def test_sixteen_bits_without_masters_hold_none_and_say_how_many_updates_are_lost(tmp_path: Path) -> None:
    with_masters, first, metrics = after(tmp_path, bf16=True, master_weights="float32")
    assert with_masters.updater.masters.separate() and "update/unchanged" not in metrics
    auto, second, _ = after(tmp_path, bf16=True)
    assert auto.updater.masters.separate() and equal(first, second)
    without, _, metrics = after(tmp_path, bf16=True, master_weights="none", learning_rate=1e-6)
    assert not without.updater.masters.separate() and metrics["update/unchanged"] > 0.9
    assert after(tmp_path, bf16=True, master_weights="none")[2]["update/unchanged"] < 0.5


def test_tokens_per_pass_are_fitted_to_a_large_model_on_a_cpu_unless_somebody_chose_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_model(tmp_path / "model")
    assert make_trainer(tmp_path).args.micro_batch_tokens == 16384
    monkeypatch.setattr(single, "LARGE_ON_CPU", 1000)
    assert make_trainer(tmp_path).args.micro_batch_tokens == 1024
    assert make_trainer(tmp_path, micro_batch_tokens=9000).args.micro_batch_tokens == 9000
    assert make_trainer(tmp_path, micro_batch_tokens=16384).args.micro_batch_tokens == 16384
    chosen = SDARConfig()
    assert not chosen.was_given("micro_batch_tokens") and chosen.was_given("beta")
    assert SDARConfig(micro_batch_tokens=16384) == chosen  # as ever, equal options are equal
